"""`hamguard search`: the nearest pictures to a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hamguard.api.running import Bar
from hamguard.cli.common import (
    DeviceOption,
    JsonOption,
    RootOption,
    check_suffix,
    name_unread,
    print_json,
    say,
    tell,
)
from hamguard.core.context import Context
from hamguard.core.errors import RequestError, RunError


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
    from hamguard.api.answers import SHOWN
    from hamguard.api.search import search as run
    from hamguard.report.printers import to_terminal

    check_suffix("--sheet", sheet)
    if not queries and not text:
        raise RequestError('give pictures to search for, or words: --text "red circle"')
    found = run(
        index,
        queries or (),
        k=top,
        radius=radius,
        words=text or (),
        model=model,
        data=data,
        root=data_root,
        pictures=sheet is not None,
        context=Context(device=device, stage=Bar, tell=say),
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
