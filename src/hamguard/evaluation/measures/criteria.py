"""Success rates of attacks, at code and retrieval level (H.1; definitions ours).

A criterion is a value that says how probable it is that the code of a picture meets it, over the orders of equal distances: 0 or
1 for codes, anything between for what stands among the first answers. The probabilities are exact: within a group of equal
distances the hits of the first places follow the hypergeometric distribution. Only `PrecisionDrops` compares two expectations.

A query that meets the criterion already with its clean code (in at least half of the orders) cannot be attacked. It is counted
apart and left out of the rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Protocol

import numpy as np

from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import check_packed, hamming_pairs
from hamguard.codes.histograms import DistanceHistograms, distance_histograms
from hamguard.codes.labeled import Codes
from hamguard.core.checks import check_range
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row
from hamguard.core.types import Array, Bytes, Floats, Ints
from hamguard.evaluation.measures.rows import mean_row, noted
from hamguard.retrieval.metrics import hits_within
from hamguard.retrieval.ties import TieGroups, slices

RADII = (2, 5)
"""Bits around the target code: 2 is the radius of a hash look-up, 5 that of NAG (CVPR 2021)."""

TOPS = (1, 5, 10)
PRECISION_AT = 100
LIKELY = 0.5
"""Probability from which a criterion counts as met where yes or no is asked."""


class Criterion(Protocol):
    """When an attack on one of Q pictures has succeeded."""

    @property
    def name(self) -> str:
        """The metric of its rate."""

    @property
    def at(self) -> int:
        """Number of bits, radius or cut-off rank."""

    @property
    def count(self) -> int:
        """Pictures that it knows, Q."""

    def __call__(self, packed: Bytes, rows: Ints) -> Floats:
        """Probability that codes meet it.

        Args:
            packed: codes of some pictures, `(b, ceil(K / 8))`.
            rows: which pictures they are, `(b,)` in 0..Q - 1.

        Returns:
            `(b,)` in [0, 1].
        """


@dataclass(frozen=True)
class BitsMoved:
    """At least so many bits differ from the clean code.

    Attributes:
        clean: clean codes.
        least: number of bits; 0 stands for half of them, rounded up.
    """

    clean: CodeBank = field(repr=False)
    least: int = 0
    name: ClassVar[str] = "asr-code"

    def __post_init__(self) -> None:
        check_range("least", self.least, 0, self.clean.bits)

    @property
    def at(self) -> int:
        """Bits that must differ."""
        return self.least or (self.clean.bits + 1) // 2

    @property
    def count(self) -> int:
        """Pictures that it knows."""
        return len(self.clean)

    def __call__(self, packed: Bytes, rows: Ints) -> Floats:
        """See `Criterion`."""
        return (hamming_pairs(packed, self.clean.packed[rows]) >= self.at).astype(np.float64)


@dataclass(frozen=True)
class NearCode:
    """The code is within a Hamming radius of the target code.

    Attributes:
        target: target codes, `(Q, ceil(K / 8))`.
        bits: K.
        radius: in bits, inclusive.
    """

    target: Bytes = field(repr=False)
    bits: int
    radius: int = RADII[0]
    name: ClassVar[str] = "t-asr-code"

    def __post_init__(self) -> None:
        check_packed(self.target, self.bits, "target codes")
        check_range("radius", self.radius, 0, self.bits)

    @property
    def at(self) -> int:
        """The radius."""
        return self.radius

    @property
    def count(self) -> int:
        """Pictures that it knows."""
        return len(self.target)

    def __call__(self, packed: Bytes, rows: Ints) -> Floats:
        """See `Criterion`."""
        return (hamming_pairs(packed, self.target[rows]) <= self.radius).astype(np.float64)


@dataclass(frozen=True)
class PrecisionDrops:
    """Expected precision among the first `n` answers is at most `rho` of that of the clean code.

    Attributes:
        clean: clean codes with labels.
        database: what is searched.
        n: cut-off; a smaller database lowers it to its size.
        rho: share that may be left.
    """

    clean: CodeBank = field(repr=False)
    database: CodeBank = field(repr=False)
    n: int = PRECISION_AT
    rho: float = 0.5

    def __post_init__(self) -> None:
        check_range("n", self.n, 1)
        check_range("rho", self.rho, 0.0, 1.0)
        check_range("database", len(self.database), 1)

    @property
    def name(self) -> str:
        """With the share."""
        return f"asr-precision[rho={self.rho:g}]"

    @property
    def at(self) -> int:
        """The cut-off."""
        return min(self.n, len(self.database))

    @property
    def count(self) -> int:
        """Pictures that it knows."""
        return len(self.clean)

    @cached_property
    def hits(self) -> Floats:
        """Expected hits of the clean codes, `(Q,)`."""
        return hits_within(distance_histograms(self.clean, self.database), self.at)

    def __call__(self, packed: Bytes, rows: Ints) -> Floats:
        """See `Criterion`; 0 or 1, because expectations are compared."""
        table = distance_histograms(Codes(packed, self.clean.bits, self.clean.labels[rows]), self.database)
        return (hits_within(table, self.at) <= self.rho * self.hits[rows] + 1e-9).astype(np.float64)


@dataclass(frozen=True)
class NothingFound:
    """No relevant item is among the first answers.

    Attributes:
        labels: labels of the pictures, `(Q, C)`.
        database: what is searched.
        top: how many answers count; a smaller database lowers it to its size.
    """

    labels: Bytes = field(repr=False)
    database: CodeBank = field(repr=False)
    top: int = 10
    name: ClassVar[str] = "asr-hidden"

    def __post_init__(self) -> None:
        check_range("top", self.top, 1)
        check_range("database", len(self.database), 1)

    @property
    def at(self) -> int:
        """The cut-off."""
        return min(self.top, len(self.database))

    @property
    def count(self) -> int:
        """Pictures that it knows."""
        return len(self.labels)

    def __call__(self, packed: Bytes, rows: Ints) -> Floats:
        """See `Criterion`."""
        table = distance_histograms(Codes(packed, self.database.bits, self.labels[rows]), self.database)
        return 1 - hits_probability(table, self.at, 1)


@dataclass(frozen=True)
class TargetFound:
    """The majority of the first answers carries a target label; of one answer that is the answer itself.

    Attributes:
        targets: target labels, `(Q, C)`.
        database: what is searched.
        top: how many answers count; a smaller database lowers it to its size.
    """

    targets: Bytes = field(repr=False)
    database: CodeBank = field(repr=False)
    top: int = 1
    name: ClassVar[str] = "t-asr-top"

    def __post_init__(self) -> None:
        check_range("top", self.top, 1)
        check_range("database", len(self.database), 1)

    @property
    def at(self) -> int:
        """The cut-off."""
        return min(self.top, len(self.database))

    @property
    def count(self) -> int:
        """Pictures that it knows."""
        return len(self.targets)

    def __call__(self, packed: Bytes, rows: Ints) -> Floats:
        """See `Criterion`."""
        table = distance_histograms(Codes(packed, self.database.bits, self.targets[rows]), self.database)
        return hits_probability(table, self.at, self.at // 2 + 1)


def hits_probability(histograms: DistanceHistograms, n: int, least: int) -> Floats:
    """Probability that at least `least` of the first `n` answers are hits, over all orders of equal distances, `(Q,)`.

    Raises:
        RequestError: `n` is not between 1 and N, or `least` below 0.
    """
    from scipy.stats import hypergeom

    check_range("n", n, 1, histograms.database)
    check_range("least", least, 0)
    found = np.empty(len(histograms))
    for rows in slices(histograms):
        groups = TieGroups.of(histograms, rows, n)
        cut = (groups.places > 0) & (groups.places < groups.total)  # (q, K + 1), at most one group a row
        sure = np.where(groups.places == groups.total, groups.relevant, 0).sum(
            1
        )  # hits of groups that stand in front whole
        total, relevant, places = (
            np.where(cut, one, 0).sum(1) for one in (groups.total, groups.relevant, groups.places)
        )
        need = least - sure
        chance = hypergeom.sf(np.maximum(need, 0) - 1, np.maximum(total, 1), relevant, places)
        found[rows] = np.where(need <= 0, 1.0, chance)
    return found


@dataclass(frozen=True)
class Success:
    """One criterion on the queries of an attack.

    Attributes:
        name: metric of the rate.
        at: number of bits, radius or cut-off rank.
        attacked: probability that the attacked code meets it, `(Q,)`.
        clean: probability that the clean code does, `(Q,)`.
    """

    name: str
    at: int
    attacked: Floats
    clean: Floats

    @property
    def failed(self) -> Array:
        """Queries that meet it already when clean, `(Q,)` bool."""
        return self.clean >= LIKELY

    @property
    def values(self) -> Floats:
        """Probabilities of the queries that count, `(n,)`."""
        return self.attacked[~self.failed]

    @property
    def rate(self) -> float:
        """The success rate over the queries that count; NaN where none does."""
        return float(self.values.mean()) if len(self.values) else float("nan")


def measure_success(criterion: Criterion, attacked: CodeBank, clean: CodeBank) -> Success:
    """Ask a criterion of attacked and of clean codes.

    Args:
        criterion: what success means.
        attacked: codes of the attacked pictures, encoded again from what was saved.
        clean: codes of the clean pictures, in the same order.

    Raises:
        RequestError: other numbers of pictures or bits than the criterion's.
    """
    if not len(attacked) == len(clean) == criterion.count or attacked.bits != clean.bits:
        raise RequestError(
            f"{criterion.name} knows {criterion.count} pictures, got {len(attacked)} attacked codes of "
            f"{attacked.bits} bits and {len(clean)} clean ones of {clean.bits}"
        )
    rows = np.arange(len(clean))
    return Success(criterion.name, criterion.at, criterion(attacked.packed, rows), criterion(clean.packed, rows))


def away_criteria(clean: CodeBank, database: CodeBank | None = None) -> list[Criterion]:
    """All criteria of an attack that leaves a code: half of the bits, then with a database those of retrieval."""
    found: list[Criterion] = [BitsMoved(clean)]
    if database is not None:
        found += [PrecisionDrops(clean, database), *(NothingFound(clean.labels, database, top) for top in TOPS)]
    return found


def toward_criteria(
    bits: int, *, target: Bytes | None = None, targets: Bytes | None = None, database: CodeBank | None = None
) -> list[Criterion]:
    """All criteria of an attack that approaches a code.

    Args:
        bits: K.
        target: packed target codes, `(Q, ceil(K / 8))`, for the radii 2 and 5 (as far as there are so many bits).
        targets: target labels, `(Q, C)`, for the first and the majority of ten answers; needs `database`.
        database: what is searched.

    Raises:
        RequestError: nothing to measure by: neither codes, nor labels with a database.
    """
    found: list[Criterion] = []
    if target is not None:
        found += [NearCode(target, bits, radius) for radius in RADII if radius <= bits]
    if targets is not None and database is not None:
        found += [TargetFound(targets, database, 1), TargetFound(targets, database, 10)]
    if not found:
        raise RequestError("success toward a target needs target codes, or target labels and a database")
    return found


def code_curve(attacked: CodeBank, clean: CodeBank) -> Floats:
    """Share of queries with at least 1, 2, ..., K bits moved, `(K,)`."""
    moved = hamming_pairs(attacked.packed, clean.packed)  # (Q,)
    return np.asarray((moved[:, None] >= np.arange(1, clean.bits + 1)).mean(0), dtype=np.float64)


def success_rows(found: Sequence[Success], base: Row, *, seed: int = 0) -> list[Row]:
    """Two rows a criterion: the rate over the queries that count, and the share that fails when clean (`METRIC-clean`).

    Args:
        found: what was measured.
        base: model, data, attack and threat.
        seed: of the bootstrap.
    """
    rows = []
    for one in found:
        row = mean_row(base, one.name, one.values, seed=seed, at=one.at)
        failed = int(one.failed.sum())
        if failed:
            row = noted(
                row, f"{one.name}@{one.at}: {failed} of {len(one.clean)} queries fail when clean and are left out"
            )
        rows += [row, mean_row(base, f"{one.name}-clean", one.clean, seed=seed, at=one.at)]
    return rows


def curve_rows(attacked: CodeBank, clean: CodeBank, base: Row, *, seed: int = 0) -> list[Row]:
    """The success rate at code level over all thresholds, one row `asr-code` for each of 1..K bits (`at`)."""
    rows = np.arange(len(clean))
    return [
        mean_row(base, BitsMoved.name, BitsMoved(clean, least)(attacked.packed, rows), seed=seed, at=least)
        for least in range(1, clean.bits + 1)
    ]
