"""Rows of numbers that are dear to compute, kept so that none is computed twice.

Rows lie in blocks in a folder. A block is written whole, its list of names last, so a run that was killed goes on after the last
one, and a damaged block is computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from hamguard.core.archives import map_array
from hamguard.core.context import Progress
from hamguard.core.digests import digest_array, digest_bytes
from hamguard.core.errors import RequestError
from hamguard.core.files import read_sealed, replacing, write_sealed
from hamguard.core.types import Array, Ints


def kept_rows(
    folder: Path | None,
    names: Sequence[str],
    width: int,
    compute: Callable[[Ints], Array],
    *,
    block: int,
    what: str,
    progress: Progress | None = None,
) -> Array:
    """One row for each name, from the folder where it is there; the others are computed and kept.

    Args:
        folder: where blocks lie; None keeps nothing.
        names: what tells a row from others, such as the hash of a picture; equal names are one row.
        width: numbers of a row, D.
        compute: gives the rows of some places of `names`, `(b,)` to `(b, D)`.
        block: rows of a block, which is what a killed run may have to compute again.
        what: what a row is of, in a word: `pictures`. It is a key of the lists and stands in progress.
        progress: told the share that is done.

    Returns:
        `(n, D)` float32.

    Raises:
        RunError: the folder cannot be written, or what `compute` raises.
    """
    rows = np.empty((len(names), width), np.float32)
    wanted: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        wanted.setdefault(name, []).append(place)
    every = list(wanted.values())
    if folder is not None:
        _take(folder, wanted, rows, what)
    missing = [places[0] for places in wanted.values()]
    for start in range(0, len(missing), block):
        part = np.array(missing[start : start + block])
        rows[part] = compute(part)
        if folder is not None:
            _keep(folder, [names[place] for place in part], rows[part], what)
        if progress is not None:
            done = start + len(part)
            progress(done / len(missing), f"{done:,} of {len(missing):,} {what}")
    for places in every:
        rows[places[1:]] = rows[places[0]]
    return rows


def _take(folder: Path, wanted: dict[str, list[int]], rows: Array, what: str) -> None:
    """Fill in what is kept, and take it out of `wanted`."""
    for card in sorted(folder.glob("*.json")):
        if not wanted:
            return
        names = _names(card, what)
        if wanted.keys().isdisjoint(names):
            continue
        held = map_array(card.with_suffix(".npy"))
        if held is None or held[0].shape != (len(names), rows.shape[1]) or held[0].dtype != np.float32:
            continue
        for name, row in zip(names, held[0], strict=True):
            rows[wanted.pop(name, [])] = row


def _names(card: Path, what: str) -> list[str]:
    """Which rows a block holds; none where that cannot be read."""
    try:
        return [str(name) for name in read_sealed(card, f"list of {what}")[what]]
    except (RequestError, KeyError, TypeError):
        return []


def _keep(folder: Path, names: list[str], rows: Array, what: str) -> None:
    """Write a block; its list of names is written last and makes it whole."""
    path = folder / f"{digest_bytes(*(name.encode() for name in names))}.npy"
    with replacing(path) as temporary:
        np.save(temporary, rows, allow_pickle=False)
    write_sealed(path.with_suffix(".json"), {"array": digest_array(rows), what: names})
