"""`hamguard evaluate` of a cross-modal model: four searches instead of one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hamguard.cli.common import print_rows

if TYPE_CHECKING:
    from hamguard.core.context import Context
    from hamguard.data.opened import Data
    from hamguard.evaluation.ground import Loaded
    from hamguard.evaluation.search.score import Convention


def evaluate_cross(
    model: Loaded,
    data: Data,
    *,
    metrics: Sequence[str],
    convention: Convention,
    queries: int | None,
    context: Context,
    out: Path | None,
    curves: Path | None,
    as_json: bool,
) -> None:
    """Score images that ask for texts, texts that ask for images, and both within their own modality.

    Raises:
        RequestError: undefined combination, or pictures that do not fit.
    """
    from hamguard.core.rows import write_rows
    from hamguard.evaluation.ground import Ground
    from hamguard.evaluation.search.cross_modal import cross_curves, cross_rows

    ground = Ground.open(model, data, queries=queries, texts="needed", context=context)
    bits = ground.model.bits
    dataset = ground.dataset
    rows = cross_rows(ground, metrics=metrics, convention=convention)
    if out:
        write_rows(out, rows)
    if curves:
        from hamguard.report.plots import draw_curves

        recall, at = cross_curves(ground)
        draw_curves(
            recall,
            at,
            curves,
            title=f"{dataset.title}: {ground.card.title if ground.card else ground.name}, {bits} bits",
        )
    detail = f"{len(ground.rows):,} queries, {len(ground.database):,} database items, {bits} bits"
    print_rows(rows, f"{dataset.title}: {detail}", as_json=as_json)
