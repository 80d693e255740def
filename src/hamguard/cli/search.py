"""`hamguard search`: the nearest pictures to a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hamguard.cli import options as opt
from hamguard.cli.common import check_suffix, context_of, name_unread, print_json, say, tell
from hamguard.core.errors import RequestError, RunError
from hamguard.report.printers import to_terminal

QueriesArgument = Annotated[
    list[str] | None,
    typer.Argument(help="Picture files or folders of them, or query:N for the N-th query of the data."),
]
TextOption = Annotated[
    list[str] | None,
    typer.Option("--text", help="Ask with words instead, where the model has a text side; may be repeated."),
]
ModelOption = Annotated[
    str | None, typer.Option("--model", help="The model of the index, where the index does not know it.")
]
DataOption = Annotated[
    str | None, typer.Option("--data", help="Source of the indexed pictures, for the sheet and query:N.")
]
TopOption = Annotated[int, typer.Option("--top", "-k", min=1, help="How many answers.")]
RadiusOption = Annotated[
    int | None, typer.Option("--radius", min=0, help="All items at most this many bits away instead.")
]
LabelOption = Annotated[
    int | None, typer.Option("--label", min=0, help="Only items of this class, by its number from 0.")
]
SheetOption = Annotated[Path | None, typer.Option("--sheet", help="Draw queries and answers (.png, .svg, .pdf).")]


def search(
    index: opt.Index,
    queries: QueriesArgument = None,
    text: TextOption = None,
    model: ModelOption = None,
    data: DataOption = None,
    data_root: opt.Root = None,
    top: TopOption = 10,
    radius: RadiusOption = None,
    label: LabelOption = None,
    sheet: SheetOption = None,
    device: opt.Device = "auto",
    as_json: opt.Json = False,
) -> None:
    """Print ids and Hamming distances of the nearest items; equally near ones stand in the order of the index.

    [bold]Examples[/bold]:

    hamguard search index photo.jpg --sheet answers.png

    hamguard search index query:0 query:1 --top 5

    hamguard search index folder-of-pictures --json

    hamguard search index --text "red circle"

    hamguard search "postgresql://me@localhost/photos#fashion" photo.jpg --label 3
    """
    from hamguard.api.answers import SHOWN
    from hamguard.api.search import search as run

    check_suffix("--sheet", sheet)
    if not queries and not text:
        raise RequestError('give pictures to search for, or words: --text "red circle"')
    found = run(
        index,
        queries or (),
        k=top,
        radius=radius,
        label=label,
        words=text or (),
        model=model,
        data=data,
        root=data_root,
        pictures=sheet is not None,
        context=context_of(device),
    )
    for fault in found.broken:
        say(str(fault))
    for answer in found:
        if as_json:
            print_json(answer.json)
        else:
            to_terminal(found.table(answer))
    for note in dict.fromkeys(found.notes):
        say(f"Note: {note}")
    if sheet:
        found.draw(sheet)
        if not as_json:
            tell(f"sheet: {sheet}" + (f" (the first {SHOWN} queries)" if len(found) > SHOWN else ""))
    if found.broken:
        what = "picture" if len(found.broken) == 1 else "pictures"
        raise RunError(f"{len(found.broken):,} {what} could not be searched with; the rest is done")
    if found.data is not None:
        name_unread(found.data.dataset)
