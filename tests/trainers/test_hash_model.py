"""The loop: exact resume, several processes, collapse, early stopping, what a folder may hold."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hamguard.codes.bank import CodeBank
from hamguard.core.context import Context
from hamguard.core.errors import CollapseError, HamguardError, RequestError, RunError, StaleError
from hamguard.core.files import write_text
from hamguard.data.dataset import Dataset
from hamguard.data.split import Split
from hamguard.hashing.registry import OBJECTIVES
from hamguard.models.store import load_folder
from hamguard.trainers import hash_model, run
from hamguard.trainers.hash_model import LEARNED
from hamguard.trainers.job import Job
from hamguard.trainers.kind import Place, stored_run
from hamguard.trainers.words import read_job
from hamguard.training import loop
from hamguard.training.checkpoint import load_checkpoint, save_checkpoint
from tests.trainers.runs import train

OBJECTIVES["csq"]
Blobs = tuple[Dataset, Split]


def ask(method: str = "csq", *sets: str, **flags: Any) -> Job:
    base = ["backbone=conv2", "bits=12", "epochs=4", "batch_size=20", "lr=0.001"]
    return read_job({}, {"method": method, **flags}, [*base, *sets])


class Killed(Exception):
    """Stands for SIGKILL inside one process."""


def killer(after: int) -> Any:
    seen = 0

    def progress(share: float, text: str) -> None:
        nonlocal seen
        seen += 1
        if seen == after:
            raise Killed

    return progress


@pytest.mark.parametrize("method", sorted(OBJECTIVES))
def test_resume_is_exact_wherever_it_stopped(method: str, blobs: Blobs, tmp_path: Path) -> None:
    request = ask(method, "checkpoint_seconds=0.000001", "augment=shift-flip", "epochs=5")
    whole = train(request, *blobs, tmp_path / "whole")
    for after in (3, 9, 14):
        folder = tmp_path / f"cut{after}"
        with pytest.raises(Killed):
            train(request, *blobs, folder, progress=killer(after))
        assert not (folder / "card.json").exists()
        again = train(request, *blobs, folder)
        assert again.model.digest == whole.model.digest
        assert not (folder / "checkpoint.pt").exists()
    if method == "adsh":
        assert CodeBank.load(tmp_path / "whole" / LEARNED).digest == CodeBank.load(tmp_path / "cut9" / LEARNED).digest


def test_a_run_killed_before_its_last_history_was_written_has_all_of_it(
    blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: Path, content: str) -> None:
        if content.count("\n") == 4:
            raise Killed
        write_text(path, content)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(loop, "write_text", killed)
        train(ask("csq"), *blobs, tmp_path)
    train(ask("csq"), *blobs, tmp_path)
    history = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]


def test_a_resumed_run_does_not_start_over(blobs: Blobs, tmp_path: Path) -> None:
    request = ask("csq", "checkpoint_seconds=0.000001")
    with pytest.raises(Killed):
        train(request, *blobs, tmp_path, progress=killer(10))
    shares: list[float] = []
    train(request, *blobs, tmp_path, progress=lambda share, text: shares.append(share))
    assert len(shares) == 16 - 9, "the step that was killed runs again, the nine before it do not"
    history = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]


def test_same_seed_same_weights_other_seed_other_weights(blobs: Blobs, tmp_path: Path) -> None:
    digests = [train(ask("dpsh", f"seed={s}"), *blobs, tmp_path / str(i)).model.digest for i, s in enumerate((1, 1, 2))]
    assert digests[0] == digests[1] != digests[2]


def test_training_leaves_the_global_generator_alone(blobs: Blobs, tmp_path: Path) -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    train(ask("csq", "epochs=1"), *blobs, tmp_path)
    assert torch.equal(before, torch.random.get_rng_state())


def test_finished_folder_is_kept_and_other_runs_are_refused(blobs: Blobs, tmp_path: Path) -> None:
    first = train(ask(), *blobs, tmp_path / "m")
    again = train(ask(), *blobs, tmp_path / "m")
    assert first.fresh and not again.fresh and again.model.digest == first.model.digest
    with pytest.raises(StaleError, match="holds a model of another run"):
        train(ask("dpsh"), *blobs, tmp_path / "m")
    other = train(ask("dpsh"), *blobs, tmp_path / "m", restart=True)
    assert other.fresh and other.card.method == "dpsh"


def test_unfinished_run_with_other_settings_is_refused(blobs: Blobs, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(ask("csq", "checkpoint_seconds=0.000001"), *blobs, tmp_path, progress=killer(6))
    with pytest.raises(StaleError, match="unfinished run with other settings"):
        train(ask("csq", "lr=0.01"), *blobs, tmp_path)


def test_a_folder_with_other_files_is_not_touched(blobs: Blobs, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("dear to me")
    with pytest.raises(RequestError, match="holds other files"):
        train(ask(), *blobs, tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(RequestError, match="is a file"):
        train(ask(), *blobs, tmp_path / "file")


def test_a_damaged_checkpoint_is_one_line(blobs: Blobs, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(ask("csq", "checkpoint_seconds=0.000001"), *blobs, tmp_path, progress=killer(6))
    path = tmp_path / "checkpoint.pt"
    whole = path.read_bytes()
    place = whole.index(b"PK", 4000)  # inside a tensor: torch's reader does not mind
    flipped = bytearray(whole)
    flipped[place - 100] ^= 16
    for content in (b"torn", b"", bytes(flipped), whole[:-1], whole[:-30], whole + b"0"):
        path.write_bytes(content)
        with pytest.raises(RequestError, match=r"checkpoint.pt is damaged: .* start again with `restart`") as caught:
            train(ask("csq", "checkpoint_seconds=0.000001"), *blobs, tmp_path)
        assert "weights_only" not in str(caught.value) and "\n" not in str(caught.value)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(RequestError, match=r"checkpoint.pt is not an ordinary file"):
        train(ask("csq", "checkpoint_seconds=0.000001"), *blobs, tmp_path)


def test_of_two_that_train_into_a_folder_one_is_refused(blobs: Blobs, tmp_path: Path) -> None:
    words = ("csq", "epochs=2")
    said: list[str] = []

    def meanwhile(share: float, text: str) -> None:
        for other, again in ((ask("dpsh", "epochs=1"), False), (ask(*words), False), (ask("dpsh"), True)):
            with pytest.raises(HamguardError) as caught:
                train(other, *blobs, tmp_path / "m", restart=again)
            said.append(str(caught.value))

    train(ask(*words), *blobs, tmp_path / "m", progress=meanwhile)
    assert "holds an unfinished run with other settings" in said[0]
    assert all(f"another process works in {tmp_path / 'm'}" in line for line in said[1:3])
    _, card = load_folder(tmp_path / "m")
    assert card.method == "csq" and stored_run(tmp_path / "m" / "run.json")


def test_a_run_that_came_between_is_not_written_over(tmp_path: Path) -> None:
    first, second = (Place(tmp_path, name, Context(), "run.json", {}) for name in ("first", "second"))
    with first, second:
        first.claim()
        with pytest.raises(RunError, match="another process works in"):
            second.claim()
    with second, pytest.raises(StaleError, match="holds another run, which has begun just now"):
        second.claim()
    with Place(tmp_path, "first", Context(), "run.json", {}) as again:
        again.claim()
    assert stored_run(tmp_path / "run.json") == "first"


@pytest.mark.parametrize("missing", ["stand", "task", "optimizer", "best_state"])
def test_a_checkpoint_that_lacks_something_is_one_line(blobs: Blobs, tmp_path: Path, missing: str) -> None:
    words = ("csq", "checkpoint_seconds=0.000001")
    with pytest.raises(Killed):
        train(ask(*words), *blobs, tmp_path, progress=killer(6))
    run = stored_run(tmp_path / "run.json")
    content = load_checkpoint(tmp_path, str(run))
    assert content is not None
    for change in ({}, {missing: [1]}):
        rest = {key: value for key, value in content.items() if key not in (missing, "run")}
        save_checkpoint(tmp_path, str(run), rest | change)
        if missing == "best_state" and change:
            continue
        with pytest.raises(RequestError, match="its content does not fit this run; start again with `restart`"):
            train(ask(*words), *blobs, tmp_path)
    save_checkpoint(tmp_path, str(run), {})
    torch.save([1], tmp_path / "checkpoint.pt")
    with pytest.raises(RequestError, match="is damaged"):
        train(ask(*words), *blobs, tmp_path)


def test_nan_loss_stops_with_advice(blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Any, logits: Tensor, labels: Tensor, index: Tensor, progress: float) -> Tensor:
        return logits.sum() * float("nan")

    monkeypatch.setattr(OBJECTIVES["csq"], "loss", broken)
    with pytest.raises(RunError, match="the loss became nan in epoch 1, step 1; lower the learning rate"):
        train(ask(), *blobs, tmp_path)


def test_collapse_is_found_in_the_second_epoch(blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def collapse(self: Any, logits: Tensor, labels: Tensor, index: Tensor, progress: float) -> Tensor:
        return (logits - 3).square().mean()

    monkeypatch.setattr(OBJECTIVES["csq"], "loss", collapse)
    with pytest.raises(
        CollapseError, match=r"in epoch \d+ every picture got the same code. What helps: a lower learning rate"
    ):
        train(ask("csq", "epochs=80", "lr=0.01"), *blobs, tmp_path)
    history = (tmp_path / "history.jsonl").read_text().splitlines()
    assert len(history) < 40


def test_early_stopping_keeps_the_best_epoch(blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter([0.2, 0.9, 0.3, 0.3, 0.3, 0.3])
    digests: list[str] = []

    def validation_map(model: Any, data: Any, device: Any) -> Any:
        def score() -> float:
            digests.append(model.digest)
            return next(values)

        return score

    monkeypatch.setattr(hash_model, "validation_map", validation_map)
    result = train(ask("csq", "epochs=6", "patience=2"), *blobs, tmp_path)
    assert len(digests) == 4 and result.model.digest == digests[1]
    assert load_folder(tmp_path)[0].digest == digests[1]


@pytest.mark.parametrize(("part", "message"), [
    ("query", "model selection takes the validation split, got the query split"),
    ("database", "model selection takes the validation split, got the database split"),
    ("test", "unknown role 'test'; allowed: train, validation, query, database"),
])  # fmt: skip
def test_a_query_split_cannot_select_a_model(part: str, message: str, blobs: Blobs, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=message):
        train(ask("csq", f"selection={part}", "patience=2"), *blobs, tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_early_stopping_needs_a_validation(blobs: Blobs, tmp_path: Path) -> None:
    dataset, split = blobs
    with pytest.raises(RequestError, match="early stopping"):
        train(ask("csq", "patience=2"), dataset, replace(split, validation=split.validation[:0]), tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_other_processes_go_on_when_the_folder_is_whole(
    blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole: list[bool] = []
    monkeypatch.setattr(run, "wait", lambda group: whole.append((tmp_path / "m" / "card.json").is_file()))
    train(ask(), *blobs, tmp_path / "m")
    assert whole == [False, True], "they meet before it is begun, and when it is done"


@pytest.mark.parametrize(
    ("method", "sets"), [*((name, ()) for name in OBJECTIVES), ("csq", ("freeze=true", "weights=none"))]
)
def test_bfloat16_learns_what_float32_learns(method: str, sets: tuple[str, ...], blobs: Blobs, tmp_path: Path) -> None:
    models = [
        train(ask(method, f"precision={kind}", "epochs=3", *sets), *blobs, tmp_path / kind).model
        for kind in ("float32", "bfloat16")
    ]
    x = blobs[0].images.batch(slice(0, 80))
    full, mixed = (model.code(x) for model in models)
    assert {value.dtype for value in models[1].state_dict().values()} == {torch.float32}
    assert models[0].digest != models[1].digest, "it was another precision"
    assert float((full == mixed).float().mean()) > 0.9


def test_card_tells_what_was_done(blobs: Blobs, tmp_path: Path) -> None:
    card = train(ask("dpsh", "eta=0.25"), *blobs, tmp_path).card
    assert card.settings["eta"] == 0.25 and card.recipe["epochs"] == 4 and card.bits == 12
    assert card.data["split"]["digest"] == blobs[1].digest and card.data["class_names"] == list(blobs[0].class_names)
    assert card.title.startswith("DPSH") and card.statistics["distinct_codes"] >= 4


def test_unlabeled_data_need_an_unsupervised_method(tmp_path: Path) -> None:
    from tests.training.conftest import make_blobs, make_split

    bare = replace(make_blobs(), labels=np.zeros((160, 0), np.uint8), class_names=())
    with pytest.raises(
        RequestError, match="has no labels; csq needs them, bihalf, cibhash, lsh, itq, hashing-baseline, pca do not"
    ):
        train(ask("csq"), bare, make_split(bare), tmp_path / "a")
    card = train(
        read_job({}, {"method": "itq"}, ["backbone=conv2", "bits=16"]), bare, make_split(bare), tmp_path / "b"
    ).card
    assert card.method == "itq" and card.statistics["distinct_codes"] > 16
    for method, least in (("bihalf", 4), ("cibhash", 1)):
        card = train(ask(method), bare, make_split(bare), tmp_path / method).card
        assert card.method == method and card.statistics["distinct_codes"] > least
    with pytest.raises(
        RequestError, match="has no labels; bihalf needs them, cibhash, lsh, itq, hashing-baseline, pca do not"
    ):
        train(ask("bihalf", "fits=labels"), bare, make_split(bare), tmp_path / "c")


def test_copy_of_a_folder_is_a_model(blobs: Blobs, tmp_path: Path) -> None:
    result = train(ask(), *blobs, tmp_path / "m")
    shutil.copytree(tmp_path / "m", tmp_path / "copy")
    assert load_folder(tmp_path / "copy")[0].digest == result.model.digest
