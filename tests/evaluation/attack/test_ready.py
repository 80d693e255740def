"""Guides may be built of the fixed codes of classes that a trained folder keeps."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hamguard.core.errors import RequestError, StaleError
from hamguard.data.opened import Data
from hamguard.evaluation.attack.ready import make_ready
from hamguard.evaluation.attack.spec import AttackSpec
from hamguard.evaluation.ground import Ground
from hamguard.hashing.registry import OBJECTIVES
from hamguard.trainers.hash_model import CLASSES
from hamguard.trainers.words import read_job
from tests.trainers.runs import train
from tests.training.conftest import make_blobs, make_split


def trained(method: str, folder: Path, seed: int = 0) -> Data:
    dataset = make_blobs()
    split = make_split(dataset)
    sets = ["backbone=conv2", "bits=12", "epochs=2", "batch_size=20", f"seed={seed}"]
    train(read_job({}, {"method": method}, sets), dataset, split, folder)
    return Data(dataset, split)


@pytest.mark.parametrize("method", ["csq", "dpn", "orthohash"])
def test_the_center_guide_takes_the_codes_that_the_model_was_trained_toward(method: str, tmp_path: Path) -> None:
    data = trained(method, tmp_path / "m")
    ground = Ground.open(str(tmp_path / "m"), data)
    spec = AttackSpec.read("pgd", guide="center", eps=0.1, steps=1)
    kind = OBJECTIVES[method]
    labels = torch.tensor(data.dataset.labels).float()
    fixed = kind(kind.settings_type(), bits=12, labels=labels[torch.tensor(data.split.train)], seed=0).class_codes()
    assert fixed is not None
    ready = make_ready(ground, replace(spec, reference="classes"))
    assert torch.equal(ready.own.bank.codes.float(), fixed) and ready.spec.facts["reference"] == "classes"
    assert ready.own.bank.labels.tolist() == torch.eye(4).int().tolist()
    other = make_ready(ground, spec)
    assert len(other.own.bank) == len(data.split.train) and other.spec.facts["reference"] == "train"
    marks = labels[torch.tensor(data.split.part("query").index)]
    voted = spec.attack.guide(ground.query.codes, marks, ready.own.bank, range(len(marks)), 0)
    assert float((voted == marks @ fixed).float().mean()) > 0.9, (
        "a center is its own vote, but for a tie with the others"
    )


def test_a_model_without_such_codes_is_refused(tmp_path: Path) -> None:
    data = trained("dpsh", tmp_path / "pairs")
    spec = replace(AttackSpec.read("pgd", guide="center", eps=0.1, steps=1), reference="classes")
    with pytest.raises(RequestError, match="keeps no codes of its classes; models trained by csq, dpn, orthohash do"):
        make_ready(Ground.open(str(tmp_path / "pairs"), data), spec)
    trained("csq", tmp_path / "one")
    trained("csq", tmp_path / "two", seed=1)
    shutil.copy(tmp_path / "two" / CLASSES, tmp_path / "one" / CLASSES)
    with pytest.raises(StaleError):
        make_ready(Ground.open(str(tmp_path / "one"), data), spec)
