"""The one door through which files are read, and the one writer: whole, synced, renamed, or not at all.

Reading: only ordinary files are opened (a pipe has no end, a device fills the memory), of a size that a limit allows, and every
damage becomes one line, `FILE is damaged: what`. What hamguard wrote for itself is sealed: the JSON object carries the hash
of its own content, so that a changed value is never trusted.

Writing: under a temporary name beside the place, synced to the disk, then renamed. A temporary file is locked while it is written;
one that a killed run left is not, and goes when the next run first writes into its folder.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import stat
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from hamguard.core.errors import DamagedError, MissingFileError, RequestError, RunError

if TYPE_CHECKING:
    from hamguard.core.types import Array

try:
    import fcntl
except ImportError:  # no such locks on Windows, where an open file cannot be removed anyway
    fcntl = None  # type: ignore[assignment]

TEXT_LIMIT = 256 << 20
"""Bytes of a text or JSON file; larger ones are none of ours."""
SEAL = "digest"
"""Key under which a sealed JSON object, or a sealed `.npz`, keeps the hash of the rest."""

_TEMPORARY = re.compile(r"^\.hamguard-[a-z0-9_]{8}(\.[A-Za-z0-9]{1,16})?$")
_YOUNG = 60.0  # seconds; without locks, a younger temporary file may still be written
_swept: set[str] = set()  # folders that this process has looked through


def open_ordinary(path: Path | str, what: str, *, limit: int | None = None) -> BinaryIO:
    """Open a file to read its bytes.

    Args:
        path: the file.
        what: how errors call what should lie there, e.g. `code bank`.
        limit: most bytes that it may have; readers of compressed files go through all of them, holes and padding included.

    Raises:
        MissingFileError: there is no such file.
        RequestError: a folder, a pipe or a device lies there, it may not be read, or it is larger than `limit`.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingFileError(f"no {what} at {path}: the file does not exist") from error
    except ValueError as error:
        raise RequestError(f"{path!r} is not a file name: {error}") from error
    except OSError as error:
        special = error.errno in (errno.ENXIO, errno.ENODEV)  # a socket
        reason = "it is not an ordinary file" if special else error.strerror
        raise RequestError(f"{path} cannot be read: {reason}") from error
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        raise RequestError(f"{path} is {'a folder' if stat.S_ISDIR(mode) else 'not an ordinary file'}, no {what}")
    if limit is not None and (size := os.fstat(handle).st_size) > limit:
        os.close(handle)
        raise RequestError(f"{path} has {size:,} bytes, too many for a {what}; the limit is {limit:,}")
    return os.fdopen(handle, "rb")


def read_bytes(path: Path | str, what: str, *, limit: int = TEXT_LIMIT) -> bytes:
    """Content of a file.

    Args:
        path: the file.
        what: how errors call what should lie there.
        limit: most bytes that it may have.

    Raises:
        MissingFileError: there is no such file.
        RequestError: not an ordinary file, larger than `limit`, or it cannot be read.
    """
    with open_ordinary(path, what, limit=limit) as stream:
        size = os.fstat(stream.fileno()).st_size
        try:
            content = stream.read(min(size, limit) + 1)  # `read` takes the memory that it is asked for
        except OSError as error:
            raise RequestError(f"{path} cannot be read: {error.strerror or error}") from error
    if len(content) > size:
        raise RequestError(f"{path} grew while it was read; try again")
    return content


def digest_ordinary(path: Path | str, what: str, *, limit: int | None = None) -> str:
    """Hash of a file's bytes, as `digest_file` gives it, of ordinary files only.

    Raises:
        MissingFileError: there is no such file.
        RequestError: not an ordinary file, larger than `limit`, or it cannot be read.
    """
    from hamguard.core.digests import LENGTH

    found = hashlib.sha256()
    with open_ordinary(path, what, limit=limit) as stream:
        try:
            while part := stream.read(1 << 20):
                found.update(part)
        except OSError as error:
            raise RequestError(f"{path} cannot be read: {error.strerror or error}") from error
    return found.hexdigest()[:LENGTH]


def read_text(path: Path | str, what: str, *, limit: int = TEXT_LIMIT) -> str:
    """UTF-8 text of a file, without a byte order mark.

    Raises:
        DamagedError: it is not UTF-8.
        RequestError: as `read_bytes`.
    """
    try:
        return read_bytes(path, what, limit=limit).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DamagedError(path, f"it is not UTF-8 text (byte {error.start:,})") from error


def read_json(path: Path | str, what: str, *, limit: int = TEXT_LIMIT) -> dict[str, Any]:
    """The JSON object of a file.

    Raises:
        DamagedError: no UTF-8, no JSON, or no object.
        RequestError: as `read_bytes`.
    """
    text = read_text(path, what, limit=limit)
    try:
        content = json.loads(text)
    except RecursionError as error:
        raise DamagedError(path, "it is nested too deeply to be read as JSON") from error
    except ValueError as error:  # a number of thousands of digits is one, too
        raise DamagedError(path, f"it is not JSON: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict):
        raise DamagedError(path, "it holds no JSON object")
    return content


def read_toml(path: Path | str, what: str) -> dict[str, Any]:
    """The tables of a TOML file.

    Args:
        path: the file.
        what: how errors call what should lie there.

    Raises:
        RequestError: missing, not an ordinary file, or no TOML; the message has line and column.
    """
    try:
        return tomllib.loads(read_text(path, what))
    except RecursionError as error:
        raise RequestError(f"{path} is no readable {what}: it is nested too deeply") from error
    except tomllib.TOMLDecodeError as error:
        raise RequestError(f"{path} is no readable {what}: {error}") from error


def read_sealed(
    path: Path | str, what: str, *, old: Callable[[dict[str, Any]], bool] | None = None, limit: int = TEXT_LIMIT
) -> dict[str, Any]:
    """What `write_sealed` wrote, without its seal.

    Args:
        path: the file.
        what: how errors call what should lie there.
        old: whether content without any seal is of a format that had none.
        limit: most bytes that it may have.

    Raises:
        DamagedError: damaged, changed after it was written, or without a seal.
        RequestError: as `read_bytes`.
    """
    return check_seal(read_json(path, what, limit=limit), path, old=old)


def check_seal(
    content: dict[str, Any], path: Path | str, *, old: Callable[[dict[str, Any]], bool] | None = None
) -> dict[str, Any]:
    """A JSON object without its seal, after comparing it.

    Raises:
        DamagedError: the seal does not fit, or there is none.
    """
    rest = {key: value for key, value in content.items() if key != SEAL}
    if SEAL not in content:
        if old is not None and old(rest):
            return rest
        raise DamagedError(path, f"it has no {SEAL}, or an older hamguard wrote it; make it again")
    from hamguard.core.digests import digest_json  # here and below: `--help` waits for no array library

    if content[SEAL] != digest_json(rest):
        raise DamagedError(path, "its content was changed after it was written")
    return rest


def seal(content: dict[str, Any]) -> dict[str, Any]:
    """A JSON object with its seal, as the last key."""
    from hamguard.core.digests import digest_json

    return {**content, SEAL: digest_json(json.loads(json.dumps(content)))}  # as it is read: text keys, no tuples


def write_sealed(path: Path | str, content: dict[str, Any]) -> None:
    """Write a JSON object with the hash of its content; `read_sealed` reads it.

    Raises:
        RunError: the file cannot be written.
    """
    write_json(path, seal(content))


@contextlib.contextmanager
def updating(folder: Path | str) -> Iterator[None]:
    """Hold a folder while it is read, changed and written, so that of two that change it at once neither change is lost.

    Raises:
        MissingFileError: there is no such folder.
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise MissingFileError(f"no folder at {folder}") from error
    try:
        if fcntl is not None:
            with contextlib.suppress(OSError):  # some network disks know no locks
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def hold(folder: Path | str) -> int | None:
    """Make a folder, and keep other processes that hold it from it until they, too, may.

    Returns:
        What is to be closed (`os.close`) to let go of it, which the end of the process does, too; None where there are no locks.

    Raises:
        RunError: another process holds it, or it cannot be made.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        if fcntl is None:
            return None
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise RunError(f"cannot write {folder}: {error.strerror or error}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise RunError(f"another process works in {folder}; wait until it ends, or give another `out`") from error
    except OSError:  # some network disks know no locks
        pass
    return handle


def check_writable(path: Path | str) -> None:
    """Check, before the work that fills it, that a file can be written; nothing is made or changed.

    Raises:
        RunError: its folder, or the nearest one above it that is there, takes no files, or a folder has its name.
    """
    path = Path(path)
    place = next((one for one in path.absolute().parents if one.exists()), Path("/"))
    reason = ""
    if path.is_dir():
        reason = os.strerror(errno.EISDIR)
    elif not place.is_dir():
        reason = os.strerror(errno.ENOTDIR)
    elif not os.access(place, os.W_OK):
        reason = f"{place} takes no files"
    if reason:
        raise RunError(f"cannot write {path}: {reason}")


@contextlib.contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path with the same suffix; on success it is synced and takes the place of `path` in one step.

    Raises:
        RunError: the disk is full, or the folder cannot be written. Nothing is left behind, the old file stays.
    """
    path = Path(path)
    suffix = path.suffix if re.fullmatch(r"\.[A-Za-z0-9]{1,16}", path.suffix) else ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        # a short name of its own: that of the file may fill all the bytes that a name can have
        handle, name = tempfile.mkstemp(prefix=".hamguard-", suffix=suffix, dir=path.parent)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error
    temporary = Path(name)
    try:
        if fcntl is not None:
            with contextlib.suppress(OSError):  # some network disks know no locks
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield temporary
        _sync(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        os.close(handle)
        temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Bring a file to the disk, so that a name never stands for content that is lost with the power."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def sweep(folder: Path | str, *, again: bool = False) -> None:
    """Remove temporary files that a killed run left in a folder; those that are being written stay.

    Args:
        folder: looked through once a process.
        again: look again.
    """
    key = os.path.realpath(folder)
    if key in _swept and not again:
        return
    _swept.add(key)
    with contextlib.suppress(OSError), os.scandir(folder) as found:
        for entry in found:
            if _TEMPORARY.match(entry.name) and entry.is_file(follow_symlinks=False):
                _remove_abandoned(entry.path)


def _remove_abandoned(path: str) -> None:
    with contextlib.suppress(OSError):
        if fcntl is None:
            if time.time() - Path(path).stat().st_mtime > _YOUNG:
                Path(path).unlink()
            return
        with open(path, "rb") as stream:  # noqa: PTH123 - the name may be no UTF-8
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while a live run writes
            os.unlink(path)  # noqa: PTH108


def write_bytes(path: Path | str, content: bytes) -> None:
    """Write bytes safely."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path | str, content: str) -> None:
    r"""Write UTF-8 text safely; a half of a surrogate pair, as in names that are no UTF-8, is written as `\udc80`."""
    write_bytes(path, content.encode("utf-8", "backslashreplace"))


def write_json(path: Path | str, value: Any) -> None:
    """Write a JSON value safely, indented, keys in the order given."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_npz(path: Path | str, arrays: dict[str, Array], *, compressed: bool = False) -> None:
    """Write named arrays safely, without pickled objects and with the hash of all of them; `read_npz(sealed=True)` checks it.

    Raises:
        RunError: the file cannot be written.
    """
    import numpy as np

    with replacing(path) as temporary, temporary.open("wb") as stream:
        save = np.savez_compressed if compressed else np.savez
        save(stream, **arrays, **{SEAL: np.array(digest_arrays(arrays))})  # type: ignore[arg-type]


def digest_arrays(arrays: dict[str, Array]) -> str:
    """Hash of named arrays: names, types, shapes and values, whatever their order."""
    import numpy as np

    from hamguard.core.digests import digest_array

    return digest_array(*(value for name in sorted(arrays) for value in (np.array(name), np.asarray(arrays[name]))))
