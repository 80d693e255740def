"""Read text files line by line, plain or `.xz`, with a bound on what they unpack to."""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from pathlib import Path

from hamguard.core.errors import RequestError

LARGEST_LIST = 1 << 30  # bytes of one unpacked list; ImageNet's hundred classes need 30 MB, NUS-WIDE's tags 540 MB


def iter_lines(path: Path, limit: int | None = None, *, errors: str = "strict") -> Iterator[str]:
    """Yield the lines of a UTF-8 file without space around them, blank lines included.

    Args:
        path: the file, plain or `.xz`.
        limit: bytes that it may unpack to; `LARGEST_LIST` by default.
        errors: what to do with bytes that are no UTF-8, as in `bytes.decode`.

    Raises:
        RequestError: it cannot be read, is no UTF-8, or is longer than `limit`.
    """
    most = LARGEST_LIST if limit is None else limit
    left, encoding = most, "utf-8-sig"
    try:
        with lzma.open(path) if path.suffix == ".xz" else path.open("rb") as stream:
            while line := stream.readline(left + 1):
                left -= len(line)
                if left < 0:
                    raise RequestError(f"{path} unpacks to more than {most:,} bytes")
                yield line.decode(encoding, errors).strip()
                encoding = "utf-8"
    except (OSError, EOFError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise RequestError(f"{path} cannot be read: {error}") from error


def filled_lines(path: Path, limit: int | None = None, *, errors: str = "strict") -> Iterator[str]:
    """As `iter_lines`, without blank lines."""
    return (line for line in iter_lines(path, limit, errors=errors) if line)
