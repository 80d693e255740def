"""Pictures, texts and splits that somebody hands over in Python: checked, and brought into the form that data sets have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hamguard.core.checks import check_choice
from hamguard.core.errors import RequestError
from hamguard.core.label_arrays import as_array
from hamguard.core.types import Array, Bytes, is_tensor
from hamguard.data.dataset import Dataset, ImageStore
from hamguard.data.split import ROLES, Split, draw_split

MOST_LETTERS = 200
"""Length of a name of data made in Python; it stands in every row."""


def check_name(name: object) -> None:
    """Check what data are called.

    Raises:
        RequestError: no name, or more than a line.
    """
    if not isinstance(name, str) or not name.strip() or not name.isprintable() or len(name) > MOST_LETTERS:
        raise RequestError(f"name of the data must be a short line of text, got {name!r:.80}")


def image_store(images: Any) -> tuple[ImageStore, tuple[str, ...]]:
    """Pictures as they are kept, and what a reader must know of it.

    Args:
        images: real numbers in [0, 1] or uint8, `(N, C, H, W)`, `(N, H, W, C)` or `(N, H, W)`; array, tensor or list.

    Raises:
        RequestError: another shape, another type, or values outside [0, 1].
    """
    array = _pixels_array(images)
    wanted = "images must be (N, C, H, W), (N, H, W, C) or (N, H, W) with 1 or 3 channels"
    if array.ndim not in (3, 4):
        hint = "; one picture alone needs a first axis: images[None]" if array.ndim == 2 else ""
        raise RequestError(f"{wanted}, got {array.shape}{hint}")
    if array.ndim == 3 and 3 in (array.shape[0], array.shape[2]):
        one = (
            "one color picture needs a first axis, images[None], three gray ones need one of channels, images[:, None]"
        )
        raise RequestError(f"{wanted}; of {array.shape} nobody knows which it is: {one}")
    if array.ndim == 4 and array.shape[1] in (1, 3) and array.shape[3] in (1, 3):
        raise RequestError(f"{wanted}; of {array.shape} either axis could be that of the channels")
    if array.ndim == 4 and array.shape[1] not in (1, 3) and array.shape[3] not in (1, 3):
        raise RequestError(f"{wanted}, got {array.shape}")
    if 0 in array.shape:
        raise RequestError(f"{wanted}, got {array.shape}: there is no picture")
    pixels, notes = _eight_bits(array)
    if pixels.ndim == 4 and pixels.shape[3] not in (1, 3):
        pixels = pixels.transpose(0, 2, 3, 1)  # (N, H, W, C)
    if pixels.ndim == 4 and pixels.shape[3] == 1:
        pixels = pixels[..., 0]  # (N, H, W)
    return ImageStore(np.array(pixels, order="C")), notes  # a copy: the caller may go on writing into theirs


def _pixels_array(images: Any) -> Array:
    if isinstance(images, (list, tuple)) and images and all(map(is_tensor, images)):
        images = [
            image.detach().cpu().float().numpy() if image.is_floating_point() else image.cpu().numpy()
            for image in images
        ]
    if is_tensor(images):
        images = images.detach().cpu()
        images = (images.float() if images.is_floating_point() else images).numpy()
    try:
        return np.asarray(images)
    except ValueError as error:
        raise RequestError(f"images must have one size and as many channels each: {error}") from error


def _eight_bits(array: Array) -> tuple[Bytes, tuple[str, ...]]:
    """Pixels as uint8.

    Raises:
        RequestError: values outside [0, 1], or another type.
    """
    if array.dtype == np.uint8:
        return array, ()
    if array.dtype.kind != "f":
        pixels_like = array.dtype.kind in "iu" and array.min() >= 0 and array.max() <= 255
        hint = "; images.astype(numpy.uint8)" if pixels_like else ""
        raise RequestError(f"images must be uint8 or real numbers in [0, 1], got {array.dtype}{hint}")
    if not np.isfinite(array).all():
        raise RequestError("images must lie in [0, 1], got NaN or infinite values")
    low, high = float(array.min()), float(array.max())
    if low < 0 or high > 1:
        hint = (
            "give pixels before a mean is taken away and a deviation divided by" if low < 0 else "divide pixels by 255"
        )
        raise RequestError(f"images must lie in [0, 1], got values from {low:g} to {high:g}; {hint}")
    levels = array.astype(np.float32) * 255
    pixels = levels.round()
    moved = bool((np.abs(levels - pixels) > 1e-2).any())
    return pixels.astype(np.uint8), ("pictures given as real numbers are rounded to 8 bits",) if moved else ()


def texts_of(texts: Sequence[str]) -> tuple[str, ...]:
    """Check texts.

    Raises:
        RequestError: something that is no string among them, or one string for all.
    """
    strange = next((text for text in texts if not isinstance(text, str)), None) if not isinstance(texts, str) else texts
    if strange is not None:
        raise RequestError(f"texts must be a list of strings, one a picture, got {type(strange).__name__}")
    return tuple(map(str, texts))


def split_of_rows(rows: Mapping[str, Any], dataset: Dataset, seed: int) -> Split:
    """The split of rows by role; what is not said is drawn from the database.

    Raises:
        RequestError: another role, no queries or no database, or rows that the data do not have.
    """
    for role in rows:
        check_choice("role", role, ROLES)
    if "query" not in rows or "database" not in rows:
        raise RequestError(f"split must name rows of query and database, got {', '.join(rows) or 'nothing'}")
    found = {}
    for role, index in rows.items():
        found[role] = as_array(index)
        if found[role].ndim != 1 or found[role].dtype.kind not in "iu":
            raise RequestError(f"rows of the {role} split must be whole numbers (n,), got shape {found[role].shape}")
        _check_rows(found[role], role, dataset)
    return draw_split(
        dataset,
        query=found["query"],
        database=found["database"],
        train=found.get("train"),
        validation=found.get("validation"),
        n_train=None,
        protocol="given",
        seed=seed,
        notes=("split as given in Python",),
    )


def own_split(split: Split, dataset: Dataset) -> Split:
    """A split that somebody made, for these data.

    Raises:
        RequestError: rows that the data do not have, or a split of other data.
    """
    for role in ROLES:
        _check_rows(getattr(split, role), role, dataset)
    if split.content not in ("", dataset.digest):
        raise RequestError("split was drawn from other pictures or labels; give its rows: {'query': split.query, ...}")
    return split if split.content else replace(split, content=dataset.digest)


def _check_rows(rows: Array, role: str, dataset: Dataset) -> None:
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(dataset):
        raise RequestError(
            f"rows of the {role} split must be 0 to {len(dataset) - 1}, got {rows.min()} to {rows.max()}"
        )
