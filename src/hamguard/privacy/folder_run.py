"""Thousands of pictures through the protector in constant memory: threads read and write, the main thread computes.

At most `window` pictures, and about `PIXELS` pixels, are held at any time, whatever the folder holds. Pictures of one size are
computed together; no picture's result depends on which ones, because every random number comes from its own content.
"""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import Tensor

from hamguard.core.checks import check_range
from hamguard.core.digests import digest_content
from hamguard.core.errors import ImageError, RunError, StoppedError
from hamguard.core.files import replacing
from hamguard.core.seeds import derive_seed
from hamguard.core.types import Bytes
from hamguard.images.distortion import measure_distortion
from hamguard.images.io import probe, read_file
from hamguard.images.originals import read_original, strips
from hamguard.images.views import crop_image
from hamguard.models.protector import Protector
from hamguard.privacy.manifest import Entry, Manifest
from hamguard.privacy.names import no_name
from hamguard.privacy.pictures import Held, Key, PictureRun
from hamguard.privacy.refine import Refine
from hamguard.training.loop import Progress
from hamguard.training.stopping import StopRequest

WINDOW = 64
PIXELS = 32_000_000
"""Pixels of the pictures that are held at once; a larger picture is held alone."""

AT_ONCE = 4_000_000
"""Pixels of noise that one pass of the generator makes."""

SAMPLE = 200
"""Pictures whose SSIM is measured; it takes longer than all the rest together."""

MIDDLE = 512
"""Side of the part of a picture whose SSIM is measured, its middle: a whole photo of 24 megapixels would take a minute."""


@dataclass
class FolderRun:
    """Protect files as the settings of a manifest say.

    Attributes:
        source: folder of the originals.
        out: folder of the copies.
        names: path of each copy, by the path of its original.
        net: the generator, frozen, in evaluation mode.
        side: shorter side of the pictures that it learned from.
        manifest: settings, and what is done already.
        refine: gradient steps after the generator's pass; None for none.
        batch_size: most pictures computed together.
        window: most pictures held.
        threads: that read and write.
        most_held: how many pictures were held at most.
        fresh: how many files were done by this call; the others were done before.
    """

    source: Path
    out: Path
    names: Mapping[str, str]
    net: Protector
    side: int
    manifest: Manifest
    refine: Refine | None = None
    batch_size: int = 8
    window: int = WINDOW
    threads: int = 2
    most_held: int = field(default=0, init=False)
    fresh: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        check_range("batch size", self.batch_size, 1)
        check_range("window", self.window, 1)
        ranked = sorted(self.names, key=lambda file: derive_seed(self.manifest.settings.seed, "ssim", file))
        self._sample = frozenset(ranked[:SAMPLE])
        self._run = PictureRun(self.net, self.side, self.manifest.settings, self.refine)
        self._pixels: dict[str, int] = {}  # of the pictures that are held
        self._before = dict(self.manifest.entries)

    def __call__(self, progress: Progress | None = None) -> None:
        """Protect what is not done yet; the manifest has an entry for every file afterwards.

        Raises:
            RunError: a file cannot be written, or weights are broken.
            StoppedError: Ctrl-C; what was begun is finished, and the same call goes on.
        """
        self.manifest.begin()
        with StopRequest() as stop, ThreadPoolExecutor(self.threads) as pool:
            try:
                self._stream(pool, stop, progress)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _stream(self, pool: ThreadPoolExecutor, stop: StopRequest, progress: Progress | None) -> None:
        todo, done = deque(self.names), 0
        reading: deque[Future[Held | Entry]] = deque()
        waiting: dict[Key, list[Held]] = {}
        writing: deque[Future[Entry]] = deque()
        while todo or reading or waiting or writing:
            if stop.asked:  # what was only read is dropped
                for left in writing:
                    left.result()
                total = len(self.names)
                raise StoppedError(
                    f"stopped after {done + len(writing):,} of {total:,} pictures; the same command goes on"
                )
            # 1. what is written is forgotten
            while writing and (writing[0].done() or not (todo or reading or waiting)):
                self._pixels.pop(writing.popleft().result().file, None)
                done += 1
                if progress:
                    progress(done / len(self.names), f"{done:,} of {len(self.names):,}")
            # 2. as much is read ahead as there is room for
            while todo and self._take(todo[0]):
                reading.append(pool.submit(self._read, todo.popleft()))
            # 3. the oldest picture joins those of its size; a full group is computed
            if reading:
                found = reading.popleft().result()
                self.fresh += not (isinstance(found, Entry) and found is self._before.get(found.file))
                if isinstance(found, Entry):
                    writing.appendleft(_finished(found))
                    continue
                group = waiting.setdefault(found.key, [])
                group.append(found)
                if len(group) >= self._most(found):
                    writing.extend(self._computed(waiting.pop(found.key), pool))
            # 4. nothing more to read, or no room for it: the oldest group is computed as it is
            elif waiting:
                writing.extend(self._computed(waiting.pop(next(iter(waiting))), pool))
            elif writing:
                writing[0].result()

    def _take(self, file: str) -> bool:
        """Take room for a picture; False where there is none."""
        if len(self._pixels) >= self.window:
            return False
        try:
            seen = probe(self.source / file)
            pixels = seen.height * seen.width
        except ImageError:  # the reader will say why
            pixels = 0
        if self._pixels and sum(self._pixels.values()) + pixels > PIXELS:
            return False
        self._pixels[file] = pixels
        self.most_held = max(self.most_held, len(self._pixels))
        return True

    def _most(self, one: Held) -> int:
        height, width = one.small.shape[:2]
        return 1 if one.is_tiled else max(1, min(self.batch_size, AT_ONCE // (height * width)))

    def _read(self, file: str) -> Held | Entry:
        """In a thread: the picture, or the entry of one that is done or cannot be."""
        try:
            content = read_file(self.source / file, file)  # once: what is hashed is what is decoded
        except ImageError as error:
            return self._skipped(file, "", str(error))
        source = digest_content(content)
        if (kept := self.manifest.kept(file, source, self.names[file])) is not None:
            return kept
        try:
            return self._run.read(content, file, source)
        except ImageError as error:
            return self._skipped(file, source, str(error))

    def _computed(self, group: Sequence[Held], pool: ThreadPoolExecutor) -> list[Future[Entry]]:
        """Noise of a group, and the threads that finish its pictures."""
        if self._run.by_tiles(group[0]):
            return [pool.submit(self._write, group[0], self._run.in_tiles(group[0]))]
        patterns = self._run.patterns(group)
        return [pool.submit(self._finish, one, pattern) for one, pattern in zip(group, patterns, strict=True)]

    def _finish(self, one: Held, pattern: Tensor) -> Entry:
        """In a thread: noise at the picture's size, the file, the entry."""
        return self._write(one, self._run.with_pattern(one, pattern))

    def _write(self, one: Held, pixels: Bytes) -> Entry:
        name = self.names[one.file]
        try:
            content = self._run.encode(one, pixels)
        except ImageError as error:
            return self._skipped(one.file, one.source, str(error))
        path = self.out / name
        if reason := no_name(path):
            return self._skipped(one.file, one.source, f"{one.file}: its copy can have no name here: {reason}")
        entry = self._measured(one, content, name)
        if path.exists() and not self.manifest.owns(name):
            raise RunError(f"{path} appeared while protect ran; it is never overwritten")
        with replacing(path) as temporary:
            temporary.write_bytes(content)
            self.manifest.add(entry)
        return entry

    def _measured(self, one: Held, content: bytes, name: str) -> Entry:
        """What the written file shows against the original, as a person sees both."""
        before = one.original.seen
        after = read_original(content, name=one.file).seen
        if after.ndim > before.ndim:  # WebP has no gray
            after = after[..., 0]
        change, rmse = difference(before, after)
        ssim: float | None = None
        if one.file in self._sample:
            part = (min(MIDDLE, before.shape[0]), min(MIDDLE, before.shape[1]))
            found = float(measure_distortion(*(crop_image(image, part)[None] for image in (before, after))).ssim[0])
            ssim = None if math.isnan(found) else found
        height, width = before.shape[:2]
        return Entry(
            file=one.file,
            source=one.source,
            out=name,
            copy_hash=digest_content(content),
            status="done",
            frames=one.original.frames,
            height=height,
            width=width,
            change=change,
            rmse=rmse,
            psnr=-20 * math.log10(rmse) if rmse else None,
            ssim=ssim,
        )

    def _skipped(self, file: str, source: str, reason: str) -> Entry:
        entry = Entry(file=file, source=source, status="skipped", reason=reason)
        self.manifest.add(entry)
        return entry


def difference(before: Bytes, after: Bytes) -> tuple[int, float]:
    """Largest change of a value in levels, and root mean squared change with pixels in [0, 1], in strips of rows."""
    largest, squares = 0, 0
    for rows in strips(*before.shape[:2]):
        delta = after[rows].astype(np.int32) - before[rows]
        largest, squares = max(largest, int(np.abs(delta).max())), squares + int((delta * delta).sum(dtype=np.int64))
    return largest, math.sqrt(squares / before.size) / 255


def peak_memory() -> int | None:
    """Most memory that this process has had, in bytes; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def _finished(entry: Entry) -> Future[Entry]:
    future: Future[Entry] = Future()
    future.set_result(entry)
    return future
