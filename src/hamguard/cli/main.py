"""The command line: one verb a job. Nothing heavy is imported before a verb runs, so that `--help` answers at once."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hamguard import __version__
from hamguard.cli import (
    attack,
    audit,
    data,
    dedupe,
    demo,
    detect,
    encode,
    engine,
    evaluate,
    features,
    gate,
    harden,
    index,
    measure,
    models,
    panel,
    privacy,
    protect,
    purify,
    report,
    reproduce,
    sanity,
    search,
    threshold,
    train,
    transfer,
    verify,
)
from hamguard.cli.common import say
from hamguard.cli.memory import guarded, keep_freed, memory_line
from hamguard.cli.options import in_flags
from hamguard.core.errors import HamguardError, RequestError, StoppedError
from hamguard.core.shown import shown

VERBS: dict[str, dict[str, Any]] = {
    "Learn and search": {
        "demo": demo.demo,
        "data": data.app,
        "models": models.models,
        "train": train.train,
        "encode": encode.encode,
        "features": features.features,
        "index": index.app,
        "engine": engine.app,
        "search": search.search,
        "evaluate": evaluate.evaluate,
        "threshold": threshold.threshold,
        "dedupe": dedupe.dedupe,
    },
    "Attack": {"attack": attack.attack, "transfer": transfer.transfer},
    "Defend": {"harden": harden.harden, "sanity": sanity.sanity, "purify": purify.purify, "detect": detect.detect},
    "Protect": {"protect": protect.protect, "verify": verify.verify, "panel": panel.panel, "privacy": privacy.privacy},
    "Measure and report": {
        "audit": audit.audit,
        "measure": measure.measure,
        "report": report.report,
        "gate": gate.gate,
        "reproduce": reproduce.reproduce,
    },
}
"""The verbs by what they are for, each in the order in which the work is done; `--help` shows them so."""


class _InOrder(TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of `VERBS`; typer would put groups of verbs last."""
        return [name for verbs in VERBS.values() for name in verbs]


app = typer.Typer(
    name="hamguard",
    cls=_InOrder,
    help="The robustness workbench for hash-based image retrieval: learn hash codes, search them, attack the search, score it.\n\n"
    "Start with: hamguard demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _panel, _verbs in VERBS.items():
    for _name, _verb in _verbs.items():
        if isinstance(_verb, typer.Typer):
            app.add_typer(_verb, name=_name, rich_help_panel=_panel)
        else:
            app.command(_name, rich_help_panel=_panel)(_verb)


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


def check_words(words: Sequence[str]) -> None:
    """Check that no word is empty: an unset variable of a script would stand for the working folder, or for a default.

    Raises:
        RequestError: one is, or the value after `=`; the message names the option.
    """
    for number, word in enumerate(words):
        before = words[number - 1] if number else ""
        option, equals, value = word.partition("=")
        named = option.startswith("--") and bool(equals)
        if (value if named or (before == "--set" and equals) else word).strip():
            continue
        where = option if named else before if before.startswith("-") else f"word {number + 1} of the command"
        raise RequestError(f"{where}: an empty text is no value; leave it out or fill it")


def open_closed() -> None:
    """Let an input or output that a shell has closed (`>&-`, a service) be one that takes everything and holds nothing.

    Python has none in its place then, and the next file that is opened would get its number.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            handle = os.open(os.devnull, os.O_RDWR)
            if handle != number:
                os.dup2(handle, number)
                os.close(handle)
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8"))  # noqa: PTH123, SIM115


def write_anything() -> None:
    """Let both outputs write any name: what their encoding lacks, and bytes that were no UTF-8, become escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def run() -> None:
    """Run the command line; every error is one readable line, with exit code 1 (run failed) or 2 (request was wrong)."""
    open_closed()
    with guarded() as code:
        if code is None:
            _run()
        sys.exit(code)


def _run() -> None:
    arguments = [word for word in sys.argv[1:] if word != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1 or bool(os.environ.get("HAMGUARD_DEBUG"))
    write_anything()
    keep_freed()
    # what a library warns of is said in our words or not at all; last, so that whoever asks for warnings hears them
    warnings.simplefilter("ignore", append=True)
    sys.path.append(str(Path.cwd()))  # models of package.module:factory may stand here; last, so that they hide nothing
    code = 1
    try:
        check_words(arguments)
        code = app(arguments, prog_name="hamguard", standalone_mode=False) or 0
        if code == StoppedError.exit_code:  # typer turns Ctrl-C into this code
            typer.echo("hamguard: stopped", err=True)
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("hamguard: stopped", err=True)
        code = StoppedError.exit_code
    except HamguardError as error:
        if debug:
            raise
        memory = memory_line(error)
        say(f"hamguard: {memory or in_flags(str(error))}")
        code = 1 if memory else error.exit_code
    except BrokenPipeError:  # the reader of our output left, as `head` does
        sys.stderr.close()
    except OSError as error:
        if debug:
            raise
        said = memory_line(error) or f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"
        say(f"hamguard: {said}")
    except Exception as error:
        if hasattr(error, "format_message"):  # typer's own: unknown verb or option, a value that is no number
            line = _usage_line(error, arguments)
            typer.echo(shown(line), err=True, nl=bool(line))
            sys.exit(getattr(error, "exit_code", 2))
        if debug:
            raise
        first = str(error).strip().splitlines()[0] if str(error).strip() else "no message"
        unexpected = f"unexpected {type(error).__name__}: {first} (add --debug for the traceback)"
        say(f"hamguard: {memory_line(error) or unexpected}")
    sys.exit(code)
