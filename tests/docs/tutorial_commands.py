"""What `test_add_a_method.py` runs in a copy of the repository that has the files of the tutorial; it is no test of this one."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from tests.cli.helpers import Shell

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "add-a-method.md"


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(capsys, monkeypatch)


def test_commands_of_the_page(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("hamguard ")]
    answers = {}
    for line in lines:
        words = shlex.split(line)[1:]
        more = ["--epochs", "1"] if words[0] == "train" else ["--queries", "30"] if "--method" in words else []
        more += ["--json"] if words[0] in ("attack", "evaluate") else []
        answers[line] = shell.done(*words, *more)
    assert [line.split()[1] for line in lines] == ["train", "attack", "attack", "attack", "evaluate", "report"]
    listed, alone, guided = (answers[line].rows for line in lines if line.startswith("hamguard attack"))
    (medoid,) = (row for row in listed if row["method"] == "medoid")
    assert medoid["direction"] == "either" and medoid["options"] == ["steps"]
    assert medoid["title"] == "Medoid attack: leave, or approach, the most central code that a picture of the label has"
    for rows, method, metric in ((alone, "medoid", "map"), (guided, "adaptive", "t-map")):
        found = {row["attack"]["method"] if row["attack"] else "clean": row for row in rows if row["metric"] == metric}
        side = 1 if metric == "map" else -1
        assert found[method]["attack"]["guide"] == "medoid"
        assert side * (found["noise"]["value"] - found[method]["value"]) > 0.05, "it moves what it is to move"
    page = (tmp_path / "medoid.html").read_text(encoding="utf-8")
    assert "medoid" in re.sub(r"<(script|style).*?</\1>|<[^>]+>", "", page, flags=re.DOTALL), "a reader sees the name"


def test_wrong_words_know_the_new_names(shell: Shell, tmp_path: Path) -> None:
    for words, name in (
        (("attack", "models/x", "--method", "medoyd"), "medoid"),
        (("attack", "models/x", "--method", "pgd", "--guide", "medoyd"), "medoid"),
        (("train", "--data", "digits", "--method", "kssh", "--out", tmp_path / "x"), "ksh"),
    ):
        assert f"did you mean {name}?" in shell.fails(2, *words)


def test_help_texts_have_the_new_names(shell: Shell) -> None:
    attack, train = shell.done("attack", "--help").out, shell.done("train", "--help").out
    assert attack.count("medoid") >= 2 and "ksh" in train


def test_cards_and_tables_have_the_new_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import build_cards

    monkeypatch.setattr(sys, "argv", ["build_cards.py", str(tmp_path)])
    assert build_cards.main() == 0

    def page(name: str) -> str:
        return (tmp_path / name).read_text(encoding="utf-8")

    assert "MedoidCode" in page("attacks/medoid.md") and "sign steps from a random start" in page("attacks/medoid.md")
    assert "| `balance` | True |" in page("methods/ksh.md") and "* `paper`: balance = False" in page("methods/ksh.md")
    for name, line in (
        ("attacks/README.md", "| [medoid](medoid.md) | Medoid attack: leave"),
        ("attacks/README.md", "| `medoid` | The code with the least sum of distances"),
        ("methods/README.md", "| [ksh](ksh.md) | KSH (Liu, Wang"),
        ("README.md", "| [medoid](attacks/medoid.md) |"),
        ("README.md", "| `medoid` |"),
        ("README.md", "| [ksh](methods/ksh.md) |"),
        ("attacks/pgd.md", "medoid"),
    ):
        assert line in page(name), name
