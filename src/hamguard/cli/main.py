"""The command line: one verb a job. Nothing heavy is imported before a verb runs, so that `--help` answers at once."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from hamguard import __version__
from hamguard.cli import data, demo, encode, evaluate, index, search, train
from hamguard.core.errors import HamguardError

app = typer.Typer(
    name="hamguard",
    help="The robustness workbench for hash-based image retrieval: learn hash codes, search them, score them.\n\n"
    "Start with: hamguard demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.add_typer(data.app, name="data")
app.command("train")(train.train)
app.command("encode")(encode.encode)
app.add_typer(index.app, name="index")
app.command("search")(search.search)
app.command("evaluate")(evaluate.evaluate)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"hamguard {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Keep the options that stand before the verb."""


def run() -> None:
    """Run the command line; every error is one readable line, with exit code 1 (run failed) or 2 (request was wrong)."""
    arguments = [word for word in sys.argv[1:] if word != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1 or bool(os.environ.get("HAMGUARD_DEBUG"))
    code = 1
    try:
        app(arguments, prog_name="hamguard")
    except HamguardError as error:
        if debug:
            raise
        typer.echo(f"hamguard: {error}", err=True)
        code = error.exit_code
    except BrokenPipeError:  # the reader of our output left, as `head` does
        sys.stderr.close()
    except OSError as error:
        if debug:
            raise
        typer.echo(f"hamguard: {error.strerror or error}{f': {error.filename}' if error.filename else ''}", err=True)
    except Exception as error:
        if debug:
            raise
        first = str(error).strip().splitlines()[0] if str(error).strip() else "no message"
        typer.echo(f"hamguard: unexpected {type(error).__name__}: {first} (add --debug for the traceback)", err=True)
    sys.exit(code)
