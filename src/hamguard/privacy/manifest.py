"""What protect did to a folder: `protect.json` says how, `protect.jsonl` has one object a file, added as files are finished.

Both lie in the folder that may be published, so they name no place of this machine. The same run goes on from them after a kill; a
file is finished when its last line says so, its source still has the same content, and its copy is the one that was written: the
line has the hash of both. A line is on the disk just before its copy takes its name, so a kill in between leaves a line without
its copy, which is done again. Settings and lines are sealed. Version 0.1.0 wrote neither seals nor hashes of copies: what it
made may be replaced, but is not trusted.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, SkipValidation, ValidationError

from hamguard import __version__
from hamguard.core.digests import digest_json
from hamguard.core.errors import DamagedError, MissingFileError, RequestError, RunError, StaleError
from hamguard.core.files import check_seal, digest_ordinary, read_bytes, read_sealed, seal, write_sealed
from hamguard.images.io import MAX_BYTES

SETTINGS, LINES = "protect.json", "protect.jsonl"
EDITION = 2
"""Of the two files; the first had no seals and no hashes of copies."""

LINES_LIMIT = 2 << 30  # bytes; about 400 a picture
_REPEATED = ("run", "version", "edition", "networks", "check")  # not part of what a run is
Text = SkipValidation[
    str
]  # names of files that are no UTF-8 are no text to the validator; `read_line` looks at the type


class Named(BaseModel):
    """A protector or matcher.

    Attributes:
        name: without its folder.
        hash: content hash of its weights.
        network: backbone of a matcher; empty where it is not known.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    hash: str
    network: str = ""


class Settings(BaseModel):
    """How the files of a folder were protected.

    Attributes:
        run: hash of all that follows but the names of weights.
        version: hamguard's version.
        edition: of the two files; 1 where it is not said.
        protector: the generator.
        surrogate: hashes of the models that it learned against; searches by them are no proof.
        networks: their backbones.
        eps: bound, in pixel units.
        format: png, jpeg or webp.
        quality: of jpeg and webp.
        metadata: strip, no-location or keep.
        scale: auto, full or fit.
        refine: gradient steps a picture.
        matchers: models of the gradient steps; searches by them are no proof either.
        seed: of everything that is drawn.
        check: what searches of the panel found of a sample of the copies, see `panel_check.Checked`; None where none was made.
    """

    model_config = ConfigDict(extra="forbid")

    run: str = ""
    version: str = __version__
    edition: int = 1
    protector: Named
    surrogate: list[str] = []
    networks: list[str] = []
    eps: float
    format: Literal["png", "jpeg", "webp"]
    quality: int
    metadata: Literal["strip", "no-location", "keep"]
    scale: Literal["auto", "full", "fit"]
    refine: int = 0
    matchers: list[Named] = []
    seed: int = 0
    check: dict[str, Any] | None = None

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
        copy_hash: content hash of the copy.
        status: done, skipped (it could not be done) or left out (no picture that is read).
        reason: why it was skipped or left out.
        frames: pictures in the file, of which the copy has the first.
        height, width: in pixels, upright.
        change: largest change of a value in levels of 255, after decoding the copy.
        rmse: root mean squared change, pixels in [0, 1].
        psnr: in decibels; None where nothing changed.
        ssim: structural similarity of its middle (all of it up to 512 pixels a side); None where the file was not in the sample.
    """

    model_config = ConfigDict(extra="forbid")

    file: Text
    source: str = ""
    out: Text = ""
    copy_hash: str = ""
    status: Literal["done", "skipped", "left out"]
    reason: Text = ""
    frames: int = 1
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
        entries: the last entry of each file that is trusted.
        changed: copies that were not what protect wrote, as `kept` found them.
        untrusted: how many copies version 0.1.0 made, which kept no hashes of them.

    Raises:
        RequestError: OUT is a file, or holds files of these names that protect did not write.
        DamagedError: they were changed since; with `restart`, lines that were are left out.
        StaleError: OUT belongs to a run with other settings.
        RunError: the files cannot be written.
    """

    def __init__(self, folder: Path | None, settings: Settings, *, restart: bool = False) -> None:
        self.folder, self.settings = folder, settings.model_copy(update={"run": settings.digest, "edition": EDITION})
        self.entries: dict[str, Entry] = {}
        self.changed: list[str] = []
        self.untrusted = 0
        self._stored: Settings | None = None
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
        self._stored = stored
        lines, whole = _read_lines(folder / LINES, damaged_too=not restart)
        last = {entry.file: entry for entry in lines}
        self.entries = {file: entry for file, entry in last.items() if entry.status != "done" or entry.copy_hash}
        self.untrusted = len(last) - len(self.entries)
        self._ours = {entry.out for entry in lines if entry.out}
        if restart:
            for out in self._ours:
                if inside(folder, folder / out):
                    (folder / out).unlink(missing_ok=True)
            (folder / LINES).unlink(missing_ok=True)
            (folder / SETTINGS).unlink()
            self.entries, self._ours, self._stored, self.untrusted = {}, set(), None, 0
        elif stored.run != self.settings.run:
            changed = ", ".join(_differences(stored, self.settings)) or "what defines a run"
            raise StaleError(
                f"{folder} was protected with other settings ({changed}); give another folder, or `restart`"
            )
        elif (folder / LINES).exists() and whole < (folder / LINES).stat().st_size:
            with (folder / LINES).open("r+b") as stream:  # the half-written line of a kill
                stream.truncate(whole)

    def begin(self) -> None:
        """Write the settings, before the first copy."""
        if self.folder is not None and (self._stored is None or self._stored.edition < EDITION):
            write_sealed(self.folder / SETTINGS, self.settings.model_dump())
            self._stored = self.settings

    def note(self, check: dict[str, Any] | None) -> None:
        """Keep what a check of the copies found, and which networks the protector met, with the settings.

        Raises:
            RunError: the file cannot be written.
        """
        self.settings = self.settings.model_copy(update={"check": check})
        if self.folder is not None and self._stored is not None:
            write_sealed(self.folder / SETTINGS, self.settings.model_dump())
            self._stored = self.settings

    def owns(self, out: str) -> bool:
        """Whether a file of OUT was written by this run or the one that it goes on with."""
        return out in self._ours

    def kept(self, file: str, source: str, out: str) -> Entry | None:
        """The entry of a file that need not be done again."""
        entry = self.entries.get(file)
        if entry is None or not source or entry.source != source or entry.status == "left out":
            return None
        if entry.status == "done":
            if entry.out != out or self.folder is None:
                return None
            try:
                found = digest_ordinary(self.folder / out, "copy", limit=MAX_BYTES)
            except MissingFileError:  # the last run was stopped before it took its name
                return None
            except RequestError:  # not even a file that could be a copy
                found = ""
            if found != entry.copy_hash:
                self.changed.append(out)
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
                line = json.dumps(seal(entry.model_dump()), ensure_ascii=False) + "\n"
                with path.open("ab") as stream:
                    stream.write(line.encode("utf-8", "backslashreplace"))
                    stream.flush()
                    os.fsync(stream.fileno())
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
        told = read_sealed(path, "settings of protect", old=lambda content: "edition" not in content)
        return Settings.model_validate(told)
    except MissingFileError:
        return None
    except ValidationError as error:
        raise RequestError(f"{path} was not written by hamguard protect, or is damaged; give another folder") from error


def _read_lines(path: Path, *, damaged_too: bool = True) -> tuple[list[Entry], int]:
    """Entries, and how many bytes of the file are whole lines.

    Raises:
        DamagedError: a line is not as it was written; with `damaged_too` off, it is left out.
    """
    try:
        content = read_bytes(path, "lines of protect", limit=LINES_LIMIT)
    except MissingFileError:
        return [], 0
    whole = content.rfind(b"\n") + 1
    entries = []
    for number, line in enumerate(content[:whole].split(b"\n")[:-1], 1):
        try:
            entries.append(Entry.model_validate(read_line(path, number, line)))
        except DamagedError:
            if damaged_too:
                raise
        except ValidationError as error:
            if damaged_too:
                raise DamagedError(
                    path, f"line {number} is not an entry of hamguard protect; give another folder"
                ) from error
    return entries, whole


def read_line(path: Path, number: int, line: bytes) -> dict[str, Any]:
    """The JSON object of a line, with its seal compared; version 0.1.0 sealed none.

    Raises:
        DamagedError: no JSON object, or not as it was written.
    """
    try:
        told = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DamagedError(path, f"line {number} is not a JSON object") from error
    if not isinstance(told, dict) or not all(isinstance(told.get(key) or "", str) for key in ("file", "out", "reason")):
        raise DamagedError(path, f"line {number} is not an entry of hamguard protect; give another folder")
    try:
        return check_seal(told, path, old=lambda content: "copy_hash" not in content)
    except DamagedError as error:
        raise DamagedError(path, f"line {number} was changed after it was written") from error


def _differences(a: Settings, b: Settings) -> list[str]:
    one, two = a.model_dump(), b.model_dump()
    return [key for key in one if key not in _REPEATED and one[key] != two[key]]
