"""Read text files line by line, plain or `.xz`, with a bound on what they unpack to."""

from __future__ import annotations

import contextlib
import lzma
from collections.abc import Iterator
from pathlib import Path

from hamguard.core.errors import DamagedError, RequestError
from hamguard.core.files import open_ordinary

LARGEST_LIST = 1 << 30  # bytes of one unpacked list; ImageNet's hundred classes need 30 MB, NUS-WIDE's tags 540 MB

LARGEST_FILE = LARGEST_LIST  # as it lies on the disk, packed or not


def iter_lines(path: Path, limit: int | None = None, *, errors: str = "strict") -> Iterator[str]:
    """Yield the lines of a UTF-8 file without space around them, blank lines included.

    Args:
        path: the file, plain or `.xz`.
        limit: bytes that it may unpack to; `LARGEST_LIST` by default.
        errors: what to do with bytes that are no UTF-8, as in `bytes.decode`.

    Raises:
        DamagedError: a line is no UTF-8.
        RequestError: no ordinary file, it cannot be read, or is longer than `limit`.
    """
    most = LARGEST_LIST if limit is None else limit
    left, encoding, number = most, "utf-8-sig", 0
    with open_ordinary(path, "list", limit=LARGEST_FILE) as file:
        packed = path.suffix.lower() == ".xz"
        try:
            with lzma.open(file) if packed else contextlib.nullcontext(file) as stream:
                while line := stream.readline(left + 1):
                    left -= len(line)
                    number += 1
                    if left < 0:
                        raise RequestError(f"{path} unpacks to more than {most:,} bytes")
                    yield line.decode(encoding, errors).strip()
                    encoding = "utf-8"
        except UnicodeDecodeError as error:
            raise DamagedError(path, f"line {number} is not UTF-8 text") from error
        except (OSError, EOFError, lzma.LZMAError) as error:
            raise RequestError(f"{path} cannot be read: {error}") from error


def filled_lines(path: Path, limit: int | None = None, *, errors: str = "strict") -> Iterator[str]:
    """As `iter_lines`, without blank lines."""
    return (line for line in iter_lines(path, limit, errors=errors) if line)


def values(line: str) -> list[str]:
    r"""The values of a line, parted by space, tabs, commas or semicolons.

    >>> values("1 0\t0"), values("1,0, 0,"), values(";,")
    (['1', '0', '0'], ['1', '0', '0'], [])
    """
    return line.replace(",", " ").replace(";", " ").split()  # much faster than a pattern on rows of a thousand
