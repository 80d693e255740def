"""`hamguard protect`: copies of pictures that other people's picture search does not match with the originals."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from hamguard.cli import options as opt
from hamguard.cli.common import context_of, print_json, say, tell

SourceArgument = Annotated[Path, typer.Argument(metavar="IN", help="Picture, or folder of pictures.")]
OutArgument = Annotated[
    Path, typer.Argument(metavar="OUT", help="Where copies go: a folder, or a file for one picture.")
]
ProtectorOption = Annotated[
    str, typer.Option("--protector", help="Protector folder, or the name of one that ships with hamguard.")
]
EpsOption = Annotated[
    str | None,
    typer.Option(
        "--eps",
        help="How far pixels may move, in pixel units of [0, 1].",
        show_default="the protector's own, 8/255 for photos; 10/255 with --strong",
    ),
]
KindOption = Annotated[
    str | None, typer.Option("--format", help="png (holds the noise exactly), jpeg or webp.", show_default="png")
]
QualityOption = Annotated[
    int | None,
    typer.Option("--quality", min=1, max=100, help="Of jpeg and webp; webp of 100 is exact.", show_default="95"),
]
MetadataOption = Annotated[
    str,
    typer.Option("--metadata", help="strip (color profile only), no-location (EXIF without places) or keep."),
]
ScaleOption = Annotated[
    str, typer.Option("--scale", help="Noise of large pictures: full (own size), fit (enlarged) or auto.")
]
StrongOption = Annotated[
    bool,
    typer.Option(
        "--strong", help="Refine against networks that ship or are installed: seconds a photo, far more effect."
    ),
]
RefineOption = Annotated[int, typer.Option("--refine", min=0, help="Gradient steps a picture against --matcher.")]
MatchersOption = Annotated[
    list[str] | None, typer.Option("--matcher", help="Model that --refine works against; may be repeated.")
]
CheckOption = Annotated[
    int,
    typer.Option(
        "--check", min=0, help="Photos of a sample that searches the protector never saw are tried on; 0 for none."
    ),
]
BatchSizeOption = Annotated[int, typer.Option("--batch-size", min=1, help="Pictures of one size at once.")]
RestartOption = Annotated[
    bool, typer.Option("--restart", help="Throw away the copies that protect made in OUT and begin again.")
]


def protect(
    source: SourceArgument,
    out: OutArgument,
    protector: ProtectorOption = "photos",
    eps: EpsOption = None,
    kind: KindOption = None,
    quality: QualityOption = None,
    metadata: MetadataOption = "strip",
    scale: ScaleOption = "auto",
    strong: StrongOption = False,
    refine: RefineOption = 0,
    matchers: MatchersOption = None,
    check: CheckOption = 24,
    batch_size: BatchSizeOption = 8,
    seed: opt.Seed = 0,
    restart: RestartOption = False,
    device: opt.Device = "auto",
    as_json: opt.Json = False,
) -> None:
    """Write protected copies of pictures: they look much the same, and some hash-based searches miss the originals with them.

    Originals are never touched. Broken files are skipped and named at the end, with exit code 1; what is no picture, hidden, or of
    a kind that is not read is left out and counted. A run that was stopped goes on when the same command is given again.

    [bold]Examples[/bold]:

    hamguard protect photos protected

    hamguard protect photos protected --strong

    hamguard protect photos protected --refine 10 --matcher models/a --matcher models/b

    hamguard protect photo.jpg protected.jpg --quality 90 --metadata no-location
    """
    from hamguard.api.protect import protect as run

    made = run(
        source,
        out,
        protector=protector,
        eps=eps,
        format=kind,
        quality=quality,
        metadata=metadata,
        scale=scale,
        strong=strong,
        refine=refine,
        matchers=matchers or (),
        check=check,
        batch_size=batch_size,
        context=context_of(device, seed, restart=restart),
    )
    if as_json:
        print_json([entry.model_dump() for entry in made.entries])
        print_json([{"summary": made.facts, "settings": made.settings.model_dump()}])
    else:
        for line in made.lines:
            tell(line)
    for reason in made.skipped:
        say(f"skipped: {reason}")
    if made.skipped:
        sys.exit(1)
