"""`hamguard demo`: the whole tour on pictures that need no download."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from hamguard.cli import options as opt
from hamguard.cli.common import context_of, print_json_rows, say, tell

OutOption = Annotated[Path, typer.Option("--out", help="Folder for model, index, rows and pictures.")]


def demo(
    out: OutOption = Path("demo"),
    seed: opt.Seed = 0,
    device: opt.Device = "auto",
    as_json: opt.Json = False,
) -> None:
    """Learn hash codes on real scanned digits, search, attack, audit, harden, protect, verify: ten lines and one page. No download.

    What was trained before it was stopped is not trained again.

    [bold]Example[/bold]: hamguard demo --out demo
    """
    from hamguard.api.demo import demo as run

    done = run(out, context=context_of(device, seed))
    if as_json:
        print_json_rows(done.rows)
        return
    say("")
    for line in done.lines:
        tell(line)
    say("")
    say(f"Everything on one page: {done.page}")
    say(f"Next: hamguard search {shlex.quote(str(done.index))} query:0 --sheet answers.png")
