"""Models that were trained from Python, on data that no source gave."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hamguard.data.dataset import Dataset, ImageStore, multi_hot
from hamguard.data.opened import data_facts, training_facts
from hamguard.data.protocols import make_split
from hamguard.data.sources import open_source
from hamguard.models.store import read_card
from hamguard.trainers.job import Job
from hamguard.trainers.words import read_job
from tests.cli.helpers import Shell
from tests.trainers.runs import train


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A model of pictures of the size of digits, that were made here; its request says nothing of data."""
    pictures = np.random.default_rng(0).integers(0, 256, (40, 28, 28)).astype(np.uint8)
    dataset = Dataset(
        "mine", ImageStore(pictures), multi_hot(np.arange(40) % 2, 2), ("a", "b"), np.arange(40).astype(str)
    )
    request = read_job({}, {"method": "lsh", "model.bits": 8, "model.backbone": "conv2"})
    train(request, dataset, make_split(dataset, "seeded"), tmp_path / "m")
    return tmp_path / "m"


def test_data_made_in_python_are_called_by_their_name_and_found_under_none(own: Path, shell: Shell) -> None:
    card = read_card(own)
    assert (card.data["source"], card.data["name"], card.data["protocol"]) == (None, "mine", None)
    for verb in ("evaluate", "attack --method pgd", "audit", "index build", "encode", "harden", "sanity"):
        out = ("--out", own.parent / "out") if verb in ("index build", "encode", "harden", "audit") else ()
        line = shell.fails(2, *verb.split(), own, *out)
        assert "trained on data made in Python (mine), which are found under no name; give --data SOURCE" in line, verb
    row = shell.done("evaluate", own, "--data", "digits", "--queries", 5, "--metric", "map", "--json").rows[0]
    assert (row["dataset"], row["train"]) == ("digits", f"mine, {card.data['split']['train']} pictures")


def test_a_card_says_how_the_data_were_opened_whatever_the_request_says(tmp_path: Path) -> None:
    opened, split = open_source("digits", seed=3, protocol="seeded", size=16)
    facts = data_facts(opened, split)
    assert [facts[key] for key in ("source", "name", "protocol", "split_seed", "size", "drop_duplicates")] == [
        "digits", "digits", "seeded", 3, 16, False,
    ]  # fmt: skip
    assert training_facts(opened, split)["source"] == "digits"
    fewer = replace(split, train=split.train[:64])
    changed = replace(opened, labels=opened.labels[::-1].copy())
    for pair in ((opened, fewer), (changed, split)):  # no source gives these again
        assert data_facts(*pair)["source"] is None and data_facts(*pair)["name"] == "digits"
        assert training_facts(*pair)["source"] is None
    request = Job(method="lsh")
    assert train(request, opened, split, tmp_path / "m").card.data == facts
