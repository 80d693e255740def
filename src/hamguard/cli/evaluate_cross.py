"""`hamguard evaluate` of a cross-modal model: four searches instead of one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hamguard.cli.common import Bar, print_rows

if TYPE_CHECKING:
    import torch

    from hamguard.data.dataset import Dataset
    from hamguard.data.split import Split
    from hamguard.evaluation.search.score import Convention


def evaluate_cross(
    model: str,
    dataset: Dataset,
    split: Split,
    *,
    metrics: Sequence[str],
    convention: Convention,
    queries: int | None,
    seed: int,
    device: torch.device,
    out: Path | None,
    curves: Path | None,
    as_json: bool,
) -> None:
    """Score images that ask for texts, texts that ask for images, and both within their own modality.

    Raises:
        RequestError: undefined combination, or pictures that do not fit.
    """
    from hamguard.core.rows import write_rows
    from hamguard.evaluation.search.cross_modal import cross_curves, cross_rows, open_ground
    from hamguard.models.cross_modal import load_cross

    loaded, card, _ = load_cross(model)
    with Bar("encoding") as bar:
        ground = open_ground(
            model, loaded, card, dataset, split, queries=queries, seed=seed, device=device, progress=bar
        )
    rows = cross_rows(ground, metrics=metrics, convention=convention)
    if out:
        write_rows(out, rows)
    if curves:
        from hamguard.report.plots import draw_curves

        recall, at = cross_curves(ground.query, ground.database, seed=seed)
        draw_curves(recall, at, curves, title=f"{dataset.title}: {card.title}, {loaded.bits} bits")
    detail = f"{len(ground.rows):,} queries, {len(ground.database['image']):,} database items, {loaded.bits} bits"
    print_rows(rows, f"{dataset.title}: {detail}", as_json=as_json)
