"""`hamguard search`: the nearest pictures to a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hamguard.cli.common import (
    Bar,
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


SHOWN = 24  # most queries on a sheet


def search(
    index: Annotated[Path, typer.Argument(help="Index folder.")],
    queries: Annotated[
        list[str], typer.Argument(help="Picture files or folders of them, or query:N for the N-th query of the data.")
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

    hamguard search index folder-of-pictures --json
    """
    import numpy as np

    from hamguard.cli.common import check_suffix
    from hamguard.cli.index import read_origin
    from hamguard.cli.source import open_for_model
    from hamguard.evaluation.pictures import read_picture
    from hamguard.models.encode import codes_of
    from hamguard.models.store import load_any
    from hamguard.retrieval.index import open_index

    check_suffix("--sheet", sheet)
    origin = read_origin(index)
    name = model or origin.get("model")
    found = open_index(index)
    if name is None:
        raise RequestError(f"{index} does not know its model; give --model")
    if model is None and not Path(name).is_dir():  # an index of a stranger must not name code that then runs
        raise RequestError(f"{index} was made with {name}, which is no model folder here; give --model")
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

    queries = [name for text in queries for name in _files(text)]
    pictures: list[Array] = []  # those that the sheet shows
    rows: list[int | None] = []
    codes = np.empty((len(queries), -(-loaded.bits // 8)), np.uint8)
    with Bar("encoding") as bar:
        for number, text in enumerate(queries):
            row = _query_row(text, split) if text.startswith("query:") and split is not None else None
            if row is not None and dataset is not None:
                picture = dataset.images.pixels([row])[0]
            else:
                picture = read_picture(text, loaded, card)
            codes[number] = codes_of(picture[None], loaded, chosen)[0]
            if number < SHOWN:
                pictures.append(picture)
                rows.append(row)
            bar.count(number + 1, len(queries))
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
        _draw(sheet, queries[:SHOWN], pictures, rows, answers[:SHOWN], dataset, found.bits, index)
        if not as_json:
            typer.echo(f"sheet: {sheet}" + (f" (the first {SHOWN} queries)" if len(queries) > SHOWN else ""))


def _files(text: str) -> list[str]:
    """The pictures of a folder, or the word itself."""
    if text.startswith("query:") or not Path(text).is_dir():
        return [text]
    from hamguard.images.folder import list_pictures

    return [str(path) for path in list_pictures(text)]


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
        lines, path, title=f"{dataset.title}: nearest by Hamming distance, {bits} bits",
        footer=f"{kind}; green frame and tick: shares a label with the query; gray: unknown",
    )  # fmt: skip
