"""`hamguard reproduce`: a small grid in the place of a recipe, from the words to the page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hamguard.evaluation.reproduce.experiment import EXPERIMENTS
from tests.cli.helpers import Shell, write_arrays

VERDICTS = ("HOLDS: ", "DOES NOT HOLD: ", "WITHIN THE INTERVALS: ", "NOT TESTABLE: ")


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The recipe of SAAT's Table II, on a few small pictures."""
    data = write_arrays(tmp_path / "toy.npz", n=120, classes=3)
    recipe = tmp_path / "tiny.toml"
    tables = [f"[attacks.{name}]\neps = 0.1\nsteps = 2\n" for name in ("hag", "sdha", "mainstay")]
    tables += [f"[defenses.{name}]\neps = 0.1\nepochs = 1\n" for name in ("saat", "atrdh")]
    recipe.write_text(
        f'study = "grid"\nqueries = 6\n[data.toy]\nsource = "arrays:{data}"\n[models.dph]\nbits = 16\nepochs = 1\n'
        + "".join(tables),
        encoding="utf-8",
    )
    monkeypatch.setattr("hamguard.evaluation.reproduce.run.recipe_of", lambda experiment, scale: recipe)
    return recipe


def test_from_recipe_to_page(shell: Shell, tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs" / "saat"
    answer = shell.done("reproduce", "saat-table2", "--out", out)
    lines = answer.out.splitlines()
    assert "published" in answer.out and f"About {EXPERIMENTS['saat-table2'].minutes} minutes" in answer.err
    assert "by both intervals" not in answer.out and list((out.parent / "cells" / "values").glob("*.npy"))
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Published figures beside ours" in page and "SAAT&#39;s training holds more than ATRDH&#39;s" in page
    assert "dph, 16 bits, saat, HAG, MAP" in page and "not run" in page  # control is not in this recipe
    found = json.loads((out / "comparison.json").read_text(encoding="utf-8"))
    assert (found["experiment"], found["scale"]) == ("saat-table2", "small") and len(found["lines"]) == 16
    assert [one["claim"] for one in found["relations"]] == [
        line.split(": ", 1)[1].split(" (")[0].removeprefix("not the paper's: ")
        for line in lines
        if line.startswith(VERDICTS)
    ]
    assert len(found["relations"]) >= 3
    assert (out / "tables" / "index.csv").is_file() and (out / "rows.jsonl").is_file()
    again = shell.done("reproduce", "saat-table2", "--out", out, "--json")
    assert (
        again.rows == [*found["lines"], *found["relations"]] and again.err == ""
    )  # the second run works nothing out, and says nothing


def test_wrong_words_cost_no_work(shell: Shell, tmp_path: Path) -> None:
    assert "did you mean ppl-table1?" in shell.fails(2, "reproduce", "ppl-tabel1")
    assert "did you mean ppl-table1?" in shell.fails(2, "reproduce", "PPL-TABLE1")
    assert "unknown scale 'huge'; allowed: small, photos, paper" in shell.fails(
        2, "reproduce", "ppl-table1", "--scale", "huge"
    )
    assert "--list" in shell.fails(2, "reproduce")
    blocked = tmp_path / "file"
    blocked.write_text("x")
    assert "is a file" in shell.fails(2, "reproduce", "ppl-fig7", "--out", blocked)


def test_the_list_and_a_recipe_to_copy(shell: Shell) -> None:
    listed = shell.done("reproduce", "--list", "--json").rows
    names = [one["name"] for one in listed]
    assert {"ppl-table1", "prosgan-table1", "hag-transfer", "cmla-attack", "saat-table2"} <= set(names)
    assert all(one["minutes"] > 0 and one["small"] for one in listed)
    text = shell.done("reproduce", "prosgan-table1", "--scale", "paper", "--show-recipe").out
    assert 'source = "nus-wide"' in text and 'backbone = "vgg11"' in text
    (shown,) = shell.done("reproduce", "prosgan-table1", "--scale", "paper", "--show-recipe", "--json").rows
    assert shown == {"name": "prosgan-table1", "scale": "paper", "recipe": text}


def test_data_that_are_not_here_are_named(shell: Shell, tmp_path: Path) -> None:
    line = shell.fails(
        2, "reproduce", "hag-examples", "--scale", "paper", "--out", tmp_path / "x", "--data-root", tmp_path
    )
    assert "flickr25k" in line
