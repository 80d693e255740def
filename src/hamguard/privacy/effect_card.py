"""The figures of an effect card: how far a protected copy is from its original in bits, and in the order of answers.

Everything here takes packed codes of finished files; nothing is known of the loop that made them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hamguard.codes.binary import hamming_pairs
from hamguard.core.checks import check_range
from hamguard.core.errors import RequestError
from hamguard.core.seeds import numpy_generator
from hamguard.core.types import Array, Bytes, Floats, Ints
from hamguard.retrieval.intervals import bootstrap_interval
from hamguard.retrieval.rank import Ranks, rank_items


@dataclass(frozen=True)
class Side:
    """One kind of copy of the pictures, searched with one matcher.

    Attributes:
        rows: numbers of the pairs that have such a copy, `(m,)`.
        bits_moved: distance between copy and original, `(m,)`.
        forward: where the original stands when the copy searches all originals.
        backward: where the copy stands when the original searches all copies of this kind.
    """

    rows: Ints
    bits_moved: Ints
    forward: Ranks
    backward: Ranks


@dataclass(frozen=True)
class Share:
    """Mean over pictures with its bootstrap interval."""

    value: float
    low: float
    high: float
    n: int


def noise_like(clean: Bytes, protected: Bytes, *, seed: int, name: str) -> Bytes:
    """The control: random signs times the largest change of a protected copy, clipped; an 8-bit picture again.

    Args:
        clean: the original, `(H, W)` or `(H, W, 3)` uint8.
        protected: its copy, the same shape.
        seed: seed of the run.
        name: of the picture; the signs belong to seed and name alone.

    Raises:
        RequestError: the shapes differ.
    """
    if clean.shape != protected.shape:
        raise RequestError(f"a copy must have the shape of its original, got {clean.shape} and {protected.shape}")
    return plain_noise(clean, largest_change(clean, protected), seed=seed, name=name)


def plain_noise(image: Bytes, levels: int, *, seed: int, name: str) -> Bytes:
    """A picture whose every value moves by so many levels, up or down by lot, clipped; arguments as of `noise_like`."""
    coins = numpy_generator(seed, "verify-noise", name).integers(0, 2, image.shape, dtype=np.uint8)
    moved = image.astype(np.int16)
    moved += levels
    moved -= coins * np.int16(2 * levels)
    return np.clip(moved, 0, 255, out=moved).astype(np.uint8)


def largest_change(clean: Bytes, protected: Bytes) -> int:
    """Largest change of a value in levels, 0 to 255."""
    return int((np.maximum(clean, protected) - np.minimum(clean, protected)).max())  # no wider type: pictures are large


def measure_side(originals: Bytes, copies: Bytes, place: Array, rows: Array, reference: Bytes | None = None) -> Side:
    """Figures of one kind of copy.

    Args:
        originals: packed codes of all originals, `(N, bytes)`.
        copies: packed codes of the copies, `(m, bytes)`.
        place: row of each copy's original, `(m,)`.
        rows: number of each copy's pair, `(m,)`.
        reference: packed codes of further photos that both searches meet, `(r, bytes)`; None for none.
    """
    own = originals[place]
    if reference is not None:
        originals, met = np.concatenate([originals, reference]), np.concatenate([copies, reference])
    else:
        met = copies
    return Side(
        np.asarray(rows, np.int64),
        hamming_pairs(copies, own),
        rank_items(copies, originals, place),
        rank_items(own, met, np.arange(len(copies))),
    )


def left_top(ranks: Ranks, top: int, *, seed: int) -> Share:
    """Share of pictures that are not among the first `top` answers; ties count by their orders.

    Raises:
        RequestError: `top` below 1, or no pictures.
    """
    return mean_share(1 - ranks.in_top(top), seed=seed)


def mean_share(values: Array, *, seed: int) -> Share:
    """Mean and bootstrap interval over pictures.

    Raises:
        RequestError: no values, or a NaN among them.
    """
    low, high = bootstrap_interval(values, seed=seed)
    return Share(float(np.mean(values)), low, high, len(values))


def worst_first(sides: Sequence[Side], bits: Sequence[int], top: int) -> Ints:
    """Pairs in the order of their protection, the worst protected first; each counts by the matcher that finds it best.

    A picture is worse protected that is found more surely in the top, then that stands higher, then whose code moved less.

    Args:
        sides: of one kind that all pairs have, one a matcher.
        bits: code length of each matcher.
        top: how many answers count.

    Raises:
        RequestError: no matcher, or sides of different pairs.
    """
    if not sides or any(not np.array_equal(side.rows, sides[0].rows) for side in sides):
        raise RequestError(f"an order needs the same pairs under at least one matcher, got {len(sides)}")
    found = np.max([side.forward.in_top(top) for side in sides], axis=0)
    rank: Floats = np.min([side.forward.expected() for side in sides], axis=0)
    moved = np.min([side.bits_moved / K for side, K in zip(sides, bits, strict=True)], axis=0)
    order: Ints = sides[0].rows[np.lexsort((sides[0].rows, moved, rank, -found))]
    return order


def choose_cards(order: Array, count: int) -> tuple[list[int], list[int]]:
    """Which pairs are shown: the worst protected half of the cards, then a spread over all others.

    Args:
        order: pairs, the worst protected first, `(n,)`.
        count: most cards, 0 for none.

    Returns:
        The worst ones in order, and the others, evenly from the next worst to the best.

    Raises:
        RequestError: `count` below 0.
    """
    check_range("cards", count, 0)
    if count >= len(order):
        return [int(i) for i in order], []
    worst = (count + 1) // 2
    rest = order[worst:]
    others = count - worst
    if others == 0:
        return [int(i) for i in order[:worst]], []
    at = np.linspace(len(rest) - 1, 0, others).round().astype(int)[::-1]  # a single one is the best protected
    return [int(i) for i in order[:worst]], [int(rest[i]) for i in at]
