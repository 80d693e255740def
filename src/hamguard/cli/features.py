"""`hamguard features`: pictures to features, in a file that hash codes are learned on."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from hamguard.cli import options as opt
from hamguard.cli.common import context_of, print_json, tell

ModelArgument = Annotated[
    str,
    typer.Argument(
        help="Model folder, of which the backbone counts; or package.module:factory, a network of your own."
    ),
]
OutOption = Annotated[Path, typer.Option("--out", help="File to write, .npz; its source is features:FILE.")]
TextEncoderOption = Annotated[
    str | None,
    typer.Option("--text-encoder", help="minilm: also what this sentence encoder makes of the texts."),
]


def features(
    model: ModelArgument,
    out: OutOption,
    data: opt.Data = None,
    text_encoder: TextEncoderOption = None,
    data_root: opt.Root = None,
    protocol: opt.OwnProtocol = None,
    device: opt.Device = "auto",
    as_json: opt.Json = False,
) -> None:
    """Write what a network makes of pictures, with their labels, texts and split.

    [bold]Example[/bold]: hamguard features models/digits --out digits.npz

    Learn on it: hamguard train --data features:digits.npz --method dpsh --out models/on-features
    """
    from hamguard.api.features import features as write

    made = write(
        model, data, out=out, text_encoder=text_encoder, protocol=protocol, root=data_root, context=context_of(device)
    )
    if as_json:
        print_json([{"file": str(made.path), "count": made.count, "features": made.features}])
        return
    for note in made.notes:
        tell(f"Note: {note}")
    tell(f"{made.path}: {made.count:,} x {made.features:,} features")
    method = "--method dpsh " if made.labeled else ""  # without labels `train` takes what needs none
    tell(f"Next: hamguard train --data {shlex.quote(f'features:{made.path}')} {method}--out MODEL")
