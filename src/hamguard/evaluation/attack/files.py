"""Attacked pictures as files: PNG, a manifest, and what is scored is what the files hold."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from hamguard.core.digests import digest_file
from hamguard.core.errors import DamagedError, ImageError, RequestError, RunError, StaleError
from hamguard.core.files import TEXT_LIMIT, read_sealed, sweep, write_sealed
from hamguard.core.types import Array, Bytes, Ints
from hamguard.evaluation.attack.run import AttackedSet
from hamguard.images.io import decode, encode

MANIFEST = "manifest.json"


def check_folder(folder: Path, key: str, *, restart: bool, replace: bool = False) -> None:
    """Check before any work that pictures may be written to a folder.

    Args:
        folder: where they are to lie.
        key: hash of the run that makes them.
        restart: whatever lies there gives way.
        replace: pictures of another attack give way; other things do not.

    Raises:
        RequestError: it holds other things.
        StaleError: it holds the pictures of another attack.
    """
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"{folder} is a file, not a folder")
    sweep(folder)
    if not folder.is_dir() or not any(folder.iterdir()) or restart:
        return
    found = _read_manifest(folder)
    if found is None and not (folder / ".work").is_dir():
        raise RequestError(f"{folder} is not empty and holds no manifest of attacked pictures; give another folder")
    if found is not None and found.get("run") != key and not replace:
        raise StaleError(
            f"{folder} holds the pictures of another attack; give another folder, or `restart` to replace them"
        )


def forget_pictures(folder: Path) -> None:
    """Remove a folder of attacked pictures, finished or begun; a folder that holds other things stays."""
    if not (folder / ".work").is_dir() and not _read_manifest(folder, restart=True):
        return
    for path in folder.glob(
        "*.png"
    ):  # before the manifest, so that a folder half removed is still known for what it is
        path.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _read_manifest(folder: Path, *, restart: bool = False) -> dict[str, Any] | None:
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        return read_sealed(path, "manifest")
    except DamagedError as error:
        if restart:
            return {}
        raise RequestError(f"{error}; give another folder, or `restart` to replace it") from error


def file_names(ids: Array) -> list[str]:
    """One safe and distinct PNG name a picture.

    >>> file_names(np.array(["cats/1.jpg", "cats_1.jpg", "7"]))
    ['cats_1.png', 'cats_1-1.png', '7.png']
    """
    names, taken = [], set()
    for number, item in enumerate(ids):
        stem = re.sub(r"[^A-Za-z0-9._-]+", "_", re.sub(r"\.(jpe?g|png|webp|bmp)$", "", str(item), flags=re.I)).strip(
            "."
        )
        name = stem[:100] or str(number)
        while name.lower() in taken:  # some file systems do not tell A from a
            name = f"{name}-{number}"
        taken.add(name.lower())
        names.append(f"{name}.png")
    return names


def write_pictures(folder: Path, pixels: Bytes, ids: Array) -> Bytes:
    """Write every picture as PNG and decode it again; what another attack had left there goes.

    Args:
        folder: where to.
        pixels: the attacked pictures, `(Q, H, W)` or `(Q, H, W, 3)` uint8.
        ids: names of the originals, `(Q,)`.

    Returns:
        The decoded pixels, which are the ones to score, the same shape.

    Raises:
        RunError: a file cannot be written, or does not give back what was written.
    """
    for entry in (_read_manifest(folder, restart=True) or {}).get("pictures", []):
        (folder / Path(str(entry["file"])).name).unlink(missing_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    gray, out = pixels.ndim == 3, np.empty_like(pixels)
    for row, name in enumerate(file_names(ids)):
        path = folder / name
        encode(pixels[row], path)
        try:
            out[row] = decode(path, gray=gray)
        except (ImageError, ValueError) as error:
            raise RunError(f"{path} cannot be read back: {error}") from error
        if not np.array_equal(out[row], pixels[row]):
            raise RunError(f"{path} does not hold the pixels that were written")
    return out


def write_manifest(folder: Path, ids: Array, facts: dict[str, Any], each: list[dict[str, Any]]) -> None:
    """Write what the folder holds, last of all: a folder with a manifest is complete.

    Args:
        folder: where the pictures lie.
        ids: names of the originals, `(Q,)`.
        facts: what it says of the run; `run` is its key.
        each: what it says of each picture.

    Raises:
        RunError: the file cannot be written.
    """
    files = [
        {"file": name, "id": str(item), "sha256": digest_file(folder / name), **more}
        for name, item, more in zip(file_names(ids), ids, each, strict=True)
    ]
    write_sealed(folder / MANIFEST, {**facts, "pictures": files})


def read_pictures(folder: Path, key: str, ids: Array) -> AttackedSet | None:
    """The pictures of a finished run with the same key, decoded; None where there is none, or a file changed since.

    Raises:
        RequestError: the manifest is damaged.
    """
    manifest = _read_manifest(folder)
    if manifest is None or manifest.get("run") != key:
        return None
    listed = manifest.get("pictures", [])
    if [entry.get("id") for entry in listed] != [str(item) for item in ids]:
        return None
    pixels, forwards, backwards, flat = [], [], [], []
    for entry in listed:
        path = folder / str(entry["file"])
        if not path.is_file() or path.stat().st_size > TEXT_LIMIT or digest_file(path) != entry["sha256"]:
            return None
        pixels.append(decode(path))
        forwards.append(entry["forwards"])
        backwards.append(entry["backwards"])
        flat.append(entry.get("flat", 0))
    return AttackedSet(
        np.stack(pixels), _numbers(forwards), _numbers(backwards), float(manifest.get("seconds", 0.0)), _numbers(flat)
    )


def _numbers(values: list[Any]) -> Ints:
    return np.array(values, dtype=np.int64)
