"""Bootstrap intervals over queries, for one method and for the difference of two methods on the same queries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hamguard.core.checks import check_range
from hamguard.core.errors import RequestError
from hamguard.core.seeds import numpy_generator
from hamguard.core.types import Array, Floats

BATCH_BYTES = 8 << 20  # of resampled values at once


@dataclass(frozen=True)
class Difference:
    """Mean difference of two methods over the same queries, with its bootstrap interval.

    Attributes:
        value: mean of first minus second.
        low: lower end of the interval.
        high: upper end of the interval.
        n: number of queries.
    """

    value: float
    low: float
    high: float
    n: int

    @property
    def differs(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def bootstrap_interval(values: Array, *, seed: int, level: float = 0.95, resamples: int = 1000) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean over queries.

    Args:
        values: one value a query, `(n,)`, e.g. `Score.values`.
        seed: the interval is a function of the values and this number.
        level: confidence in (0, 1).
        resamples: number of resamples.

    Returns:
        Lower and upper end; both equal the mean when all values are equal or there is only one.

    Raises:
        RequestError: no values, a value that is NaN or infinite, a level outside (0, 1), or fewer than one resample.
    """
    return _interval(_checked("values", values, level, resamples), seed, level, resamples)


def paired_difference(
    first: Array, second: Array, *, seed: int, level: float = 0.95, resamples: int = 1000
) -> Difference:
    """Difference of two methods on the same queries, in the same order, with its percentile bootstrap interval.

    Resampling draws queries, so what a query adds to both methods cancels: the interval is as narrow as the methods
    agree.

    Args:
        first: one value a query, `(n,)`.
        second: the other method's values of the same queries, `(n,)`.
        seed: as in `bootstrap_interval`.
        level: confidence in (0, 1).
        resamples: number of resamples.

    Raises:
        RequestError: as in `bootstrap_interval`, or different numbers of queries.
    """
    a, b = _checked("first", first, level, resamples), _checked("second", second, level, resamples)
    if len(a) != len(b):
        raise RequestError(f"paired values need the same queries, got {len(a)} and {len(b)}")
    low, high = _interval(a - b, seed, level, resamples)
    return Difference(float((a - b).mean()), low, high, len(a))


def ratio_interval(
    top: Array, bottom: Array, *, seed: int, level: float = 0.95, resamples: int = 1000
) -> tuple[float, float]:
    """Percentile bootstrap interval of `mean(top) / mean(bottom)` over queries, both resampled together.

    Args:
        top: one value a query, `(n,)`, e.g. what an attack gained on each.
        bottom: one value a query, `(n,)`, e.g. what could be gained.
        seed: as in `bootstrap_interval`.
        level: confidence in (0, 1).
        resamples: number of resamples.

    Raises:
        RequestError: as in `bootstrap_interval`, different numbers of queries, or a mean of `bottom` that is 0.
    """
    a, b = _checked("top", top, level, resamples), _checked("bottom", bottom, level, resamples)
    if len(a) != len(b):
        raise RequestError(f"paired values need the same queries, got {len(a)} and {len(b)}")
    if b.mean() == 0:
        raise RequestError("a ratio needs a bottom that is not 0")
    generator, ratios = numpy_generator(seed, "bootstrap ratio"), np.empty(resamples)
    for number in range(resamples):  # one resample at a time: memory stays that of the queries
        drawn = generator.integers(0, len(a), len(a))
        bottom_mean = b[drawn].mean()
        ratios[number] = a[drawn].mean() / bottom_mean if bottom_mean else np.nan
    tail = (1 - level) / 2
    low, high = np.nanquantile(ratios, [tail, 1 - tail])
    return float(low), float(high)


def _checked(name: str, values: Array, level: float, resamples: int) -> Floats:
    kept = np.asarray(values, dtype=np.float64)
    if kept.ndim != 1 or len(kept) == 0:
        raise RequestError(f"{name} must have shape (n,) with n at least 1, got {kept.shape}")
    if not bool(np.isfinite(kept).all()):
        raise RequestError(
            f"{name} must be finite, got {int(np.count_nonzero(~np.isfinite(kept)))} NaN or infinite values"
        )
    if not 0 < level < 1:
        raise RequestError(f"level must be between 0 and 1, both excluded, got {level}; 95% is 0.95")
    check_range("resamples", resamples, 1)
    return kept


def _interval(values: Floats, seed: int, level: float, resamples: int) -> tuple[float, float]:
    """What `scipy.stats.bootstrap` gives by its method `percentile`, whose import alone takes a second."""
    if np.ptp(values) == 0:  # also a single query: nothing varies
        return float(values[0]), float(values[0])
    generator, n = numpy_generator(seed, "bootstrap"), len(values)
    # A resample holds the drawn numbers and the values they point to, 16 bytes a query.
    batch = max(1, BATCH_BYTES // (16 * n))
    means = np.sort(
        np.concatenate(
            [
                values[generator.integers(0, n, (min(batch, resamples - start), n))].mean(axis=1)
                for start in range(0, resamples, batch)
            ]
        )
    )
    tail = (1 - level) / 2
    return _quantile(means, tail), _quantile(means, 1 - tail)


def _quantile(means: Floats, share: float) -> float:
    """Quantile of sorted numbers by linear interpolation, in scipy's order of operations."""
    place = share * len(means) + (1 - share)  # counted from 1
    low = int(place // 1) - 1
    part = place % 1
    return float((1 - part) * means[max(low, 0)] + part * means[min(low + 1, len(means) - 1)])
