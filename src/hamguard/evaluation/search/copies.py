"""Search with changed copies: is the original among the first answers to its JPEG, crop or resized copy?"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import hamming
from hamguard.core.context import Context
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row
from hamguard.core.types import Array, Bytes, Floats
from hamguard.data.dataset import Dataset
from hamguard.data.opened import Data
from hamguard.data.split import Part
from hamguard.evaluation.ground import Ground, Loaded
from hamguard.evaluation.per_query import averaged
from hamguard.images.named_views import parse_view
from hamguard.models.encode import codes_of
from hamguard.models.store import AnyModel
from hamguard.retrieval.rank import ranks_of
from hamguard.training.encode import encode

BATCH = 32  # copies encoded at once


@dataclass(frozen=True)
class CopySearch:
    """Answer of a search with changed copies.

    Attributes:
        row: share of copies whose original is among the first answers.
        codes: codes of the copies, `(n, bytes)`.
        found: probability per copy that the original is among them, over the orders of equal distances, `(n,)`.
        bits_moved: distance between copy and original, `(n,)`.
    """

    row: Row
    codes: Bytes
    found: Floats
    bits_moved: Array


@dataclass(frozen=True)
class CopySearches:
    """Searches with several kinds of changed copies.

    Attributes:
        data: the images.
        rows: which of them were asked for, `(n,)`.
        bank: codes of all of them, which were searched.
        views: the changes.
        searches: what each found.
    """

    data: Data
    rows: Array
    bank: CodeBank
    views: tuple[str, ...]
    searches: tuple[CopySearch, ...]


def search_views(
    loaded: Loaded, data: Data, views: Sequence[str], *, queries: int | None = None, context: Context
) -> CopySearches:
    """Search all images of a data set for the originals of changed copies of its query part.

    Args:
        loaded: the model.
        data: the images.
        views: the changes, see `images.named_views.parse_view`.
        queries: the first so many of the query split.
        context: device, seed, images encoded at once.

    Raises:
        RequestError: unknown view.
    """
    dataset, split, model = data.dataset, data.split, loaded.model
    for view in views:
        parse_view(view)
    everything = Part("database", np.arange(len(dataset)))
    at: dict[str, Any] = {"batch_size": context.batch_size, "device": context.device}
    with context.stage("encoding") as progress:
        bank = encode(model, dataset, split, everything, progress=progress, **at)
    facts = Ground(loaded.name, model, loaded.card, data, bank, bank, context).base
    rows = split.part("query").first(queries).index
    found = []
    for view in views:
        with context.stage(view) as progress:
            at = {"seed": context.seed, "device": context.device, "progress": progress}
            found.append(search_copies(model, dataset, rows, bank, view, facts=facts, **at))
    return CopySearches(data, rows, bank, tuple(views), tuple(found))


def search_copies(
    model: AnyModel,
    dataset: Dataset,
    rows: Array,
    bank: CodeBank,
    view: str,
    *,
    top: int = 10,
    facts: Row,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: Callable[[float, str], None] | None = None,
) -> CopySearch:
    """Change each picture, encode the copy, and look for the original in a bank.

    Args:
        model: the network.
        dataset: pictures.
        rows: which of them are asked for, `(n,)`; their ids must stand in the bank.
        bank: codes of the unchanged pictures.
        view: the change, see `images.named_views.parse_view`.
        top: how many answers count.
        facts: facts that the row carries.
        seed: seed of the bootstrap.
        device: where to compute.
        progress: told how far the work is.

    Raises:
        RequestError: unknown view, or a picture that is not in the bank.
    """
    change, started = parse_view(view), time.perf_counter()
    place = {str(item): i for i, item in enumerate(bank.ids)}
    names = [str(dataset.ids[row]) for row in rows]
    absent = [name for name in names if name not in place]
    if absent:
        raise RequestError(f"{len(absent)} of {len(names)} originals are not in the database, e.g. {absent[0]}")
    codes = np.empty((len(rows), bank.packed.shape[1]), np.uint8)
    found, moved = np.zeros(len(rows)), np.zeros(len(rows), np.int64)
    for start in range(0, len(rows), BATCH):
        part = range(start, min(start + BATCH, len(rows)))
        copies = np.stack([change(dataset.images.pixels([int(rows[i])])[0]) for i in part])
        codes[part.start : part.stop] = codes_of(copies, model, device)
        dist = hamming(codes[part.start : part.stop], bank.packed)  # (b, N)
        at = np.array([place[names[i]] for i in part])
        moved[part.start : part.stop] = dist[np.arange(len(part)), at]
        found[part.start : part.stop] = ranks_of(dist, at).in_top(top)
        if progress:
            progress(part.stop / len(rows), f"{view}: {part.stop:,} of {len(rows):,}")
    row = replace(
        facts,
        bits=bank.bits,
        task=f"{view} copy->original",
        metric="found",
        at=top,
        ties="expected",
        seconds=round(time.perf_counter() - started, 3),
        notes=(*facts.notes, f"{view}: {moved.mean():.1f} of {bank.bits} bits move on average"),
    )
    return CopySearch(averaged(row, found, seed=seed), codes, found, moved)


def shown_copies(
    search: CopySearch, bank: CodeBank, count: int, top: int
) -> list[tuple[int, Sequence[tuple[str, int]]]]:
    """Copies for a sheet, hardest last: their place in the search, and ids and distances of their nearest items."""
    order = np.argsort(search.found, kind="stable")
    chosen = [*range(min(count - 1, len(order))), int(order[0])]
    answers: list[tuple[int, Sequence[tuple[str, int]]]] = []
    for i in dict.fromkeys(chosen):
        dist = hamming(search.codes[i : i + 1], bank.packed)[0]
        best = np.argsort(dist, kind="stable")[:top]
        answers.append((i, [(str(bank.ids[j]), int(dist[j])) for j in best]))
    return answers
