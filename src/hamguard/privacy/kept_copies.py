"""Protected copies on a disk, so that a server makes each once: bounded, shared by processes, and trusted only while whole."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
from pathlib import Path

from hamguard.core.errors import RequestError, RunError
from hamguard.core.files import read_bytes, write_bytes

_NAME = re.compile(r"[0-9a-f]{64}")
_SEAL = 64  # hex digits of the copy's hash, before its bytes
_LEFT = 0.9  # share of the bound that is kept when it is reached, so that not every copy looks through all


class KeptCopies:
    """Copies by a key, in files that are written whole or not at all.

    The copies that were not asked for the longest go first. Several processes may share a folder; each looks at all of it when it
    begins and when what it knows of reaches the bound.

    Args:
        folder: made when it is first needed; files that are no copies are never touched.
        limit: bytes of all copies together.
        longest: bytes of one.
    """

    def __init__(self, folder: Path | str, limit: int, *, longest: int) -> None:
        self.folder, self.limit, self.longest = Path(folder), limit, longest
        self._held: int | None = None  # bytes, as far as this process knows
        self._lock = threading.Lock()

    def find(self, key: str) -> bytes | None:
        """The copy of a key, 64 hex digits; None where there is none, or it is damaged."""
        path = self._path(key)
        try:
            content = read_bytes(path, "protected copy", limit=self.longest + _SEAL)
        except RequestError:
            return None
        copy = content[_SEAL:]
        if content[:_SEAL] != _seal(copy):
            return None
        with contextlib.suppress(OSError):  # just asked for
            os.utime(path)
        return copy

    def keep(self, key: str, copy: bytes) -> None:
        """Keep a copy; one that alone exceeds a bound is not kept.

        Raises:
            RunError: it cannot be written.
        """
        size = len(copy) + _SEAL
        if len(copy) > self.longest or size > self.limit:
            return
        write_bytes(self._path(key), _seal(copy) + copy)
        with self._lock:
            self._held = None if self._held is None else self._held + size
            if self._held is None or self._held > self.limit:
                self._held = self._swept()

    def _path(self, key: str) -> Path:
        assert _NAME.fullmatch(key)
        return self.folder / key[:2] / key

    def _swept(self) -> int:
        """Remove what was not asked for the longest, beyond the bound; bytes that are left."""
        found = []
        for place in self.folder.iterdir():
            if len(place.name) != 2 or not place.is_dir():
                continue
            with contextlib.suppress(OSError), os.scandir(place) as entries:
                for entry in entries:
                    with contextlib.suppress(OSError):  # another process removed it
                        if _NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                            facts = entry.stat(follow_symlinks=False)
                            found.append((facts.st_mtime_ns, facts.st_size, entry.path))
        held = sum(size for _, size, _ in found)
        if held <= self.limit:
            return held
        for _, size, path in sorted(found):
            if held <= _LEFT * self.limit:
                break
            with contextlib.suppress(FileNotFoundError):
                try:
                    Path(path).unlink()
                except PermissionError as error:
                    raise RunError(f"cannot remove {path}: {error.strerror}") from error
            held -= size
        return held


def _seal(copy: bytes) -> bytes:
    return hashlib.sha256(copy).hexdigest().encode()
