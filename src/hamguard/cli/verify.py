"""`hamguard verify`: proof of effect of protected picture files, file by file, as JSON and as one page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hamguard.cli.common import (
    Bar,
    DeviceOption,
    JsonOption,
    SeedOption,
    choose_device,
    print_rows,
    say,
    say_notes,
    tell,
)
from hamguard.core.errors import RequestError, RunError

if TYPE_CHECKING:
    from hamguard.core.rows import Row
    from hamguard.privacy.effect import Measured
    from hamguard.privacy.effect_summary import Line
    from hamguard.privacy.pairs import Protection

DEFAULT = ("jpeg:85", "jpeg:75", "resize:0.5")
SAID = 20  # problems on the terminal; the files hold all


def verify(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Folder of original pictures, or one picture.")],
    protected: Annotated[Path, typer.Argument(metavar="OUT", help="Their protected copies: a folder, or one file.")],
    matchers: Annotated[
        list[str],
        typer.Option(
            "--matcher",
            help="A search to try: model folder, package.module:factory, or torch.export file; may be repeated. "
            "Give at least one that the protector never saw.",
        ),
    ],
    views: Annotated[
        list[str] | None,
        typer.Option(
            "--view",
            help="What happens to a protected file afterwards: jpeg:Q, resize:SIDE or resize:0.5, crop:SIDE or crop:0.9, blur:R, "
            f"bits:N; may be repeated. Default: {', '.join(DEFAULT)}.",
        ),
    ] = None,
    top: Annotated[int, typer.Option("--top", "-k", min=1, help="A picture is lost that is not among so many.")] = 10,
    noise: Annotated[bool, typer.Option("--noise/--no-noise", help="Measure noise of the same size, too.")] = True,
    cards: Annotated[int, typer.Option("--cards", min=0, max=500, help="Most pictures on the page.")] = 24,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder to write to; default: the name of OUT and -verify, beside it."),
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure what protected copies do to other people's image search, on the files as they are.

    Every file gets a card: bits moved, the rank of the original when the protected file is searched with and the reverse, how the
    copy looks, and what is left of it all after JPEG and resizing. Noise of the same size stands beside it. The database is all of
    IN. Writes effect.jsonl (one object a file), summary.json and report.html.

    [bold]Examples[/bold]:

    hamguard verify photos protected --matcher models/other

    hamguard verify photos protected --matcher models/a --matcher models/b --view jpeg:85 --view crop:0.9 --top 5

    hamguard verify photo.jpg protected/photo.png --matcher models/other --json
    """
    from hamguard.images.named_views import parse_view
    from hamguard.models.store import load_any
    from hamguard.privacy.effect import Matcher, measure_effect
    from hamguard.privacy.effect_summary import effect_rows, plain_words, summary_lines
    from hamguard.privacy.pairs import find_pairs, read_protection

    words = list(DEFAULT if views is None else views)
    for word in words:  # a wrong word costs no work
        parse_view(word)
    twice = [name for number, name in enumerate(matchers) if name in matchers[:number]]
    if twice:
        raise RequestError(f"matcher {twice[0]} is named twice")
    pairing = find_pairs(source, protected)
    protection = read_protection(protected)
    folder = out or protected.parent / f"{protected.stem if protected.is_file() else protected.resolve().name}-verify"
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"--out {folder} is a file; a folder is needed")
    chosen = choose_device(device)
    tried = []
    for name in matchers:
        model, card = load_any(name, chosen)
        tried.append(Matcher(name, model, card, protection.saw(model.digest)))
    with Bar("verifying") as bar:
        measured = measure_effect(
            pairing, tried, views=words, noise=noise, seed=seed, device=chosen, progress=bar.count
        )
    lines = summary_lines(measured, top, seed)
    rows = effect_rows(measured, lines, protection, dataset=source.name, top=top, seed=seed)
    told = plain_words(measured, lines, protection, top=top, seed=seed)
    subject = f"{source} against {protected}"
    write_effect(folder, measured, protection, lines, rows, told, subject=subject, top=top, cards=cards, seed=seed)
    say_notes(*(matcher.model for matcher in tried))
    for line in measured.problems[:SAID]:
        say(line)
    if len(measured.problems) > SAID:
        say(f"and {len(measured.problems) - SAID} more; see {folder / 'summary.json'}")
    if as_json:
        print_rows(rows, subject, as_json=True)
    else:
        _report(measured, lines, told, subject, top)
        say(f"wrote {folder / 'report.html'}, effect.jsonl and summary.json")
    if measured.problems:
        count = len(measured.problems)
        raise RunError(f"{count} {'file' if count == 1 else 'files'} could not be compared; the rest is done")


def write_effect(
    folder: Path,
    measured: Measured,
    protection: Protection,
    lines: list[list[Line]],
    rows: list[Row],
    told: list[str],
    *,
    subject: str,
    top: int,
    cards: int,
    seed: int,
) -> None:
    """Write effect.jsonl, summary.json and report.html.

    Raises:
        RunError: the folder cannot be written.
    """
    import json
    from dataclasses import asdict

    from hamguard.cli.verify_page import effect_page
    from hamguard.core.files import write_json, write_text
    from hamguard.privacy.effect_summary import LIMITS, file_objects
    from hamguard.report.citing import bibtex_for, used_names
    from hamguard.report.effect_page import write_effect_page

    objects = file_objects(measured, top)
    write_text(
        folder / "effect.jsonl", "".join(json.dumps(one, ensure_ascii=False, allow_nan=False) + "\n" for one in objects)
    )
    summary: dict[str, Any] = {
        "words": told,
        "limits": list(LIMITS),
        "protect": protection.settings or None,
        "problems": measured.problems,
        "notes": measured.notes,
        "rows": [asdict(row) for row in rows],
    }
    write_json(folder / "summary.json", summary)
    page = effect_page(measured, protection, lines, told, objects, subject=subject, top=top, cards=cards, seed=seed)
    write_effect_page(replace(page, bibtex=bibtex_for(used_names(rows))), folder / "report.html")


def _report(measured: Measured, lines: list[list[Line]], told: list[str], subject: str, top: int) -> None:
    from hamguard.cli.verify_page import matcher_table
    from hamguard.report.printers import to_terminal

    tell(subject)
    for number, matcher in enumerate(measured.matchers):
        to_terminal(replace(matcher_table(measured, number, lines[number], top), title=matcher.name))
    for sentence in told:
        tell(sentence)
    for note in measured.notes:
        tell(f"Note: {note}")
    tell("It does not protect against other matchers, people who look, or a party that trains on protected pictures.")
