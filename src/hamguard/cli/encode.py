"""`hamguard encode`: pictures to code banks."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from hamguard.cli.common import (
    Bar,
    BatchOption,
    DataOption,
    DeviceOption,
    JsonOption,
    OwnProtocolOption,
    QueriesOption,
    RootOption,
    choose_device,
    context_of,
    name_unread,
    print_json,
    say_notes,
    tell,
)

PARTS = ("query", "database")


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
    from hamguard.evaluation.model_data import open_for_model
    from hamguard.evaluation.search.origin import write_origin
    from hamguard.models.store import load_any
    from hamguard.training.encode import encode as run

    chosen = choose_device(device)
    loaded, card = load_any(model, chosen)
    opened = open_for_model(card, loaded, data, root=data_root, protocol=protocol, context=context_of(device))
    dataset, split = opened.dataset, opened.split
    facts = []
    for role in PARTS:
        part = split.part("query").first(queries) if role == "query" else split.part("database")
        with Bar(f"encoding {role}") as bar:
            bank = run(loaded, dataset, split, part, batch_size=batch_size, device=chosen, progress=bar)
        bank.save(out / f"{role}.npz")
        facts.append(
            {
                "file": str(out / f"{role}.npz"),
                "role": role,
                "count": len(bank),
                "bits": bank.bits,
                "bytes": bank.packed.nbytes,
                "digest": bank.digest,
                "model": bank.model_hash,
                "split": bank.split_hash,
            }
        )
    write_origin(out, model, card, data, data_root, protocol, everything=False)
    say_notes(loaded)
    if as_json:
        print_json(facts)
    else:
        for fact in facts:
            tell(f"{fact['file']}: {fact['count']:,} codes of {fact['bits']} bits ({fact['bytes']:,} bytes packed)")
        tell(f"Next: hamguard index build {shlex.quote(str(out / 'database.npz'))} --out index/")
    name_unread(dataset)
