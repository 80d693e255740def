"""`hamguard attack` on a cross-modal model: both searches of pictures, bags of words, whole words, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import hamguard as hg
from hamguard.core.seeds import torch_generator
from hamguard.data.sources import open_source
from hamguard.models.cross_modal import CrossModel, load_cross, save_cross
from hamguard.models.hash_model import HashModel
from hamguard.models.store import save_model
from hamguard.models.text_model import TextModel
from hamguard.trainers.words import read_job
from tests.cli.helpers import Shell
from tests.trainers.runs import train

TAGS = ("red circle", "blue square", "green cross")


class Pairs(NamedTuple):
    """A briefly trained cross-modal folder; tests read it and never write to it."""

    root: Path
    data: str
    model: Path


def write_pairs(path: Path, n: int = 90, **more: Any) -> Path:
    """Gray 16-pixel pictures, one bright corner a class, and a text with the class's two words; one query says nothing known."""
    rng, kinds = np.random.default_rng(0), np.arange(n) % 3
    images = rng.integers(0, 110, (n, 16, 16)).astype(np.uint8)
    for i, kind in enumerate(kinds):
        y, x = divmod(int(kind), 2)
        images[i, 8 * y : 8 * y + 8, 8 * x : 8 * x + 8] += 100
    texts = [f"a {TAGS[kind]}, {('big', 'old')[i % 2]}" for i, kind in enumerate(kinds)]
    split = np.repeat([0, 3, 2], [45, 25, 20])
    texts[-1] = "nothing"
    np.savez(path, **{"images": images, "labels": kinds, "texts": np.array(texts), "split": split, **more})
    return path


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Pairs:
    root = tmp_path_factory.mktemp("pairs of both")
    data = f"arrays:{write_pairs(root / 'pairs.npz')}"
    flags = {"data.source": data, "model.bits": 8, "training.epochs": 12, "training.batch_size": 15}
    request = read_job({}, {"method": "dcmh", **flags}, ["text_width=16", "lr=0.005"])
    train(request, *open_source(data), root / "model")
    return Pairs(root, data, root / "model")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAMGUARD_CACHE", str(tmp_path / "cache"))


def scores(rows: list[dict[str, Any]], metric: str = "map") -> dict[tuple[str, str], dict[str, Any]]:
    """Rows of a metric by search and method."""
    return {
        (row["task"], row["attack"]["method"] if row["attack"] else "clean"): row
        for row in rows
        if row["metric"] == metric
    }


def test_pictures_are_asked_of_pictures_and_of_texts(shell: Shell, pairs: Pairs) -> None:
    words = ("attack", pairs.model, "--method", "cmla", "--steps", 5, "--set", "norm=0.01")
    rows = shell.done(*words, "--json").rows
    found = scores(rows)
    assert list(found) == [
        (task, method)
        for task in ("image->image", "image->text")
        for method in ("clean", "noise", "ideal-code", "cmla")
    ]
    ours = found["image->text", "cmla"]
    assert ours["threat"] == {"norm": "linf", "eps": 10 / 255, "steps": 5, "restarts": 1, "grid": "8 bit"}
    assert ours["n"] == 20 and ours["backwards"] == 5 and ours["attack"]["labels"] == "aware"
    assert ours["attack"]["values"]["fidelity"] == pytest.approx(2.55)  # norm x 255
    clean = {row["task"]: row["value"] for row in shell.done("evaluate", pairs.model, "--metric", "map", "--json").rows
             if row["metric"] == "map"}  # fmt: skip
    for task in ("image->image", "image->text"):
        assert found[task, "clean"]["value"] == pytest.approx(clean[task])
        assert {row["metric"] for row in rows if row["task"] == task} == {"map", "random_map", "gain"}
    (linf,) = [row["value"] for row in rows if row["metric"] == "linf"]
    assert 0 < linf <= 10 / 255 + 1e-6
    out = shell.done(*words).out
    assert out.count("attacks that use labels of the query or of its target, away, linf 10/255") == 2
    assert f"{pairs.model}, image->image (pairs, 20 queries)" in " ".join(out.split())
    assert f"{pairs.model}, image->text (pairs, 20 queries)" in " ".join(out.split())


@pytest.mark.parametrize(
    "words", [("mainstay", "--steps", 3), ("dhta", "--steps", 3), ("cmla", "--steps", 2, "--preset", "code")]
)
def test_other_attacks_on_pictures_are_asked_of_texts_too(shell: Shell, pairs: Pairs, words: tuple[Any, ...]) -> None:
    rows = shell.done("attack", pairs.model, "--method", *words, "--eps", "0.1", "--queries", 6, "--json").rows
    metric = "t-map" if words[0] == "dhta" else "map"
    assert {task for task, method in scores(rows, metric) if method == words[0]} == {"image->image", "image->text"}
    mine = scores(rows, metric)["image->text", words[0]]
    assert mine["threat"].get("one_sided", False) == (words[0] == "cmla") and mine["n"] == 6


def test_pictures_made_on_another_cross_modal_model(shell: Shell, pairs: Pairs, tmp_path: Path) -> None:
    model, card, _ = load_cross(pairs.model)
    image = HashModel("conv2", 8, channels=1, size=(16, 16), mean=[0.5], std=[0.2], generator=torch_generator(1))
    text = TextModel("mlp", len(model.vocabulary), 8, width=8, seed=1)
    other = tmp_path / "other"
    save_cross(CrossModel(image, text, model.vocabulary), other, data=card.data)
    words = ("--method", "cmla", "--steps", 2, "--queries", 5, "--source-model", other)
    rows = shell.done("attack", pairs.model, *words, "--json").rows
    assert scores(rows)["image->text", "cmla"]["attack"]["made_on"] == [str(other)]
    save_model(image, tmp_path / "plain", data=card.data)
    line = shell.fails(2, "attack", pairs.model, *words[:-1], tmp_path / "plain")
    assert "cmla needs codes of pictures and of texts" in line


def test_cmla_needs_a_text_side(shell: Shell, pairs: Pairs, tmp_path: Path) -> None:
    image = HashModel("conv2", 8, channels=1, size=(16, 16), generator=torch_generator(1))
    save_model(image, tmp_path / "plain")
    plain = ("attack", tmp_path / "plain", "--data", pairs.data, "--method", "cmla")
    line = shell.fails(2, *plain, "--steps", 1)
    assert (
        "cmla needs codes of pictures and of texts; give a cross-modal model (hamguard train --method dcmh or ssah)"
        in line
    )
    for side in ("text", "words"):
        assert "plain has no text side" in shell.fails(2, *plain, "--side", side)
    arrays = dict(np.load(pairs.root / "pairs.npz"))
    del arrays["texts"]
    np.savez(tmp_path / "mute.npz", **arrays)
    mute = ("--data", f"arrays:{tmp_path / 'mute.npz'}", "--method", "cmla", "--steps", 1)
    assert "and data with texts" in shell.fails(2, "attack", pairs.model, *mute)
    assert "mute has no texts; cross-modal work needs one a picture" in shell.fails(
        2, "attack", pairs.model, *mute, "--side", "text"
    )


def test_bags_of_words(shell: Shell, pairs: Pairs, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    words = ("attack", pairs.model, "--method", "cmla", "--side", "text", "--set", "intra=0", "--steps", 300)
    rows = shell.done(*words, "--eps", "0.5", "--metric", "map", "--metric", "precision@5", "--json", "--out", out).rows
    found = scores(rows)
    assert list(found) == [
        (task, method) for method in ("clean", "noise", "cmla") for task in ("text->image", "text->text")
    ]
    ours = found["text->image", "cmla"]
    assert (ours["threat"]["eps"], ours["threat"]["steps"], ours["threat"]["one_sided"]) == (0.5, 300, False)
    assert ours["attack"]["side"] == "text" and (ours["forwards"], ours["backwards"]) == (301, 300)
    assert ours["value"] < found["text->image", "noise"]["value"] - 0.05
    assert "1 of 20 query texts have no known word and share one code" in ours["notes"]
    (moved,) = [row for row in rows if row["metric"] == "D" and row["attack"]["method"] == "cmla"]
    assert 0 < moved["value"] <= 0.5 and moved["task"] == "text"
    assert scores(rows, "precision")["text->image", "cmla"]["at"] == 5
    assert [json.loads(line) for line in out.read_text().splitlines()] == rows
    published = shell.done(*words[:-1], 2, "--preset", "code", "--json").rows
    mine = scores(published)["text->image", "cmla"]
    assert mine["attack"]["preset"] == "code" and mine["threat"]["one_sided"] and mine["threat"]["eps"] == 0.01
    table = shell.done(*words).out
    assert "20 query texts, attacked by text" in " ".join(table.split()) and "text->image" in table
    assert "Note: 1 of 20 query texts have no known word" in table


def test_published_pairs_are_those_of_the_batch(shell: Shell, pairs: Pairs) -> None:
    words = (
        "attack",
        pairs.model,
        "--method",
        "cmla",
        "--side",
        "text",
        "--steps",
        20,
        "--eps",
        "0.5",
        "--preset",
        "paper",
    )

    def hashed(size: int) -> str:
        rows = shell.done(*words, "--batch-size", size, "--json").rows
        return str(scores(rows)["text->image", "cmla"]["hashes"]["query_codes"])

    assert hashed(20) == hashed(64)
    distances = [
        [row["value"] for row in shell.done(*words, "--batch-size", size, "--json").rows if row["metric"] == "D"]
        for size in (2, 20)
    ]
    assert distances[0] != distances[1], "--batch-size reaches the texts"


def test_whole_words(shell: Shell, pairs: Pairs) -> None:
    words = ("attack", pairs.model, "--method", "cmla", "--side", "words", "--words", 1)
    rows = shell.done(*words, "--json").rows
    found = scores(rows)
    assert list(found) == [
        (task, method) for method in ("clean", "cmla-words") for task in ("text->image", "text->text")
    ]
    ours = found["text->image", "cmla-words"]
    assert ours["threat"] == {"norm": "words", "eps": 1, "steps": 1, "restarts": 1, "grid": "text"}
    (edits,) = [row["value"] for row in rows if row["metric"] == "edits"]
    assert 0 < edits <= 1 and ours["backwards"] == 1 and ours["forwards"] > 3
    out = shell.done(*words, "--set", "intra=0").out
    assert "edited" in out and "attacked by text" in " ".join(out.split())
    assert any(mark in out for mark in ("+", "-")) and "cmla-words" in out
    (more,) = [
        row["value"]
        for row in shell.done(*words[:-1], 3, "--set", "intra=0", "--json").rows
        if row["metric"] == "edits"
    ]
    assert more >= edits


@pytest.mark.parametrize(
    ("words", "attack"),
    [
        (("--side", "text", "--eps", "0.1", "--steps", 3), hg.attacks.cmla_text(steps=3, threat=hg.Linf(0.1))),
        (("--side", "words", "--words", 1, "--set", "intra=0"), hg.attacks.cmla_words(most=1, intra=0.0)),
    ],
)
def test_calls_and_commands_give_equal_rows(
    shell: Shell, pairs: Pairs, words: tuple[Any, ...], attack: hg.Attack[Any]
) -> None:
    printed = shell.done("attack", pairs.model, "--method", "cmla", *words, "--queries", 6, "--json").rows
    rows = hg.attack(pairs.model, attack=attack, queries=6, name="mine")
    made = [json.loads(row.json()) for row in rows]
    assert {row["attack"]["method"] for row in made if row["attack"]} - {"noise"} == {"mine"}
    for row in (*made, *printed):
        row["seconds"] = None
        if row["attack"] and row["attack"]["method"] != "noise":
            row["attack"]["method"] = ""
    assert list({json.dumps(row): row for row in made}.values()) == printed
    table = rows.tables()[0]
    assert "attacked by text" in table.title and len(table.rows) > 2
    assert rows.modality == "text" and len(rows.attacks) == 1 and bool(rows.edited) == (len(rows.tables()) == 2)
    with pytest.raises(
        hg.HamguardError, match="a sheet shows attacked images, and these rows are of an attack on texts"
    ):
        rows.sheet("sheet.png")


def test_an_attack_of_ones_own_moves_texts(pairs: Pairs) -> None:
    own = hg.Attack(search=hg.attacks.SignSteps(steps=3), threat=hg.Linf(0.3))
    rows = hg.attack(pairs.model, attack=own, modality="text", queries=6)
    assert {row.attack["method"] for row in rows if row.attack} == {"noise", "attack"}
    (moved,) = rows.where(metric="D", attack="attack")
    assert moved.task == "text" and moved.threat == {
        "norm": "linf", "eps": 0.3, "one_sided": False, "steps": 3, "restarts": 1, "grid": "bag of words, real values",
    }  # fmt: skip
    assert 0 < float(moved.value or 0) <= 0.3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("cmla", "--side", "words", "--eps", "0.1"), "--side words is bounded by --words; leave out --eps, --steps and --preset"),
        (("cmla", "--side", "words", "--steps", 3), "--side words is bounded by --words"),
        (("cmla", "--side", "words", "--preset", "paper"), "--side words is bounded by --words"),
        (("cmla", "--side", "words", "--set", "norm=1"), "--side words has no norm term, --words bounds it; leave out --set norm"),
        (("cmla", "--side", "words", "--set", "intra=-1"), "intra must be at least 0.0, got -1"),
        (("cmla", "--side", "text", "--targets", "other"), "--targets: belongs to pictures; leave out with --side text"),
        (("cmla", "--side", "text", "--threat", "l2"), "--threat l2: belongs to pictures; leave out with --side text"),
        (("cmla", "--side", "text", "--reference", "database"), "--reference: belongs to pictures"),
        (("cmla", "--side", "words", "--save-images", "x", "--guide", "own"), "--save-images, --guide: belongs to pictures"),
        (("cmla", "--side", "text", "--source-model", "x"), "--source-model: belongs to pictures"),
        (("cmla", "--side", "text", "--eps", "0.1", "--eps", "0.2"), "--side text takes one --eps, got 2"),
        (("cmla", "--side", "text", "--eps", "8"), r"eps must be in (0, 1], got 8; did you mean 8 / 255?"),
        (("cmla", "--side", "text", "--preset", "papr"), "unknown preset 'papr'"),
        (("cmla", "--side", "text", "--set", "nrm=1"), "cmla has no option 'nrm'; options: intra, norm, squared"),
        (("hag", "--side", "text"), "--side text belongs to --method cmla, got hag"),
        (("cmla", "--method", "hag", "--side", "words"), "--side words belongs to --method cmla, got cmla, hag"),
        (("cmla", "--side", "texts"), "unknown side 'texts'; allowed: image, text, words"),
        (("cmla", "--targets", "other"), "cmla has no target: it leaves a code; leave out --targets"),
    ],
)  # fmt: skip
def test_what_does_not_go_together(shell: Shell, pairs: Pairs, words: tuple[Any, ...], message: str) -> None:
    assert message in shell.fails(2, "attack", pairs.model, "--method", *words)
