"""Bootstrap intervals over queries, and over seeds and queries: of one method, and of two methods on the same queries."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    """Percentile bootstrap interval of the mean over queries, or over seeds and queries.

    A resample of several seeds draws seeds, then queries: the same ones for every seed drawn, because all seeds are asked the same
    queries, and what is hard for one is hard for all.

    Args:
        values: one value a query, `(n,)`, e.g. `Score.values`; or one a seed and query, `(S, n)`.
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
        first: one value a query, `(n,)`, or one a seed and query, `(S, n)`.
        second: the other method's values of the same queries (and seeds), of the same shape.
        seed: as in `bootstrap_interval`.
        level: confidence in (0, 1).
        resamples: number of resamples.

    Raises:
        RequestError: as in `bootstrap_interval`, or different numbers of queries.
    """
    gap = _gap(first, second, level, resamples)
    low, high = _interval(gap, seed, level, resamples)
    return Difference(float(gap.mean()), low, high, gap.shape[-1])


def paired_differences(
    pairs: Sequence[tuple[Array, Array]], *, seed: int, level: float = 0.95, resamples: int = 1000
) -> list[Difference]:
    """`paired_difference` of several pairs; those of one shape share their resamples, so that many cost little more than one.

    Args:
        pairs: values of two methods, as `paired_difference` takes them.
        seed: as in `paired_difference`.
        level: as in `paired_difference`.
        resamples: as in `paired_difference`.

    Returns:
        Their differences, equal to those of single pairs but for rounding.

    Raises:
        RequestError: as in `paired_difference`.
    """
    found: dict[int, Difference] = {}
    shapes: dict[tuple[int, ...], list[tuple[int, Floats]]] = {}
    for place, (first, second) in enumerate(pairs):
        gap = _gap(first, second, level, resamples)
        shapes.setdefault(gap.shape, []).append((place, gap))
    for several in shapes.values():
        ends = _intervals(np.stack([gap for _, gap in several]), seed, level, resamples)
        for (place, gap), (low, high) in zip(several, ends, strict=True):
            found[place] = Difference(float(gap.mean()), low, high, gap.shape[-1])
    return [found[place] for place in range(len(pairs))]


def _gap(first: Array, second: Array, level: float, resamples: int) -> Floats:
    a, b = _checked("first", first, level, resamples), _checked("second", second, level, resamples)
    if a.shape != b.shape:
        raise RequestError(f"paired values need the same queries, got {_size(a)} and {_size(b)}")
    return a - b


def enough_resamples(level: float) -> int:
    """Resamples that a percentile interval needs: 1,000, and so many that about ten of them lie beyond each end.

    >>> enough_resamples(0.95), enough_resamples(1 - 0.05 / 30)
    (1000, 12000)

    Raises:
        RequestError: a level outside (0, 1).
    """
    _check_level(level)
    return max(1000, math.ceil(round(20 / (1 - level), 6)))


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
    a, b = (_checked(*one, level, resamples, seeds=False) for one in (("top", top), ("bottom", bottom)))
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


def _checked(name: str, values: Array, level: float, resamples: int, *, seeds: bool = True) -> Floats:
    kept = np.asarray(values, dtype=np.float64)
    if kept.ndim not in (1, 1 + seeds) or kept.size == 0:
        shapes = "(n,) or (seeds, n)" if seeds else "(n,)"
        raise RequestError(f"{name} must have shape {shapes} with n at least 1, got {kept.shape}")
    if not bool(np.isfinite(kept).all()):
        raise RequestError(
            f"{name} must be finite, got {int(np.count_nonzero(~np.isfinite(kept)))} NaN or infinite values"
        )
    _check_level(level)
    check_range("resamples", resamples, 1)
    return kept


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise RequestError(f"level must be between 0 and 1, both excluded, got {level}; 95% is 0.95")


def _size(values: Floats) -> str:
    return " x ".join(map(str, values.shape))


def _interval(values: Floats, seed: int, level: float, resamples: int) -> tuple[float, float]:
    """What `scipy.stats.bootstrap` gives by its method `percentile`, whose import alone takes a second."""
    if np.ptp(values) == 0:  # also a single query: nothing varies
        return float(values.flat[0]), float(values.flat[0])
    generator = numpy_generator(seed, "bootstrap")
    batches = _batches(values.shape[-1], resamples)
    return _ends(np.concatenate([_resampled(values, count, generator) for count in batches]), level)


def _intervals(values: Floats, seed: int, level: float, resamples: int) -> list[tuple[float, float]]:
    """`_interval` of each of `(P, n)` or `(P, S, n)`, from the same draws: a mean weighs each query by how often it was drawn."""
    generator, n = numpy_generator(seed, "bootstrap"), values.shape[-1]
    seeds = values.shape[1] if values.ndim == 3 else 1
    columns = values.reshape(-1, n).T  # (n, P * S)
    means = []
    for count in _batches(n, resamples):
        weights = _drawn(generator, count, seeds) if seeds > 1 else np.ones((count, 1))  # (count, S)
        found = (_drawn(generator, count, n) @ columns).reshape(count, len(values), seeds)
        means.append((found * weights[:, None]).sum(axis=2) / (n * seeds))  # (count, P)
    ends = [_ends(each, level) for each in np.concatenate(means).T]
    flat = np.ptp(values.reshape(len(values), -1), axis=1) == 0
    same = values.reshape(len(values), -1)[:, 0]
    return [
        (float(value), float(value)) if constant else both
        for both, constant, value in zip(ends, flat, same, strict=True)
    ]


def _batches(n: int, resamples: int) -> list[int]:
    """Resamples that are drawn at once: one holds the drawn numbers and the values they point to, 16 bytes a query."""
    batch = max(1, BATCH_BYTES // (16 * n))
    return [min(batch, resamples - start) for start in range(0, resamples, batch)]


def _drawn(generator: np.random.Generator, count: int, n: int) -> Floats:
    """How often each of n is drawn in each of so many resamples of n, `(count, n)`."""
    places = generator.integers(0, n, (count, n)) + n * np.arange(count)[:, None]
    return np.bincount(places.ravel(), minlength=count * n).reshape(count, n).astype(np.float64)


def _ends(means: Floats, level: float) -> tuple[float, float]:
    means, tail = np.sort(means), (1 - level) / 2
    return _quantile(means, tail), _quantile(means, 1 - tail)


def _resampled(values: Floats, count: int, generator: np.random.Generator) -> Floats:
    """Means of so many resamples of `(n,)` or `(S, n)`: `(count,)`."""
    n = values.shape[-1]
    if len(values) == 1 or values.ndim == 1:
        found: Floats = values.reshape(n)[generator.integers(0, n, (count, n))].mean(axis=1)
        return found
    seeds = len(values)
    drawn = values[generator.integers(0, seeds, (count, seeds))].mean(axis=1)  # (count, n)
    means: Floats = np.take_along_axis(drawn, generator.integers(0, n, (count, n)), axis=1).mean(axis=1)
    return means


def _quantile(means: Floats, share: float) -> float:
    """Quantile of sorted numbers by linear interpolation, in scipy's order of operations."""
    place = share * len(means) + (1 - share)  # counted from 1
    low = int(place // 1) - 1
    part = place % 1
    return float((1 - part) * means[max(low, 0)] + part * means[min(low + 1, len(means) - 1)])
