"""`hamguard threshold`: which radius keeps false matches rare, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hamguard.cli import options as opt
from hamguard.cli.common import check_suffix, context_of, print_json_rows, say_written, tell
from hamguard.core.errors import RequestError
from hamguard.report.printers import to_terminal

ItemsOption = Annotated[int, typer.Option("--items", min=2, help="How many items will be searched.")]
FalseOption = Annotated[
    float, typer.Option("--false-matches", help="False matches that a search may find, expected number.")
]
ModelOption = Annotated[
    str | None,
    typer.Option("--model", help="Model of the codes: also count copies that each radius finds, and attack."),
]
ViewOption = Annotated[
    list[str] | None,
    typer.Option(
        "--view", help=f"Changed copies: {opt.VIEW_FORMS}; may be repeated. Default: jpeg:50, resize:0.5, crop:0.8."
    ),
]
CopiedOption = Annotated[int, typer.Option("--queries", min=1, help="Copy the first N of the query split.")]
AttackedOption = Annotated[int, typer.Option("--attacked", min=0, help="Attack the first N of them; 0 for none.")]
SampleOption = Annotated[int, typer.Option("--sample", min=50, help="Items that are compared with each other.")]
CurvesOption = Annotated[
    Path | None, typer.Option("--curves", help="Draw false matches and copies found (.png, .svg, .pdf).")
]


def threshold(
    codes: opt.Codes,
    items: ItemsOption,
    false_matches: FalseOption = 1.0,
    model: ModelOption = None,
    data: opt.Data = None,
    data_root: opt.Root = None,
    protocol: opt.OwnProtocol = None,
    view: ViewOption = None,
    queries: CopiedOption = 200,
    attacked: AttackedOption = 8,
    steps: opt.Steps = 10,
    sample: SampleOption = 20_000,
    out: opt.RowsFile = None,
    curves: CurvesOption = None,
    batch_size: opt.BatchSize = 256,
    seed: opt.Seed = 0,
    device: opt.Device = "auto",
    as_json: opt.Json = False,
) -> None:
    """Say which radius keeps false matches rare, how many copies it finds, and what an attack needs to cross it.

    Sampled codes are compared with each other. Rare distances are fitted to the tail of the common ones; every figure has a
    95% interval, and the radius keeps to the limit at its upper end.

    [bold]Examples[/bold]:

    hamguard threshold codes/database.npz --items 10000000 --false-matches 0.1

    hamguard threshold index --items 1000000 --model models/photos --curves threshold.png
    """
    from hamguard.api.evaluate import USUAL_VIEWS
    from hamguard.api.threshold import threshold as run

    check_suffix("--curves", curves, out)
    if view and model is None:
        raise RequestError("--view goes with --model")
    rows = run(
        codes,
        items=items,
        false_matches=false_matches,
        model=model,
        data=data,
        views=view or USUAL_VIEWS,
        queries=queries,
        attacked=attacked,
        steps=steps,
        sample=sample,
        root=data_root,
        protocol=protocol,
        batch_size=batch_size,
        context=context_of(device, seed, batch_size=64),
    )
    if out:
        rows.save(out)
    if curves:
        rows.draw(curves)
    if as_json:
        print_json_rows(rows)
        return
    to_terminal(*rows.tables())
    for sentence in rows.sentences:
        tell(f"* {sentence}")
    say_written(curves, out)
