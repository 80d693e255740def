"""Content hashes. Caches, banks and rows are keyed by what a thing is, never by its name or date."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

LENGTH = 16  # hex digits kept: 64 bits, no accidental collision among the few thousand things of a project


def digest_bytes(*parts: bytes) -> str:
    """Hash of the parts in order."""
    h = hashlib.sha256()
    for part in parts:
        h.update(len(part).to_bytes(8, "little"))
        h.update(part)
    return h.hexdigest()[:LENGTH]


def digest_array(*arrays: npt.NDArray[Any]) -> str:
    """Hash of dtype, shape and content of one or more arrays (strings are hashed as UTF-8)."""
    h = hashlib.sha256()
    for array in arrays:
        kept = np.char.encode(array, "utf-8", "surrogatepass") if array.dtype.kind == "U" else array
        h.update(f"{kept.dtype.str}{kept.shape}".encode())
        h.update(np.ascontiguousarray(kept).view(np.uint8).data if kept.size else b"")
    return h.hexdigest()[:LENGTH]


def digest_json(value: Any) -> str:
    """Hash of a JSON value, independent of key order."""
    return digest_bytes(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def digest_file(path: Path) -> str:
    """Hash of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:LENGTH]


def digest_content(content: bytes) -> str:
    """Hash of a file's bytes that are read already; the same as that of `digest_file`."""
    return hashlib.sha256(content).hexdigest()[:LENGTH]


def digest_state(state: Mapping[str, torch.Tensor]) -> str:
    """Hash of a state dictionary: names, types, shapes and values in name order."""
    import torch  # here, so that what only reads and writes files does not wait for it

    h = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        h.update(f"{name}{value.dtype}{tuple(value.shape)}".encode())
        h.update(value.flatten().view(torch.uint8).numpy().data if value.numel() else b"")
    return h.hexdigest()[:LENGTH]
