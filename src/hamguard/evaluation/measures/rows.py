"""What the robustness measures share: what a measure spent, and rows of means and of quantiles with their intervals.

The measures themselves: `success` and `toward` (H.1), `transfer_scores` (H.2), `minimal`, `radius` and `flips` (H.3), `sensitivity`
and `lipschitz` (H.4), `clever` and `clever_guide` (H.5). H is the specification's section on the five measures of the slides; these
give no formulas, the definitions are ours.

A radius may be infinite where nothing was found. A quantile is therefore an observed value, the smallest one that at least that
share of the pictures does not exceed, and stays defined as long as enough pictures have a finite one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hamguard.core.checks import check_range
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row
from hamguard.core.seeds import numpy_generator
from hamguard.core.types import Array, Floats
from hamguard.evaluation.per_query import averaged

QUANTILES = {"median": 0.5, "p10": 0.1, "p90": 0.9}
"""What is printed of a radius (H.3)."""


@dataclass(frozen=True)
class Cost:
    """What a measure spent.

    Attributes:
        forwards: forward passes of a picture, mean rounded up.
        backwards: backward passes of a picture, mean rounded up.
        seconds: time of all pictures together.
    """

    forwards: int
    backwards: int
    seconds: float

    def on(self, row: Row) -> Row:
        """A row that says it."""
        return replace(row, forwards=self.forwards, backwards=self.backwards, seconds=round(self.seconds, 3))


def picture_numbers(index: Sequence[int] | None, count: int) -> list[int]:
    """Numbers of pictures in the run, from which their random numbers are drawn; 0 to `count` - 1 where not given.

    Raises:
        RequestError: not as many numbers as pictures, or no pictures.
    """
    check_range("number of pictures", count, 1)
    numbers = list(range(count)) if index is None else [int(number) for number in index]
    if len(numbers) != count:
        raise RequestError(f"index must have a number for each of {count} pictures, got {len(numbers)}")
    return numbers


def quantile(values: Array, share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed; infinite values count as any other.

    Raises:
        RequestError: no values, a NaN, or a share outside [0, 1].

    >>> quantile(np.array([3.0, 1.0, np.inf, 2.0]), 0.5), quantile(np.array([3.0, 1.0, np.inf, 2.0]), 0.9)
    (2.0, inf)
    """
    kept = _ordered(values)
    return float(kept[_place(share, len(kept))])


def quantile_interval(
    values: Array, share: float, *, seed: int, level: float = 0.95, resamples: int = 1000
) -> tuple[float, float]:
    """Percentile bootstrap interval of a `quantile`; an end may be infinite.

    Args:
        values: one value a picture, `(n,)`.
        share: which quantile, in [0, 1].
        seed: the interval is a function of the values and this number.
        level: confidence in (0, 1).
        resamples: number of resamples.

    Raises:
        RequestError: as in `quantile`, a level outside (0, 1), or fewer than one resample.
    """
    kept = _ordered(values)
    place = _place(share, len(kept))
    if not 0 < level < 1:
        raise RequestError(f"level must be between 0 and 1, both excluded, got {level}; 95% is 0.95")
    check_range("resamples", resamples, 1)
    generator, ranks = numpy_generator(seed, "bootstrap quantile", share), np.empty(resamples, dtype=np.int64)
    for number in range(resamples):  # values are sorted: the quantile of a resample is that of its drawn numbers
        ranks[number] = np.partition(generator.integers(0, len(kept), len(kept)), place)[place]
    tail = (1 - level) / 2
    low, high = np.quantile(ranks, [tail, 1 - tail], method="inverted_cdf").astype(np.int64)
    return float(kept[low]), float(kept[high])


def _ordered(values: Array) -> Floats:
    kept = np.sort(np.asarray(values, dtype=np.float64))
    if kept.ndim != 1 or len(kept) == 0 or bool(np.isnan(kept).any()):
        raise RequestError(f"quantiles need values (n,) with n at least 1 and without NaN, got shape {kept.shape}")
    return kept


def _place(share: float, count: int) -> int:
    check_range("share", share, 0.0, 1.0)
    return max(math.ceil(share * count - 1e-9) - 1, 0)


def mean_row(base: Row, metric: str, values: Array, *, seed: int, at: int | None = None) -> Row:
    """The mean over pictures with its bootstrap interval; infinite and NaN values are left out and counted.

    Args:
        base: what the row says already.
        metric: its name.
        values: one value a picture, `(n,)`; where none is finite the row has no value.
        seed: of the bootstrap.
        at: cut-off rank, radius in bits or number of bits.
    """
    row = averaged(replace(base, metric=metric, at=at), values, seed=seed)
    left = len(values) - int(row.n or 0)
    return noted(row, f"{metric}: {left} of {len(values)} pictures have no finite value") if left else row


def quantile_rows(base: Row, metric: str, values: Array, *, seed: int, at: int | None = None) -> list[Row]:
    """Median, 10th and 90th percentile over pictures, each with its bootstrap interval.

    Args:
        base: what the rows say already.
        metric: the rows are `METRIC-median`, `METRIC-p10`, `METRIC-p90`.
        values: one value a picture, `(n,)`, infinite where nothing was found; the rows are empty where there is none.
        seed: of the bootstrap.
        at: cut-off rank, radius in bits or number of bits.

    Returns:
        Three rows; one whose quantile is infinite has no value, one whose interval has no finite end has no interval, and
        a note says so.

    Raises:
        RequestError: a value is NaN.
    """
    rows = []
    missing = int(np.count_nonzero(np.isinf(values)))
    for name, share in QUANTILES.items():
        row = replace(base, metric=f"{metric}-{name}", at=at, n=len(values))
        if missing:
            row = noted(row, f"{metric}: {missing} of {len(values)} pictures have no finite value and count as largest")
        if len(values):
            value, ends = quantile(values, share), quantile_interval(values, share, seed=seed)
            row = replace(row, value=value if math.isfinite(value) else None, ci95=ends)
            if not math.isfinite(ends[1]):
                row = noted(replace(row, ci95=None), f"{row.metric}: its interval has no upper end")
        rows.append(row)
    return rows


def noted(row: Row, *notes: str) -> Row:
    """A row with more notes."""
    return replace(row, notes=tuple(dict.fromkeys((*row.notes, *notes))))


def eighths(bits: int) -> tuple[int, ...]:
    """Numbers of bits that are printed: 1, K/8, K/4, K/2, without repetition.

    >>> eighths(32), eighths(12), eighths(1)
    ((1, 4, 8, 16), (1, 3, 6), (1,))
    """
    return tuple(sorted({max(1, bits // part) for part in (bits, 8, 4, 2)}))


def fractions(bits: int) -> dict[str, int]:
    """Numbers of bits by the names that tables use for any length of code."""
    return {"1 bit": 1, **{f"K/{part} bits": max(1, bits // part) for part in (8, 4, 2)}}
