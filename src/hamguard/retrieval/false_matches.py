"""How many items lie within a radius by chance: the low tail of the distances between items, counted in a sample of codes.

A search among N items finds every item within its radius, also those that are no copy of what was asked for. Their expected number
is N times the share of pairs of items that lie so near to each other. Shares that a sample of n items has pairs enough for are
**counted**, over n(n-1)/2 pairs: a code that m items share counts m times and gives m(m-1)/2 pairs at distance 0, so that codes
which collapse are counted as the near items that they are. Smaller shares are **fitted**: `log lambda_d = log C(K, d) + a + b d +
c d^2` over the nearest hundredth of the pairs, or less, where lambda_d is the expected number of pairs at distance d. With c = 0
that is exact for independent bits; c takes up what bits have in common, as the interaction of a mean-field Ising model does. A fit
that contradicts what was counted is not used.

Intervals follow from the influence of each item on the counts (Hoeffding's projection of a U-statistic, through the leave-one-out
jackknife of Efron and Stein, 1981), since pairs of the same item do not vary independently; a fit is given a further error for
every power of ten that it looks ahead, and by what it misses at the rarest distance that is counted. The forms are ours;
`benchmarks/threshold.py` checks them against counted false matches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hamguard.codes.bank import CodeBank
from hamguard.codes.distinct import distinct
from hamguard.codes.histograms import distance_histograms
from hamguard.core.checks import check_range
from hamguard.core.errors import RequestError
from hamguard.core.seeds import numpy_generator
from hamguard.core.types import Array, Bytes, Floats, Ints

SAMPLE = 20_000
"""Items of a sample: 200 million pairs, a core-second."""
FEWEST = 50  # items below which a sample says nothing of a tail
COUNTED = 30  # pairs from which a count is taken as it is: its own error is then below a fifth
WINDOWS = (1e-2, 1e-3, 1e-4)  # shares of the pairs that a fit is made to, the widest first that agrees with the counts
POINTS, PAIRS = 4, 200  # distances and pairs that a fit of three numbers needs
AHEAD = 0.1  # error of the logarithm of a fitted share, for each power of ten that it is smaller than a counted one
NORMAL = 1.959964  # of a 95% interval


@dataclass(frozen=True)
class PairCounts:
    """Pairs of sampled items by Hamming distance.

    Attributes:
        bits: code length K.
        sizes: items of each different code, `(D,)`.
        near: other items at each distance of an item with that code, `(D, K + 1)`.
    """

    bits: int
    sizes: Ints
    near: Ints

    @property
    def items(self) -> int:
        """Items of the sample, n."""
        return int(self.sizes.sum())

    @property
    def total(self) -> int:
        """Pairs, n(n-1)/2."""
        return self.items * (self.items - 1) // 2

    @property
    def pairs(self) -> Floats:
        """Pairs at each distance, `(K + 1,)`."""
        return np.asarray(self.sizes @ self.near / 2, np.float64)

    @property
    def shared(self) -> Floats:
        """Covariance of the counts that comes of items with many or few near ones, `(K + 1, K + 1)`; beside it pairs vary singly.

        The jackknife counts the single variation of each pair twice, once for each of its items; it is taken away here.
        """
        apart = self.near - 2 * self.pairs / self.items  # (D, K + 1)
        jackknife = (apart * self.sizes[:, None]).T @ apart * (self.items / (self.items - 1))
        value, vector = np.linalg.eigh(jackknife - 2 * np.diag(self.pairs))
        return np.asarray((vector * np.maximum(value, 0)) @ vector.T)


class Fit(NamedTuple):
    """A tail that was fitted.

    Attributes:
        share: share of the pairs that the fit was made to.
        log: logarithm of the expected number of pairs within each radius 0..T, `(T + 1,)`.
        error: its standard error, `(T + 1,)`.
    """

    share: float
    log: Floats
    error: Floats


@dataclass(frozen=True)
class FalseMatches:
    """Shares of the items that lie within each radius of another item.

    Attributes:
        bits: code length K.
        items: items of the sample.
        distinct: different codes among them.
        share: expected share within each radius, `(K + 1,)`.
        low: lower end of the 95% interval, `(K + 1,)`.
        high: upper end.
        fitted: where the share comes of the fit, not of a count, `(K + 1,)` bool.
        window: share of the pairs that the fit was made to; None where none was made.
    """

    bits: int
    items: int
    distinct: int
    share: Floats
    low: Floats
    high: Floats
    fitted: Array
    window: float | None

    def expected(self, items: int) -> tuple[Floats, Floats, Floats]:
        """False matches of a search within each radius, with the ends of their intervals, `(K + 1,)` each.

        Args:
            items: how many items are searched, at least 1.

        Raises:
            RequestError: fewer than one.
        """
        check_range("items", items, 1)
        return self.share * items, self.low * items, self.high * items

    def radius(self, items: int, most: float) -> int | None:
        """The largest radius at which no more than `most` false matches a search are expected, at the upper end of the interval.

        Args:
            items: how many items are searched.
            most: expected number of false matches, above 0.

        Returns:
            The radius; None where even equal codes are too many.

        Raises:
            RequestError: fewer than one item, or a number that is not above 0.
        """
        if not most > 0 or not math.isfinite(most):
            raise RequestError(f"false matches must be a number above 0, got {most:g}")
        allowed = int(np.count_nonzero(self.expected(items)[2] <= most))  # the ends rise with the radius
        return allowed - 1 if allowed else None


def sampled(bank: CodeBank, sample: int, seed: int) -> Bytes:
    """Codes of items drawn without replacement, `(n, bytes)`; all of a bank that has no more.

    Raises:
        RequestError: a sample of fewer than `FEWEST` items.
    """
    count = min(check_range("sample", sample, FEWEST), len(bank))
    if count < FEWEST:
        raise RequestError(
            f"false matches are counted between at least {FEWEST} items, the codes are those of {len(bank)}"
        )
    if count == len(bank):
        return bank.packed
    rows = numpy_generator(seed, "false matches").choice(len(bank), count, replace=False)
    return np.asarray(bank.packed[np.sort(rows)])


def count_pairs(packed: Bytes, bits: int) -> PairCounts:
    """Count the pairs of items at each distance, by different codes.

    Args:
        packed: codes of the items, `(n, ceil(K / 8))`.
        bits: K.
    """
    first, owner = distinct(packed)
    none = np.zeros((len(packed), 1), np.uint8)
    asked = CodeBank(packed[first], bits, none[: len(first)])
    near = distance_histograms(asked, CodeBank(packed, bits, none)).total
    near[:, 0] -= 1  # the item itself
    return PairCounts(bits, np.bincount(owner), near)


def false_matches(counts: PairCounts) -> FalseMatches:
    """Expected shares within each radius, counted where pairs are enough, else fitted.

    Args:
        counts: pairs of a sample.
    """
    within = np.cumsum(counts.pairs)  # (K + 1,)
    spread = np.cumsum(np.cumsum(counts.shared, 0), 1).diagonal()
    fit = fit_tail(counts, within, spread)
    enough = within >= COUNTED
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.log(within)
        error = np.sqrt(within + spread) / within
    ends = [log - NORMAL * error, log + NORMAL * error]
    few = _few(within[~enough], spread[~enough])
    for end, value in zip(ends, few, strict=True):
        end[~enough] = value
    fitted = np.zeros(len(within), dtype=bool)
    if fit is not None:
        fitted[: len(fit.log)] = ~enough[: len(fit.log)]
        rows = np.flatnonzero(fitted)
        log[rows] = fit.log[rows]
        ahead = np.maximum(math.log10(COUNTED) - fit.log[rows] / math.log(10), 0)
        wide = NORMAL * np.sqrt(fit.error[rows] ** 2 + (AHEAD * ahead) ** 2 + _missed(fit, within) ** 2)
        ends[0][rows], ends[1][rows] = fit.log[rows] - wide, fit.log[rows] + wide
    share, low, high = (
        np.minimum(np.maximum.accumulate(np.exp(one)) / counts.total, 1.0) for one in (log, *ends)
    )  # more within a larger radius
    return FalseMatches(
        counts.bits, counts.items, len(counts.sizes), share, low, high, fitted, fit.share if fit else None
    )


def _missed(fit: Fit, within: Floats) -> float:
    """How far the logarithm of a fit lies from that of the rarest count that is taken as it is."""
    first = int(np.argmax(within >= COUNTED))
    return abs(float(np.log(within[first]) - fit.log[first])) if first < len(fit.log) else 0.0


def _few(within: Floats, spread: Floats) -> tuple[Floats, Floats]:
    """Logarithms of the ends of an interval of few pairs: Garwood's of a Poisson count, wider by what items have in common."""
    more = np.sqrt(1 + spread / np.maximum(within, 1))
    low = _chi_square(2 * within, -NORMAL * more) / 2
    high = _chi_square(2 * within + 2, NORMAL * more) / 2
    with np.errstate(divide="ignore"):
        return np.log(low), np.log(high)


def _chi_square(degrees: Floats, normal: Floats) -> Floats:
    """Quantile of a chi-square distribution at that of a normal one (Wilson and Hilferty, 1931)."""
    part = 2 / (9 * np.maximum(degrees, 1e-12))
    return np.asarray(degrees * np.maximum(1 - part + normal * np.sqrt(part), 0) ** 3)


def fit_tail(counts: PairCounts, within: Floats, spread: Floats) -> Fit | None:
    """The tail fitted to the widest window that agrees with the counts; None where none does, or there is too little of a tail.

    Args:
        counts: pairs of a sample.
        within: pairs within each radius, `(K + 1,)`.
        spread: variance of `within` that items have in common, `(K + 1,)`.
    """
    shared = counts.shared
    for share in WINDOWS:
        top = int(np.searchsorted(within, share * counts.total))  # the first distance that reaches so far
        if top < POINTS or within[min(top, counts.bits)] < PAIRS:
            continue
        rates = _rates(counts.pairs[: top + 1], counts.bits)
        if rates is None:
            continue
        lam, design, inverse = rates
        if bool((np.diff(lam) < 0).any()):  # more pairs at smaller distances: no tail, but a clump of near items
            continue
        sums = np.cumsum(lam)
        larger = np.maximum(sums, within[: top + 1])
        seen = larger >= PAIRS / 10
        apart = np.abs(np.log(np.maximum(within[: top + 1], 0.5)) - np.log(sums))
        if bool((apart[seen] > 0.15 + 3 * np.sqrt(1 / larger + spread[: top + 1] / larger**2)[seen]).any()):
            continue
        inner = inverse @ design.T @ (shared[: top + 1, : top + 1] + np.diag(lam)) @ design @ inverse  # of a, b, c
        slope = np.cumsum(lam[:, None] * design, axis=0) / sums[:, None]  # (T + 1, 3)
        return Fit(share, np.log(sums), np.sqrt(np.einsum("ri,ij,rj->r", slope, inner, slope)))
    return None


def _rates(pairs: Floats, bits: int) -> tuple[Floats, Floats, Floats] | None:
    """Poisson regression of counts `(T + 1,)`: expected counts, the matrix of a, b, c, and the inverse of the information."""
    top = len(pairs) - 1
    dist = np.arange(top + 1)
    base = np.array([math.lgamma(bits + 1) - math.lgamma(d + 1) - math.lgamma(bits - d + 1) for d in dist])
    step = (dist - top) / top
    design = np.stack([np.ones_like(step), step, step**2], axis=1)  # (T + 1, 3)
    kept = pairs > 0
    if np.count_nonzero(kept) < POINTS:
        return None
    root = np.sqrt(pairs[kept])
    theta = np.linalg.lstsq(design[kept] * root[:, None], (np.log(pairs[kept]) - base[kept]) * root, rcond=None)[0]
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(50):  # Newton's steps on a concave likelihood
            lam = np.exp(base + design @ theta)
            information = design.T @ (design * lam[:, None])
            if not np.isfinite(information).all() or np.linalg.cond(information) > 1e14:
                return None
            move = np.linalg.solve(information, design.T @ (pairs - lam))
            theta = theta + move * min(1.0, 5 / max(float(np.abs(move).max()), 1e-9))
            if np.abs(move).max() < 1e-9:
                break
    lam = np.exp(base + design @ theta)
    return (lam, design, np.linalg.inv(design.T @ (design * lam[:, None]))) if np.isfinite(lam).all() else None
