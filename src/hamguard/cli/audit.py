"""`hamguard audit`: the worst case of a search over a fixed battery of attacks, with checks of the battery and a verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hamguard.cli import options as opt
from hamguard.cli.common import check_suffix, context_of, print_json_rows, say_written, tell
from hamguard.report.printers import to_terminal

StepsOption = Annotated[int, typer.Option("--steps", min=1, help="Gradients of each attack of the battery.")]
AnswersOption = Annotated[
    int, typer.Option("--answers", min=0, help="Pictures that the query-only attack asks for each query; 0: none.")
]
DistancesOption = Annotated[
    bool, typer.Option("--distances/--ids-only", help="Whether the search tells distances or only what it found.")
]
EndpointOption = Annotated[
    str,
    typer.Option(
        "--endpoint", help="Search to ask instead of the model's own: package.module:factory of f(pixels, k)."
    ),
]
SourceOption = Annotated[
    list[str] | None, typer.Option("--source-model", help="Try pictures made on this model, too; may be repeated.")
]
SubstituteOption = Annotated[
    bool,
    typer.Option("--substitute/--no-substitute", help="Without a source model, train one that imitates the codes."),
]
CheckOption = Annotated[
    list[str] | None, typer.Option("--check", help="Make this check only; may be repeated; none: no check.")
]
SampleOption = Annotated[
    int | None, typer.Option("--sample", min=2, help="Queries that the checks look at. Default: 64, of photos 16.")
]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="Folder for rows, verdict, worst pictures and audit.png.")
]
PictureOption = Annotated[Path | None, typer.Option("--picture", help="Draw the stages and the curve (.png).")]


def audit(
    model: opt.Model,
    eps: opt.Eps = "8/255",
    threat: opt.Threat = "linf",
    steps: StepsOption = 30,
    answers: AnswersOption = 300,
    distances: DistancesOption = True,
    endpoint: EndpointOption = "",
    index: opt.SearchedIndex = None,
    source_model: SourceOption = None,
    substitute: SubstituteOption = True,
    check: CheckOption = None,
    sample: SampleOption = None,
    data: opt.Data = None,
    data_root: opt.Root = None,
    protocol: opt.OwnProtocol = None,
    queries: opt.AttackedQueries = None,
    out: OutOption = None,
    picture: PictureOption = None,
    batch_size: opt.AttackedAtOnce = 64,
    seed: opt.Seed = 0,
    device: opt.Device = "auto",
    restart: opt.Restart = False,
    as_json: opt.Json = False,
) -> None:
    """Find the worst case of a search: every guide, every loss, more gradients, other models, and answers alone.

    There is nothing to tune. Each attack sees only the queries that still hold, and the worst picture of each query
    is kept. Checks then ask whether the figure is really the worst case, and name the reason where it is not.
    An audit that was stopped goes on when the same command is given again.

    [bold]Examples[/bold]:

    hamguard audit models/digits --eps 0.2

    hamguard audit models/digits --eps 0.1 --queries 100 --out audits/digits

    hamguard audit models/digits --eps 0.2 --check large-eps --check saturated-tanh --answers 0
    """
    from hamguard.api.audit import audit as audit_model
    from hamguard.api.budget import read_budget

    check_suffix("--picture", picture, out and out / "rows.jsonl")
    done = audit_model(
        model,
        data,
        read_budget(threat, eps, steps=steps, queries=answers or None),
        source_models=source_model or (),
        substitute=substitute,
        answers=answers > 0,
        distances=distances,
        endpoint=endpoint,
        index=index,
        checks=check or (),
        sample=sample,
        queries=queries,
        protocol=protocol,
        root=data_root,
        out=out,
        context=context_of(device, seed, batch_size, restart=restart),
    )
    if picture:
        done.draw(picture)
    if as_json:
        print_json_rows(done.rows)
        return
    to_terminal(done.table())
    for line in done.lines:
        tell(line)
    say_written(out, picture)
