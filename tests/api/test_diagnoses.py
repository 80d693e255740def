"""What users from Python were once told wrongly, or not at all, each by its own line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import hamguard as hg
from hamguard.core.errors import RequestError
from hamguard.data.opened import data_facts
from hamguard.hashing.objective import label_tensor
from hamguard.trainers.words import read_job

PIXELS, NUMBERS = np.random.default_rng(0).integers(0, 256, (24, 8, 8), dtype=np.uint8), np.arange(24) % 3
DATA = hg.data(PIXELS, NUMBERS, name="digits")


def net(kind: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(64, 12)).to(kind)


def test_data_made_in_python_are_no_data_set_of_that_name() -> None:
    facts = data_facts(DATA.dataset, DATA.split)
    assert (facts["name"], facts["source"]) == ("digits", None)


def test_defaults_of_a_method_are_those_of_the_command_wherever_it_is_asked_for() -> None:
    job, words = read_job({"method": "dpsh"}, {}, ()), read_job({}, {"method": "dpsh"}, ())
    assert job.digest == words.digest and job.settings and job.training.lr == words.training.lr


def test_modules_keep_their_type_and_their_statistics_and_are_frozen() -> None:
    own = net(torch.float64).train()
    before = own[0].running_mean.clone()  # type: ignore[union-attr, operator, index]
    victim = hg.wrap(own, size=8, channels=1)
    hg.attacks.hag(steps=2)(victim, DATA.query.images)
    assert torch.equal(own[0].running_mean, before) and not own.training  # type: ignore[index, union-attr, arg-type]
    assert not any(value.requires_grad for value in own.parameters())


def test_soft_labels_are_refused_and_arrays_and_tensors_are_one() -> None:
    with pytest.raises(RequestError, match="soft labels"):
        hg.codes(np.ones((3, 8)), np.full((3, 2), 0.4))
    with pytest.raises(RequestError, match="soft labels"):
        hg.data(PIXELS, np.full((24, 2), 0.4))
    assert torch.equal(label_tensor(NUMBERS), label_tensor(torch.from_numpy(NUMBERS)))


def test_a_range_is_told_as_a_range_class_numbers_as_such_and_a_module_as_a_module() -> None:
    victim = hg.wrap(net(), size=8, channels=1)
    bank = hg.encode(victim, DATA.database)
    x = DATA.query.images
    with pytest.raises(RequestError, match="with values from"):
        hg.attacks.hag(steps=1)(victim, x * 255)
    with pytest.raises(RequestError, match="class numbers"):
        hg.attacks.mainstay(steps=1)(victim, x, torch.arange(len(x)), bank)
    with pytest.raises(RequestError, match=r"a bare nn.Module: wrap it with hg.wrap\("):
        hg.attack(net(), DATA, "hag")  # type: ignore[arg-type]
    with pytest.raises(RequestError, match=r"a bare nn.Module: wrap it with hg.wrap\("):
        hg.evaluate(net(), DATA)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match=r"a bare nn.Module: wrap it with hg.wrap\("):
        hg.audit(net(), DATA)  # type: ignore[arg-type]


def test_an_attack_made_in_python_is_measured_without_a_name_of_a_registry() -> None:
    victim = hg.wrap(net(), size=8, channels=1)
    rows = hg.attack(victim, DATA, hg.Attack(search=hg.attacks.SignSteps(1)), queries=4)
    assert rows.where(attack="attack", metric="map")


def test_attacks_ignore_no_type_and_nobody_is_taught_to() -> None:
    root = Path(hg.__file__).parents[2]
    texts = [*(root / "src/hamguard/attacks").rglob("*.py"), *(root / "docs").glob("*.md")]
    assert texts and not [path.name for path in texts if "type: ignore[arg-type]" in path.read_text(encoding="utf-8")]
