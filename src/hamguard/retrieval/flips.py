"""Expected average precision of a code after each flip of one bit, or of two, from one pass over the items.

A flip of bit k moves an item that agrees with the code in that bit one step away, and any other one step nearer. With H[d] items
at distance d, of which A[d, k] agree in bit k, the histogram behind the flip is `H_k[d] = A[d - 1, k] + H[d + 1] - A[d + 1, k]`;
A for all bits is one matrix product. For two bits the items that agree in both are needed besides, one product a distance.
Items with equal codes are counted once. The closed form of `ties` turns the histograms into average precisions (ours; no paper).

A score may take a share of the items for stray ones, each of whose bits is wrong with probability `WRONG`. What becomes of a
distance then depends on the distance alone, so that expected histograms are the exact ones times a matrix. Such a score counts
what a flip would cost on items a little farther off, of which a database has more than the items that a model was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hamguard.codes.binary import unpack
from hamguard.codes.histograms import DistanceHistograms
from hamguard.core.checks import check_range
from hamguard.core.errors import RequestError
from hamguard.core.types import Array, Bytes, Floats, Ints
from hamguard.retrieval.ties import average_precision_from

EXACT = 1 << 24  # counts below this are exact in float32, in which products are twice as fast
COPIES = (
    1 << 12
)  # of an item, where some stray: probabilities are rounded to this part of 1, so that counts stay whole and exact
WRONG = 0.2  # of a stray item's bits; 0.1 at a greater share and 0.3 at a smaller one carry over to a database about as well


@dataclass(frozen=True, eq=False)
class DistinctCodes:
    """The codes of some items, each code once.

    Attributes:
        ones: where a code is +1, `(U, K)` in {0, 1}, in the type that counts are added up in.
        row: row of `ones` of each item, `(N,)`.
        count: items with each code, `(U,)`.
    """

    ones: Array
    row: Ints
    count: Array

    @classmethod
    def of(cls, packed: Bytes, bits: int) -> DistinctCodes:
        """From packed codes, `(N, ceil(bits / 8))`.

        Raises:
            RequestError: there is no code, or the bytes do not fit the number of bits.
        """
        signed = unpack(packed, bits)  # (N, K)
        if len(signed) == 0:
            raise RequestError("flips are scored on at least one code, got none")
        _, first, row, count = np.unique(packed, axis=0, return_index=True, return_inverse=True, return_counts=True)
        number = np.float32 if len(packed) < EXACT else np.float64
        return cls((signed[first] > 0).astype(number), row.reshape(-1).astype(np.int64), count.astype(number))

    @property
    def bits(self) -> int:
        """Code length K."""
        return int(self.ones.shape[1])

    def flips(self, relevant: Array, straying: Floats | None = None) -> FlipScores:
        """What scores flips.

        Args:
            relevant: which items are relevant, `(N,)` bool.
            straying: `spread(...)` where some items are taken for stray ones.

        Raises:
            RequestError: the mask has another length than there are items, or the matrix belongs to another code length.
        """
        if relevant.shape != self.row.shape:
            raise RequestError(
                f"relevance of {len(self.row)} items must have shape {self.row.shape}, got {relevant.shape}"
            )
        if straying is not None and len(straying) != self.bits + 1:
            raise RequestError(f"a spread for {len(straying) - 1} bits does not belong to codes of {self.bits}")
        hits = np.bincount(self.row, weights=relevant, minlength=len(self.ones)).astype(self.ones.dtype)  # (U,)
        weights = np.stack([self.count, hits], axis=1)  # (U, 2)
        marked = (weights[:, :, None] * self.ones[:, None, :]).reshape(len(self.ones), -1)  # (U, 2 K)
        return FlipScores(self, weights, np.concatenate([weights, marked], axis=1), straying)


@dataclass(frozen=True, eq=False)
class FlipScores:
    """Scores codes, and codes with flipped bits, as queries to items with known relevance.

    Codes are `(K,)` bool, True for +1. Scores come in S rows: on the items as they are, where they equal
    `metrics.average_precision` with expected ties, and where items stray also with those.

    Attributes:
        codes: the distinct codes of the items.
        weights: items and relevant items of each code, `(U, 2)`.
        columns: `weights`, and beside them `weights` times each bit, `(U, 2 + 2 K)`.
        straying: what straying does to distances, `(K + 1, K + 1)`; None where no item strays.
    """

    codes: DistinctCodes
    weights: Array
    columns: Array
    straying: Floats | None = None

    def distances(self, code: Array) -> Ints:
        """Distance of a code to each distinct one, `(U,)`."""
        here = code.astype(self.codes.ones.dtype)
        return np.asarray(self.codes.ones @ (1 - 2 * here) + here.sum()).astype(np.int64)

    def single(self, code: Array) -> tuple[Floats, Floats]:
        """Scores of a code, `(S,)`, and its scores after a flip of each bit, `(S, K)`."""
        total, agree = self._agreeing(code, self.distances(code))
        after = _moved(agree, total[:, :, None] - agree, 1)
        score = self._precision(np.concatenate([after, total[:, :, None]], axis=2))  # (S, K + 1)
        return score[:, -1], score[:, :-1]

    def pairs(self, code: Array, bits: Array) -> tuple[Ints, Floats]:
        """Scores after flips of two bits.

        Args:
            code: `(K,)`.
            bits: numbers of the bits among which all pairs are tried, `(p,)`, at least two.

        Returns:
            The pairs, `(P, 2)` with P = p (p - 1) / 2, and the scores after each, `(S, P)`.
        """
        dist = self.distances(code)
        total, agree = self._agreeing(code, dist)
        order = np.argsort(dist, kind="stable")
        edges = np.searchsorted(dist[order], np.arange(self.codes.bits + 2))
        equal = (self.codes.ones[:, bits] == code[bits]).astype(self.codes.ones.dtype)[order]  # (U, p)
        weights = self.weights[order]
        first, second = np.triu_indices(len(bits), 1)  # (P,)
        both = np.zeros((self.codes.bits + 1, 2, len(first)), dtype=np.int64)
        for d in np.unique(dist):
            part = slice(edges[d], edges[d + 1])
            for kind in range(2):
                square = (equal[part] * weights[part, kind, None]).T @ equal[part]  # (p, p)
                both[d, kind] = square[first, second]
        one, other = agree[:, :, bits[first]], agree[:, :, bits[second]]  # (K + 1, 2, P)
        mixed = one + other - 2 * both  # one step away, one nearer
        after = mixed + _moved(both, total[:, :, None] - mixed - both, 2)
        return np.stack([bits[first], bits[second]], axis=1), self._precision(after)

    def _agreeing(self, code: Array, dist: Ints) -> tuple[Ints, Ints]:
        """Histograms `(K + 1, 2)` of items and relevant items, and of those that agree in each bit, `(K + 1, 2, K)`."""
        at = np.zeros((self.codes.bits + 1, len(dist)), dtype=self.columns.dtype)
        at[dist, np.arange(len(dist))] = 1
        counts = (at @ self.columns).astype(np.int64)  # (K + 1, 2 + 2 K)
        total, ones = counts[:, :2], counts[:, 2:].reshape(len(counts), 2, -1)
        return total, np.where(code, ones, total[:, :, None] - ones)

    def _precision(self, counts: Ints) -> Floats:
        """Scores of histograms of items and of relevant items, `(K + 1, 2, F)` to `(S, F)`."""
        relevant = np.ascontiguousarray(counts[:, 1].T)  # (F, K + 1)
        others = np.ascontiguousarray(counts[:, 0].T) - relevant
        scores = [self._closed_form(relevant, others)]
        if self.straying is not None:  # products are exact, as all numbers are whole and below 2**53
            moved, rest = ((part @ self.straying).astype(np.int64) for part in (relevant, others))
            scores.append(self._closed_form(moved, rest))
        return np.stack(scores)

    def _closed_form(self, relevant: Ints, others: Ints) -> Floats:
        return average_precision_from(DistanceHistograms(relevant + others, relevant, self.codes.bits))


def spread(bits: int, stray: float, wrong: float = WRONG) -> Floats:
    """How many of `COPIES` items at each distance, by row, come to lie at each other one.

    Args:
        bits: code length K.
        stray: share of the items that stray.
        wrong: probability of each of their bits to be wrong.

    Returns:
        `(K + 1, K + 1)` whole numbers, rows that add up to `COPIES`.

    Raises:
        RequestError: a share is not between 0 and 1.
    """
    from scipy.stats import binom  # seconds of import, for the optimal guide only

    check_range("stray share", stray, 0.0, 1.0)
    check_range("wrong share", wrong, 0.0, 1.0)
    out = (1 - stray) * np.eye(bits + 1)
    for d in range(bits + 1):
        kept = binom.pmf(np.arange(d + 1), d, 1 - wrong)  # of the d bits that differ, those that still do
        new = binom.pmf(np.arange(bits - d + 1), bits - d, wrong)
        out[d] += stray * np.convolve(kept, new)
    whole = np.rint(COPIES * np.cumsum(out, axis=1))  # sums are rounded, so that no copy is lost
    return np.diff(whole, axis=1, prepend=0.0)


def _moved(away: Ints, nearer: Ints, step: int) -> Ints:
    """Histograms `(K + 1, ...)` after one part went `step` away and the other came as much nearer."""
    out = np.zeros_like(away)
    out[step:] = away[:-step]
    out[:-step] += nearer[step:]
    return out
