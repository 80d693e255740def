"""What protect did to a folder: `protect.json` says how, `protect.jsonl` has one object a file, added as files are finished.

Both lie in the folder that may be published, so they name no place of this machine. The same run goes on from them after a kill; a
file is finished when its last line says so, its source still has the same content, and its copy is there. A line is
written just before its copy takes its name, so a kill in between leaves a line without a copy, which is done again.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from hamguard import __version__
from hamguard.core.digests import digest_json
from hamguard.core.errors import RequestError, RunError, StaleError
from hamguard.core.files import write_json

SETTINGS, LINES = "protect.json", "protect.jsonl"
_REPEATED = ("run", "version")  # not part of what a run is


class Named(BaseModel):
    """A protector or matcher: its name without its folder, and the content hash of its weights."""

    model_config = ConfigDict(extra="forbid")

    name: str
    hash: str


class Settings(BaseModel):
    """How the files of a folder were protected.

    Attributes:
        run: hash of all that follows but the names of weights.
        version: hamguard's version.
        protector: the generator.
        surrogate: hashes of the models that it learned against; searches by them are no proof.
        eps: bound, in pixel units.
        format: png, jpeg or webp.
        quality: of jpeg and webp.
        metadata: strip, no-location or keep.
        scale: auto, full or fit.
        refine: gradient steps a picture.
        matchers: models of the gradient steps; searches by them are no proof either.
        seed: of everything that is drawn.
    """

    model_config = ConfigDict(extra="forbid")

    run: str = ""
    version: str = __version__
    protector: Named
    surrogate: list[str] = []
    eps: float
    format: Literal["png", "jpeg", "webp"]
    quality: int
    metadata: Literal["strip", "no-location", "keep"]
    scale: Literal["auto", "full", "fit"]
    refine: int = 0
    matchers: list[Named] = []
    seed: int = 0

    @property
    def digest(self) -> str:
        """Hash of what defines the run."""
        facts = self.model_dump(exclude=set(_REPEATED))
        facts["protector"], facts["matchers"] = self.protector.hash, [one.hash for one in self.matchers]
        return digest_json(facts)


class Entry(BaseModel):
    """What became of one file.

    Attributes:
        file: path of the source inside its folder.
        source: content hash of the source; empty where it could not be read.
        out: path of the copy inside its folder; empty where there is none.
        status: done or skipped.
        reason: why it was skipped.
        height, width: in pixels, upright.
        change: largest change of a value in levels of 255, after decoding the copy.
        rmse: root mean squared change, pixels in [0, 1].
        psnr: in decibels; None where nothing changed.
        ssim: structural similarity of its middle (all of it up to 512 pixels a side); None where the file was not in the sample.
    """

    model_config = ConfigDict(extra="forbid")

    file: str
    source: str = ""
    out: str = ""
    status: Literal["done", "skipped"]
    reason: str = ""
    height: int = 0
    width: int = 0
    change: int = 0
    rmse: float = 0.0
    psnr: float | None = None
    ssim: float | None = None


class Manifest:
    """The two files of a run; entries are added from any thread.

    Args:
        folder: OUT; None keeps the entries in memory only (one picture, no side files).
        settings: of this run.
        restart: throw away what an earlier run left, its copies included.

    Attributes:
        entries: the last entry of each file.

    Raises:
        RequestError: OUT is a file, or holds files of these names that protect did not write.
        StaleError: OUT belongs to a run with other settings.
        RunError: the files cannot be written.
    """

    def __init__(self, folder: Path | None, settings: Settings, *, restart: bool = False) -> None:
        self.folder, self.settings = folder, settings.model_copy(update={"run": settings.digest})
        self.entries: dict[str, Entry] = {}
        self._ours: set[str] = set()
        self._lock = threading.Lock()
        if folder is None:
            return
        if folder.exists() and not folder.is_dir():
            raise RequestError(f"{folder} is a file; a folder of pictures needs a folder to write to")
        self._resume(folder, restart)

    def _resume(self, folder: Path, restart: bool) -> None:
        stored = _stored(folder)
        if stored is None:
            if (folder / LINES).exists():
                raise RequestError(f"{folder / LINES} is there without {SETTINGS}; give another folder")
            return
        lines, whole = _read_lines(folder / LINES)
        self.entries = {entry.file: entry for entry in lines}
        self._ours = {entry.out for entry in lines if entry.out}
        if restart:
            for out in self._ours:
                if inside(folder, folder / out):
                    (folder / out).unlink(missing_ok=True)
            (folder / LINES).unlink(missing_ok=True)
            (folder / SETTINGS).unlink()
            self.entries, self._ours = {}, set()
        elif stored.run != self.settings.run:
            changed = ", ".join(_differences(stored, self.settings)) or "what defines a run"
            raise StaleError(
                f"{folder} was protected with other settings ({changed}); give another folder, or --restart"
            )
        elif (folder / LINES).exists() and whole < (folder / LINES).stat().st_size:
            with (folder / LINES).open("r+b") as stream:  # the half-written line of a kill
                stream.truncate(whole)

    def begin(self) -> None:
        """Write the settings, before the first copy."""
        if self.folder is not None and not (self.folder / SETTINGS).exists():
            write_json(self.folder / SETTINGS, self.settings.model_dump())

    def owns(self, out: str) -> bool:
        """Whether a file of OUT was written by this run or the one that it goes on with."""
        return out in self._ours

    def kept(self, file: str, source: str, out: str) -> Entry | None:
        """The entry of a file that need not be done again."""
        entry = self.entries.get(file)
        if entry is None or not source or entry.source != source:
            return None
        if entry.status == "done" and (entry.out != out or self.folder is None or not (self.folder / out).is_file()):
            return None
        return entry

    def add(self, entry: Entry) -> None:
        """Note what became of a file.

        Raises:
            RunError: the disk is full.
        """
        with self._lock:
            self.entries[entry.file] = entry
            if self.folder is None:
                return
            path = self.folder / LINES
            try:
                with path.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(entry.model_dump(), ensure_ascii=False) + "\n")
            except OSError as error:
                raise RunError(f"cannot write {path}: {error.strerror or error}") from error

    def summary(self, files: Sequence[str]) -> list[Entry]:
        """The entries of some files, in their order."""
        return [self.entries[file] for file in files if file in self.entries]


def inside(folder: Path, path: Path) -> bool:
    """Whether a path lies in a folder once links are followed."""
    return path.parent.resolve().is_relative_to(folder.resolve())


def read_settings(folder: Path | str) -> Settings:
    """The settings of a folder that protect wrote.

    Raises:
        RequestError: it has none, or they are damaged.
    """
    found = _stored(Path(folder))
    if found is None:
        raise RequestError(f"{folder} was not written by hamguard protect: it has no {SETTINGS}")
    return found


def read_entries(folder: Path | str) -> list[Entry]:
    """The last entry of each file, in the order in which files were first finished; a half-written last line does not count.

    Raises:
        RequestError: a line is damaged.
    """
    return list({entry.file: entry for entry in _read_lines(Path(folder) / LINES)[0]}.values())


def _stored(folder: Path) -> Settings | None:
    path = folder / SETTINGS
    try:
        return Settings.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise RequestError(f"{path} was not written by hamguard protect, or is damaged; give another folder") from error


def _read_lines(path: Path) -> tuple[list[Entry], int]:
    """Entries, and how many bytes of the file are whole lines."""
    content = path.read_bytes() if path.is_file() else b""
    whole = content.rfind(b"\n") + 1
    entries = []
    for number, line in enumerate(content[:whole].splitlines(), 1):
        try:
            entries.append(Entry.model_validate_json(line))
        except ValidationError as error:
            raise RequestError(
                f"{path} line {number} is not an entry of hamguard protect; give another folder"
            ) from error
    return entries, whole


def _differences(a: Settings, b: Settings) -> list[str]:
    one, two = a.model_dump(), b.model_dump()
    return [key for key in one if key not in _REPEATED and one[key] != two[key]]
