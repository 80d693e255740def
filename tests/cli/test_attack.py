"""`hamguard attack`: rows, pictures, manifest, resume, transfer, and what it says to wrong requests."""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hamguard.attacks.methods.registry import ATTACKS, method_facts
from hamguard.core.digests import digest_file
from hamguard.evaluation.attack import run as attack_run
from hamguard.images.io import decode
from hamguard.models.store import load_folder, save_model
from tests.cli.conftest import World
from tests.cli.helpers import Shell, write_arrays

SMALL = ("--eps", "0.2", "--queries", "12", "--batch-size", "5")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAMGUARD_CACHE", str(tmp_path / "cache"))


def by_method(rows: list[dict[str, Any]], metric: str = "map") -> dict[str, dict[str, Any]]:
    return {row["attack"]["method"] if row["attack"] else "clean": row for row in rows if row["metric"] == metric}


def test_rows_of_an_attack(shell: Shell, world: World, tmp_path: Path) -> None:
    out = tmp_path / "pictures"
    words = ("attack", world.model, "--data", world.data, "--method", "mainstay", "--eps", "0.2", "--steps", "20")
    rows = shell.done(*words, "--save-images", out, "--json").rows
    found = by_method(rows)
    assert list(found) == ["clean", "noise", "ideal-code", "mainstay"]
    assert found["clean"]["attack"] is None and found["clean"]["threat"] is None
    ours = found["mainstay"]
    assert ours["value"] < found["noise"]["value"] and ours["value"] >= found["ideal-code"]["value"] - 0.1
    assert ours["threat"] == {"norm": "linf", "eps": 0.2, "steps": 20, "restarts": 1, "grid": "8 bit"}
    assert ours["backwards"] <= 20 and ours["forwards"] <= 22 and ours["ci95"][0] <= ours["value"] <= ours["ci95"][1]
    metrics = {row["metric"]: row["value"] for row in rows if row["attack"] and row["attack"]["method"] == "mainstay"}
    assert set(metrics) == {"map", "gain", "bits-moved", "rmse", "linf", "l2", "changed", "ssim", "psnr"}
    gain = (found["clean"]["value"] - ours["value"]) / (found["clean"]["value"] - found["ideal-code"]["value"])
    assert metrics["gain"] == pytest.approx(gain, abs=1e-9)
    assert 0 < metrics["linf"] <= 0.2 + 1e-6 and metrics["rmse"] <= metrics["linf"]


def test_guides_of_the_codes_of_classes_are_asked_for_by_reference(shell: Shell, world: World, tmp_path: Path) -> None:
    words = (
        "attack",
        world.model,
        "--data",
        world.data,
        "--method",
        "pgd",
        "--guide",
        "center",
        *SMALL,
        "--steps",
        "4",
    )
    rows = {name: shell.done(*words, "--reference", name, "--json").rows for name in ("train", "classes")}
    told = {
        name: {row["attack"]["reference"] for row in of if (row["attack"] or {}).get("method") == "pgd"}
        for name, of in rows.items()
    }
    assert told == {"train": {"train"}, "classes": {"classes"}}
    centers = np.load(world.model / "class_codes.npz")
    assert (
        by_method(rows["classes"])["pgd"]["value"] < by_method(rows["classes"])["clean"]["value"]
        and len(centers["labels"]) == 5
    )
    line = shell.fails(2, *words, "--reference", "class")
    assert "unknown reference 'class'; allowed: train, database, classes" in line
    (tmp_path / "bare").mkdir()
    for name in ("model.safetensors", "card.json"):
        (tmp_path / "bare" / name).write_bytes((world.model / name).read_bytes())
    line = shell.fails(2, words[0], tmp_path / "bare", *words[2:], "--reference", "classes")
    assert "keeps no codes of its classes; models trained by csq, dpn, orthohash do" in line


def test_budgets_of_pixels_and_of_length_are_told(shell: Shell, world: World) -> None:
    words = ("attack", world.model, "--data", world.data, "--queries", "12", "--eps", "0.04", "--method")
    jsma = shell.done(*words, "jsma", "--json").rows
    found = {row["metric"]: row for row in jsma if (row["attack"] or {}).get("method") == "jsma"}
    assert found["map"]["threat"] == {"norm": "l0", "eps": 0.04, "steps": 100, "restarts": 1, "grid": "8 bit"}
    assert 0 < found["pixels"]["value"] <= 10 and found["changed"]["value"] == pytest.approx(
        found["pixels"]["value"] / 256
    )
    noise = next(row for row in jsma if (row["attack"] or {}).get("method") == "noise")
    assert noise["threat"]["norm"] == "l0" and found["map"]["value"] < noise["value"]
    table = shell.done(*words, "jsma").out
    assert "l0 4% of the pixels" in table and "pixels" in table
    cw = shell.done(*words[:-3], "--steps", "40", "--method", "cw", "--json").rows
    found = {row["metric"]: row for row in cw if (row["attack"] or {}).get("method") == "cw"}
    assert found["map"]["threat"]["norm"] == "l2" and found["map"]["threat"]["eps"] == 5.0
    assert found["reached"]["value"] > 0 and found["reached"]["at"] == 6 and found["l2"]["value"] < 5
    assert found["l2-reached"]["n"] == round(found["reached"]["value"] * 12)
    table = shell.done(*words[:-3], "--steps", "40", "--method", "cw").out
    assert "of the pictures have at most 6 bits left wrong, with a mean L2 of" in table


def test_saved_pictures_are_the_scored_ones(shell: Shell, world: World, tmp_path: Path) -> None:
    out = tmp_path / "pictures"
    words = ("attack", world.model, "--method", "center", "--steps", "10", *SMALL, "--save-images", out, "--json")
    rows = shell.done(*words).rows
    manifest = json.loads((out / "manifest.json").read_text())
    clean = np.load(world.root / "toy.npz")["images"]
    model, _ = load_folder(world.model)
    assert len(manifest["pictures"]) == 12 == len(list(out.glob("*.png"))) and not (out / ".work").exists()
    moved = []
    for entry in manifest["pictures"]:
        assert entry["sha256"] == digest_file(out / entry["file"])
        pixels = decode(out / entry["file"])
        delta = np.abs(pixels.astype(int) - clean[entry["row"]].astype(int)).max() / 255
        assert delta <= 0.2 + 1e-9 and entry["linf"] == pytest.approx(delta, abs=1e-5)
        pair = torch.from_numpy(np.stack([pixels, clean[entry["row"]]])).float()[:, None] / 255
        codes = model.code(pair)
        moved.append(int((codes[0] != codes[1]).sum()))
        assert moved[-1] == entry["bits_moved"]
    assert np.mean(moved) == pytest.approx(next(row["value"] for row in rows if row["metric"] == "bits-moved"))
    again = shell.done(*words).rows
    guides = [row.pop("seconds") for row in [*again, *rows] if (row["attack"] or {}).get("method") == "ideal-code"]
    assert again == rows, "a finished run is read from its pictures"
    assert len(guides) == 2 and all(seconds >= 0 for seconds in guides)
    line = shell.fails(2, "attack", world.model, "--method", "hag", *SMALL, "--save-images", out)
    assert "holds the pictures of another attack" in line
    (out / manifest["pictures"][0]["file"]).write_bytes(b"no picture")
    repaired = shell.done(*words)
    strip = ("seconds",)
    assert [{k: v for k, v in row.items() if k not in strip} for row in repaired.rows] == [
        {k: v for k, v in row.items() if k not in strip} for row in rows
    ]


@pytest.mark.parametrize("name", sorted(ATTACKS.keys() - {"cmla"}))  # cmla needs texts: test_attack_cross.py
def test_every_method_runs(name: str, shell: Shell, world: World, generator: Path) -> None:
    options = method_facts(name).options
    more: list[str] = ["--steps", "3"] if "steps" in options else []
    if "training_steps" in options:
        more += ["--set", "training_steps=5"]
    if method_facts(name).needs_generator:
        more += ["--generator", str(generator)]
    rows = shell.done("attack", world.model, "--method", name, *more, *SMALL, "--json").rows
    metric = "t-map" if method_facts(name).direction == "toward" else "map"
    assert by_method(rows, metric)[name]["value"] is not None
    if method_facts(name).direction == "either":
        targets = "label:2" if name == "universal" else "no-overlap"
        rows = shell.done("attack", world.model, "--method", name, *more, *SMALL, "--targets", targets, "--json").rows
        assert {"clean", "noise", "ideal-code", name} <= set(by_method(rows, "t-map"))


def test_targeted_rows_and_the_saved_list(shell: Shell, world: World, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    words = ("attack", world.model, "--method", "dhta", "--steps", "20", "--eps", "0.3")
    rows = shell.done(*words, "--out", out, "--json").rows
    found = by_method(rows, "t-map")
    assert found["dhta"]["value"] > found["clean"]["value"] + 0.1, "nearer to the target than the clean picture"
    assert found["ideal-code"]["value"] > found["clean"]["value"]
    saved = tmp_path / "rows.targets.json"
    listed = json.loads(saved.read_text())
    assert listed["rule"] == "no-overlap" and listed["hash"] == found["dhta"]["hashes"]["targets"]
    again = shell.done("attack", world.model, "--method", "mainstay", "--targets", saved, "--steps", "5", "--json").rows
    assert by_method(again, "t-map")["mainstay"]["hashes"]["targets"] == listed["hash"]


def test_a_stopped_run_goes_on(shell: Shell, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("attack", world.model, "--method", "hag", "--steps", "6", *SMALL, "--save-images")
    whole = shell.done(*words, tmp_path / "whole", "--json").rows
    real, calls = attack_run._attack_batch, []

    def stopping(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(attack_run, "_attack_batch", stopping)
    line = shell.fails(130, *words, tmp_path / "parts")
    assert "5 of 12 pictures are attacked; the same command goes on" in line
    rest = shell.done(*words, tmp_path / "parts", "--json").rows
    assert len(calls) == 2 + 2, "the first batch is not made again"
    for one, other in zip(whole, rest, strict=True):
        assert one["value"] == other["value"] and one["hashes"] == other["hashes"]
    assert not (tmp_path / "parts" / ".work").exists()


def test_several_attacks_share_their_controls(shell: Shell, world: World) -> None:
    words = ("attack", world.model, "--method", "hag", "--method", "center", "--steps", "3", *SMALL)
    rows = shell.done(*words, "--eps", "0.1", "--json").rows
    assert sum(row["metric"] == "map" and row["attack"] is None for row in rows) == 1
    assert len({row["threat"]["eps"] for row in rows if row["threat"]}) == 2
    text = shell.done(*words).out
    assert "label-free attacks, away" in text and "attacks that use labels" in text
    assert text.index("label-free") < text.index("that use labels")


def test_transfer_is_scored_on_the_other_model(shell: Shell, world: World, tmp_path: Path) -> None:
    other = tmp_path / "other"
    train = ("train", "--data", world.data, "--bits", "20", "--epochs", "2", "--batch-size", "32", "--seed", "5")
    shell.done(*train, "--out", other)
    words = ("attack", world.model, "--method", "center", "--steps", "8", "--eps", "0.3", "--queries", "20", "--json")
    white = by_method(shell.done(*words).rows)["center"]
    black = by_method(shell.done(*words, "--source-model", other).rows)["center"]
    assert black["attack"]["made_on"] == [str(other)] and black["hashes"]["model"] == white["hashes"]["model"]
    assert black["value"] != white["value"]
    both = ("--source-model", other, "--source-model", world.model)
    values = {}
    for how in ("joint", "sum", "sum-project", "mean"):
        rows = shell.done(*words, *both, "--combine", how).rows
        values[how] = {
            row["metric"]: row["value"] for row in rows if row["attack"] and row["attack"]["method"] == "center"
        }
    assert values["sum"]["linf"] > 0.3 >= values["sum-project"]["linf"] - 1e-6, (
        "a sum without projection leaves the ball"
    )
    assert values["mean"]["rmse"] < values["sum"]["rmse"]


def test_sheet(shell: Shell, world: World, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    shell.done("attack", world.model, "--method", "p2p", "--steps", "3", *SMALL, "--sheet", sheet)
    with Image.open(sheet) as picture:
        assert picture.width > 800 and picture.height > 800


def test_a_sheet_beside_the_rows_opens_their_report(shell: Shell, world: World, tmp_path: Path) -> None:
    rows, page = tmp_path / "run" / "rows.jsonl", tmp_path / "page.html"
    words = ["attack", world.model, "--method", "hag", "--steps", "3", *SMALL, "--out", rows]
    shell.done(*words, "--sheet", rows.parent / "sheet.png")
    shell.done("report", rows, "--out", page)
    before = page.read_text(encoding="utf-8").split('class="words"')[0]
    assert 'src="data:image/png' in before and "under hag: queries before and after" in before
    shell.done(*words, "--sheet", tmp_path / "elsewhere.png", "--seed", "1")
    shell.done("report", rows, "--out", page)
    assert "No picture lies beside these rows" in page.read_text(encoding="utf-8"), "the sheet was drawn for other rows"
    (rows.parent / "pictures.json").write_text("{")
    kept = rows.read_text(encoding="utf-8")
    assert "pictures.json is no JSON" in shell.fails(2, *words, "--sheet", rows.parent / "sheet.png", "--seed", "2")
    assert rows.read_text(encoding="utf-8") == kept


def test_methods_are_listed(shell: Shell) -> None:
    rows = shell.done("attack", "--list", "--json").rows
    assert [row["method"] for row in rows] == sorted(ATTACKS) and all(row["title"] for row in rows)
    text = shell.done("attack", "--list").out
    assert all(name in text for name in ATTACKS)


def test_help_names_every_method() -> None:
    from hamguard.cli.attack import METHODS

    assert sorted(METHODS.split(", ")) == sorted(ATTACKS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--method", "hag", "--eps", "8"), "eps must be in (0, 1], got 8; did you mean 8 / 255?"),
        (("--method", "hag", "--eps", "8/x"), "eps must be a number such as 0.03 or 8/255, got '8/x'"),
        (("--method", "mainstey"), "did you mean mainstay?"),
        (("--method", "hag", "--targets", "no-overlap"), "hag has no target"),
        (("--method", "fgsm", "--steps", "3"), "fgsm takes no steps"),
        (("--method", "hag", "--preset", "papr"), "unknown preset of hag 'papr'; allowed: default, paper, code"),
        (("--method", "pgd", "--guide", "centre"), "did you mean center?"),
        (("--method", "hag", "--set", "u=1"), "hag has no option 'u'; options: t"),
        (("--method", "hag", "--set", "t=much"), "option t of hag: "),
        (("--method", "hag", "--set", "t"), "--set must be KEY=VALUE, got 't'"),
        (("--method", "dhta", "--targets", "label:9"), "unknown label '9'"),
        (("--method", "hag", "--threat", "l3"), "unknown threat 'l3'; allowed: linf, l2, l1, l0"),
        (
            ("--method", "jsma", "--eps", "20"),
            "eps of l0 is a share of the pixels in (0, 1], got 20; did you mean 20 / (h",
        ),
        (("--method", "jsma", "--eps", "0.001"), "eps 0.001 of 256 pixels is less than one; give 1/256 or more"),
        (("--method", "cw", "--eps", "0"), "eps must be above 0, got 0"),
        (("--method", "cw", "--set", "left=-1"), "left must be at least 0"),
        (("--method", "dhta", "--targets", "nothing.json"), "no target list at nothing.json"),
        (("--method", "dhta", "--targets", "nooverlap"), "did you mean no-overlap?"),
        (("--method", "hag", "--method", "pgd", "--sheet", "a.png"), "take one method and one eps, got 2 attacks"),
        (("--method", "hag", "--sheet", "a.txt"), "--sheet is written as"),
        (("--method", "universal", "--targets", "no-overlap"), "name it: --targets label:NAME"),
        (("--method", "hag", "--source-model", "nowhere"), "no model at nowhere"),
        ((), "give a MODEL and a --method"),
    ],
)
def test_wrong_words_are_explained(words: tuple[str, ...], message: str, shell: Shell, world: World) -> None:
    assert message in shell.fails(2, "attack", world.model, *words, "--queries", "12")


def test_a_label_that_no_database_item_has(shell: Shell, world: World, tmp_path: Path) -> None:
    path = write_arrays(tmp_path / "a.npz", n=100)
    arrays = dict(np.load(path))
    labels = np.eye(6, dtype=np.uint8)[arrays["labels"]]
    labels[0, 5] = 1
    split = np.full(100, 3, np.uint8)
    split[:20], split[20:60] = 2, 0
    np.savez(path, images=arrays["images"], labels=labels, split=split)
    words = ("attack", world.model, "--data", f"arrays:{path}", "--method", "mainstay")
    assert "no database item has the target label 5" in shell.fails(2, *words, "--targets", "label:5")


def test_pictures_without_labels(shell: Shell, world: World, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    for number, pixels in enumerate(np.load(world.root / "toy.npz")["images"][:80]):
        Image.fromarray(pixels).save(tmp_path / "bare" / f"{number}.png")
    words = ("attack", world.model, "--data", f"folder:{tmp_path / 'bare'}", "--eps", "0.2")
    line = shell.fails(2, *words, "--method", "mainstay")
    assert "mainstay needs labels, and bare has none; label-free: hag" in line
    rows = shell.done(*words, "--method", "hag", "--steps", "10", "--json").rows
    values = {row["metric"]: row["value"] for row in rows if row["attack"] and row["attack"]["method"] == "hag"}
    assert "map" not in values and values["bits-moved"] > 1
    found = {(row["attack"] or {}).get("method"): row["value"] for row in rows if row["metric"] == "found"}
    assert found[None] > found["hag"] and found["noise"] > found["hag"] and found[None] > found["ideal-code"]
    assert [row["n"] for row in rows if row["metric"] == "random_found"] == [14]
    out = shell.done(*words, "--method", "hag", "--steps", "3", "--out", tmp_path / "a" / "rows.jsonl").out
    assert "found@10" in out and "hag: the original is among the first 10 answers for" in out
    shell.done("report", tmp_path / "a", "--out", tmp_path / "page.html")
    assert "pictures whose original is among the first answers" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_broken_weights_are_one_line(shell: Shell, world: World, tmp_path: Path) -> None:
    model, card = load_folder(world.model)
    with torch.no_grad():
        model.head.weight[0, 0] = float("nan")
    facts = card.model_dump(exclude={"backbone", "bits", "channels", "size", "mean", "std", "weights_hash"})
    save_model(model, tmp_path / "broken", **facts)
    assert "NaN" in shell.fails(2, "attack", tmp_path / "broken", "--data", world.data, "--method", "hag")


def test_a_model_of_another_shape(shell: Shell, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "strange_model.py").write_text(
        "import torch\nclass Net(torch.nn.Module):\n    size = (16, 16)\n    channels = 1\n"
        "    def forward(self, x):\n        return x.sum((1, 2, 3))\n"
        "class Torn(Net):\n    def forward(self, x):\n"
        "        return x.flatten(1)[:, :8] - 0.5 + (x * 0).sqrt().flatten(1)[:, :8]\n"
    )
    monkeypatch.chdir(tmp_path)
    words = ("--data", world.data, "--method", "hag", "--queries", "12")
    assert "must return real numbers (B, K), got (2,)" in shell.fails(2, "attack", "strange_model:Net", *words)
    line = shell.fails(1, "attack", "strange_model:Torn", *words)
    assert "the gradient to the picture is NaN or infinite" in line


def test_a_folder_with_other_things_is_left_alone(shell: Shell, world: World, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    words = ("attack", world.model, "--method", "hag", "--steps", "2", *SMALL, "--save-images")
    assert "is not empty and holds no manifest" in shell.fails(2, *words, tmp_path / "mine")
    assert os.listdir(tmp_path / "mine") == ["letter.txt"]
    assert "is a file, not a folder" in shell.fails(2, *words, tmp_path / "mine" / "letter.txt")


def test_the_benchmark_prints_rows_for_any_model(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    script = Path(__file__).parents[2] / "benchmarks" / "attacks.py"
    words = [str(script), str(world.model), "--batch", "8", "--turns", "1", "--json"]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.syspath_prepend(script.parent)  # as when the script is run
    monkeypatch.setattr(
        os, "environ", os.environ.copy()
    )  # the script asks for one thread, which is not for the tests after it
    monkeypatch.setattr("torch.set_num_threads", lambda number: None)
    runpy.run_path(str(script), run_name="__main__")
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows[0]["model"] == str(world.model) and rows[0]["batch"] == 8 and rows[0]["against"] == "field"
    assert all(row["ratio"] > 0 and 0 < row["floor_share"] for row in rows)


def test_sources_that_cannot_join_are_refused(shell: Shell, world: World, tmp_path: Path) -> None:
    small = f"arrays:{write_arrays(tmp_path / 'small.npz', n=100, size=20)}"
    shell.done("train", "--data", small, "--bits", "8", "--epochs", "1", "--out", tmp_path / "small")
    words = ("attack", world.model, "--queries", "12", "--source-model", tmp_path / "small")
    assert "takes pictures of 20x20 pixels, the data have 16x16" in shell.fails(2, *words, "--method", "hag")
    words = ("attack", world.model, "--queries", "12", "--source-model", world.model, "--source-model", world.model)
    line = shell.fails(2, *words, "--method", "universal")
    assert "is fitted on one model; give --combine sum, sum-project or mean" in line


def test_restart_leaves_no_picture_of_the_last_attack(shell: Shell, world: World, tmp_path: Path) -> None:
    words = ("attack", world.model, "--method", "hag", "--steps", "2", "--eps", "0.2", "--save-images", tmp_path / "p")
    shell.done(*words, "--queries", "12")
    shell.done(*words, "--queries", "5", "--restart")
    assert len(list((tmp_path / "p").glob("*.png"))) == 5
