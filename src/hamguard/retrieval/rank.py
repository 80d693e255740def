"""Where one item stands among the answers to a query: its rank, and how surely it is in the top, under ties.

Equal distances have no order of their own. Of the items as near as the one that is looked for, each order is as likely as
any other; both figures are exact means over these orders.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hamguard.codes.binary import hamming
from hamguard.core.checks import check_range
from hamguard.core.errors import RequestError
from hamguard.core.types import Array, Bytes, Floats, Ints

CELLS = 1 << 20  # distances in memory at once


@dataclass(frozen=True)
class Ranks:
    """Where the item of each query stands.

    Attributes:
        nearer: items that are strictly nearer than it, `(n,)`.
        equal: items at its distance, itself among them, `(n,)`, at least 1.
    """

    nearer: Ints
    equal: Ints

    def expected(self) -> Floats:
        """Mean rank over the orders of equal distances, `(n,)`, 1 is first."""
        mean: Floats = self.nearer + (self.equal + 1) / 2
        return mean

    def in_top(self, top: int) -> Floats:
        """Share of these orders that keep the item among the first `top` answers, `(n,)` in [0, 1].

        Raises:
            RequestError: `top` is below 1.
        """
        check_range("top", top, 1)
        share: Floats = np.clip((top - self.nearer) / self.equal, 0.0, 1.0)
        return share


def ranks_of(dist: Array, place: Array) -> Ranks:
    """Ranks from distances.

    Args:
        dist: `(n, N)`.
        place: column of the item that each query looks for, `(n,)`.
    """
    own = dist[np.arange(len(dist)), place][:, None]  # (n, 1)
    return Ranks((dist < own).sum(1), (dist == own).sum(1))


def rank_items(query: Bytes, database: Bytes, place: Array, *, progress: Callable[[int], None] | None = None) -> Ranks:
    """Ranks of one item a query by Hamming distance; memory does not grow with the number of queries.

    Args:
        query: packed codes of the queries, `(n, bytes)`.
        database: packed codes that are searched, `(N, bytes)`.
        place: row of each query's item in the database, `(n,)`.
        progress: told how many queries are done.

    Raises:
        RequestError: the codes have different widths, not one place a query, or a place that is not in the database.
    """
    place = np.asarray(place)
    if place.shape != (len(query),) or (len(place) and not 0 <= place.min() <= place.max() < len(database)):
        raise RequestError(
            f"{len(query)} queries need as many places in a database of {len(database)} items, got {place.tolist()[:8]}"
        )
    nearer, equal = np.zeros(len(query), np.int64), np.zeros(len(query), np.int64)
    step = max(1, CELLS // max(1, len(database)))
    for start in range(0, len(query), step):
        part = slice(start, min(start + step, len(query)))
        found = ranks_of(hamming(query[part], database), place[part])
        nearer[part], equal[part] = found.nearer, found.equal
        if progress:
            progress(part.stop)
    return Ranks(nearer, equal)
