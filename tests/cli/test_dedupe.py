"""`hamguard dedupe`: groups as lines, rows and files, and every request that is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import hamguard as hg
from tests.cli.helpers import Shell

CODES = np.array([[0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0]])
IDS = np.array(["cats/1.jpg", "dog, wet.jpg", "cats/2.jpg", "cats/1 (copy).jpg", "boat.jpg"])


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    path = tmp_path / "codes.npz"
    np.savez(path, codes=CODES, ids=IDS)
    return path


def test_groups_are_told_and_written_in_three_forms(shell: Shell, bank: Path, tmp_path: Path) -> None:
    answer = shell.done("dedupe", bank, "--radius", 1, "--out", tmp_path / "groups.jsonl")
    assert "1 group within radius 1: 3 of 5 items; without 2 of them one of each group is left" in answer.out
    (line,) = (tmp_path / "groups.jsonl").read_text().splitlines()
    assert json.loads(line) == {"size": 3, "ids": ["cats/1.jpg", "cats/2.jpg", "cats/1 (copy).jpg"]}
    shell.done("dedupe", bank, "--radius", 2, "--out", tmp_path / "groups.csv")
    with (tmp_path / "groups.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows == [
        ["group", "id"],
        ["0", "cats/1.jpg"],
        ["0", "cats/2.jpg"],
        ["0", "cats/1 (copy).jpg"],
        ["0", "boat.jpg"],
    ]
    shell.done("dedupe", bank, "--radius", 0, "--out", tmp_path / "extra.txt")
    assert (tmp_path / "extra.txt").read_text() == "cats/1 (copy).jpg\n"


def test_what_is_extra_can_be_removed_from_an_index(shell: Shell, bank: Path, tmp_path: Path) -> None:
    shell.done("index", "build", bank, "--out", tmp_path / "index")
    shell.done("dedupe", tmp_path / "index", "--radius", 1, "--out", tmp_path / "extra.txt")
    shell.done("index", "remove", tmp_path / "index", f"@{tmp_path / 'extra.txt'}")
    answer = shell.done("dedupe", tmp_path / "index", "--radius", 1)
    assert "no two of 3 items lie within radius 1 of each other" in answer.out


def test_rows_and_the_door(shell: Shell, bank: Path) -> None:
    rows = shell.done("dedupe", bank, "--radius", 1, "--json").rows
    values = {row["metric"]: row["value"] for row in rows}
    assert values == {
        "groups": 1, "items-in-groups": 3, "items-beyond-the-oldest": 2, "largest-group": 3, "different-codes": 4,
    }  # fmt: skip
    assert {(row["at"], row["n"], row["bits"]) for row in rows} == {(1, 5, 6)}
    found = hg.dedupe(hg.codes(2 * CODES - 1), radius=3)
    assert list(found) == [["0", "1", "2", "3", "4"]] and len(found) == 1 and found.extra == 4
    assert "1 group within radius 3" in repr(found) and "<" in found._repr_html_()


def test_what_is_refused(shell: Shell, bank: Path, tmp_path: Path) -> None:
    for words, said in (
        ((bank, "--radius", 7), "radius must be between 0 and 6, got 7"),
        ((bank, "--radius", "-1"), "'--radius': must be at least 0"),
        ((bank, "--radius", 1, "--out", "groups.xml"), "groups are written as .jsonl, .csv, .txt, got groups.xml"),
        ((tmp_path / "gone.npz", "--radius", 1), "gone.npz"),
    ):
        assert said in shell.fails(2, "dedupe", *words)
    found = hg.dedupe(
        hg.CodeBank(np.zeros((2, 1), np.uint8), 8, np.zeros((2, 0), np.uint8), np.array(["a", "b\nc"])), radius=0
    )
    with pytest.raises(hg.HamguardError, match="does not stand in one line; write .jsonl or .csv"):
        found.save(tmp_path / "extra.txt")
    assert not (tmp_path / "extra.txt").exists()
