"""Data to work on: by name, or made of arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from hamguard.api.arguments import checked
from hamguard.core.context import Context, counted
from hamguard.core.errors import RequestError
from hamguard.data.check import CheckReport, check_dataset
from hamguard.data.opened import Data
from hamguard.data.protocols import PROTOCOLS
from hamguard.data.sources import expand, list_sources
from hamguard.data.split import Split

__all__ = ["CheckReport", "check_data", "data", "sources", "splits"]


@overload
def data(
    source: str,
    /,
    *,
    root: Path | str | None = None,
    protocol: str | None = None,
    split_seed: int = 0,
    size: int | None = None,
    drop_duplicates: bool = False,
) -> Data: ...


@overload
def data(
    images: Any,
    labels: Any = None,
    /,
    texts: Sequence[str] | None = None,
    split: Split | Mapping[str, Any] | Any | None = None,
    *,
    name: str = "arrays",
    split_seed: int = 0,
    class_names: Sequence[str] | None = None,
) -> Data: ...


@checked
def data(
    images: Any,
    labels: Any = None,
    /,
    texts: Sequence[str] | None = None,
    split: Split | Mapping[str, Any] | Any | None = None,
    *,
    name: str = "arrays",
    split_seed: int = 0,
    class_names: Sequence[str] | None = None,
    root: Path | str | None = None,
    protocol: str | None = None,
    size: int | None = None,
    drop_duplicates: bool = False,
) -> Data:
    """A data set and its split: `hg.data("digits")`, or `hg.data(images, labels, name="mine")`.

    Args:
        images: a name such as `digits`, or `folder:PATH`, `arrays:FILE.npz`, `features:FILE.npz`, `lists:DIR`; or the images
            themselves, an array, a tensor or a list of real numbers in [0, 1] or of uint8, `(N, C, H, W)`, `(N, H, W, C)` or
            `(N, H, W)`, with 1 or 3 channels.
        labels: of images: class numbers or names `(N,)`, or multi-hot `(N, C)` of 0 and 1; None where they have none.
        texts: one text an image.
        split: which image plays which part: `(N,)` numbers (0 train, 1 validation, 2 query, 3 rest of the database), rows by role
            such as `{"query": rows, "database": rows}`, or a `Split`. None draws a sixth as queries (at most 2,000); the rest is
            the database, of which a twelfth of the set (at most 1,000) is validation, and what is left is learned from.
        name: what rows and cards call images; they are never looked for under it.
        split_seed: seed of what is drawn of the split.
        class_names: names of the labels.
        root: of a named set: its folder; by default `HAMGUARD_DATA`, then the user's cache.
        protocol: of a named set: its split, by default the set's own.
        size: of a named set: bring the images to this height and width.
        drop_duplicates: of a named set: leave out images that are copies of others.

    Raises:
        RequestError: unknown source or protocol; images or labels of another shape, or out of range; a split that does not fit.
        DataMissingError: the named set is not on this machine; the message says which files to put where.
        ImageError: an image is broken; the message names it.
    """
    if isinstance(images, (str, Path)):
        given = {"labels": labels, "texts": texts, "split": split, "class_names": class_names}
        if strange := [key for key, value in given.items() if value is not None]:
            raise RequestError(f"{', '.join(strange)} belong to images; {str(images)!r} is a source, which has its own")
        return Data.open(
            str(images),
            root=None if root is None else Path(root),
            protocol=protocol,
            split_seed=split_seed,
            size=size,
            drop_duplicates=drop_duplicates,
        )
    if strange := [
        key for key, value in {"root": root, "protocol": protocol, "size": size}.items() if value is not None
    ]:
        raise RequestError(f"{', '.join(strange)} belong to a named source; images are taken as they are")
    if drop_duplicates:
        raise RequestError("drop_duplicates belongs to a named source; images are taken as they are")
    return Data.of(images, labels, texts, split, name=name, split_seed=split_seed, class_names=class_names)


def sources(root: Path | str | None = None) -> list[dict[str, Any]]:
    """Every data source: `name`, what it is about, whether it is found, and where, or which files to put where."""
    return list_sources(root)


def splits() -> list[tuple[str, tuple[str, ...], str]]:
    """Every named split: name, the data sets that it is made for, and its rule in a line."""
    return [(one.name, one.datasets, one.about) for one in PROTOCOLS.values()]


def check_data(
    source: str,
    *,
    root: Path | str | None = None,
    split_seed: int = 0,
    protocol: str | None = None,
    drop_duplicates: bool = False,
    context: Context | None = None,
) -> tuple[list[CheckReport], tuple[str, ...]]:
    """What may spoil a figure on data: overlap, copies, repeated lines, missing labels; chance level and MAP ceiling.

    Args:
        source: as `hg.data` takes it; `lists:DIR` stands for all lists there.
        root: folder of the named data sets.
        split_seed: seed of what is drawn of the split.
        protocol: named split.
        drop_duplicates: leave out images that are copies of others.
        context: how progress is shown.

    Returns:
        A report for each data set, and the images that could not be read.

    Raises:
        RequestError: as `hg.data`.
    """
    reports: list[CheckReport] = []
    unread: list[str] = []
    for text in expand(source):
        with (context or Context()).stage("decoding pictures") as progress:
            opened = Data.open(
                text,
                root=root,
                split_seed=split_seed,
                protocol=protocol,
                drop_duplicates=drop_duplicates,
                progress=counted(progress),
                pictures=drop_duplicates,  # lists without images can be checked, copies cannot be dropped from them
            )
        reports.append(check_dataset(opened.dataset, opened.split))
        unread += opened.dataset.unread
    return reports, tuple(unread)
