"""What the verbs share beside options: how words become values, and how lines and rows are printed."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import typer

from hamguard.api.running import Bar
from hamguard.cli.options import in_flags
from hamguard.core.context import Context
from hamguard.core.errors import RequestError, RunError
from hamguard.core.files import check_writable
from hamguard.core.shown import json_line, shown
from hamguard.report.printers import to_terminal

if TYPE_CHECKING:
    from hamguard.api.results import Rows
    from hamguard.core.rows import Row

Words: TypeAlias = dict[str, Any]
"""What stands in options, by the arguments that it goes to; the functions of the door check it."""
DRAWN = (".png", ".svg", ".pdf")
SAID = 20  # broken pictures that are named


def context_of(
    device: str = "auto", seed: int = 0, batch_size: int = 64, *, restart: bool = False, quiet: bool = False
) -> Context:
    """How a command's run is carried out; the door finds the device once it needs one, and `quiet` keeps its lines back."""
    return Context(device, seed, batch_size, restart, stage=Bar, tell=(lambda line: None) if quiet else _said)


def _said(line: str) -> None:
    say(in_flags(line))


def check_suffix(option: str, path: Path | None, *others: Path | None) -> None:
    """Check the type of a picture to draw before the work that fills it, and that it and other files can be written.

    Raises:
        RequestError: none that can be drawn.
        RunError: a file cannot be written.
    """
    if path is not None and path.suffix.lower() not in DRAWN:
        raise RequestError(f"{option} is written as {', '.join(DRAWN)}, got {path.name}")
    check_places(path, *others)


def check_places(*paths: Path | None) -> None:
    """Check that files which are asked for can be written, so that no figure is lost after the work.

    Raises:
        RunError: one cannot.
    """
    for path in paths:
        if path is not None:
            check_writable(path)


def key_values(words: Sequence[str] | None) -> dict[str, str]:
    """Keys and values of `--set KEY=VALUE`.

    Raises:
        RequestError: there is no key, or no `=`.
    """
    found = {}
    for word in words or ():
        key, equals, value = word.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise RequestError(f"--set must be KEY=VALUE, got {word!r}")
        found[key] = value
    return found


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


def print_measured(rows: Rows, *written: Path | None, as_json: bool) -> None:
    """Rows as JSON lines, or as their tables and the names of what was written."""
    if as_json:
        print_json_rows(rows)
        return
    to_terminal(*rows.tables())
    say_written(*written)


def say_written(*paths: Path | None) -> None:
    """Name what was written, where it was asked for."""
    for path in paths:
        if path:
            say(f"wrote {path}")


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
    for line in dict.fromkeys(json_line(asdict(row), sys.stdout.encoding) for row in rows):
        typer.echo(line)
