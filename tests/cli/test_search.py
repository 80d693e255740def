"""`encode`, `index`, `search` and `evaluate` of a model: what belongs together works, what does not is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hamguard.core.files import read_sealed, write_sealed
from tests.cli.conftest import World
from tests.cli.helpers import Shell, write_arrays, write_picture


def sheet_pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def copy_of(folder: Path, place: Path) -> Path:
    return Path(shutil.copytree(folder, place))


def test_encode_writes_banks_that_name_model_and_split(world: World, shell: Shell, tmp_path: Path) -> None:
    facts = shell.done("encode", world.model, "--out", tmp_path / "c", "--queries", 7, "--json").rows
    assert [(fact["role"], fact["count"], fact["bits"]) for fact in facts] == [("query", 7, 12), ("database", 250, 12)]
    card = json.loads((world.model / "card.json").read_text())
    assert {fact["model"] for fact in facts} == {card["weights_hash"]}
    assert {fact["split"] for fact in facts} == {card["data"]["split"]["digest"]}
    few = np.load(tmp_path / "c" / "query.npz")["packed"]
    assert np.array_equal(few, np.load(world.codes / "query.npz")["packed"][:7])


def test_index_info(world: World, shell: Shell) -> None:
    fact = shell.done("index", "info", world.index, "--json").rows[0]
    assert (fact["engine"], fact["count"], fact["bits"]) == ("flat", 250, 12)
    assert fact["origin"]["model"] == str(world.model) and fact["origin"]["own_data"] == world.data
    assert "flat index, 250 codes of 12 bits" in shell.done("index", "info", world.index).out


def test_index_of_a_model_is_that_of_its_codes(world: World, shell: Shell, tmp_path: Path) -> None:
    shell.done("index", "build", world.model, "--out", tmp_path / "i", "--engine", "flat")
    ask = (world.picture, "--top", 5, "--json")
    assert shell.done("search", tmp_path / "i", *ask).rows == shell.done("search", world.index, *ask).rows
    line = shell.fails(2, "index", "build", world.model, "--out", tmp_path / "j", "--engine", "hnsw")
    assert "unknown engine 'hnsw'; allowed: flat, ivf" in line


def test_search_is_a_brute_force_search(world: World, shell: Shell) -> None:
    query, base = np.load(world.codes / "query.npz"), np.load(world.codes / "database.npz")
    far = np.bitwise_count(query["packed"][4] ^ base["packed"]).sum(1)
    order = np.argsort(far, kind="stable")
    rows = shell.done("search", world.index, "query:4", "--top", 30, "--json").rows
    assert [row["id"] for row in rows] == base["ids"][order[:30]].tolist()
    assert [row["distance"] for row in rows] == far[order[:30]].tolist()
    assert [row["rank"] for row in rows] == list(range(1, 31)) and {row["query"] for row in rows} == {"query:4"}
    near = shell.done("search", world.index, "query:4", "--radius", 3, "--json").rows
    assert [row["id"] for row in near] == base["ids"][order[far[order] <= 3]].tolist()
    assert len(shell.done("search", world.index, "query:4", "--radius", 99, "--json").rows) == 250
    assert len(shell.done("search", world.index, "query:4", "--top", 9999, "--json").rows) == 250


def test_search_of_a_picture_file_finds_the_picture(world: World, shell: Shell, tmp_path: Path) -> None:
    rows = shell.done("search", world.index, world.picture, "--top", 250, "--json").rows
    same = [row["id"] for row in rows if row["distance"] == 0]
    code = np.load(world.codes / "database.npz")
    if "3" in code["ids"]:  # the picture is item 3; its own code is at distance 0
        assert "3" in same
    else:
        assert "3" not in [row["id"] for row in rows]
    grown = tmp_path / "grown.png"  # another size, color: brought to what the model takes
    with Image.open(world.picture) as picture:
        picture.convert("RGB").resize((56, 84)).save(grown)
    table = shell.done("search", world.index, grown, world.picture, "--top", 2).out
    assert f"{grown}: 2 answers of 250" in table and f"{world.picture}: 2 answers of 250" in table


def test_gray_and_color_pictures_in_one_search(world: World, shell: Shell, tmp_path: Path) -> None:
    """A gray model indexes pictures in color; a file for it is decoded gray, a picture of the set stays in color."""
    images = np.load(world.root / "toy.npz")["images"][:40]
    np.savez(tmp_path / "color.npz", images=np.stack([images] * 3, 3), labels=np.arange(40) % 5)
    shell.done("index", "build", world.model, "--data", f"arrays:{tmp_path / 'color.npz'}", "--out", tmp_path / "i")
    rows = shell.done("search", tmp_path / "i", "query:0", world.picture, "--top", 1, "--json").rows
    assert len(rows) == 2 and all(row["distance"] <= 2 for row in rows)


def test_sheet(world: World, shell: Shell, tmp_path: Path) -> None:
    shell.done("search", world.index, "query:0", world.picture, "--sheet", tmp_path / "s.png", "--top", 4)
    pixels = sheet_pixels(tmp_path / "s.png")
    assert pixels.shape[0] > 200 and pixels.shape[1] > 400 and pixels.std() > 10
    green = (pixels == (0x2A, 0x9D, 0x5C)).all(2)
    assert green.any()  # the model is good: some answer of query:0 shares its label
    line = shell.fails(2, "search", world.index, "query:0", "--sheet", tmp_path / "s.gif")
    assert "--sheet is written as .png, .svg, .pdf, got s.gif" in line


def test_refused_pictures(world: World, shell: Shell, tmp_path: Path) -> None:
    whole = world.picture.read_bytes()
    (tmp_path / "torn.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("no picture")
    Image.new("1", (8000, 7000)).save(tmp_path / "huge.png")
    write_picture(tmp_path / "good.png")
    for name, expected in (
        ("torn.png", "torn.png is truncated"),
        ("text.jpg", "text.jpg is not a picture; JPEG, PNG, WebP and BMP are read"),
        ("huge.png", "huge.png is too large: 8000 x 7000 = 56,000,000 pixels; the limit is 50,000,000"),
        ("none.png", "none.png does not exist"),
    ):
        assert expected in shell.fails(2, "search", world.index, tmp_path / "good.png", tmp_path / name)
    assert "the query split has pictures query:0 to query:49" in shell.fails(2, "search", world.index, "query:50")
    assert "the query split has pictures" in shell.fails(2, "search", world.index, "query:x")


def test_another_model_and_a_stale_index_are_refused(world: World, shell: Shell, tmp_path: Path) -> None:
    shell.done("train", "--data", world.data, "--bits", 16, "--epochs", 1, "--out", tmp_path / "other")
    line = shell.fails(2, "search", world.index, world.picture, "--model", tmp_path / "other")
    assert "is stale: it belongs to model" in line and "build it again" in line
    broken = copy_of(world.index, tmp_path / "broken")
    file = broken / json.loads((broken / "index.json").read_text())["file"]
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))
    for verb in (("index", "info", broken), ("search", broken, world.picture)):
        assert str(broken) in shell.fails(2, *verb)
    assert "no index at" in shell.fails(2, "search", tmp_path / "nothing", world.picture)
    lost = copy_of(world.index, tmp_path / "lost")
    (lost / "origin.json").unlink()
    assert "lost does not know its model; give the model" in shell.fails(2, "search", lost, world.picture)
    assert shell.done("search", lost, world.picture, "--model", world.model).code == 0
    (lost / "origin.json").write_text(json.dumps({"model": "os:getcwd"}))  # an index must not choose what code runs
    assert "made with os:getcwd, which is no model folder here" in shell.fails(2, "search", lost, world.picture)


def test_a_folder_asks_with_all_its_pictures(world: World, shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "asked").mkdir()
    names = [str(write_picture(tmp_path / "asked" / f"{i}.png", seed=i)) for i in range(3)]
    rows = shell.done("search", world.index, tmp_path / "asked", "--top", 2, "--json").rows
    assert [row["query"] for row in rows] == [name for name in names for _ in range(2)]
    (tmp_path / "none").mkdir()
    assert "none" in shell.fails(2, "search", world.index, tmp_path / "none")


def test_damaged_banks_are_refused(world: World, shell: Shell, tmp_path: Path) -> None:
    arrays = dict(np.load(world.codes / "database.npz"))
    arrays["packed"] = arrays["packed"].copy()
    arrays["packed"][0, 0] ^= 1
    np.savez(tmp_path / "bent.npz", **arrays)
    ask = ("index", "build", tmp_path / "bent.npz", "--out", tmp_path / "i")
    assert "bent.npz is damaged: its content has hash" in shell.fails(2, *ask)
    line = shell.fails(2, "index", "build", world.codes / "database.npz", "--everything", "--out", tmp_path / "i")
    assert "a code bank brings its own items" in line
    assert "no code bank at" in shell.fails(2, "index", "build", tmp_path / "no.npz", "--out", tmp_path / "i")


def test_evaluate_a_model(world: World, shell: Shell, tmp_path: Path) -> None:
    answer = shell.done(
        "evaluate", world.model, "--json", "--out", tmp_path / "rows.jsonl", "--curves", tmp_path / "c.png"
    )
    assert answer.out == (tmp_path / "rows.jsonl").read_text() and answer.err == ""
    first, *_, floor = answer.rows
    assert first["metric"] == "map" and first["value"] > 0.9 > 0.4 > floor["value"] and floor["model"] == "random codes"
    assert first["ci95"][0] <= first["value"] <= first["ci95"][1] and first["n"] == 50
    assert first["train"] == "toy, 225 pictures" and first["bits"] == 12 and first["method"] == "csq"
    assert first["hashes"]["query_codes"] != first["hashes"]["database_codes"]
    assert sheet_pixels(tmp_path / "c.png").std() > 10
    few = shell.done("evaluate", world.model, "--json", "--queries", 5, "--metric", "recall@20").rows
    assert [row["n"] for row in few] == [5, 5] and [row["metric"] for row in few] == ["recall", "random_recall"]
    table = shell.done("evaluate", world.model, "--metric", "map@10", "--norm", "min").out
    assert "map[norm=min] @ 10" in table  # square brackets are data, not markup


def test_evaluate_on_other_pictures(world: World, shell: Shell, tmp_path: Path) -> None:
    other = write_arrays(tmp_path / "other.npz", n=60, size=40, seed=3)
    row = shell.done("evaluate", world.model, "--data", f"arrays:{other}", "--json").rows[0]
    assert row["dataset"] == "other" and row["n"] == 10 and row["train"] == "toy, 225 pictures"
    bare = write_arrays(tmp_path / "bare.npz", labels=np.zeros((300, 2), np.uint8))
    line = shell.fails(2, "evaluate", world.model, "--data", f"arrays:{bare}", "--metric", "map")
    assert "bare has no labels, so nothing can be relevant" in line
    answer = shell.done("evaluate", world.model, "--data", f"arrays:{bare}", "--queries", 8)
    assert "bare has no labels: asked with copies of its pictures, jpeg:50, resize:0.5, crop:0.8" in answer.err
    assert "bare: 8 pictures copied, 300 database items" in answer.out and "crop:0.8 copy->original" in answer.out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--metric", "map@0"], "metric 'map@0': the cut-off after @ must be a number from 1"),
        (["--metric", "foo"], "unknown metric 'foo'; allowed: map, precision, recall, ndcg"),
        (["--metric", "precision"], "metric 'precision' needs a cut-off, e.g. precision@100"),
        (["--ties", "mean"], "unknown ties 'mean'; allowed: expected, stable, worst, best"),
        (["--norm", "all"], "unknown norm 'all'; allowed: relevant, hits, min"),
        (["--metric", "map@10", "--norm", "hits"], "use norm 'relevant' or 'min', or ties 'stable', 'worst' or 'best'"),
        (["--learned"], "has no learned codes; only ADSH"),
        (["--query-codes", "q.npz"], "give either a MODEL, or both"),
        (["--protocol", "nope"], "unknown protocol 'nope'"),
        (["--curves", "c.jpg"], "--curves is written as .png, .svg, .pdf, got c.jpg"),
        (["--device", "cuda:99"], "device cuda:99 is not there"),
    ],
)
def test_refused_evaluations(words: list[str], expected: str, world: World, shell: Shell) -> None:
    assert expected in shell.fails(2, "evaluate", world.model, *words)


def test_refused_models(world: World, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no model at" in shell.fails(2, "evaluate", tmp_path / "none")
    assert "is not a model folder: it has no card.json" in shell.fails(2, "evaluate", tmp_path)
    stale = copy_of(world.model, tmp_path / "stale")
    card = read_sealed(stale / "card.json", "card")
    write_sealed(stale / "card.json", card | {"weights_hash": "0" * 16})
    assert "the card was written for 0000" in shell.fails(2, "evaluate", stale)
    write_sealed(stale / "card.json", card | {"color": "red"})
    assert "card.json is damaged" in shell.fails(2, "evaluate", stale)
    for fact in ({"bits": 1 << 40}, {"size": [1 << 20, 1 << 20]}, {"channels": 2}):
        write_sealed(stale / "card.json", card | fact)
        assert "card.json is damaged" in shell.fails(2, "evaluate", stale)
    write_sealed(stale / "card.json", card)
    (stale / "model.safetensors").write_bytes(b"\x80\x04pickle")
    assert "is a pickle, which can execute code" in shell.fails(2, "evaluate", stale)


def test_a_foreign_factory_of_the_working_folder(
    world: World, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "toy_factory.py").write_text(
        "import torch\n"
        "def make(channels=3):\n"
        "    torch.manual_seed(0)\n"
        "    net = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(8), torch.nn.Flatten(), torch.nn.Linear(channels * 64, 21))\n"
        "    net.size = (16, 16)\n"
        "    return net\n"
        "def fails():\n"
        "    raise KeyError('no weights')\n"
    )
    monkeypatch.chdir(tmp_path)
    rows = shell.done("evaluate", "toy_factory:make", "--data", world.data, "--json").rows  # gray pictures, color net
    assert rows[0]["bits"] == 21 and rows[0]["train"] is None and rows[0]["value"] > 2 * rows[-1]["value"]
    assert "this model has no card that names its data" in shell.fails(2, "evaluate", "toy_factory:make")
    ask = ("--data", world.data)
    assert "factory toy_factory:fails failed: KeyError: 'no weights'" in shell.fails(
        2, "evaluate", "toy_factory:fails", *ask
    )
    assert "must return a torch.nn.Module, got str" in shell.fails(2, "evaluate", "os:getcwd", *ask)
    assert "no model factory no_such_module:make" in shell.fails(2, "evaluate", "no_such_module:make", *ask)


def test_learned_codes_of_adsh(world: World, shell: Shell, tmp_path: Path) -> None:
    shell.done(
        "train", "--data", world.data, "--method", "adsh", "--bits", 12, "--epochs", 2, "--out", tmp_path / "adsh"
    )
    ask = ("evaluate", tmp_path / "adsh", "--metric", "map", "--json")
    rows = shell.done(*ask).rows
    assert [row["task"] for row in rows] == ["query->database", "query->database", "query->learned codes"]
    assert [row["task"] for row in shell.done(*ask, "--no-learned").rows] == ["query->database", "query->database"]
    (tmp_path / "adsh" / "learned_codes.npz").unlink()
    arrays = dict(np.load(world.codes / "database.npz"))
    np.savez(tmp_path / "adsh" / "learned_codes.npz", **arrays)
    assert "learned_codes.npz is stale: it belongs to model" in shell.fails(
        2, "evaluate", tmp_path / "adsh", "--learned"
    )


def test_broken_pictures_are_named_and_the_rest_is_searched(world: World, shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "asked"
    folder.mkdir()
    content = world.picture.read_bytes()
    for name in ("a.png", "b.jfif", "plain", "caf\udce9.png", ".hidden.png"):
        (folder / name).write_bytes(content)
    (folder / "bad\nhamguard: fine.png").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("words")
    (folder / "huge.png").touch()
    os.truncate(folder / "huge.png", 40 << 30)
    os.mkfifo(folder / "pipe.png")
    answer = shell("search", world.index, folder, "--top", 1)
    assert answer.code == 1 and answer.out.count("1 answers of") == 4 and "caf\\xe9.png" in answer.out
    told = answer.err.splitlines()
    assert told[0] == f"{folder}: left out: 1 hidden (.hidden.png), 1 no picture (notes.txt)"
    assert [line.removeprefix(f"{folder}/").split()[0] for line in told[1:4]] == [
        "bad\\nhamguard:", "huge.png", "pipe.png",
    ]  # fmt: skip
    assert told[4] == "hamguard: 3 pictures could not be searched with; the rest is done" and len(told) == 5
    line = shell.fails(2, "search", world.index, folder / "pipe.png")
    assert "pipe.png is not an ordinary file" in line
    assert "/dev/zero is not an ordinary file" in shell.fails(2, "search", world.index, "/dev/zero")
    for path in folder.iterdir():
        path.unlink()
    for name in ("a.png", "b.png"):
        (folder / name).touch()
    assert "none of 2 pictures can be read: " in shell.fails(2, "search", world.index, folder)


def test_pictures_of_a_data_set_that_cannot_be_read_are_named_and_the_rest_is_done(
    world: World, shell: Shell, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(6):
        write_picture(folder / f"{number}.png", seed=number)
    (folder / "torn\x1b[2J.png").write_bytes((folder / "0.png").read_bytes()[:60])
    os.mkfifo(folder / "pipe.png")
    (folder / "huge.jpg").touch()
    os.truncate(folder / "huge.jpg", 40 << 30)
    data = ("--data", f"folder:{folder}")
    for words, done in (
        (("data", "check", data[1]), "6 pictures"),
        (("index", "build", world.model, *data, "--everything", "--out", tmp_path / "index"), "6 codes of 12 bits"),
        (("encode", world.model, *data, "--out", tmp_path / "codes"), "database.npz: "),
        (("evaluate", world.model, *data, "--view", "jpeg:50"), "found"),
        (("search", tmp_path / "index", folder / "0.png", "--sheet", tmp_path / "sheet.png"), "answers of 6"),
    ):
        answer = shell(*words)
        assert answer.code == 1 and done in answer.out, (words, answer)
        *told, last = answer.err.splitlines()
        assert [line.removeprefix(f"{folder}/").split()[0] for line in told[-3:]] == [
            "huge.jpg", "pipe.png", "torn\\x1b[2J.png",
        ]  # fmt: skip
        assert last == "hamguard: 3 pictures could not be read; the rest is done"


def test_no_warning_of_a_library_reaches_the_terminal(shell: Shell, tmp_path: Path) -> None:
    code = (
        "import sys, warnings; sys.argv = ['hamguard', 'data', 'list']\n"
        "from hamguard.cli import main\n"
        "from hamguard.cli import data\n"
        "data.to_terminal = lambda *tables: warnings.warn('of a library')\n"
        "main.run()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""
    loud = subprocess.run([sys.executable, "-W", "always", "-c", code], capture_output=True, text=True)
    assert "of a library" in loud.stderr, "whoever asks for warnings hears them"
