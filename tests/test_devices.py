"""What would fail on a GPU fails here: every attack, guide, hash method and defense once on a device that is not the CPU's."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import hamguard as hg
from hamguard.attacks.guides.registry import GUIDES, guide_named
from hamguard.attacks.methods.registry import ATTACKS
from hamguard.attacks.threat import Linf
from hamguard.hashing.registry import OBJECTIVES
from tests.attacks.test_laws import made, ready, world
from tests.far_device import FAR, far_device, near, refuses
from tests.hashing.test_methods import VARIANTS, more


def test_the_far_device_refuses_what_a_gpu_refuses() -> None:
    with far_device():
        x, y = torch.rand(3, 2).to(FAR), torch.rand(3, 2)
        assert (
            x.device == FAR
            and torch.equal(near(x + x), 2 * near(x))
            and float(x.sum()) == pytest.approx(float(near(x).sum()))
        )
        assert torch.equal(near(x[torch.tensor([2, 0])]), near(x)[[2, 0]]) and (x * torch.tensor(2.0)).device == FAR
        refuses(lambda: x + y, "same device")
        refuses(lambda: y[x[:, 0].long()], "same device")
        refuses(lambda: torch.rand(3, device=FAR, generator=torch.Generator()), "generator")
        refuses(x.numpy, "numpy")
        refuses(lambda: np.asarray(x), "numpy")
        weight = torch.nn.Linear(2, 1).to(FAR)
        weight(x).sum().backward()
        assert weight.weight.grad is not None and weight.weight.grad.device == FAR
        optimizer = torch.optim.Adam(weight.parameters(), lr=0.1)
        before = near(weight.weight).clone()
        optimizer.step()
        assert not torch.equal(near(weight.weight), before)


def attacked(name: str, move: Any) -> Tensor:
    model, x, labels, bank = world()
    attack = made(name, threat=Linf(0.1), steps=3)
    attack = ready(attack, labels) if attack.carrier is not None and not attack.learns else attack
    model, x, labels = model.to(move), x.to(move), labels.to(move)
    attack = attack.prepared(bank, 0, model=model, images=x, labels=labels) if attack.learns else attack
    return near(attack(model, x, labels, bank).x_adv)


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_are_the_same_on_another_device(name: str) -> None:
    here = attacked(name, "cpu")
    with far_device():
        assert torch.equal(attacked(name, FAR), here)


@pytest.mark.parametrize("name", GUIDES)
def test_guides_are_where_the_codes_are(name: str) -> None:
    model, x, labels, bank = world()
    own = model.code(x)
    attack = hg.Attack(guide=guide_named(name), threat=Linf(0.1))
    with far_device():
        found = attack.prepared(bank).guide(own.to(FAR), labels.to(FAR), bank, range(len(x)), 0)
        for one in vars(found).values() if not isinstance(found, Tensor) else (found,):
            assert not isinstance(one, Tensor) or one.device == FAR


@pytest.mark.parametrize(("name", "settings"), VARIANTS)
def test_hash_methods_are_the_same_on_another_device(name: str, settings: dict[str, Any]) -> None:
    labels = torch.eye(4).repeat(6, 1)
    every = torch.randn(24, 6, generator=torch.Generator().manual_seed(1))

    def losses(move: Any) -> list[float]:
        kind = OBJECTIVES[name]
        objective = kind(kind.settings_type(**settings), bits=6, labels=labels.to(move), seed=0)
        if objective.needs_start:
            objective.start(every.to(move))
        found = []
        for epoch in range(2):
            visited = objective.select(epoch)
            for index in (torch.arange(24) if visited is None else visited).split(5):
                z = every[index].to(move).requires_grad_()
                asked = {key: value.to(move) for key, value in more(objective, every[index], index).items()}
                loss = objective.loss(z, labels[index].to(move), index.to(move), epoch / 10, **asked)
                loss.backward()
                found.append(float(loss.detach()))
            objective.end_epoch(epoch)
        return found

    here = losses("cpu")
    with far_device():
        assert losses(FAR) == here


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The door with the far device as the one that is asked for."""
    monkeypatch.setenv("HAMGUARD_CACHE", str(tmp_path / "cache"))
    return tmp_path


def toy(texts: bool = False) -> hg.Data:
    """Pictures of three kinds."""
    labels = torch.arange(90) % 3
    noise = torch.rand(90, 1, 16, 16, generator=torch.Generator().manual_seed(3))
    images = (noise + labels.view(-1, 1, 1, 1) / 2).clamp(0, 1)
    return hg.data(images, labels, [f"picture of {'abc'[i]}" for i in labels] if texts else None, name="toy")


def door(folder: Path, device: str) -> dict[str, float]:
    """Learning, attack, audit and protection on a few pictures: the figures of their rows."""
    data, context = toy(), hg.Context(device=device, batch_size=16, work=folder / "work")
    model = hg.train(data, "csq", bits=8, backbone="conv2", epochs=2, out=folder / "model", context=context)
    ball = hg.Linf(0.2)
    rows = [
        *hg.attack(
            model,
            data,
            [hg.attacks.mainstay(steps=3, threat=ball), hg.attacks.dhta(steps=3, threat=ball)],
            context=context,
        )
    ]
    budget = hg.Budget(ball, steps=3, queries=6)
    rows += hg.audit(model, data, budget, queries=6, sample=4, substitute=False, context=context).rows
    hard = hg.harden(model, data, "saat", out=folder / "hard", threat=ball, epochs=1, context=context)
    rows += hg.evaluate(hard, data, context=context)
    hg.train(data, "ppl", out=folder / "ppl", eps=0.2, warmup=3, batch_size=16, epochs=1, context=context)
    return {f"{n} {row.metric}": row.value for n, row in enumerate(rows) if row.value is not None}


def learned(folder: Path, device: str) -> dict[str, float]:
    """MAP of what is fitted, learned on features that are kept, on views, with a batch norm, and with texts.

    These round otherwise from step to step: a rotation ends elsewhere, and a bias below a batch norm has no gradient but rounding.
    """
    asked: dict[str, Any] = {"bits": 8, "backbone": "conv2"}
    asked["context"] = context = hg.Context(device=device, batch_size=16, work=folder / "work")
    ways: dict[str, dict[str, Any]] = {
        "itq": {},
        "orthohash": {"weights": "none", "freeze": True, "epochs": 2},
        "cibhash": {"epochs": 1},
        "dsph": {"epochs": 1, "text_width": 16, "least": 1},
    }
    found = {}
    for name, more_words in ways.items():
        data = toy(texts=name == "dsph")
        model = hg.train(data, name, out=folder / name, **asked, **more_words)
        for row in hg.evaluate(model, data, context=context).where(metric="map"):
            assert row.value is not None
            found[f"{name} {row.task}"] = row.value
    return found


def test_the_door_works_on_another_device(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, nearly = door(lab / "cpu", "cpu"), learned(lab / "cpu", "cpu")
    monkeypatch.setattr(
        "hamguard.api.running.choose_device", lambda name: FAR if name == "meta" else torch.device(name)
    )
    real = torch.autocast
    monkeypatch.setattr(torch, "autocast", lambda kind, **more: real("cpu" if kind == "meta" else kind, **more))
    with far_device():
        assert door(lab / "far", "meta") == here
        assert learned(lab / "far", "meta") == pytest.approx(nearly, abs=0.05)
    assert len(nearly) == 7


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
@pytest.mark.parametrize(
    ("device", "said"), [("cuda", "device cuda is not there"), ("tpu", "unknown device 'tpu'; allowed: auto, cpu")]
)
def test_the_check_of_devices_says_in_one_line_that_there_is_no_such_device(
    device: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Path(__file__).parents[1] / "benchmarks" / "cuda_check.py"
    monkeypatch.setattr(sys, "argv", ["cuda_check.py", "--device", device])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    out, err = capsys.readouterr()
    assert ended.value.code == 2 and not out
    assert err.startswith(f"error: {said}") and err.count("\n") == 1
