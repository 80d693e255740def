"""Reading `.npz`, `.xz`, `.gz` and `.zip` files without executing anything and without more memory than there is."""

from __future__ import annotations

import lzma
import math
import os
import tokenize
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Protocol

import numpy as np

from hamguard.core.digests import digest_array
from hamguard.core.errors import DamagedError, RequestError
from hamguard.core.files import SEAL, digest_arrays, open_ordinary, read_sealed, write_sealed
from hamguard.core.types import Array

UNREADABLE = (OSError, EOFError, KeyError, ValueError, TypeError, OverflowError, RuntimeError, SyntaxError,
              tokenize.TokenError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)  # fmt: skip
"""What readers of compressed files raise where a file is torn, prepared, or locked with a password."""


class Stream(Protocol):
    """Anything that unpacks while it is read."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes."""


def memory_bytes() -> int:
    """Memory of this machine in bytes; a guess of 64 GiB where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 64 << 30


def check_unpacked(path: Path | str, size: int) -> None:
    """Check that what a file says it unpacks to fits this machine.

    Raises:
        RequestError: `size` bytes do not.
    """
    if size > (most := memory_bytes()):
        raise RequestError(f"{path} unpacks to {size:,} bytes, more than the memory of this machine ({most:,})")


def read_at_most(stream: Stream, limit: int, path: Path | str) -> bytes:
    """Unpack a stream to its end.

    Raises:
        RequestError: it gives more than `limit` bytes.
    """
    content = stream.read(limit + 1)
    if len(content) > limit:
        raise RequestError(f"{path} unpacks to more than {limit:,} bytes")
    return content


def read_npz(path: Path | str, what: str, *, sealed: bool = False) -> dict[str, Array]:
    """Read the arrays of an `.npz` file.

    Args:
        path: the file.
        what: how errors call what should lie there, e.g. `code bank`.
        sealed: `files.write_npz` wrote it; its hash is compared and left out.

    Returns:
        Name to array.

    Raises:
        MissingFileError: there is no such file.
        DamagedError: it is sealed, and its content is not what was written.
        RequestError: not an ordinary file, no `.npz` file, one that holds Python objects, or larger than the memory.
    """
    with open_ordinary(path, what) as stream:
        if not zipfile.is_zipfile(stream):
            raise RequestError(f"{path} is not a readable .npz file; named arrays saved by numpy.savez are needed")
        try:
            with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(stream) as archive:  # of headers of Python 2
                members = archive.infolist()
                check_unpacked(path, sum(member.file_size for member in members))
                if len({member.filename for member in members}) != len(members):
                    raise DamagedError(path, "a name stands in it twice")
                for member in members:
                    _check_header(archive, member, path)
            stream.seek(0)
            with warnings.catch_warnings(action="ignore"), np.load(stream, allow_pickle=False) as stored:
                found = {name: stored[name] for name in stored.files}
        except RequestError:
            raise
        except MemoryError as error:
            raise RequestError(f"{path} is not a readable .npz file: {_first_line(error)}") from error
        except Exception as error:  # a damaged header makes the reader raise almost anything
            reason = "holds Python objects" if "Object arrays" in str(error) else "is not a readable .npz file"
            raise RequestError(f"{path} {reason}: {_first_line(error)}") from error
    arrays = {name: value for name, value in found.items() if isinstance(value, np.ndarray)}  # other files are bytes
    if sealed:
        held = arrays.pop(SEAL, None)
        if held is None or held.shape != () or str(held) != digest_arrays(arrays):
            raise DamagedError(path, "its arrays are not those that were written")
    return arrays


def _check_header(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path | str) -> None:
    """Compare what an array says of itself with the bytes that are there, before memory is taken for it.

    Raises:
        DamagedError: they differ.
    """
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if not member.filename.endswith(".npy"):
        return
    with archive.open(member) as stream:
        read = readers.get(np.lib.format.read_magic(stream))
        if read is None:  # the third version has names of fields that are no Latin-1; none of ours
            return
        shape, _, dtype = read(stream)
        told, held = math.prod(shape) * dtype.itemsize, member.file_size - stream.tell()
    if told != held and not dtype.hasobject:
        name = member.filename.removesuffix(".npy")
        raise DamagedError(path, f"{name} says that it has {told:,} bytes, there are {held:,}")


def seal_array(path: Path, digest: str) -> None:
    """Write the hash of the array in a `.npy` file beside it, so that `map_array` can tell it from a damaged one.

    Raises:
        RunError: the file cannot be written.
    """
    write_sealed(path.with_suffix(".json"), {"array": digest})


def map_array(path: Path) -> tuple[Array, str] | None:
    """The array of a `.npy` file, mapped into memory, with its hash; None where it is absent, incomplete or damaged."""
    try:
        wanted = read_sealed(path.with_suffix(".json"), "hash of an array")["array"]
        with open_ordinary(path, "array"):
            mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        return (mapped, str(wanted)) if digest_array(mapped) == wanted else None
    except MemoryError:
        raise
    except Exception:  # a damaged header makes the reader raise almost anything
        return None


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
