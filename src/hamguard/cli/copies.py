"""`hamguard evaluate --view`: searches with changed copies, for `evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hamguard.cli.common import Bar

if TYPE_CHECKING:
    from hamguard.codes.bank import CodeBank
    from hamguard.core.context import Context
    from hamguard.core.rows import Row
    from hamguard.core.types import Ints
    from hamguard.data.dataset import Dataset
    from hamguard.data.opened import Data
    from hamguard.evaluation.ground import Loaded
    from hamguard.evaluation.search.copies import CopySearch

SHOWN = 3  # copies a view on the sheet, the last of them the hardest


def evaluate_copies(
    loaded: Loaded,
    data: Data,
    views: list[str],
    *,
    queries: int | None,
    context: Context,
    sheet: Path | None,
) -> tuple[list[Row], CodeBank]:
    """Search all pictures of a data set for the originals of changed copies of its query part.

    Returns:
        One row a view, and the bank that was searched.

    Raises:
        RequestError: unknown view.
    """
    import numpy as np

    from hamguard.data.split import Part
    from hamguard.evaluation.ground import Ground
    from hamguard.evaluation.search.copies import search_copies
    from hamguard.images.named_views import parse_view
    from hamguard.training.encode import encode

    dataset, split = data.dataset, data.split
    for view in views:
        parse_view(view)
    everything = Part("database", np.arange(len(dataset)))
    with Bar("encoding") as bar:
        model, at = loaded.model, context.batch_size
        bank = encode(model, dataset, split, everything, batch_size=at, device=context.device, progress=bar)
    facts = Ground(loaded.name, model, loaded.card, data, bank, bank, context).base
    rows = split.part("query").first(queries).index
    found = []
    for view in views:
        with Bar(view) as bar:
            found.append(
                search_copies(
                    model,
                    dataset,
                    rows,
                    bank,
                    view,
                    facts=facts,
                    seed=context.seed,
                    device=context.device,
                    progress=bar,
                )
            )
    if sheet:
        _draw(sheet, views, found, rows, bank, dataset)
    return [one.row for one in found], bank


def _draw(path: Path, views: list[str], found: list[CopySearch], rows: Ints, bank: CodeBank, dataset: Dataset) -> None:
    from hamguard.evaluation.search.copies import shown_copies
    from hamguard.images.named_views import parse_view
    from hamguard.report.sheets import Found, SheetRow, draw_sheet

    lines = []
    place = {str(item): row for row, item in enumerate(dataset.ids)}
    for view, search in zip(views, found, strict=True):
        for number, answers in shown_copies(search, bank, SHOWN, 10):
            row = int(rows[number])
            copy = parse_view(view)(dataset.images.pixels([row])[0])
            cells = []
            for item, distance in answers:
                picture = dataset.images.pixels([place[item]])[0]
                cells.append(Found(picture, f"{distance} bits", item, place[item] == row))
            lines.append(SheetRow(Found(copy, view, str(dataset.ids[row])), cells))
    footer = "a changed copy and its ten nearest; green and tick: the original. The last line of each view is its hardest copy"
    draw_sheet(lines, path, title=f"{dataset.title}: searches with changed copies, {bank.bits} bits", footer=footer)
