"""The command line: one verb a job. Nothing heavy is imported before a verb runs, so that `--help` answers at once."""

from __future__ import annotations

import os
import sys
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer

from hamguard import __version__
from hamguard.cli import (
    attack,
    audit,
    data,
    demo,
    detect,
    encode,
    evaluate,
    harden,
    index,
    measure,
    privacy,
    protect,
    purify,
    report,
    reproduce,
    sanity,
    search,
    train,
    transfer,
    verify,
)
from hamguard.core.errors import HamguardError, StoppedError

app = typer.Typer(
    name="hamguard",
    help="The robustness workbench for hash-based image retrieval: learn hash codes, search them, attack the search, score it.\n\n"
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
app.command("attack")(attack.attack)
app.command("audit")(audit.audit)
app.command("harden")(harden.harden)
app.command("detect")(detect.detect)
app.command("privacy")(privacy.privacy)
app.command("purify")(purify.purify)
app.command("protect")(protect.protect)
app.command("report")(report.report)
app.command("reproduce")(reproduce.reproduce)
app.command("sanity")(sanity.sanity)
app.command("measure")(measure.measure)
app.command("transfer")(transfer.transfer)
app.command("verify")(verify.verify)


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


def _usage_line(error: Any, words: list[str]) -> str:
    """A fault of the words themselves as one line; nothing where the help text stands there already."""
    message = error.format_message().strip().rstrip(".")
    if not message or "\n" in message:
        return str(message)
    message = message.replace("Input should be a", "must be a").replace("Input should be", "must be")
    message = message.replace("greater than or equal to", "at least").partition(", unable to parse")[0]
    names = getattr(getattr(error, "param", None), "opts", ())
    got = [b for a, b in pairwise(words) if a in names] + [
        b for a, _, b in (w.partition("=") for w in words) if b and a in names
    ]
    path = getattr(getattr(error, "ctx", None), "command_path", "hamguard")
    return f"hamguard: {message[0].lower()}{message[1:]}{f', got {got[-1]!r}' if got else ''} (see {path} --help)"


def run() -> None:
    """Run the command line; every error is one readable line, with exit code 1 (run failed) or 2 (request was wrong)."""
    arguments = [word for word in sys.argv[1:] if word != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1 or bool(os.environ.get("HAMGUARD_DEBUG"))
    sys.path.append(str(Path.cwd()))  # models of package.module:factory may stand here; last, so that they hide nothing
    code = 1
    try:
        code = app(arguments, prog_name="hamguard", standalone_mode=False) or 0
        if code == StoppedError.exit_code:  # typer turns Ctrl-C into this code
            typer.echo("hamguard: stopped", err=True)
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("hamguard: stopped", err=True)
        code = StoppedError.exit_code
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
        if hasattr(error, "format_message"):  # typer's own: unknown verb or option, a value that is no number
            line = _usage_line(error, arguments)
            typer.echo(line, err=True, nl=bool(line))
            sys.exit(getattr(error, "exit_code", 2))
        if debug:
            raise
        first = str(error).strip().splitlines()[0] if str(error).strip() else "no message"
        typer.echo(f"hamguard: unexpected {type(error).__name__}: {first} (add --debug for the traceback)", err=True)
    sys.exit(code)
