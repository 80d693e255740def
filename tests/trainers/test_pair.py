"""What a cross-modal run refuses: runs that are not the same, pairs that teach nothing, codes that are worth nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from hamguard.core.errors import CollapseError, RequestError, RunError, StaleError
from hamguard.core.seeds import torch_generator
from hamguard.data.dataset import Dataset, ImageStore
from hamguard.data.split import Split
from hamguard.data.texts import texts_of
from hamguard.models.backbones import build_backbone
from hamguard.models.cross_modal import CrossModel
from hamguard.models.hash_model import HashModel
from hamguard.models.text_model import TextModel
from hamguard.models.vocabulary import Vocabulary
from hamguard.trainers.job import Job
from hamguard.trainers.pair import kept_pairs, pair_statistics, pairs_of
from hamguard.trainers.words import read_job
from tests.trainers.runs import train

NAMES = ("red", "blue", "green")


def toy(texts: list[str] | None = None, n: int = 24) -> tuple[Dataset, Split]:
    rng = np.random.default_rng(0)
    labels = np.eye(3, dtype=np.uint8)[np.arange(n) % 3]
    words = tuple(texts if texts is not None else [f"a {NAMES[i % 3]} thing" for i in range(n)])
    images = ImageStore(rng.integers(0, 256, (n, 16, 16)).astype(np.uint8))
    dataset = Dataset("toy", images, labels, NAMES, np.array([f"p{i}" for i in range(n)]), texts=words)
    rows = np.arange(n)
    return dataset, Split(rows[:18], rows[18:20], rows[20:], rows[:20], "hand", 0, content=dataset.digest)


def ask(*sets: str, **flags: Any) -> Job:
    given = {"model.bits": 8, "training.epochs": 1, "training.batch_size": 9, "model.backbone": "conv2", **flags}
    return read_job({}, {"method": "dcmh", **given}, ["text_width=8", "augment=none", *sets])


def test_the_run_knows_the_content_of_its_first_weights(tmp_path: Path) -> None:
    dataset, split = toy()
    path = tmp_path / "w.safetensors"

    def write(seed: int) -> None:
        save_file(build_backbone("conv2", 1, (16, 16), torch_generator(seed))[0].state_dict(), path)

    request = ask(**{"model.weights": str(path)})
    request = request.model_copy(update={"model": request.network.model_copy(update={"normalization": "data"})})
    write(1)
    first = train(request, dataset, split, tmp_path / "m")
    again = train(request, dataset, split, tmp_path / "m")
    assert first.fresh and not again.fresh and again.model.digest == first.model.digest
    assert first.card.initial_weights.startswith("w.safetensors, sha256 ")
    write(2)  # the same name, other weights
    with pytest.raises(StaleError, match="holds another run"):
        train(request, dataset, split, tmp_path / "m")


def test_training_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    dataset, split = toy()
    request = ask(**{"training.epochs": 3})
    whole = train(request, dataset, split, tmp_path / "whole")

    def stop(share: float, text: str) -> None:
        if share > 0.6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(request, dataset, split, tmp_path / "cut", progress=stop)
    assert (tmp_path / "cut" / "checkpoint.pt").is_file() and not (tmp_path / "cut" / "card.json").exists()
    assert train(request, dataset, split, tmp_path / "cut").model.digest == whole.model.digest


def test_texts_and_pairs() -> None:
    dataset, split = toy()
    words = Vocabulary(("red", "blue"), 1)
    rows, told = kept_pairs(dataset, split.train, words, drop=False)
    assert rows.tolist() == [i for i in range(18) if i % 3 != 2]  # green is no known word
    assert told == {"training": 12, "without_text": 0, "unknown_words_only": 6}
    pairs = pairs_of(dataset, rows, words)
    assert pairs.bags.tolist() == [[1.0, 0.0], [0.0, 1.0]] * 6
    assert torch.equal(pairs.labels, torch.from_numpy(dataset.labels[rows]).float())
    assert torch.equal(pairs.pictures(torch.tensor([2])), dataset.images.batch([3]))
    with pytest.raises(RequestError, match="0 training pictures have a text with a known word; at least 2 are needed"):
        kept_pairs(dataset, split.train, Vocabulary(("pink",)), drop=False)
    silent, _ = toy(["", *["red"] * 23])
    with pytest.raises(RequestError, match="1 of 18 training pictures have no text, first p0"):
        kept_pairs(silent, split.train, words, drop=False)
    assert kept_pairs(silent, split.train, words, drop=True)[1]["without_text"] == 1
    with pytest.raises(RequestError, match="toy has no texts; cross-modal work needs one a picture"):
        texts_of(toy([" "] * 24)[0])


def test_a_training_part_of_one_pair(tmp_path: Path) -> None:
    dataset, split = toy()
    few = Split(split.train[:1], split.validation, split.query, split.database, "hand", 0)
    with pytest.raises(RequestError, match="training needs at least 2 pairs, the train split has 1"):
        train(ask(), dataset, few, tmp_path / "m")
    assert not (tmp_path / "m").exists()


def trained(z: torch.Tensor, t: torch.Tensor) -> Any:
    image = HashModel("conv2", 4, channels=1, size=(16, 16))
    model = CrossModel(image, TextModel("mlp", 2, 4, width=4), Vocabulary(("red", "blue")))
    return SimpleNamespace(model=model, parts=None, image_outputs=lambda: z, text_outputs=lambda: t)


def test_codes_that_are_worth_nothing_are_told() -> None:
    good = torch.tensor([[1.0, -1.0, 1.0, -1.0], [-1.0, 1.0, 1.0, 1.0], [1.0, 1.0, -1.0, -1.0]])
    same = good[:1].expand(3, -1)
    for z, t, side in ((same, good, "picture"), (good, same, "text")):
        with pytest.raises(CollapseError, match=f"the codes collapsed: every training {side} has the same code"):
            pair_statistics(trained(z, t))
    for z, t in ((good * float("nan"), good), (good, good * float("inf"))):
        with pytest.raises(RunError, match="the trained networks return NaN or infinite numbers; lower the learning"):
            pair_statistics(trained(z, t))
    found = pair_statistics(trained(good, -good))
    assert found["pairs_agreeing_bits"] == 0.0
    assert found["distinct_codes"] == found["text_distinct_codes"] == 3.0
