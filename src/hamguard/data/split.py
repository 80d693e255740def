"""`Split`: which picture plays which part. A part carries its role, so that no query split selects a model."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

from hamguard.core.checks import check_choice
from hamguard.core.digests import digest_array, digest_bytes
from hamguard.core.errors import RequestError
from hamguard.core.seeds import numpy_generator
from hamguard.core.types import Bytes, Ints
from hamguard.data.dataset import Dataset

Role = Literal["train", "validation", "query", "database"]
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True, eq=False)
class Part:
    """One part of a split: its role and the rows of the data set that play it.

    Attributes:
        role: `train`, `validation`, `query` or `database`.
        index: rows of the data set, `(n,)` int64; queries stand in a fair order, any prefix is a sample.
    """

    role: Role
    index: Ints

    def __len__(self) -> int:
        return len(self.index)

    def first(self, n: int | None) -> Part:
        """The first `n` rows (all where `n` is None or larger), with the same role.

        Raises:
            RequestError: `n` is below 1.
        """
        if n is not None and n < 1:
            raise RequestError(f"number of rows of the {self.role} split must be at least 1, got {n}")
        return Part(self.role, self.index[:n])


@dataclass(frozen=True, eq=False)
class Split:
    """Index arrays of the four roles over one data set.

    The validation part belongs to the database, too: a search finds its pictures. The training part does in every
    protocol we draw but `unlabeled`, which learns from all pictures; published lists may differ, and `check_dataset` counts it.

    Attributes:
        train: rows learned from, `(n,)` int64.
        validation: rows that select models; never rows of `train` or `query`, but where protocols say so.
        query: rows asked for, in a fair order.
        database: rows searched.
        protocol: name of the rule that drew the parts.
        seed: seed of that draw.
        content: content hash of the data set.
        lines: where parts came as lists, `(lines, distinct lines)` of each list.
        notes: how the parts were drawn, for reports.
    """

    train: Ints
    validation: Ints
    query: Ints
    database: Ints
    protocol: str
    seed: int
    content: str = ""
    lines: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for role in ROLES:
            index = np.ascontiguousarray(getattr(self, role), dtype=np.int64)
            if index.ndim != 1 or (len(index) and int(index.min()) < 0):
                raise RequestError(f"the {role} split must be a list of row numbers, got shape {index.shape}")
            if len(np.unique(index)) != len(index):
                raise RequestError(f"the {role} split names {len(index) - len(np.unique(index))} rows twice")
            index.setflags(write=False)  # the digest is computed once
            object.__setattr__(self, role, index)

    def __repr__(self) -> str:
        counts = ", ".join(f"{role} {n:,}" for role, n in self.counts.items())
        return f"Split({self.protocol}, seed {self.seed}: {counts})"

    @property
    def counts(self) -> dict[str, int]:
        """How many pictures play each role."""
        return {role: len(getattr(self, role)) for role in ROLES}

    @cached_property
    def digest(self) -> str:
        """Content hash of the data set and of the four parts in their order."""
        parts = digest_array(self.train, self.validation, self.query, self.database)
        return digest_bytes(self.content.encode(), parts.encode())

    def part(self, role: Role) -> Part:
        """One part with its role.

        Raises:
            RequestError: unknown role.
        """
        check_choice("role", role, ROLES)
        return Part(role, getattr(self, role))

    def describe(self) -> dict[str, Any]:
        """Protocol, seed, counts and hash, for cards and rows."""
        return {"protocol": self.protocol, "seed": self.seed, **self.counts, "digest": self.digest}


def require_role(part: Part, allowed: Role | Collection[Role], task: str = "model selection") -> Part:
    """Return `part` if it plays an allowed role.

    Raises:
        RequestError: it does not, e.g. "model selection takes the validation split, got the query split".
    """
    roles = (allowed,) if isinstance(allowed, str) else tuple(allowed)
    if part.role not in roles:
        raise RequestError(f"{task} takes the {' or '.join(roles)} split, got the {part.role} split")
    return part


def fair_order(labels: Bytes, pool: Ints, seed: int, *names: object) -> Ints:
    """Shuffle rows so that any prefix is a fair sample.

    Where every row has exactly one label, each prefix holds the classes in proportion to their size, to within one
    picture a class; with equal classes, the first `m * C` rows hold `m` of each. Otherwise the order is a plain shuffle.

    Args:
        labels: labels of the whole data set, `(N, C)`.
        pool: rows to order, `(n,)`.
        seed: with `names`, the source of the order.
        names: what is drawn, so that two draws differ.
    """
    rng = numpy_generator(seed, "split", *names)
    order = rng.permutation(np.asarray(pool, dtype=np.int64))
    chosen = labels[order]
    if len(order) == 0 or not (chosen.sum(1, dtype=np.int64) == 1).all():
        return order
    kind = chosen.argmax(1)  # (n,)
    sizes = np.bincount(kind, minlength=chosen.shape[1])  # (C,)
    grouped = np.argsort(kind, kind="stable")  # rows class by class, shuffled within
    starts = np.cumsum(sizes) - sizes
    rank = np.empty(len(order), np.int64)
    rank[grouped] = np.arange(len(order)) - starts[kind[grouped]]
    place = (rank + rng.random(len(order))) / sizes[kind]  # row r of n_c falls into the r-th of n_c equal slots
    return order[np.argsort(place, kind="stable")]


def draw_split(
    dataset: Dataset,
    *,
    query: Ints,
    database: Ints,
    n_train: int | None,
    protocol: str,
    seed: int,
    train: Ints | None = None,
    validation: Ints | None = None,
    lines: Mapping[str, tuple[int, int]] | None = None,
    notes: tuple[str, ...] = (),
) -> Split:
    """Finish a split whose queries and database are chosen: draw training and validation rows.

    Args:
        dataset: the data set, for its labels and hash.
        query: query rows; they are brought into a fair order.
        database: database rows.
        n_train: number of training rows drawn from the database; None takes all that validation leaves.
        protocol: name for the result.
        seed: seed of all draws.
        train: training rows where they are given already.
        validation: validation rows where they are given already; else a twelfth of the set is drawn, at most 1,000.
        lines: line counts of the lists, where there are any.
        notes: kept in the result.

    Raises:
        RequestError: a part would be empty, or the database holds fewer than `n_train` rows.
    """
    if len(query) == 0 or len(database) == 0:
        empty = "query" if len(query) == 0 else "database"
        raise RequestError(f"protocol {protocol} leaves the {empty} split of {dataset.name} empty")
    wanted = min(1000, max(1, round(len(dataset) / 12)))
    free = np.setdiff1d(database, query)
    if train is None:
        pool = fair_order(
            dataset.labels, np.setdiff1d(free, validation if validation is not None else []), seed, "train"
        )
        if n_train is not None and len(pool) < n_train:
            raise RequestError(f"protocol {protocol} trains on {n_train:,} pictures, {dataset.name} has {len(pool):,}")
        train = pool if n_train is None else pool[:n_train]
    if validation is None:
        rest = np.setdiff1d(free, train)
        if len(rest) >= wanted:
            validation = fair_order(dataset.labels, rest, seed, "validation")[:wanted]
        else:  # training takes the whole database: hold some of it out
            held = fair_order(dataset.labels, np.setdiff1d(train, query), seed, "validation")
            validation = held[: min(wanted, len(held) // 2)]
            train = np.setdiff1d(train, validation)
    return Split(
        train=np.sort(train),
        validation=np.sort(validation),
        query=fair_order(dataset.labels, query, seed, "query"),
        database=np.sort(database),
        protocol=protocol,
        seed=seed,
        content=dataset.digest,
        lines=dict(lines or {}),
        notes=notes,
    )
