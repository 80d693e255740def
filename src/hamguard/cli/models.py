"""`hamguard models`: networks that can be used here and now."""

from __future__ import annotations

from typing import Annotated

import typer

from hamguard.cli import options as opt
from hamguard.cli.common import context_of, print_json
from hamguard.report.printers import to_terminal

NamesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME ...]", help="Networks; all where none is named. Also timm:NAME.")
]
SpeedOption = Annotated[bool, typer.Option("--speed", help="Measure pictures a second here, about a second a network.")]


def models(
    names: NamesArgument = None,
    speed: SpeedOption = False,
    device: opt.Device = "auto",
    as_json: opt.Json = False,
) -> None:
    """List networks for --backbone: their weights, size and known accuracy, and what is missing where one cannot be used.

    [bold]Example[/bold]: hamguard models efficientnet_lite0 mobilenet_v2_tf --speed
    """
    from hamguard.api.models import models as listed
    from hamguard.report.models_table import models_table

    found = [one.to_json() for one in listed(names or (), speed=speed, context=context_of(device))]
    if as_json:
        print_json(found)
    else:
        to_terminal(models_table(found))
