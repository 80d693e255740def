"""`hamguard encode`: pictures to code banks."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from hamguard.cli import options as opt
from hamguard.cli.common import context_of, name_unread, print_json, say, tell

ModelArgument = Annotated[
    str, typer.Argument(help="Model folder, package.module:factory, or torch.export file (.pt2).")
]
ShardOption = Annotated[
    int | None,
    typer.Option(
        "--shard-size", min=1, help="Make and keep codes in shards of so many pictures; a stopped run goes on."
    ),
]
RunnerOption = Annotated[str, typer.Option("--runner", help="here, or ray: workers of Ray, one a GPU or core.")]
WorkersOption = Annotated[int | None, typer.Option("--workers", min=1, help="Workers of Ray.")]
OutOption = Annotated[Path, typer.Option("--out", help="Folder for query.npz and database.npz.")]


def encode(
    model: ModelArgument,
    out: OutOption,
    data: opt.Data = None,
    data_root: opt.Root = None,
    protocol: opt.OwnProtocol = None,
    queries: opt.Queries = None,
    batch_size: opt.BatchSize = 256,
    shard_size: ShardOption = None,
    runner: RunnerOption = "here",
    workers: WorkersOption = None,
    restart: opt.Restart = False,
    device: opt.Device = "auto",
    as_json: opt.Json = False,
) -> None:
    """Encode the query and database parts of a data source into packed code banks.

    [bold]Examples[/bold]:

    hamguard encode models/digits --out codes/

    hamguard encode models/digits --out codes/ --runner ray --workers 8 --shard-size 4096
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
        shard_size=shard_size,
        runner=runner,  # type: ignore[arg-type]
        workers=workers,
        context=context_of(device, restart=restart),
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
