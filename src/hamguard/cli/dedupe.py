"""`hamguard dedupe`: groups of items whose codes lie within a radius of each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hamguard.cli import options as opt
from hamguard.cli.common import context_of, print_json_rows, say, say_written, tell

RadiusOption = Annotated[int, typer.Option("--radius", min=0, help="Largest distance in bits; 0 joins equal codes.")]
GroupsOption = Annotated[
    Path | None,
    typer.Option(
        "--out", help="Write groups: .jsonl, one a line; .csv, an item a line; .txt, all ids but the oldest of each."
    ),
]


def dedupe(
    codes: opt.Codes,
    radius: RadiusOption,
    out: GroupsOption = None,
    as_json: opt.Json = False,
) -> None:
    """Find what codes hold twice, nearly: groups of items within a radius of each other, by chains of near items.

    Groups are exact. Different codes are compared only where they agree on some blocks of bits, as all that lie within the
    radius do. `hamguard threshold` says which radius keeps false matches rare.

    [bold]Examples[/bold]:

    hamguard dedupe codes/database.npz --radius 4 --out groups.jsonl

    hamguard dedupe index --radius 2 --out extra.txt
    """
    from hamguard.api.dedupe import check_form
    from hamguard.api.dedupe import dedupe as run

    if out:
        check_form(out)
    found = run(codes, radius=radius, context=context_of())
    if out:
        found.save(out)
    if as_json:
        print_json_rows(found.rows)
    else:
        for line in found.lines:
            tell(line)
        for note in found.facts.notes:
            say(f"Note: {note}")
    say_written(out)
