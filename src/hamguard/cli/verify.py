"""`hamguard verify`: proof of effect of protected picture files, file by file, as JSON and as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hamguard.cli import options as opt
from hamguard.cli.common import context_of, print_json_rows, say, tell
from hamguard.core.errors import RunError
from hamguard.report.printers import to_terminal

DEFAULT = ("jpeg:85", "jpeg:75", "resize:0.5")
SAID = 20  # problems on the terminal; the files hold all


SourceArgument = Annotated[Path, typer.Argument(metavar="IN", help="Folder of original pictures, or one picture.")]
ProtectedArgument = Annotated[
    Path, typer.Argument(metavar="OUT", help="Their protected copies: a folder, or one file.")
]
MatchersOption = Annotated[
    list[str] | None,
    typer.Option(
        "--matcher",
        help="A search to try: model folder, panel:NAME, package.module:factory, or torch.export file; may be repeated. "
        "Give at least one that the protector never saw. Default: those of the panel that are here (hamguard panel).",
    ),
]
ViewsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--view",
        help=f"What happens to a protected file afterwards: {opt.VIEW_FORMS}; may be repeated. Default: {', '.join(DEFAULT)}.",
    ),
]
TopOption = Annotated[int, typer.Option("--top", "-k", min=1, help="A picture is lost that is not among so many.")]
NoiseOption = Annotated[bool, typer.Option("--noise/--no-noise", help="Measure noise of the same size, too.")]
CardsOption = Annotated[int, typer.Option("--cards", min=0, max=500, help="Most pictures on the page.")]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", help="Folder to write to; default: the name of OUT and -verify, beside it."),
]


def verify(
    source: SourceArgument,
    protected: ProtectedArgument,
    matchers: MatchersOption = None,
    views: ViewsOption = None,
    top: TopOption = 10,
    noise: NoiseOption = True,
    cards: CardsOption = 24,
    out: OutOption = None,
    seed: opt.Seed = 0,
    device: opt.Device = "auto",
    as_json: opt.Json = False,
) -> None:
    """Measure what protected copies do to other people's image search, on the files as they are.

    Every file gets a card: bits moved, the rank of the original when the protected file is searched with and the reverse, how the
    copy looks, and what is left of it all after JPEG and resizing. Noise of the same size stands beside it. The database is all of
    IN; searches of the panel hold 6,500 other photos, too. Writes effect.jsonl (one object a file), summary.json and report.html.

    [bold]Examples[/bold]:

    hamguard verify photos protected

    hamguard verify photos protected --matcher models/other

    hamguard verify photos protected --matcher models/a --matcher models/b --view jpeg:85 --view crop:0.9 --top 5

    hamguard verify photo.jpg protected/photo.png --matcher models/other --json
    """
    from hamguard.api.verify import LIMIT
    from hamguard.api.verify import verify as run

    done = run(
        source,
        protected,
        matchers=matchers or (),
        views=views,
        top=top,
        noise=noise,
        cards=cards,
        out=out,
        context=context_of(device, seed),
    )
    for note in done.model_notes:
        say(f"Note: {note}")
    for line in done.problems[:SAID]:
        say(line)
    if len(done.problems) > SAID:
        say(f"and {len(done.problems) - SAID} more; see {done.folder / 'summary.json'}")
    if as_json:
        print_json_rows(done.rows)
    else:
        tell(done.subject)
        to_terminal(*done.shown)
        for line in (*done.words, *(f"Note: {note}" for note in done.notes), LIMIT):
            tell(line)
        say(f"wrote {done.page}, effect.jsonl and summary.json")
    if count := len(done.problems):
        raise RunError(f"{count} {'file' if count == 1 else 'files'} could not be compared; the rest is done")
