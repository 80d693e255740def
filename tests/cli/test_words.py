"""The words themselves: help, version, unknown words, exit codes, Ctrl-C."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from hamguard import __version__
from hamguard.cli import main
from hamguard.core.errors import RunError, StoppedError
from tests.cli.helpers import Shell

VERBS = [
    ["demo"], ["data", "list"], ["data", "check"], ["train"], ["encode"], ["index", "build"], ["index", "info"], ["search"],
    ["evaluate"], ["measure"], ["transfer"], ["attack"], ["audit"], ["harden"], ["sanity"], ["purify"], ["detect"],
]  # fmt: skip


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_has_help_with_an_example(verb: list[str], shell: Shell) -> None:
    answer = shell.done(*verb, "--help")
    assert "Example" in answer.out and f"hamguard {' '.join(verb)}" in " ".join(answer.out.split())
    assert "[bold]" not in answer.out
    assert verb == ["data", "list"] or "--json" in answer.out


def test_help_does_not_import_torch() -> None:
    code = "import sys; sys.argv = ['hamguard', 'train', '--help']\nfrom hamguard.cli.main import run\ntry: run()\n"
    code += "except SystemExit: pass\nprint({'torch', 'faiss', 'matplotlib', 'numba'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_version(shell: Shell) -> None:
    assert shell.done("--version").out == f"hamguard {__version__}\n"


def test_no_word_shows_the_help(shell: Shell) -> None:
    answer = shell()
    assert answer.code == 2 and "hamguard demo" in answer.out and answer.err == ""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["trian"], r"no such command 'trian'.*did you mean 'train'.*\(see hamguard --help\)"),
        (["data", "chek", "x"], r"no such command 'chek'.*'check'.*\(see hamguard data --help\)"),
        (["train"], r"missing option '--out' \(see hamguard train --help\)"),
        (["train", "--out", "x", "--bitz", "3"], r"no such option: --bitz.*--bits"),
        (["train", "--out", "x", "--bits", "many"], r"'--bits': .*integer, got 'many'"),
        (["evaluate", "m", "--queries", "0"], r"'--queries': must be at least 1, got '0'"),
        (["evaluate", "m", "--queries=-3"], r"'--queries': must be at least 1, got '-3'"),
        (["search", "index"], r"give pictures to search for, or words: --text"),
        (["search", "index", "a.png", "--top", "0"], r"'--top'.*must be at least 1, got '0'"),
    ],
)
def test_wrong_words_are_one_line(words: list[str], expected: str, shell: Shell) -> None:
    line = shell.fails(2, *words)
    assert re.search(expected, line, re.IGNORECASE), line


@pytest.mark.parametrize(
    ("error", "code", "expected"),
    [
        (RunError("the disk is full"), 1, "hamguard: the disk is full"),
        (StoppedError("stopped after 1 of 2 epochs"), 130, "hamguard: stopped after 1 of 2 epochs"),
        (KeyboardInterrupt(), 130, "hamguard: stopped"),
        (PermissionError(13, "Permission denied", "/x"), 1, "hamguard: Permission denied: /x"),
        (
            ZeroDivisionError("by\nzero"),
            1,
            "hamguard: unexpected ZeroDivisionError: by (add --debug for the traceback)",
        ),
    ],
)
def test_every_error_is_one_line(
    error: BaseException, code: int, expected: str, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr("hamguard.data.sources.list_sources", fail)
    assert shell.fails(code, "data", "list") == expected


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, shell: Shell, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["hamguard", "evaluate", str(tmp_path / "no"), "--debug"])
    with pytest.raises(ValueError, match="no model at"):
        main.run()
