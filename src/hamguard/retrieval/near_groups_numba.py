"""Codes that are near each other joined by union-find, compiled by numba; import this module only where it is used."""

from __future__ import annotations

from typing import Any

import numpy as np

from hamguard.codes.compiled import compiled, ones
from hamguard.core.types import Array, Ints


def _root(parent: Ints, code: int) -> int:
    """The oldest code of a group; the way to it becomes half as long."""
    while parent[code] != code:
        parent[code] = parent[parent[code]]
        code = parent[code]
    return code


_root: Any = compiled(_root)  # type: ignore[no-redef]


def _join(rows: Array, key: Array, order: Ints, radius: Any, parent: Ints) -> int:
    count, width = rows.shape
    compared, start = 0, 0
    while start < count:
        stop = start + 1
        while stop < count and key[stop] == key[start]:
            stop += 1
        for i in range(start, stop - 1):
            compared += stop - 1 - i
            for j in range(i + 1, stop):
                distance = ones(rows[i, 0] ^ rows[j, 0])
                for word in range(1, width):
                    distance += ones(rows[i, word] ^ rows[j, word])
                if distance <= radius:
                    a, b = _root(parent, order[i]), _root(parent, order[j])
                    if a < b:
                        parent[b] = a
                    elif b < a:
                        parent[a] = b
        start = stop
    return compared


def _settle(parent: Ints) -> None:
    for code in range(len(parent)):
        parent[code] = _root(parent, code)


_join = compiled(_join)
_settle = compiled(_settle)


def join(rows: Array, key: Array, order: Ints, radius: int, parent: Ints) -> int:
    """Join codes within the radius that have an equal key, in place.

    Args:
        rows: codes, sorted by their key, `(D, W)` uint64.
        key: `(D,)` uint64, rising.
        order: number of each code, `(D,)`.
        radius: in bits.
        parent: an older code of the same group, or itself, `(D,)` int64; changed.

    Returns:
        Pairs that were compared.
    """
    return int(_join(rows, key, order, np.uint64(radius), parent))


def settle(parent: Ints) -> None:
    """Let every code point to the oldest of its group, in place, `(D,)` int64."""
    _settle(parent)
