"""Rows made by hand, with what each of their queries had, and a `Found` of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hamguard.core.digests import digest_array
from hamguard.core.rows import Row
from hamguard.core.types import Floats
from hamguard.evaluation.per_query import VALUES
from hamguard.evaluation.reproduce.found import Found
from hamguard.retrieval.intervals import bootstrap_interval

STORE: dict[str, Floats] = {}
"""Values of planted rows by their hash, as a study keeps them."""


def each(value: float, *, noise: float = 0.0, n: int = 40, seed: int = 0) -> Floats:
    """Values of n queries with this mean; what queries have in common cancels between rows, `noise` of another `seed` does not."""
    common = np.linspace(-0.1, 0.1, n)
    own = np.random.default_rng(seed).normal(0, 1, n)
    own = (own - own.mean()) / own.std()
    return np.asarray(value + common + noise * own)


def planted(values: Floats | float, metric: str = "map", method: str | None = None, **more: Any) -> Row:
    """A row that names its values; a bare number is a mean without noise. `method` is the attack, `facts` more of it."""
    held = each(values) if isinstance(values, float) else values
    digest = digest_array(held)
    STORE[digest] = held
    attack = None if method is None else {"method": method, **more.pop("facts", {})}
    kept = held[np.isfinite(held)]
    given = {"metric": metric, "attack": attack, "seed": 0, "dataset": "toy", "n": len(kept), **more}
    interval = bootstrap_interval(kept, seed=0)
    return replace(Row(), value=float(kept.mean()), ci95=interval, hashes={VALUES: digest}, **given)


def read(row: Row) -> Floats | None:
    """What the queries of a planted row had."""
    return STORE.get(row.hashes.get(VALUES, ""))


def found(rows: Sequence[Row], cells: Mapping[tuple[str, str], Sequence[Row]] | None = None) -> Found:
    """The rows, to be asked."""
    return Found(rows, cells, read)
