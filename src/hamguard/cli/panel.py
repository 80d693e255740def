"""`hamguard panel`: the searches that ship with hamguard, to try protected pictures with."""

from __future__ import annotations

from typing import Annotated

import typer

from hamguard.cli import options as opt
from hamguard.cli.common import print_json
from hamguard.report.printers import to_terminal

NamesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME ...]", help="Matchers, such as squeezenet-itq; all by default.")
]


def panel(names: NamesArgument = None, as_json: opt.Json = False) -> None:
    """List the searches that ship with hamguard: whether each is here, what to install where it is not, how well it searches.

    verify tries protected pictures with them where no --matcher is given, and protect tries a few at its end. Each is a hash
    model under a name that every MODEL takes.

    [bold]Examples[/bold]:

    hamguard panel

    hamguard verify photos protected --matcher panel:squeezenet-itq
    """
    from hamguard.api.panel import panel as listed
    from hamguard.report.panel_table import panel_table

    found = [one.to_json() for one in listed(names or ())]
    if as_json:
        print_json(found)
    else:
        to_terminal(panel_table(found))
