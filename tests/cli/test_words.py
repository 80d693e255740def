"""The words themselves: help, version, unknown words, exit codes, Ctrl-C."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from hamguard import __version__
from hamguard.api.evaluate import evaluate
from hamguard.cli import main, memory
from hamguard.cli.options import FLAGS
from hamguard.core.errors import RequestError, RunError, StoppedError
from tests.cli.helpers import Shell

VERBS = [
    ["demo"], ["data", "list"], ["data", "check"], ["models"], ["panel"], ["train"], ["encode"], ["features"], ["index", "build"],
    ["index", "info"], ["search"], ["evaluate"], ["measure"], ["transfer"], ["attack"], ["audit"], ["harden"], ["sanity"],
    ["purify"], ["detect"], ["gate"], ["threshold"], ["dedupe"],
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

    monkeypatch.setattr("hamguard.api.data.list_sources", fail)
    assert shell.fails(code, "data", "list") == expected


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, shell: Shell, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["hamguard", "evaluate", str(tmp_path / "no"), "--debug"])
    with pytest.raises(ValueError, match="no model at"):
        main.run()


@pytest.mark.parametrize(
    ("words", "closed", "code"),
    [
        (("engine", "check", "--list"), ">&-", 0),
        (("engine", "check", "--list"), "<&- >&- 2>&-", 0),
        (("gate", "none", "--limits", "none"), "2>&-", 2),
    ],
)
def test_a_closed_output_changes_no_exit_code(words: tuple[str, ...], closed: str, code: int) -> None:
    command = " ".join([sys.executable, "-m", "hamguard", *words, closed])
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


@pytest.mark.parametrize(
    ("words", "lost"),
    [
        (("evaluate", "shipped:digits", "--out"), "evaluate.evaluate"),
        (("evaluate", "shipped:digits", "--curves"), "evaluate.evaluate"),
        (("attack", "shipped:digits", "--method", "hag", "--eps", "0.1", "--out"), "attack.attack"),
        (("threshold", "codes.npz", "--items", "1000", "--out"), "threshold.threshold"),
        (("transfer", "shipped:digits", "shipped:digits-hard", "--out"), "transfer.transfer"),
        (("measure", "shipped:digits", "--out"), "measure.measure"),
        (("sanity", "shipped:digits", "--out"), "defense.sanity"),
        (("purify", "shipped:digits", "--out"), "defense.purify"),
        (("audit", "shipped:digits", "--out"), "audit.audit"),
        (("search", "index", "query:0", "--sheet"), "search.search"),
        (("engine", "check", "faiss-flat", "--out"), None),
        (("features", "shipped:digits", "--out"), None),
    ],
)
def test_a_place_that_takes_no_file_is_named_before_the_work(
    words: tuple[str, ...], lost: str | None, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    name = {"--curves": "x.png", "--sheet": "x.png"}.get(words[-1], "x.npz" if words[0] == "features" else "x")
    if lost is not None:
        monkeypatch.setattr(f"hamguard.api.{lost}", lambda *given, **more: pytest.fail("the work has begun"))
    assert "Not a directory" in shell.fails(1, *words, tmp_path / "file" / name)


GROUPS = {
    "Learn and search": [
        "demo",
        "data",
        "models",
        "train",
        "encode",
        "features",
        "index",
        "engine",
        "search",
        "evaluate",
        "threshold",
        "dedupe",
    ],
    "Attack": ["attack", "transfer"],
    "Defend": ["harden", "sanity", "purify", "detect"],
    "Protect": ["protect", "verify", "panel", "privacy"],
    "Measure and report": ["audit", "measure", "report", "gate", "reproduce"],
}


def test_help_shows_the_verbs_by_what_they_are_for(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = shell.done("-h").out.splitlines()
    assert max(map(len, lines)) <= 80
    found: dict[str, list[str]] = {}
    for line in lines:
        if title := re.match(r"[^\w]*─ ([\w ]+) ─", line):
            found[title[1]] = []
        elif verb := re.match(r"│ ([a-z]+) ", line):
            found[[*found][-1]].append(verb[1])
    assert [*found] == ["Options", *GROUPS]
    assert {group: found[group] for group in GROUPS} == GROUPS
    assert shell.done("--help").out == "\n".join(lines) + "\n"


@pytest.mark.parametrize("verb", [verb for verbs in GROUPS.values() for verb in verbs])
def test_help_of_each_verb_fits_a_terminal(verb: str, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert max(len(line) for line in shell.done(verb, "-h").out.splitlines()) <= 80


@pytest.mark.parametrize(
    ("words", "where"),
    [
        (["search", "index", ""], "word 3 of the command"),
        (["protect", "", "out"], "word 2 of the command"),
        (["verify", " ", "out"], "word 2 of the command"),
        (["report", "", "--out", "x.html"], "word 2 of the command"),
        (["report", "rows.jsonl", "--out", ""], "--out"),
        (["report", "rows.jsonl", "--title="], "--title"),
        (["attack", "m", "--method", ""], "--method"),
        (["attack", "m", "--eps", " "], "--eps"),
        (["train", "--data=", "--out", "x"], "--data"),
        (["train", "--out", "x", "--set", ""], "--set"),
        (["train", "--out", "x", "--set", "lr="], "--set"),
        (["attack", "m", "--set", "steps= "], "--set"),
        (["", "demo"], "word 1 of the command"),
    ],
)  # fmt: skip
def test_an_empty_word_is_no_value(
    words: list[str], where: str, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert shell.fails(2, *words).startswith(f"hamguard: {where}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("std::bad_alloc"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:98] . DefaultCPUAllocator: can't allocate memory: you tried ..."),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("can't start new thread"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        OSError(12, "Cannot allocate memory"),
    ],
    ids=lambda error: f"{type(error).__name__} {error}"[:40],
)  # fmt: skip
def test_out_of_memory_is_said_in_one_line(
    error: Exception, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    def fail_inside(*_: object) -> None:
        try:
            raise error
        except Exception as inner:
            raise RequestError("rows.jsonl is damaged: it cannot be read") from inner

    monkeypatch.chdir(tmp_path)
    for way in (fail, fail_inside):
        monkeypatch.setattr("hamguard.api.report.collect", way)
        line = shell.fails(1, "report", "rows.jsonl")
        assert line.startswith("hamguard: not enough memory") and "--batch-size" in line
        assert ("2.00 GiB more" in line) == ("GiB" in str(error))


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes differ"), ImportError("no module x"), OSError(28, "No space left")]
)
def test_other_faults_are_not_said_to_be_memory(error: Exception) -> None:
    assert memory.memory_line(error) is None


def test_a_reader_may_say_itself_what_asked_for_the_memory() -> None:
    try:
        try:
            raise MemoryError
        except MemoryError:
            raise RequestError("x.npz is damaged: it asks for more memory than there is") from None
    except RequestError as error:
        assert memory.memory_line(error) is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_library_that_ends_the_process_for_want_of_memory_is_answered_for(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(memory, "limit", lambda: 3 << 30)
    for ended, expected in ((127, 1), (0, 0), (2, 2)):
        with memory.guarded() as code:
            if code is None:
                os._exit(ended)
        said = capfd.readouterr().err
        assert code == expected and ("not enough memory (the limit of this shell is 3,072 MiB)" in said) == (
            ended == 127
        )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no such limits here")
def test_a_limit_that_is_too_small_for_the_libraries_is_said() -> None:
    code = "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (600 << 20,) * 2)\n"
    code += (
        "sys.argv = ['hamguard', 'train', '--method', 'lsh', '--out', 'x']\nfrom hamguard.cli.main import run\nrun()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith("hamguard: not enough memory"), done.stderr


def test_an_error_names_arguments_in_python_and_options_on_the_command_line(shell: Shell) -> None:
    with pytest.raises(RequestError, match="both `query_codes` and `database_codes`"):
        evaluate()
    assert "both --query-codes and --database-codes" in shell.fails(2, "evaluate")


def test_what_errors_name_is_an_option_of_some_verb() -> None:
    known: set[str] = set()
    for command in get_command(main.app).commands.values():  # type: ignore[attr-defined]
        known |= {option for one in command.params for option in one.opts}
    assert {flag.split()[0] for flag in FLAGS.values() if flag.startswith("--")} <= known
