"""`hamguard reproduce`: a published table run again, beside the published figures, and what the paper says of it judged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hamguard.cli import options as opt
from hamguard.cli.common import context_of, print_json, tell
from hamguard.core.errors import RequestError
from hamguard.report.printers import to_terminal

NameArgument = Annotated[
    str | None, typer.Argument(help="Experiment, e.g. ppl-table1; `hamguard reproduce --list` lists them.")
]
ScaleOption = Annotated[
    str,
    typer.Option(
        "--scale",
        help="small: minutes on two cores; photos: the same on real photos, at published radii; "
        "paper: the published data, networks and budgets.",
    ),
]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="Folder of rows, tables and page; runs/NAME-SCALE by default.")
]
CellsOption = Annotated[
    Path | None,
    typer.Option("--cells", help="Folder of finished cells, shared by experiments; `cells` beside --out."),
]
ShowRecipeOption = Annotated[
    bool, typer.Option("--show-recipe", help="Print the recipe instead of running it, to be copied and changed.")
]
ListedOption = Annotated[bool, typer.Option("--list", help="List the experiments, with their stated times.")]


def reproduce(
    name: NameArgument = None,
    scale: ScaleOption = "small",
    out: OutOption = None,
    cells: CellsOption = None,
    data_root: opt.Root = None,
    device: opt.Device = "auto",
    show_recipe: ShowRecipeOption = False,
    listed: ListedOption = False,
    as_json: opt.Json = False,
) -> None:
    """Run a published experiment again: published figure, ours, difference, interval, and each relation that the paper claims.

    A run that was stopped goes on when the same command is given again, and experiments share what they have in common.

    [bold]Examples[/bold]:

    hamguard reproduce ppl-table1 --scale small

    hamguard reproduce saat-table2 --out runs/saat

    hamguard reproduce saat-table1 --scale photos

    hamguard reproduce prosgan-table1 --scale paper --show-recipe
    """
    if listed:
        _print_list(as_json=as_json)
        return
    from hamguard.api.reproduce import recipe_text
    from hamguard.api.reproduce import reproduce as run

    if name is None:
        raise RequestError("give the NAME of an experiment; `hamguard reproduce --list` lists them")
    if show_recipe:
        text = recipe_text(name, scale)
        if as_json:
            print_json([{"name": name, "scale": scale, "recipe": text}])
        else:
            typer.echo(text, nl=False)
        return
    context = context_of(device, quiet=as_json)
    done = run(name, scale=scale, out=out, cells=cells, root=data_root, context=context)
    if done is None:
        return  # another process speaks
    if as_json:
        print_json(done.values)
        return
    if table := done.table():
        to_terminal(table)
    for line in done.lines:
        tell(line)


def _print_list(*, as_json: bool) -> None:
    from hamguard.api.names import experiments_listed
    from hamguard.report.table import Table

    known = experiments_listed()
    if as_json:
        print_json(known)
        return
    lines = [
        (one["name"], str(one["minutes"]), str(one["photos_minutes"] or ""), one["what"], one["source"])
        for one in known
    ]
    title = "Published experiments; minutes: at small scale, and with --scale photos, on two cores"
    to_terminal(Table.of(title, ("name", "minutes", "photos", "what", "paper"), lines, names=5))
