"""`hamguard encode`: pictures to code banks."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from hamguard.api.running import Bar
from hamguard.cli.common import (
    BatchOption,
    DataOption,
    DeviceOption,
    JsonOption,
    OwnProtocolOption,
    QueriesOption,
    RootOption,
    name_unread,
    print_json,
    say,
    tell,
)
from hamguard.core.context import Context


def encode(
    model: Annotated[str, typer.Argument(help="Model folder, package.module:factory, or torch.export file (.pt2).")],
    out: Annotated[Path, typer.Option("--out", help="Folder for query.npz and database.npz.")],
    data: DataOption = None,
    data_root: RootOption = None,
    protocol: OwnProtocolOption = None,
    queries: QueriesOption = None,
    batch_size: BatchOption = 256,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Encode the query and database parts of a data source into packed code banks.

    [bold]Example[/bold]: hamguard encode models/digits --out codes/
    """
    from hamguard.api.encode import encode_data

    made = encode_data(
        model,
        out,
        data=data,
        root=data_root,
        protocol=protocol,
        queries=queries,
        batch_size=batch_size,
        context=Context(device=device, stage=Bar),
    )
    for note in made.notes:
        say(f"Note: {note}")
    if as_json:
        print_json(made.facts)
    else:
        for fact in made.facts:
            tell(f"{fact['file']}: {fact['count']:,} codes of {fact['bits']} bits ({fact['bytes']:,} bytes packed)")
        tell(f"Next: hamguard index build {shlex.quote(str(out / 'database.npz'))} --out index/")
    name_unread(made)
