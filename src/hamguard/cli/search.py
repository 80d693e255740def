"""`hamguard search`: the nearest pictures to a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hamguard.cli.common import (
    DeviceOption,
    JsonOption,
    RootOption,
    choose_device,
    print_json,
    print_table,
    require_source,
)
from hamguard.core.errors import RequestError

if TYPE_CHECKING:
    from hamguard.core.types import Array
    from hamguard.data.dataset import Dataset
    from hamguard.data.split import Split
    from hamguard.report.sheets import Found


def search(
    index: Annotated[Path, typer.Argument(help="Index folder.")],
    queries: Annotated[
        list[str], typer.Argument(help="Picture files, or query:N for the N-th picture of the query split.")
    ],
    model: Annotated[
        str | None, typer.Option("--model", help="The model of the index, where the index does not know it.")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="Source of the indexed pictures, for the sheet and query:N.")
    ] = None,
    data_root: RootOption = None,
    top: Annotated[int, typer.Option("--top", "-k", min=1, help="How many answers.")] = 10,
    radius: Annotated[
        int | None, typer.Option("--radius", min=0, help="All items at most this many bits away instead.")
    ] = None,
    sheet: Annotated[Path | None, typer.Option("--sheet", help="Draw queries and answers (.png, .svg, .pdf).")] = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Print ids and Hamming distances of the nearest items; equally near ones stand in the order of the index.

    [bold]Examples[/bold]:

    hamguard search index photo.jpg --sheet answers.png

    hamguard search index query:0 query:1 --top 5
    """
    import numpy as np

    from hamguard.cli.common import check_suffix
    from hamguard.cli.index import read_origin
    from hamguard.cli.source import open_for_model
    from hamguard.evaluation.pictures import codes_of, read_picture
    from hamguard.models.store import load_any
    from hamguard.retrieval.index import open_index

    check_suffix("--sheet", sheet)
    origin = read_origin(index)
    name = model or origin.get("model")
    found = open_index(index)
    if name is None:
        raise RequestError(f"{index} does not know its model; give --model")
    chosen = choose_device(device)
    loaded, card = load_any(name, chosen)
    found = open_index(index, model_hash=loaded.digest)
    root = data_root or (Path(origin["data_root"]) if origin.get("data_root") else None)
    dataset = split = None
    if sheet or any(text.startswith("query:") for text in queries):
        data = data or origin.get("data")
        require_source(data, card)
        place = origin.get("own_data") or ""
        dataset, split = open_for_model(card, loaded, data, root, origin.get("protocol"), place)

    pictures: list[Array] = []
    rows: list[int | None] = []
    for text in queries:
        if text.startswith("query:") and dataset is not None and split is not None:
            row = _query_row(text, split)
            pictures.append(dataset.images.pixels([row])[0])
            rows.append(row)
        else:
            pictures.append(read_picture(text, loaded, card))
            rows.append(None)
    codes = np.concatenate(
        [codes_of(picture[None], loaded, chosen) for picture in pictures]
    )  # (Q, bytes); grey and color
    if radius is None:
        distances, ids = found.search(codes, min(top, len(found)))
        answers = [
            [(str(i), int(d)) for d, i in zip(*pair, strict=True) if d >= 0]
            for pair in zip(distances, ids, strict=True)
        ]
    else:
        ball = found.within(codes, min(radius, found.bits))
        limits = list(zip(ball.limits[:-1], ball.limits[1:], strict=True))
        answers = [[(str(ball.ids[j]), int(ball.distances[j])) for j in range(a, b)] for a, b in limits]

    if as_json:
        for text, listed in zip(queries, answers, strict=True):
            print_json({"query": text, "rank": r, "id": i, "distance": d} for r, (i, d) in enumerate(listed, 1))
    else:
        for text, listed in zip(queries, answers, strict=True):
            lines = [(str(r), i, str(d)) for r, (i, d) in enumerate(listed, 1)]
            print_table(f"{text}: {len(listed)} answers of {len(found):,}", ("rank", "id", "distance"), lines)
    if sheet and dataset is not None:
        _draw(sheet, queries, pictures, rows, answers, dataset, found.bits, index)
        if not as_json:
            typer.echo(f"sheet: {sheet}")


def _query_row(text: str, split: Split) -> int:
    number = text.removeprefix("query:")
    if not (number.isascii() and number.isdigit() and int(number) < len(split.query)):
        raise RequestError(f"{text}: the query split has pictures query:0 to query:{len(split.query) - 1}")
    return int(split.query[int(number)])


def _draw(
    path: Path, names: list[str], pictures: list[Array], rows: list[int | None],
    answers: list[list[tuple[str, int]]], dataset: Dataset, bits: int, index: Path,
) -> None:  # fmt: skip
    from hamguard.evaluation.answers import sheet_entry
    from hamguard.report.sheets import Found, SheetRow, draw_sheet

    place = {str(i): row for row, i in enumerate(dataset.ids)}
    lines = []
    for name, picture, row, listed in zip(names, pictures, rows, answers, strict=True):
        found: list[Found] = []
        for item, distance in listed[:10]:
            if item not in place:
                raise RequestError(f"item {item} of {index} is not in {dataset.name}; give the --data that was indexed")
            entry = sheet_entry(dataset, place[item], row)
            found.append(Found(entry.picture, f"{distance} bits", entry.caption, entry.relevant))
        caption = sheet_entry(dataset, row, None).caption if row is not None else Path(name).name
        lines.append(SheetRow(Found(picture, "query", caption), found))
    kind = "synthetic data" if dataset.synthetic else f"{len(dataset):,} pictures"
    draw_sheet(
        lines, path, title=f"{dataset.name}: nearest by Hamming distance, {bits} bits",
        footer=f"{kind}; green frame and tick: shares a label with the query; grey: unknown",
    )  # fmt: skip
