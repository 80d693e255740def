"""`hamguard train` and `hamguard data`: learning, going on, and every request that must be refused."""

from __future__ import annotations

import errno
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.cli.conftest import World
from tests.cli.helpers import Shell, write_arrays, write_picture

FAST = ("--bits", 12, "--epochs", 2, "--batch-size", 32)


def test_train_says_what_it_made(world: World, shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "my model"
    answer = shell.done("train", "--data", world.data, *FAST, "--out", folder)
    assert answer.out.splitlines()[-1] == f"Next: hamguard evaluate '{folder}'" and "CSQ" in answer.out
    files = ["card.json", "class_codes.npz", "history.jsonl", "model.safetensors", "run.json"]
    assert sorted(p.name for p in folder.iterdir()) == files
    assert (folder / "model.safetensors").read_bytes() == (world.model / "model.safetensors").read_bytes()
    again = shell.done("train", "--data", world.data, *FAST, "--out", folder, "--json")
    assert [row["fresh"] for row in again.rows] == [False] and again.err == ""
    line = shell.fails(2, "train", "--data", world.data, *FAST, "--out", folder, "--seed", 1)
    assert "holds a model of another run" in line and "--restart" in line
    restarted = shell.done("train", "--data", world.data, *FAST, "--out", folder, "--seed", 1, "--restart", "--json")
    assert restarted.rows[0]["fresh"] and restarted.rows[0]["seed"] == 1


def test_ctrl_c_keeps_a_checkpoint_and_the_same_command_ends_in_the_same_bits(
    world: World, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hamguard.training import loop

    words = ("train", "--data", world.data, *FAST, "--out", tmp_path / "m")
    step, seen = loop._step, []

    def press(*args: object) -> float:
        seen.append(1)
        if len(seen) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return step(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "_step", press)
    before = signal.getsignal(signal.SIGINT)
    line = shell.fails(130, *words)
    assert line == (
        f"hamguard: stopped after 0 of 2 epochs and 3 steps; {tmp_path / 'm'} keeps a checkpoint, "
        "and the same command goes on from there"
    )
    assert (tmp_path / "m" / "checkpoint.pt").is_file() and not (tmp_path / "m" / "card.json").exists()
    assert signal.getsignal(signal.SIGINT) is before
    other = shell.fails(2, *words, "--set", "lr=0.5")
    assert "unfinished run with other settings" in other
    shell.done(*words)
    assert len(seen) == 2 * 7  # 225 pictures, 32 a step: nothing was done twice
    assert (tmp_path / "m" / "model.safetensors").read_bytes() == (world.model / "model.safetensors").read_bytes()


def test_method_may_come_from_set(world: World, shell: Shell, tmp_path: Path) -> None:
    made = shell.done("train", "--data", world.data, "--set", "method=dpsh", "--set", "eta=0.2", "--set", "epochs=1",
                      "--out", tmp_path / "m", "--json").rows[0]  # fmt: skip
    assert made["method"] == "dpsh" and made["settings"]["eta"] == 0.2 and "DPSH" in made["title"]


def test_all_faults_of_a_recipe_at_once(shell: Shell, tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        'methd = "csq"\n[model]\nbit = 3\n[training]\nepocs = 3\n[settings]\nlamm = 3\n', encoding="utf-8"
    )
    line = shell.fails(2, "train", recipe, "--out", tmp_path / "m", "--bits", 0, "--set", "foo")
    for part in ("6 faults", "methd; did you mean method?", "model.bit; did you mean bits?", "--set foo: must be key=value",
                 "training.epocs; did you mean epochs?", "settings.lamm; did you mean lam?", "model.bits: .*got 0"):  # fmt: skip
        assert part.partition(".*")[0] in line and part.rpartition(".*")[2] in line, line
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--method", "csk"], "unknown hash method 'csk'; allowed: adsh, .*did you mean csq?"),
        (["--bits", "0"], "model.bits: input should be greater than or equal to 1, got 0"),
        (["--method", "itq", "--epochs", "3"], "itq is fitted in one pass and takes no training keys, got epochs"),
        (["--method", "itq", "--preset", "paper"], "itq has no presets, got 'paper'"),
        (["--set", "lr=nan"], "training.lr: input should be a finite number, got nan"),
        (["--data", "cifar11"], "unknown data source 'cifar11'; allowed: .*did you mean cifar10?"),
        (["--data", "cifar10"], "data set cifar10 is not here; put cifar10/train_jpeg.npz and cifar10/test_jpeg.npz"),
        (["--data", "folder:/no/such/place"], "folder /no/such/place does not exist"),
        (["--data", "arrays:"], "data source arrays needs a path"),
        (["--data", "digits", "--backbone", "resnet8"], "unknown backbone 'resnet8'; allowed: conv2"),
        (["--data", "digits", "--weights", "no.safetensors"], "no weight file at no.safetensors"),
        (["--device", "tpu"], "unknown device 'tpu'; allowed: auto, cpu, cuda, cuda:N"),
        (["no.toml"], "no recipe at no.toml"),
    ],
)
def test_refused_requests(words: list[str], expected: str, shell: Shell, tmp_path: Path) -> None:
    line = shell.fails(2, "train", *words, "--out", tmp_path / "m")
    for part in expected.split(".*"):
        assert part in line


def test_refused_data(world: World, shell: Shell, tmp_path: Path) -> None:
    images = np.load(world.data.removeprefix("arrays:"))["images"]
    (tmp_path / "empty").mkdir()

    def train(source: str, *more: object) -> str:
        return shell.fails(2, "train", "--data", source, *more, "--out", tmp_path / "m")

    assert "holds no picture; looked for .png, .jpg" in train(f"folder:{tmp_path / 'empty'}")
    mismatch = write_arrays(tmp_path / "mismatch.npz", labels=np.zeros(7, int))
    assert "labels must be (300, C) or (300,), got (7,)" in train(f"arrays:{mismatch}")
    np.savez(tmp_path / "one.npz", images=images[:40], labels=np.zeros(40, int))
    assert "have the same labels; csq needs at least two kinds" in train(f"arrays:{tmp_path / 'one.npz'}")
    np.savez(tmp_path / "none.npz", images=images[:40], labels=np.zeros((40, 3), np.uint8))
    said = train(f"arrays:{tmp_path / 'none.npz'}", "--method", "csq")
    assert "none has no labels; csq needs them, bihalf, cibhash, lsh, itq, hashing-baseline, pca do not" in said
    np.savez(tmp_path / "two.npz", images=images[:2], labels=np.zeros(2, int))
    two = f"arrays:{tmp_path / 'two.npz'}"
    assert "training needs at least 2 pictures, the train split has 1" in train(two)
    assert "a drawn split needs at least 4 pictures, two has 2" in train(two, "--protocol", "seeded")
    (tmp_path / "torn.npz").write_bytes((world.root / "toy.npz").read_bytes()[:5000])
    assert "torn.npz is not a readable .npz file" in train(f"arrays:{tmp_path / 'torn.npz'}")
    assert not (tmp_path / "m").exists()


def _with_broken_picture(tmp_path: Path) -> Path:
    folder = tmp_path / "broken" / "cat"
    folder.mkdir(parents=True)
    whole = write_picture(folder / "a.png").read_bytes()
    (folder / "b.png").write_bytes(whole[: len(whole) // 2])
    return folder.parent


def test_a_broken_picture_in_a_folder_is_named(shell: Shell, tmp_path: Path) -> None:
    line = shell.fails(2, "train", "--data", f"folder:{_with_broken_picture(tmp_path)}", "--out", tmp_path / "m")
    assert "b.png is truncated" in line


def test_a_model_of_the_pictures_that_can_be_read_ends_with_1_and_names_the_others(
    shell: Shell, tmp_path: Path
) -> None:
    folder = _with_broken_picture(tmp_path)
    for number in range(11):
        write_picture(folder / "cat" / f"more{number}.png", 40, 40, seed=number)
    made = shell("train", "--data", f"folder:{folder}", "--set", "data.size=16", "--method", "lsh",
                 "--bits", 8, "--set", "backbone=conv2", "--out", tmp_path / "m")  # fmt: skip
    assert made.code == 1 and "b.png is truncated" in made.err
    assert made.err.strip().endswith("1 picture could not be read; the rest is done")
    assert (tmp_path / "m" / "card.json").exists()


def test_refused_weights(world: World, shell: Shell, tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(3)}, tmp_path / "w.pt")
    save_file({"w": torch.zeros(3)}, tmp_path / "w.safetensors")
    ask = ("train", "--data", world.data, "--out", tmp_path / "m", "--weights")
    assert "w.pt is a pickle, which can execute code" in shell.fails(2, *ask, tmp_path / "w.pt")
    assert "does not fit conv2: 4 of 4 weights are missing" in shell.fails(2, *ask, tmp_path / "w.safetensors")
    assert "is not a readable safetensors file" in shell.fails(2, *ask, world.picture)


def test_refused_places(world: World, shell: Shell, tmp_path: Path) -> None:
    ask = ("train", "--data", world.data, *FAST, "--out")
    (tmp_path / "photos").mkdir()
    write_picture(tmp_path / "photos" / "a.png")
    assert "photos holds other files; --out must be a new folder" in shell.fails(2, *ask, tmp_path / "photos")
    assert [p.name for p in (tmp_path / "photos").iterdir()] == ["a.png"]
    assert "is a file; --out must be a folder" in shell.fails(2, *ask, tmp_path / "photos" / "a.png")
    assert "Not a directory" in shell.fails(1, *ask, tmp_path / "photos" / "a.png" / "below")


def test_a_run_that_fails_exits_with_1(world: World, shell: Shell, tmp_path: Path) -> None:
    line = shell.fails(1, "train", "--data", world.data, "--set", "lr=1e30", "--out", tmp_path / "m")
    assert "the loss became nan in epoch" in line and "lower the learning rate (now --set lr=1e+30)" in line


def test_fewer_pictures_than_a_batch(shell: Shell, tmp_path: Path) -> None:
    small = write_arrays(tmp_path / "small.npz", n=20, classes=2)
    made = shell.done(
        "train", "--data", f"arrays:{small}", "--epochs", 2, "--batch-size", 128, "--out", tmp_path / "m", "--json"
    ).rows[0]
    assert made["data"]["split"]["train"] < 20 < made["recipe"]["batch_size"]


def test_early_stopping_selects_on_validation(world: World, shell: Shell, tmp_path: Path) -> None:
    shell.done("train", "--data", world.data, "--epochs", 6, "--set", "patience=1", "--out", tmp_path / "m")
    history = [json.loads(line) for line in (tmp_path / "m" / "history.jsonl").read_text().splitlines()]
    maps = [row["validation_map"] for row in history]
    assert len(maps) == 6 or maps[-1] <= max(maps[:-1])
    assert "early stopping" not in shell.done("evaluate", tmp_path / "m").err


def test_itq_on_pictures_without_labels(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = tmp_path / "my photos"
    photos.mkdir()
    for number in range(12):
        write_picture(photos / f"[{number}].png", 40 + number, 60, color=True, seed=number)
    monkeypatch.chdir(tmp_path)
    made = shell.done("train", "--data", "folder:my photos", "--method", "itq", "--bits", 8, "--set", "data.size=32",
                      "--set", "split_seed=5", "--out", "model")  # fmt: skip
    assert made.out.splitlines()[-1] == "Next: hamguard index build model --out index"
    shell.done("index", "build", "model", "--everything", "--out", "index")
    assert (
        "jpeg:50 copy->original" in shell.done("evaluate", "model").out
    )  # its right answers are the pictures themselves
    monkeypatch.chdir("/")  # an index knows its model and its pictures wherever one stands
    listed = shell.done("search", tmp_path / "index", photos / "[3].png", "query:0", "--top", 12, "--json",
                        "--sheet", tmp_path / "s.png").rows  # fmt: skip
    assert len(listed) == 24 and {row["id"] for row in listed} == {f"[{n}].png" for n in range(12)}
    assert "[3].png" in [row["id"] for row in listed if row["distance"] == 0]
    assert "[3].png" in shell.done("search", tmp_path / "index", photos / "[3].png", "--top", 12).out
    assert "which is not there as seen from /; give --data" in shell.fails(2, "evaluate", tmp_path / "model")


def test_data_check_and_list(world: World, shell: Shell, tmp_path: Path) -> None:
    report = shell.done("data", "check", world.data, "--json", "--out", tmp_path / "r.json").rows
    assert [row["pictures"] for row in report] == [300]
    assert json.loads((tmp_path / "r.json").read_text()) == report
    names = [row["name"] for row in shell.done("data", "list", "--json").rows]
    assert {"digits", "scenes", "cifar10", "folder:PATH", "arrays:PATH", "lists:PATH"} <= set(names)
    assert "MAP ceiling: 1.000" in shell.done("data", "check", world.data).out


def test_the_weights_are_a_plain_safetensors_file(world: World) -> None:
    state = load_file(world.model / "model.safetensors")
    assert state["head.weight"].shape[0] == 12


def test_a_full_disk_is_one_line(world: World, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        if any(path.suffix == ".safetensors" for path in (tmp_path / "m").iterdir()):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("hamguard.core.files.os.fsync", full)
    line = shell.fails(1, "train", "--data", world.data, "--method", "lsh", "--bits", 8, "--out", tmp_path / "m")
    assert line.endswith("model.safetensors: No space left on device")
    assert [p.name for p in (tmp_path / "m").iterdir()] == ["run.json"]
