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
    context_of,
    name_unread,
    print_json,
    say,
    tell,
)
from hamguard.core.errors import ImageError, RequestError, RunError

if TYPE_CHECKING:
    from hamguard.core.types import Array
    from hamguard.data.dataset import Dataset
    from hamguard.data.split import Split
    from hamguard.models.cross_modal import CrossModel
    from hamguard.report.sheets import Found


SHOWN = 24  # most queries on a sheet


def search(
    index: Annotated[Path, typer.Argument(help="Index folder.")],
    queries: Annotated[
        list[str] | None,
        typer.Argument(help="Picture files or folders of them, or query:N for the N-th query of the data."),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option("--text", help="Ask with words instead, where the model has a text side; may be repeated."),
    ] = None,
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

    hamguard search index --text "red circle"
    """
    import numpy as np

    from hamguard.cli.common import check_suffix, say_notes
    from hamguard.cli.index import read_origin
    from hamguard.codes.binary import pack
    from hamguard.evaluation.model_data import open_for_model, require_source
    from hamguard.evaluation.search.pictures import read_picture
    from hamguard.models.encode import codes_of
    from hamguard.models.shipped import is_shipped
    from hamguard.models.store import load_any
    from hamguard.retrieval.engines import open_index

    check_suffix("--sheet", sheet)
    asked, words = list(queries or []), list(text or [])
    if not asked and not words:
        raise RequestError('give pictures to search for, or words: --text "red circle"')
    origin = read_origin(index)
    name = model or origin.get("model")
    found = open_index(index)
    if name is None:
        raise RequestError(f"{index} does not know its model; give --model")
    # an index of a stranger must not name code that then runs
    if model is None and not is_shipped(name) and not Path(name).is_dir():
        raise RequestError(f"{index} was made with {name}, which is no model folder here; give --model")
    chosen = choose_device(device)
    loaded, card = load_any(name, chosen)
    of_texts = origin.get("modality") == "text"
    cross = open_texts(name, index) if words or of_texts else None
    found = open_index(index, model_hash=cross.text.digest if cross and of_texts else loaded.digest)
    bags = [cross.vocabulary.bag_of_query(word) for word in words] if cross else []
    root = data_root or (Path(origin["data_root"]) if origin.get("data_root") else None)
    dataset = split = None
    if sheet or of_texts or any(query.startswith("query:") for query in asked):
        data = data or origin.get("data")
        require_source(data, card)
        place = origin.get("own_data") or ""
        opened = open_for_model(
            card,
            loaded,
            data,
            root=root,
            protocol=origin.get("protocol"),
            place=place,
            context=context_of(device),
        )
        dataset, split = opened.dataset, opened.split

    given = set(asked)  # of the files of a folder, broken ones are named; a file that is asked for itself must be one
    asked = [name for query in asked for name in _files(query)]
    broken: list[ImageError] = []
    pictures: list[Array | None] = []  # those that the sheet shows
    rows: list[int | None] = []
    codes = np.empty((len(asked) + len(words), -(-loaded.bits // 8)), np.uint8)
    read: list[str] = []
    with Bar("encoding") as bar:
        for number, query in enumerate(asked, 1):
            row = _query_row(query, split) if query.startswith("query:") and split is not None else None
            try:
                if row is not None and dataset is not None:
                    picture = dataset.images.pixels([row])[0]
                else:
                    picture = read_picture(query, loaded, card)
            except ImageError as error:
                if query in given:
                    raise
                broken.append(error)
                continue
            codes[len(read)] = codes_of(picture[None], loaded, chosen)[0]
            if len(read) < SHOWN:
                pictures.append(picture)
                rows.append(row)
            read.append(query)
            bar.count(number, len(asked))
    if broken and not read and not words:
        raise (
            broken[0] if len(broken) == 1 else RequestError(f"none of {len(broken)} pictures can be read: {broken[0]}")
        )
    for fault in broken:
        say(str(fault))
    asked, codes = read, codes[: len(read) + len(words)]
    for number, bag in enumerate(bags, len(asked)):
        assert cross is not None
        codes[number] = pack(cross.text.code(bag))[0]
        pictures.append(None)
        rows.append(None)
    asked += [f'"{word}"' for word in words]
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

    from hamguard.report.printers import to_terminal
    from hamguard.report.table import Table

    said = _texts_of(dataset) if of_texts and dataset is not None else None
    for query, listed in zip(asked, answers, strict=True):
        if as_json:
            print_json(
                {
                    "query": query,
                    "rank": r,
                    "id": i,
                    "distance": d,
                    **({"text": said.get(i)} if said is not None else {}),
                }
                for r, (i, d) in enumerate(listed, 1)
            )
            continue
        heads = ("rank", "id", "distance") if said is None else ("rank", "id", "distance", "text")
        lines = [
            (str(r), i, str(d), *([said.get(i, "")] if said is not None else [])) for r, (i, d) in enumerate(listed, 1)
        ]
        to_terminal(Table.of(f"{query}: {len(listed)} answers of {len(found):,}", heads, lines))
    say_notes(loaded)
    if sheet and dataset is not None:
        _draw(sheet, asked[:SHOWN], pictures[:SHOWN], rows[:SHOWN], answers[:SHOWN], dataset, found.bits, index)
        if not as_json:
            tell(f"sheet: {sheet}" + (f" (the first {SHOWN} queries)" if len(asked) > SHOWN else ""))
    if broken:
        what = "picture" if len(broken) == 1 else "pictures"
        raise RunError(f"{len(broken):,} {what} could not be searched with; the rest is done")
    if dataset is not None:
        name_unread(dataset)


def open_texts(name: str, index: Path) -> CrossModel:
    """The model with its text side.

    Raises:
        RequestError: the model has none.
    """
    from hamguard.models.cross_modal import has_texts, load_cross

    if not has_texts(name):
        raise RequestError(
            f"{index} belongs to {name}, which has no text side, so it cannot be asked with words; "
            "cross-modal models: hamguard train --method dcmh (or ssah)"
        )
    return load_cross(name)[0].freeze()


def _texts_of(dataset: Dataset) -> dict[str, str]:
    """Text of each item.

    Raises:
        RequestError: the data set has no texts, so it cannot be the one that was indexed.
    """
    from hamguard.training.cross_train import texts_of

    return dict(zip(map(str, dataset.ids), texts_of(dataset), strict=True))


def _files(text: str) -> list[str]:
    """The pictures of a folder, or the word itself; what the folder holds besides is said."""
    if text.startswith("query:") or not Path(text).is_dir():
        return [text]
    from hamguard.images.folder import left_out_note, look_into, require_pictures

    found = look_into(text)
    names = [str(Path(text) / name) for name in require_pictures(text, found)]
    if note := left_out_note(found.left):
        say(f"{text}: {note}")
    return names


def _query_row(text: str, split: Split) -> int:
    number = text.removeprefix("query:")
    if not (number.isascii() and number.isdigit() and int(number) < len(split.query)):
        raise RequestError(f"{text}: the query split has pictures query:0 to query:{len(split.query) - 1}")
    return int(split.query[int(number)])


def _draw(
    path: Path,
    names: list[str],
    pictures: list[Array | None],
    rows: list[int | None],
    answers: list[list[tuple[str, int]]],
    dataset: Dataset,
    bits: int,
    index: Path,
) -> None:
    from hamguard.evaluation.search.answers import sheet_entry
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
        plain = name if picture is None else Path(name).name  # words may hold a slash
        caption = sheet_entry(dataset, row, None).caption if row is not None else plain
        lines.append(SheetRow(Found(picture, "query", caption), found))
    kind = "synthetic data" if dataset.synthetic else f"{len(dataset):,} pictures"
    draw_sheet(
        lines,
        path,
        title=f"{dataset.title}: nearest by Hamming distance, {bits} bits",
        footer=f"{kind}; green frame and tick: shares a label with the query; gray: unknown",
    )
