"""What the verbs share: options with one name and one meaning everywhere, JSON rows."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from hamguard.api.running import Bar, choose_device
from hamguard.core.errors import RequestError, RunError
from hamguard.core.shown import json_line, shown

if TYPE_CHECKING:
    from hamguard.core.context import Context
    from hamguard.core.rows import Row

DataOption = Annotated[
    str | None,
    typer.Option("--data", metavar="SOURCE", help="Data source: a name, folder:PATH, arrays:FILE.npz or lists:DIR."),
]
RootOption = Annotated[
    Path | None,
    typer.Option("--data-root", help="Folder of the named data sets; default: $HAMGUARD_DATA, then the user cache."),
]
ProtocolOption = Annotated[str | None, typer.Option("--protocol", help="Named split; see `hamguard data list`.")]
OwnProtocolOption = Annotated[
    str | None, typer.Option("--protocol", help="Named split; the model's own where not given.")
]
EpsOption = Annotated[str, typer.Option("--eps", help="How far pixels may move, in pixel units of [0, 1].")]
ThreatOption = Annotated[str, typer.Option("--threat", help="Norm of the budget: linf or l2.")]
DropOption = Annotated[bool, typer.Option("--drop-duplicates", help="Leave out pictures that are copies of others.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of everything that is drawn.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON rows on standard output and nothing else.")]
QueriesOption = Annotated[int | None, typer.Option("--queries", min=1, help="Use the first N of the query split.")]
BatchOption = Annotated[int, typer.Option("--batch-size", min=1, help="Pictures a step.")]


DRAWN = (".png", ".svg", ".pdf")
SAID = 20  # broken pictures that are named


def context_of(device: str, seed: int = 0, batch_size: int = 64, *, restart: bool = False) -> Context:
    """How a command's run is carried out.

    Raises:
        RequestError: no such device here.
    """
    from hamguard.core.context import Context

    return Context(choose_device(device), seed, batch_size, restart, stage=Bar, tell=say)


def check_suffix(option: str, path: Path | None) -> None:
    """Check the type of a picture to draw before the work that fills it.

    Raises:
        RequestError: none that can be drawn.
    """
    if path is not None and path.suffix.lower() not in DRAWN:
        raise RequestError(f"{option} is written as {', '.join(DRAWN)}, got {path.name}")


def key_value(text: str) -> tuple[str, str]:
    """The two sides of `--set KEY=VALUE`.

    Raises:
        RequestError: there is no key, or no `=`.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip() or not value.strip():
        raise RequestError(f"--set must be KEY=VALUE, got {text!r}")
    return key, value


def tell(text: str = "") -> None:
    """A line of the answer, on standard output; what stands in names cannot move the cursor or begin a line."""
    typer.echo(shown(text))


def say(text: str) -> None:
    """A line for the person at the terminal, on standard error."""
    typer.echo(shown(text), err=True)


def say_notes(*models: object) -> None:
    """What a reader of models' codes must know, on standard error; for commands without rows to say it in."""
    from hamguard.api.wrap import notes_of

    for note in dict.fromkeys(note for model in models for note in notes_of(model)):
        say(f"Note: {note}")


class MayLack(Protocol):
    """Something made from pictures, some of which could not be read."""

    @property
    def unread(self) -> tuple[str, ...]:
        """Why, a line each."""


def name_unread(*held: MayLack) -> None:
    """Name pictures that could not be read, once the rest is done.

    Raises:
        RunError: there are some, so that a script notices.
    """
    say_unread([line for one in held for line in one.unread])


def say_unread(lines: Sequence[str]) -> None:
    """The same of lines that say which, and why.

    Raises:
        RunError: there are some.
    """
    for line in lines[:SAID]:
        say(line)
    if len(lines) > SAID:
        say(f"and {len(lines) - SAID:,} more")
    if lines:
        what = "picture" if len(lines) == 1 else "pictures"
        raise RunError(f"{len(lines):,} {what} could not be read; the rest is done")


def print_json(values: Iterable[Any]) -> None:
    """One JSON value a line on standard output."""
    for value in values:
        typer.echo(json_line(value, sys.stdout.encoding))


def print_json_rows(rows: Iterable[Row]) -> None:
    """Rows as JSON lines, equal ones once."""
    for line in dict.fromkeys(row.json() for row in rows):
        tell(line)


def print_rows(rows: Sequence[Row], title: str, *, as_json: bool) -> None:
    """Rows as JSON lines, or as a table with intervals and notes."""
    from hamguard.report.plain_table import plain_table
    from hamguard.report.printers import to_terminal

    if as_json:
        print_json(asdict(row) for row in rows)
    else:
        to_terminal(plain_table(rows, title))
