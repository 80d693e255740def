"""Options that several verbs take: one name, one meaning and one text each. What one verb alone takes stands beside that verb."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[str, typer.Argument(help="Model folder, package.module:factory, or torch.export file.")]
Index = Annotated[
    str, typer.Argument(help="Index folder, or address of a data base: postgresql://USER@HOST/DATABASE#NAME.")
]
Codes = Annotated[
    str,
    typer.Argument(help="Code bank (.npz) of `encode`, codes from elsewhere (.npz), or an index: folder or address."),
]
ChangedIndex = Annotated[str, typer.Argument(help="Index folder or address of a data base; it is changed in one step.")]

SearchedIndex = Annotated[
    str | None,
    typer.Option(
        "--index", help="Search this index (folder, or address of a data base) in the place of codes encoded anew."
    ),
]

Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="SOURCE",
        help="Data source: a name, folder:PATH, arrays:FILE.npz, features:FILE.npz or lists:DIR.",
    ),
]
Root = Annotated[
    Path | None,
    typer.Option("--data-root", help="Folder of the named data sets; default: $HAMGUARD_DATA, then the user cache."),
]
Protocol = Annotated[str | None, typer.Option("--protocol", help="Named split; see `hamguard data list`.")]
OwnProtocol = Annotated[str | None, typer.Option("--protocol", help="Named split; the model's own where not given.")]
VIEW_FORMS = (
    "jpeg:Q, webp:Q, resize:SIDE or resize:0.5, crop:SIDE or crop:0.9, thumbnail:SIDE, screenshot:0.75, blur:R, median:N, bits:N, "
    "contrast:0.8, color:0.7, brightness:1.1"
)
"""How the changes are written that become of a picture on its way; docs/protect.md says what each does."""

DropDuplicates = Annotated[
    bool, typer.Option("--drop-duplicates", help="Leave out pictures that are copies of others.")
]
Queries = Annotated[int | None, typer.Option("--queries", min=1, help="Use the first N of the query split.")]
AttackedQueries = Annotated[
    int | None,
    typer.Option(
        "--queries", min=1, help="Use the first N of the query split. Default: all; of photos 64, in an audit 32."
    ),
]

Eps = Annotated[str, typer.Option("--eps", help="How far pixels may move, in pixel units of [0, 1].")]
Threat = Annotated[str, typer.Option("--threat", help="Norm of the budget: linf or l2.")]
AttackThreat = Annotated[
    str | None,
    typer.Option(
        "--threat",
        help="Norm of the budget: linf, l2, l1, or l0, for which eps is a share of the pixels. Default: the method's own.",
    ),
]
Steps = Annotated[int, typer.Option("--steps", min=1, help="Gradients of each attack.")]
OwnSteps = Annotated[int | None, typer.Option("--steps", min=1, help="Gradients a picture; the method's own.")]
MethodSets = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Option of the method.")]
Targets = Annotated[
    str | None,
    typer.Option(
        "--targets", help="Approach a target label: no-overlap, other, frequent, distinct, label:NAME, or a saved list."
    ),
]

Ties = Annotated[str, typer.Option("--ties", help="expected, stable, worst or best.")]
Norm = Annotated[str, typer.Option("--norm", help="Denominator of map@N: relevant, hits or min.")]
Empty = Annotated[str, typer.Option("--empty", help="Queries without a hit: zero or skip.")]

Sets = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting or recipe field.")]
StepSize = Annotated[int | None, typer.Option("--batch-size", help="Pictures a step, over all processes.")]
RestartTraining = Annotated[bool, typer.Option("--restart", help="Throw away what --out holds and begin again.")]

BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Pictures a step.")]
AttackedAtOnce = Annotated[int, typer.Option("--batch-size", min=1, help="Pictures attacked at once.")]
Restart = Annotated[bool, typer.Option("--restart", help="Throw away what an earlier run of it left.")]
RowsFile = Annotated[Path | None, typer.Option("--out", help="Write the rows to this rows.jsonl.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything that is drawn.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON rows on standard output and nothing else.")]

FLAGS = {
    "audits": "--audit",
    "backbone": "--backbone",
    "cells": "--cells",
    "combine": "--combine",
    "cost": "--budget",
    "data": "--data",
    "database_codes": "--database-codes",
    "endpoint": "--endpoint",
    "eps": "--eps",
    "exclude_self": "--exclude-self",
    "generator": "--generator",
    "index": "--index",
    "learned": "--learned",
    "least": "--set least",
    "matchers": "--matcher",
    "methods": "--method",
    "model": "MODEL",
    "options": "--set",
    "out": "--out",
    "preset": "--preset",
    "restart": "--restart",
    "protocol": "--protocol",
    "queries": "--queries",
    "query_codes": "--query-codes",
    "root": "--data-root",
    "runner": "--runner",
    "sample": "--sample",
    "side": "--side",
    "source_models": "--source-model",
    "steps": "--steps",
    "tables": "--tables",
    "targets": "--targets",
    "threat": "--threat",
    "views": "--view",
    "warmup_rate": "--set warmup_rate",
    "weights": "--weights",
    "words": "--words",
    "workers": "--workers",
}
"""What the command line calls an argument that an error names as `argument`, or as `argument=VALUE`."""
_NAMED = re.compile(rf"`(?:({'|'.join(FLAGS)})(?:=(\w+))?|([a-z_]+=[\w.+-]+))`")
"""An argument of these, or `key=value`: a setting, which is a keyword in Python and goes with `--set` on the command line."""


def in_flags(message: str) -> str:
    """A message of the door in words of the command line.

    >>> in_flags("foreign codes need both `query_codes` and `database_codes`; or give `data=SOURCE`")
    'foreign codes need both --query-codes and --database-codes; or give --data SOURCE'
    >>> in_flags("lower the learning rate (now `lr=0.01`)")
    'lower the learning rate (now --set lr=0.01)'
    """

    def said(found: re.Match[str]) -> str:
        name, value, setting = found.groups()
        return f"--set {setting}" if setting else " ".join(filter(None, (FLAGS[name], value)))

    return _NAMED.sub(said, message)
