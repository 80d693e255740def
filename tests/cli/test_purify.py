"""`hamguard purify` and `hamguard train --method comdefend`: the table, the rows, and every request that is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from hamguard.core.rows import read_rows
from tests.cli.conftest import World
from tests.cli.helpers import Shell

QUICK = ("--eps", "0.1", "--queries", 8, "--steps", 2)
TINY = ("--set", "width=0.0625", "--epochs", 1, "--batch-size", 64)
LAST = "Only `worse of both` is a claim about security"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAMGUARD_CACHE", str(tmp_path / "cache"))


def test_table_rows_and_json(shell: Shell, world: World, tmp_path: Path) -> None:
    words = ("purify", world.model, "--with", "jpeg:75", "--with", "resize:0.75+bits:4", *QUICK)
    answer = shell.done(*words, "--out", tmp_path / "rows.jsonl")
    text = answer.out
    assert "(toy, 8 queries): mainstay, linf 0.1, 2 steps, MAP" in text
    for column in ("clean MAP", "attack on the plain model", "attack through the purifier", "worse of both", "seconds"):
        assert column in text
    assert text.splitlines()[-1].startswith(LAST) and "wrote" in answer.err
    rows = read_rows(tmp_path / "rows.jsonl")
    for word in ("jpeg:75", "resize:0.75+bits:4"):
        line = next(line for line in text.splitlines() if line.startswith(word))
        own = [row for row in rows if row.defense and row.defense["with"] == word and row.metric == "map"]
        clean = next(row for row in own if row.attack is None)
        attacked = [row for row in own if row.attack and row.attack["method"] == "mainstay"]
        unaware, adaptive, worst = sorted(
            attacked, key=lambda row: ((row.attack or {})["adaptive"], "worst_of" in (row.attack or {}))
        )
        assert line.split()[1:5] == [f"{row.value:.4f}" for row in (clean, unaware, adaptive, worst)]
        assert worst.value <= min(unaware.value, adaptive.value) and worst.ci95[0] <= worst.value <= worst.ci95[1]
    plain = [row for row in rows if row.defense is None and row.model == str(world.model)]
    line = next(line for line in text.splitlines() if line.startswith("none"))
    assert line.split()[2] == line.split()[3] and plain
    again = shell.done(*words, "--json").rows
    assert {row["model"] for row in again} == {str(world.model), "random codes"}
    # rows that are equal in everything, the floor of both attacks, are printed once
    assert {(row["metric"], row["value"]) for row in again} == {(row.metric, row.value) for row in rows}


def test_comdefend_from_training_to_the_table(shell: Shell, world: World, tmp_path: Path) -> None:
    folder = tmp_path / "net"
    words = ("train", "--method", "comdefend", "--data", world.data, *TINY, "--out", folder)
    text = shell.done(*words).out
    assert "ComDefend, width 0.0625, gray pictures, 225 training pictures" in text
    assert text.splitlines()[-1] == f"Next: hamguard purify MODEL --with comdefend:{folder}"
    assert "nothing was trained" in shell.done(*words).err
    card = shell.done(*words, "--json").rows[0]
    assert not card["fresh"] and card["kind"] == "comdefend" and card["data"]["source"] == world.data
    assert "holds another run" in shell.fails(2, *words, "--seed", 1)
    told = shell.done("purify", world.model, "--with", f"comdefend:{folder}", *QUICK, "--draws", 2).out
    assert "comdefend:" in told and "a gradient is the mean over 2 draws" in told
    assert told.splitlines()[-1].startswith(LAST)


def test_help(shell: Shell) -> None:
    text = " ".join(shell.done("purify", "--help").out.replace("│", " ").split())
    assert "Examples" in text and "hamguard purify models/digits --with jpeg:75" in text and "--json" in text
    assert "[bold]" not in text and "jpeg:75, resize:0.5, bits:4" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("purify",), "missing argument 'model'"),
        (("purify", "nowhere"), "no model at nowhere"),
        (("purify", "MODEL", "--with", "jpg:75"), "unknown purifier 'jpg:75'; allowed: jpeg:QUALITY (1 to 100)"),
        (("purify", "MODEL", "--with", "bits:9"), "depth of bits must be between 1 and 7, got 9"),
        (("purify", "MODEL", "--with", "comdefend:nowhere"), "no ComDefend at nowhere; train one with"),
        (("purify", "MODEL", "--with", "bits:4", "--with", "bits:4"), "purifier bits:4 is named twice"),
        (("purify", "MODEL", "--eps", "8"), "eps must be in (0, 1], got 8; did you mean 8 / 255?"),
        (("purify", "MODEL", "--threat", "l3"), "unknown threat 'l3'; allowed: linf, l2"),
        (("purify", "MODEL", "--draws", "0"), "got '0'"),
        (("train", "--method", "comdefend", "--out", "OUT", "--bits", 8), "--bits: belongs to hash models"),
        (("train", "--method", "comdefend", "--out", "OUT", "--victim", "m"), "--victim belongs to --method prosgan"),
        (("train", "--method", "comdefend", "--out", "OUT", "--preset", "code"), "unknown preset of comdefend 'code'"),
        (("train", "--method", "comdefend", "--out", "OUT", "--set", "widht=1"), "unknown key widht; did you mean"),
        (("train", "--method", "comdefend", "--out", "OUT", "--data", "arrays:none.npz"), "none.npz"),
    ],
)
def test_wrong_requests(words: tuple[object, ...], message: str, shell: Shell, world: World, tmp_path: Path) -> None:
    places = {"MODEL": world.model, "OUT": tmp_path / "out"}
    given = [places.get(word, word) if isinstance(word, str) else word for word in words]
    assert message in shell.fails(2, *given)
    assert not (tmp_path / "out").exists()
