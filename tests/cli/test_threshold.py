"""`hamguard threshold`: rows, sentences, a picture, and every request that is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hamguard as hg
from tests.cli.conftest import World
from tests.cli.helpers import Shell


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Codes of 2,000 items from elsewhere, independent bits."""
    path = tmp_path_factory.mktemp("codes") / "codes.npz"
    np.savez(path, codes=np.random.default_rng(0).integers(0, 2, (2000, 48)))
    return path


def test_codes_alone_give_a_radius_and_false_matches(shell: Shell, bank: Path, tmp_path: Path) -> None:
    words = ("threshold", bank, "--items", 1_000_000, "--false-matches", 0.5)
    answer = shell.done(*words, "--out", tmp_path / "rows.jsonl", "--curves", tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 5000
    rows = hg.read_rows(tmp_path / "rows.jsonl")
    radius = int(rows.one("radius").value or -1)
    false = rows.where(metric="false-matches")
    assert [row.at for row in false] == list(range(len(false))) and len(false) > radius + 1 > 3
    ends = [row.ci95 for row in false]
    assert ends[radius][1] <= 0.5 < ends[radius + 1][1]  # type: ignore[index]
    assert all(row.n == 2000 and row.bits == 48 for row in rows)
    assert f"* Radius {radius}: a search among 1,000,000 items is expected to find" in answer.out
    assert "2,000 items compared with each other, on 2,000 different codes" in " ".join(answer.out.split())
    again = shell.done(*words, "--json").rows
    assert [row["value"] for row in again] == [row.value for row in rows], "the same seed, the same sample"


def test_with_a_model_copies_and_attacks_stand_beside_it(shell: Shell, world: World, tmp_path: Path) -> None:
    words = ("--items", 300, "--false-matches", 280, "--queries", 20, "--attacked", 3, "--steps", 2)
    out = tmp_path / "rows.jsonl"
    answer = shell.done("threshold", world.index, "--model", world.model, "--view", "jpeg:80", *words, "--out", out)
    rows = hg.read_rows(out)
    radius = int(rows.one("radius").value or 0)
    found = rows.where(metric="recall")
    assert {row.task for row in found} == {"jpeg:80 copy->original"} and {row.n for row in found} == {20}
    values = [row.value or 0.0 for row in found]
    assert values == sorted(values) and values[-1] > 0.5, "a larger radius finds no fewer"
    least = rows.where(attack="pgd")
    assert {row.metric for row in least} >= {"min-eps-median", "min-eps-p10", "asr-code"}
    assert {row.at for row in least.where(metric="asr-code")} == {radius + 1}
    assert f"{100 * values[radius]:.1f}% of jpeg:80 copies (of 20 pictures)" in answer.out
    assert "PGD moves half of 3 pictures beyond it" in answer.out or "PGD does not move half" in answer.out


def test_codes_that_collapse_leave_no_radius(shell: Shell, tmp_path: Path) -> None:
    few = np.random.default_rng(1).integers(0, 2, (10, 32))
    np.savez(tmp_path / "few.npz", codes=np.repeat(few, 30, axis=0))
    answer = shell.done("threshold", tmp_path / "few.npz", "--items", 100000)
    assert (
        "No radius is safe: among 100,000 items a search finds 9,700 others with an equal code, where 1 are"
        in answer.out
    )
    rows = hg.threshold(tmp_path / "few.npz", items=100000)
    assert rows.radius is None and rows.one("radius").value is None and len(rows.sentences) == 1


def test_what_is_refused(shell: Shell, bank: Path, world: World, tmp_path: Path) -> None:
    few = tmp_path / "few.npz"
    np.savez(few, codes=np.eye(20, dtype=np.int64))
    for words, said in (
        ((bank, "--items", "1"), "'--items': must be at least 2"),
        ((bank, "--items", 10, "--false-matches", 0), "false matches must be a number above 0, got 0"),
        ((bank, "--items", 10, "--data", "digits"), "go with a model"),
        ((bank, "--items", 10, "--view", "jpeg:50"), "--view goes with --model"),
        ((bank, "--items", 10, "--curves", "x.gif"), "--curves is written as .png, .svg, .pdf, got x.gif"),
        ((few, "--items", 10), "counted between at least 50 items, the codes are those of 20"),
        ((tmp_path / "gone.npz", "--items", 10), "gone.npz"),
        ((tmp_path / "gone", "--items", 10), "gone"),
        ((bank, "--items", 10, "--model", world.model), "the model's codes have 12 bits, those that were counted 48"),
    ):
        assert said in shell.fails(2, "threshold", *words)
    other = hg.CodeBank.load(world.codes / "database.npz")
    with pytest.raises(hg.HamguardError, match="the codes are of model other, the model is"):
        hg.threshold(hg.CodeBank(other.packed, 12, other.labels, other.ids, "other"), items=10, model=str(world.model))
