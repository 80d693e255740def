"""`hamguard measure`: table, rows, curves, the comparison with audits, and what it says to wrong requests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hamguard.core.digests import digest_file
from hamguard.core.files import write_npz, write_sealed
from hamguard.evaluation.measures.registry import MEASURES
from hamguard.models.store import load_folder
from tests.cli.conftest import World
from tests.cli.helpers import Shell, write_arrays

SMALL = ("--queries", "3", "--steps", "3", "--clever", "2x2")
QUICK = ("--queries", "6", "--measure", "sensitivity", "--measure", "radius")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAMGUARD_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def other(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from typer.testing import CliRunner

    from hamguard.cli.main import app

    folder = tmp_path_factory.mktemp("measure") / "other"
    words = ["train", "--data", world.data, "--method", "dpsh", "--bits", "20", "--epochs", "1", "--batch-size", "32"]
    result = CliRunner().invoke(app, [*words, "--out", str(folder)])
    assert result.exit_code == 0, (result.output, result.exception)
    return folder


def write_audit(folder: Path, model: Path, *, dataset: str = "toy", ids: list[str] | None = None, **more: Any) -> Path:
    """The two files that `hamguard audit --out` leaves, with random figures."""
    folder.mkdir(parents=True)
    named = ids or [str(number) for number in range(300)]
    rng = np.random.default_rng(0)
    clean = rng.random(len(named))
    arrays = {"clean_ap": clean, "worst_ap": clean * rng.random(len(named)), "floor_ap": 0 * clean, **more}
    write_npz(folder / "worst.npz", {"ids": np.array(named), **arrays})
    facts = {"model_hash": load_folder(model)[0].digest, "dataset": dataset, "eps": 8 / 255, "norm": "linf"}
    write_sealed(folder / "audit.json", facts | {"files": {"worst.npz": digest_file(folder / "worst.npz")}})
    return folder


def test_all_measures_of_two_models(shell: Shell, world: World, other: Path, tmp_path: Path) -> None:
    out, curves = tmp_path / "rows.jsonl", tmp_path / "curves.png"
    text = shell.done("measure", world.model, other, *SMALL, "--out", out, "--curves", curves).out
    for said in (
        "MAP, clean", "asr-code: half of the bits turned", "least eps, median", "flip radius, K/4 bits", "flips, noise",
        "loss sensitivity, tanh", "Lipschitz, mean bit", "CLEVER, K/2 bits", "t-asr-top: first answer", "/255 (",
    ):  # fmt: skip
        assert said in text, said
    assert "guides" not in text, "the CLEVER of guides is measured where it is asked for"
    head = next(line for line in text.splitlines() if line.startswith("measure "))
    assert head.split()[-2:] == ["model", "other"] and "more robust" in head
    assert "CLEVER: 2 batches of 2 points; the paper takes 500 of 1,024" in text
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert {row["model"] for row in rows} >= {str(world.model), str(other)}
    found = {(row["model"], row["metric"], row["at"]): row for row in rows}
    for name, K in ((str(world.model), 12), (str(other), 20)):
        for metric, at in (("asr-code", (K + 1) // 2), ("asr-hidden", 5), ("t-asr-code", 2), ("min-eps-p10", None),
                           ("flip-radius-median", K // 8), ("flip-reached-p90", 1), ("clever[bit]", K // 2), ("clever[one bit]", 0),
                           ("lipschitz[logits]", None), ("loss-sensitivity[own code, logits]", None)):  # fmt: skip
            row = found[name, metric, at]
            assert row["bits"] == K and row["hashes"]["model"] and row["seconds"] is not None, metric
    turned = [row for row in rows if row["metric"] == "asr-code" and row["model"] == str(other) and row["attack"]]
    assert {row["at"] for row in turned} == set(range(1, 21)), "the success rate over all thresholds"
    noisy = {
        row["threat"]["eps"] for row in rows if row["metric"] == "bits-moved" and row["attack"]["method"] == "noise"
    }
    assert len(noisy) == 7 and 8 / 255 in noisy
    with Image.open(curves) as drawn:
        assert drawn.width > 1500 and np.asarray(drawn.convert("L")).std() > 10


def test_a_named_measure_alone_and_the_same_again(shell: Shell, world: World) -> None:
    words = ("measure", world.model, "--queries", "4", "--measure", "minimal", "--steps", "3", "--json")
    rows = shell.done(*words).rows
    assert {row["metric"] for row in rows} == {"min-eps-median", "min-eps-p10", "min-eps-p90", "min-eps-unsolved",
                                               "min-eps-clean", "asr-code"}  # fmt: skip
    again = shell.done(*words).rows
    for row in (*rows, *again):
        row.pop("seconds")
    assert rows == again
    assert {row["threat"]["steps"] for row in rows} == {3} and {row["n"] for row in rows} == {4}


def test_guide_clever_by_name(shell: Shell, world: World) -> None:
    words = ("measure", world.model, "--queries", "3", "--measure", "clever-guide", "--clever", "2x3")
    text = shell.done(*words).out
    assert "CLEVER of guides, tanh, nearest class" in text and "CLEVER of guides, logits, capped" in text


def test_comparison_with_audits(shell: Shell, world: World, other: Path, tmp_path: Path) -> None:
    audits = [write_audit(tmp_path / name, model) for name, model in (("a", world.model), ("b", other))]
    words = ("measure", world.model, other, *QUICK, "--audit", audits[0], "--audit", audits[1])
    rows = shell.done(*words, "--json").rows
    within = [row for row in rows if row["metric"] == "spearman-drop[flip radius, 1 bit]"]
    assert [row["model"] for row in within] == [str(world.model), str(other)] and {row["n"] for row in within} == {6}
    assert all(-1 <= row["ci95"][0] <= row["value"] <= row["ci95"][1] <= 1 for row in within)
    over = next(row for row in rows if row["metric"] == "spearman-models[flip radius, 1 bit]")
    assert over["value"] is None and over["n"] == 2 and "2 models; few models say little" in over["notes"][-1]
    text = shell.done(*words).out
    assert "Spearman's rank correlation with the audit" in text and "models (n=2)" in text
    assert "against the drop, clean AP - worst AP" in text and "audit: linf, eps 8/255" in text


def test_audits_that_do_not_belong(shell: Shell, world: World, other: Path, tmp_path: Path) -> None:
    words = ("measure", world.model, *QUICK, "--audit")
    strange = write_audit(tmp_path / "strange", other)
    assert "is the audit of another model: its hash is" in shell.fails(2, *words, strange)
    few = write_audit(tmp_path / "few", world.model, ids=["0", "1"])
    assert "of the 6 measured queries, e.g. " in shell.fails(2, *words, few)
    elsewhere = write_audit(tmp_path / "elsewhere", world.model, dataset="cifar10")
    assert "is an audit on cifar10" in shell.fails(2, *words, elsewhere)
    torn = write_audit(tmp_path / "torn", world.model, worst_ap=np.zeros(3))
    assert "it needs arrays ids, clean_ap, worst_ap, floor_ap of one length" in shell.fails(2, *words, torn)
    broken = write_audit(tmp_path / "broken", world.model, worst_ap=np.full(300, np.nan))
    assert "average precisions must be finite" in shell.fails(2, *words, broken)
    write_sealed(broken / "audit.json", {})
    assert "it needs model_hash, dataset, eps, norm and files" in shell.fails(2, *words, broken)
    (broken / "audit.json").write_text("{}")
    assert "audit.json is damaged: it has no digest" in shell.fails(2, *words, broken)
    swapped = write_audit(tmp_path / "swapped", world.model)
    (write_audit(tmp_path / "another", world.model, worst_ap=np.zeros(300)) / "worst.npz").replace(
        swapped / "worst.npz"
    )
    assert "worst.npz is damaged: it is not the file that audit.json was written for" in shell.fails(2, *words, swapped)
    (tmp_path / "empty").mkdir()
    assert "is no folder of `hamguard audit --out`: it has no audit.json" in shell.fails(2, *words, tmp_path / "empty")
    assert "1 models, 2 folders" in shell.fails(2, *words, few, "--audit", few)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--measure", "clevr"), "unknown measure 'clevr'; allowed: success, toward, minimal, radius, flips"),
        (("--measure", "radius", "--measure", "radius"), "measure radius is given twice"),
        (("--clever", "many"), "must be quick, published or BATCHESxPOINTS such as 50x64, got 'many'"),
        (("--clever", "1x5"), "at least 2 batches of 1 point, got 1x5"),
        (("--eps", "8"), "eps must be in (0, 1], got 8"),
        (("--measure", "radius", "--curves", "c.png"), "--curves draws flips, minimal, success"),
        (("--curves", "c.gif"), "--curves is written as .png, .svg, .pdf, got c.gif"),
    ],
)
def test_wrong_requests(shell: Shell, world: World, words: tuple[str, ...], message: str) -> None:
    assert message in shell.fails(2, "measure", world.model, *words)


def test_no_model_and_other_pictures(shell: Shell, world: World, tmp_path: Path) -> None:
    assert "give a MODEL; `hamguard measure --list`" in shell.fails(2, "measure")
    source = f"arrays:{write_arrays(tmp_path / 'strange.npz', n=100, seed=3)}"
    shell.done("train", "--data", source, "--bits", "8", "--epochs", "1", "--out", tmp_path / "strange")
    line = shell.fails(2, "measure", world.model, tmp_path / "strange", *QUICK)
    assert "are not those of" in line and "give one --data SOURCE" in line


def test_pictures_without_labels(shell: Shell, world: World, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    for number, pixels in enumerate(np.load(world.root / "toy.npz")["images"][:60]):
        Image.fromarray(pixels).save(tmp_path / "bare" / f"{number}.png")
    words = ("measure", world.model, "--data", f"folder:{tmp_path / 'bare'}", *SMALL)
    text = shell.done(*words, "--measure", "success").out
    assert "asr-code: half of the bits turned" in text and "MAP" not in text and "asr-hidden" not in text
    assert "measure toward needs labels, and bare has none" in shell.fails(2, *words, "--measure", "toward")


def test_measures_are_listed(shell: Shell) -> None:
    from hamguard.api.names import names

    rows = shell.done("measure", "--list", "--json").rows
    assert [row["measure"] for row in rows] == MEASURES.names() == names("measure").split(", ")
    assert [row["measure"] for row in rows if not row["default"]] == ["clever-guide", "saliency", "class-bias"]
    text = shell.done("measure", "--list").out
    assert all(row["measure"] in text for row in rows)
