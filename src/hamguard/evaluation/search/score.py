"""Codes to rows: every asked metric over query and database banks, with its interval and the reference rows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import pack
from hamguard.codes.histograms import DistanceHistograms, distance_histograms, leave_out
from hamguard.core.checks import check_choice
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row
from hamguard.core.seeds import numpy_generator
from hamguard.core.types import Ints, Norm, Ties
from hamguard.evaluation.per_query import averaged
from hamguard.retrieval.curves import radius_precision, radius_recall
from hamguard.retrieval.metrics import Empty, Score, mean_average_precision, precision_at, recall_at
from hamguard.retrieval.ndcg import ndcg_at
from hamguard.retrieval.score import score_of
from hamguard.retrieval.ties import check_policy

RADIUS = ("radius-precision", "radius-recall")
METRICS = ("map", "precision", "recall", "ndcg", "ndcg-shared", *RADIUS)
DEFAULT_METRICS = ("map", "precision@100", "ndcg@100")


@dataclass(frozen=True)
class Convention:
    """What papers do differently; part of every row's metric name.

    Attributes:
        ties: order of equal distances.
        norm: denominator of map@N.
        empty: what a query without a hit does to the mean.

    Raises:
        RequestError: a word that is not allowed.
    """

    ties: Ties = "expected"
    norm: Norm = "relevant"
    empty: Empty = "zero"

    def __post_init__(self) -> None:
        check_choice("ties", self.ties, ("expected", "stable", "worst", "best"))
        check_choice("norm", self.norm, ("relevant", "hits", "min"))
        check_choice("empty", self.empty, ("zero", "skip"))


EXACT = Convention()
NO_FACTS = Row()


def parse_metric(text: str) -> tuple[str, int | None]:
    """`map@5000` to `("map", 5000)`.

    Raises:
        RequestError: unknown metric, or a cut-off that is missing or no number.

    >>> parse_metric("map"), parse_metric("precision@100")
    (('map', None), ('precision', 100))
    """
    name, at, number = text.partition("@")
    check_choice("metric", name, METRICS)
    least = 0 if name in RADIUS else 1
    if at and not (number.isascii() and number.isdigit() and int(number) >= least):
        what = "radius" if name in RADIUS else "cut-off"
        raise RequestError(f"metric {text!r}: the {what} after @ must be a number from {least}")
    if name != "map" and not at:
        raise RequestError(
            f"metric {text!r} needs a {'radius, e.g. ' + name + '@2' if name in RADIUS else 'cut-off, e.g. ' + name + '@100'}"
        )
    return name, int(number) if at else None


def check_defined(text: str, convention: Convention, database: int) -> None:
    """Check before any work that a metric has a value under a convention.

    Raises:
        RequestError: it has not; the message names the alternatives.
    """
    name, at = parse_metric(text)
    if name == "map":
        check_policy(at, convention.ties, convention.norm, database)


def measure(
    name: str,
    at: int | None,
    query: CodeBank,
    database: CodeBank,
    table: DistanceHistograms,
    convention: Convention = EXACT,
) -> Score:
    """One metric of one pair of banks.

    Raises:
        RequestError: the combination has no defined value; the message names the alternatives.
    """
    if name == "map":
        return mean_average_precision(
            query, database, at=at, ties=convention.ties, norm=convention.norm, empty=convention.empty, histograms=table
        )
    n = min(at or table.database, table.database)
    if name == "precision":
        return precision_at(query, database, n, ties=convention.ties, histograms=table)
    if name == "recall":
        return recall_at(query, database, n, ties=convention.ties, histograms=table)
    if name in RADIUS:
        radius = min(at or 0, query.bits)
        value = radius_precision(table, radius) if name == "radius-precision" else radius_recall(table, radius)
        return score_of(name, value, value > 0, "zero", query, table, radius, "expected")
    return ndcg_at(query, database, n, gain="shared" if name == "ndcg-shared" else "binary", histograms=table)


def random_bank(bank: CodeBank, seed: int) -> CodeBank:
    """The same items under random codes: the floor of every metric."""
    coins = numpy_generator(seed, "random codes", bank.digest).integers(0, 2, (len(bank), bank.bits))
    return replace(bank, packed=pack(coins), model_hash="")


def score_rows(
    query: CodeBank,
    database: CodeBank,
    *,
    metrics: Sequence[str] = DEFAULT_METRICS,
    convention: Convention = EXACT,
    facts: Row = NO_FACTS,
    seed: int = 0,
    reference: bool = True,
    own: Ints | None = None,
) -> list[Row]:
    """Measure codes.

    Args:
        query: query codes with labels.
        database: database codes with labels.
        metrics: `map`, `map@N`, `precision@N`, `recall@N`, `ndcg@N`, `ndcg-shared@N`, `radius-precision@R`, `radius-recall@R`.
        convention: ties, denominator, and what an empty query does.
        facts: row whose filled fields (dataset, model, hashes, ...) every result carries.
        seed: seed of the bootstrap and of the random codes.
        reference: add the first metric of random codes as `random_map`, ..., the floor.
        own: which database item each query is, `(Q,)`, -1 for none: it is left out of the query's answers.

    Returns:
        One row a metric, in order, then the reference row.

    Raises:
        RequestError: unknown metric, codes that do not fit, or an undefined combination; with `own` stable ties and
            `ndcg-shared`, which need the items themselves.
    """
    if own is not None and (convention.ties == "stable" or any(text.startswith("ndcg-shared") for text in metrics)):
        raise RequestError(
            "queries are left out of their own answers with ties expected, worst and best, and not for ndcg-shared"
        )
    asked = [parse_metric(text) for text in metrics]
    started = time.perf_counter()
    table = sides_table(query, database, own)
    counting = time.perf_counter() - started
    rows = []
    sides = [(query, database, table, facts)]
    if reference:
        floor = random_bank(query, seed), random_bank(database, seed + 1)
        anonymous = replace(facts, model="random codes", method=None, backbone=None, train=None, hashes={})
        sides.append((*floor, sides_table(*floor, own), anonymous))
    for number, (q, d, counts, base) in enumerate(sides):
        for name_at in asked if number == 0 else asked[:1]:
            begun = time.perf_counter()
            score = measure(*name_at, q, d, counts, convention)
            noted = _note_cut(base, name_at, counts.database)
            row = score_row(score, noted, name_at, counting + time.perf_counter() - begun, seed, q.bits)
            # its own name, so that a reader who picks rows by metric does not take the floor for the figure
            rows.append(row if number == 0 else replace(row, metric=f"random_{row.metric}"))
    return rows


def sides_table(query: CodeBank, database: CodeBank, own: Ints | None) -> DistanceHistograms:
    """Histograms of queries against a database, without the items `own` that are the queries themselves."""
    table = distance_histograms(query, database)
    return table if own is None else leave_out(table, query, database, own)


def _note_cut(base: Row, name_at: tuple[str, int | None], database: int) -> Row:
    """A row that says where a cut-off beyond the database was lowered to it."""
    name, at = name_at
    if at is None or at <= database or name in RADIUS:
        return base
    note = f"{name}@{at} is measured over all {database} items, the database has no more"
    return replace(base, notes=(*base.notes, note))


def score_row(score: Score, base: Row, name_at: tuple[str, int | None], seconds: float, seed: int, bits: int) -> Row:
    """The row of a score: name with what differs from the defaults, interval, and what was left out."""
    notes = list(base.notes)
    if score.unlabeled:
        left = score.n < len(score.per_query)
        fate = "are left out" if left else "count as 0"
        notes.append(f"{score.unlabeled} of {len(score.per_query)} queries carry no label; they {fate}")
    if score.without_relevant > score.unlabeled:
        notes.append(
            f"{score.without_relevant - score.unlabeled} labeled queries have nothing relevant in the database"
        )
    if score.n < len(score.per_query):
        notes.append(f"{len(score.per_query) - score.n} queries without a hit are left out of the mean (empty=skip)")
    options = "" if name_at[0] == "ndcg-shared" else score.name.partition("[")[2]  # its name says the gain already
    row = replace(
        base,
        bits=bits,
        task=base.task or "query->database",
        metric=name_at[0] + (f"[{options}" if options else ""),
        at=score.at,
        ties=score.ties,
        seconds=round(seconds, 4),
        notes=tuple(dict.fromkeys(notes)),
    )
    return averaged(row, np.where(score.kept, score.per_query, np.nan), seed=seed)
