"""Checkpoints: one file that ends in the hash of its content, written beside its place and renamed, loaded without executing code.

`torch.load` compares nothing: a flipped bit in a tensor would be trained on. The hash follows the last byte of what torch wrote,
where its reader does not mind it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from hamguard.core.archives import memory_bytes
from hamguard.core.digests import digest_bytes
from hamguard.core.errors import DamagedError, MissingFileError, RequestError, StaleError
from hamguard.core.files import read_bytes, sweep, write_bytes

NAME = "checkpoint.pt"
MARK = b"\nhamguard:"
"""Stands between what torch wrote and its hash."""
_HASH = 16  # hex digits of `digest_bytes`


def save_checkpoint(folder: Path, run: str, content: dict[str, Any]) -> None:
    """Write the checkpoint of `run` (the hash of its request).

    Raises:
        RunError: the folder cannot be written; the last checkpoint stays.
    """
    stream = io.BytesIO()
    torch.save({"run": run, **content}, stream)
    written = stream.getvalue()
    write_bytes(folder / NAME, written + MARK + digest_bytes(written).encode())


def load_checkpoint(folder: Path, run: str) -> dict[str, Any] | None:
    """Read the checkpoint of a folder, None where there is none.

    Raises:
        StaleError: the folder holds an unfinished run with another request.
        RequestError: the file is damaged.
    """
    path = folder / NAME
    sweep(folder)
    try:
        whole = read_bytes(path, "checkpoint", limit=memory_bytes())
    except MissingFileError:
        return None
    written, mark, held = whole[: -len(MARK) - _HASH], whole[-len(MARK) - _HASH : -_HASH], whole[-_HASH:]
    if mark != MARK or held != digest_bytes(written).encode():
        raise _again(path, "it is not what was written, or an older hamguard wrote it")
    try:
        content: Any = torch.load(io.BytesIO(written), weights_only=True, map_location="cpu")
    except Exception as error:  # the reader's own words tell people to switch its safety off
        raise _again(path, "it cannot be read") from error
    if not isinstance(content, dict) or not isinstance(content.get("run"), str):
        raise _again(path, "it is no checkpoint")
    if content["run"] != run:
        raise StaleError(
            f"{folder} holds an unfinished run with other settings; give another `out`, "
            "repeat the settings to go on, or `restart` to throw it away"
        )
    return content


@contextmanager
def taking(folder: Path) -> Iterator[None]:
    """Turn what goes wrong while a run takes its state from a checkpoint into one line.

    Raises:
        RequestError: the checkpoint lacks something, or it belongs to another network.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        raise _again(folder / NAME, "its content does not fit this run") from error


def _again(path: Path, what: str) -> RequestError:
    return DamagedError(path, f"{what}; start again with `restart`")
