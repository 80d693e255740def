"""A cross-modal model on a split: the four searches between images and texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import hamming_pairs
from hamguard.core.rows import Row
from hamguard.core.types import Modality
from hamguard.evaluation.ground import ACROSS, SEARCHES, Ground, modalities_of, other_modality
from hamguard.evaluation.per_query import averaged
from hamguard.evaluation.search.curves import Curve, curve_rows, measure_curves
from hamguard.evaluation.search.score import EXACT, Convention, score_rows


def task_row(ground: Ground, task: str) -> Row:
    """The facts that every row of this model and task carries."""
    asks, _ = modalities_of(task)
    query, database = ground.search(task)
    row = replace(ground, query=query, database=database).base
    hashes = {**row.hashes, "model": ground.both.digest}
    return replace(row, task=task, hashes=hashes, notes=(*row.notes, *_wordless(ground, asks)))


def _wordless(ground: Ground, modality: Modality) -> tuple[str, ...]:
    """A note on texts that say nothing to the model."""
    empty = sum(not bool(row.any()) for row in ground.bags) if modality == "text" else 0
    return (f"{empty} of {len(ground.bags)} query texts have no known word and share one code",) if empty else ()


def cross_rows(
    ground: Ground,
    *,
    metrics: Sequence[str] = ("map",),
    convention: Convention = EXACT,
    tasks: Sequence[str] = SEARCHES,
) -> list[Row]:
    """Clean rows of the searches, the floor of random codes beside each.

    Raises:
        RequestError: unknown metric, or an undefined combination.
    """
    rows = []
    for task in tasks:
        rows += score_rows(
            *ground.search(task),
            metrics=metrics,
            convention=convention,
            facts=task_row(ground, task),
            seed=ground.seed,
        )
    return rows


def agreement_row(ground: Ground) -> Row:
    """Share of bits in which the codes of a picture and of its text agree; 0.5 for sides that know nothing of each other."""
    apart = hamming_pairs(ground.query.packed, ground.text_query.packed)
    values = 1 - apart / ground.model.bits
    base = replace(task_row(ground, "image->text"), task="pairs", metric="agreement")
    return averaged(base, values, seed=ground.seed)


def cross_curves(
    ground: Ground, attacked: Mapping[Modality, CodeBank] | None = None, *, tasks: Sequence[str] = SEARCHES
) -> tuple[dict[str, Curve], dict[str, Curve]]:
    """Precision over recall, and precision over N up to 1,000, of each search; of attacked queries where a modality has some."""
    recall: dict[str, Curve] = {}
    at: dict[str, Curve] = {}
    for task in tasks:
        clean, database = ground.search(task)
        query = (attacked or {}).get(modalities_of(task)[0], clean)
        found = measure_curves(query, database, name=task, seed=ground.seed)
        recall[task], at[task] = found.precision_recall[task], found.precision_at[task]
    return recall, at


def cross_points(ground: Ground, attacked: tuple[Modality, CodeBank, Row] | None = None) -> list[Row]:
    """Points of the curves of both searches across modalities, as rows.

    Args:
        ground: the model.
        attacked: what asks and its attacked codes, whose search alone is asked, and a row of the attack, whose facts all carry.
    """
    if attacked:
        modality, codes, base = attacked
        return curve_rows(codes, ground.database_of(other_modality(modality)), base)
    return [row for task in ACROSS.values() for row in curve_rows(*ground.search(task), task_row(ground, task))]
