"""Several models side by side: opened together, and whether they are asked with the same pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias, cast

import numpy as np

from hamguard.core.context import Context
from hamguard.core.errors import RequestError
from hamguard.data.dataset import Dataset
from hamguard.data.opened import Data
from hamguard.evaluation.ground import Ground, Loaded
from hamguard.evaluation.model_data import open_for_model
from hamguard.models.store import AnyModel


def check_same_queries(names: Sequence[str], data: Sequence[Data], *, queries: int | None = None) -> None:
    """Check that models are asked with the same pictures under the same labels, as pixels, whatever their data are called.

    Args:
        names: how errors call the models.
        data: those of each.
        queries: how many of the query split are asked; None for all.

    Raises:
        RequestError: a model given twice, pictures of another size, other pictures, or other labels than the first model's.
    """
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    if twice:
        raise RequestError(f"{twice[0]} is given twice; name each model once")
    first, dataset, split = names[0], data[0].dataset, data[0].split
    rows = split.query[:queries]
    pixels, labels = dataset.images.pixels(rows), dataset.labels[rows]
    for name, opened in zip(names[1:], data[1:], strict=True):
        other, parts = opened.dataset, opened.split
        if other.images.size != dataset.images.size:
            have, want = other.images.size, dataset.images.size
            raise RequestError(
                f"{name} takes pictures of {have[0]}x{have[1]} pixels, {first} of {want[0]}x{want[1]}; all models "
                "must take pictures of one size"
            )
        theirs = parts.query[:queries]
        if not np.array_equal(other.images.pixels(theirs), pixels):
            raise RequestError(
                f"the query pictures of {name} ({_said(other, theirs)}) are not those of {first} ({_said(dataset, rows)}); "
                "give one `data=SOURCE` and `protocol` for all"
            )
        if tuple(other.class_names) != tuple(dataset.class_names) or not np.array_equal(other.labels[theirs], labels):
            raise RequestError(f"the labels of the query pictures of {name} are not those of {first}; give one `data`")


Models: TypeAlias = str | Path | AnyModel | Sequence[str | Path | AnyModel] | Mapping[str, AnyModel]
"""A model as `Loaded.open` takes it, several, or models by the names that rows call them."""


def listed_models(models: Models) -> list[str | Path | AnyModel | Loaded]:
    """Models one by one, with the names that a mapping gives them."""
    if isinstance(models, Mapping):
        return [Loaded.open(model, name=name) for name, model in models.items()]
    return list(models) if isinstance(models, (list, tuple)) else [cast("str | Path | AnyModel", models)]


def open_grounds(
    models: Sequence[str | Path | AnyModel | Loaded],
    data: str | Data | None = None,
    *,
    protocol: str | None = None,
    root: Path | str | None = None,
    queries: int | None = None,
    context: Context | None = None,
) -> list[Ground]:
    """Open several models that are asked with the same query images; arguments as of `Ground.open`.

    Raises:
        RequestError: a model or its data are not there, a model is named twice, or the models' query images differ.
        RunError: a model returns NaN.
    """
    context = context or Context()
    loaded: list[Loaded] = []
    opened: list[Data] = []
    for model in models:
        one = Loaded.open(model, device=context.device)
        if isinstance(data, Data):
            own = data
        else:
            own = open_for_model(one.card, one.model, data, root=root, protocol=protocol, context=context)
        for other in opened:  # models of one data set share it in memory
            if other.dataset.digest == own.dataset.digest and other.split.digest == own.split.digest:
                own = other
        loaded.append(one)
        opened.append(own)
    check_same_queries([one.name for one in loaded], opened, queries=queries)
    return [Ground.open(one, pair, queries=queries, context=context) for one, pair in zip(loaded, opened, strict=True)]


def _said(dataset: Dataset, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> str:
    return f"{dataset.name}, {len(rows):,} queries"
