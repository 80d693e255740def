"""Literal transcriptions of what a training step prints, which the defenses must agree with."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from hamguard.attacks.threat import Linf
from hamguard.core.seeds import torch_generator
from hamguard.defenses.task import Defense
from tests.defenses.conftest import Place, batch_of, begun

INDEX = (0, 1, 2, 3, 6, 12, 17, 30)
EPS = 0.2


def literal_guide(y: Tensor, codes: Tensor, labels: Tensor, *, weighted: bool) -> Tensor:
    """K.2, GUIDE MAINSTAY; for a center a is 1[a > 0]."""
    out = []
    for row in y.tolist():
        near = []
        for other in labels.tolist():
            dot = sum(a * b for a, b in zip(row, other, strict=True))
            length = math.sqrt(sum(row)) * math.sqrt(sum(other))
            near.append(dot / length if dot else 0.0)
        if not weighted:
            near = [float(a > 0) for a in near]
        far = [float(a == 0) for a in near]
        code = []
        for k in range(codes.shape[1]):
            positive = sum(a * float(b) for a, b in zip(near, codes[:, k], strict=True)) / sum(near) if any(near) else 0
            negative = sum(a * float(b) for a, b in zip(far, codes[:, k], strict=True)) / sum(far) if any(far) else 0
            code.append(1.0 if positive - negative >= 0 else -1.0)
        out.append(code)
    return torch.tensor(out)


def literal_pgd(model: torch.nn.Module, x: Tensor, c: Tensor, side: int, index: tuple[int, ...], draw: int) -> Tensor:
    """7 steps of eps / 4 from a random start, plain inner product."""
    at = Linf(EPS).start(x, index, draw)
    for _ in range(7):
        here = at.clone().requires_grad_()
        loss = -side * (torch.tanh(model(here)) * c).sum()
        (g,) = torch.autograd.grad(loss, here)
        at = at - EPS / 4 * g.sign()
        at = (x + (at - x).clamp(-EPS, EPS)).clamp(0, 1)
    return at


def signs(u: Tensor) -> Tensor:
    return torch.where(u < 0, -1.0, 1.0)


def pictures(place: Place) -> tuple[Tensor, Tensor, Tensor]:
    rows = place.split.train
    labels = torch.from_numpy(place.dataset.labels[rows].astype(np.float32))
    return place.dataset.images.batch(rows), labels, torch.tensor(INDEX)


def same_gradient(task: Defense, loss: Tensor, want: Tensor, twin: torch.nn.Module) -> None:
    torch.testing.assert_close(loss, want, atol=1e-5, rtol=1e-5)
    loss.backward()
    want.backward()
    for (name, a), b in zip(task.model.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, atol=2e-5, rtol=1e-3, msg=name)


def recorded(task: Defense, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The attacked pictures of a step, as they are made."""
    made: list[Tensor] = []
    real = task.adversaries

    def adversaries(*args: object) -> Tensor:
        made.append(real(*args))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(task, "adversaries", adversaries)
    return made


def assert_adversarial_step(place: Place, method: str, *, weighted: bool, lam: float, mu: float) -> None:
    """ADV-TRAIN of SAAT and CgAT: loss, gradient and memory after one batch."""
    sets = [f"lam={lam}"] + ([f"mu={mu}"] if mu else [])
    task = begun(place, method, *sets)
    twin = copy.deepcopy(task.model)
    everything, labels, index = pictures(place)
    bank_u = torch.tanh(twin(everything)).detach()
    task.bank.fill(torch.flip(bank_u, [0]))  # a bank that the step must use, and then refresh
    bank = torch.flip(bank_u, [0])
    x, y = everything[index], labels[index]
    c = literal_guide(y, signs(bank), labels, weighted=weighted)  # c <- GUIDE(y, bank)
    draw = int(torch.randint(2**62, (), generator=torch_generator(0, "step")))
    x1 = literal_pgd(twin, x, c, -1, INDEX, draw)  # x1 <- PGD(model, x, c, away)
    z, u1 = twin(x), torch.tanh(twin(x1))
    bank = bank.index_copy(0, index, torch.tanh(z).detach())  # bank.signs[idx] <- sign(u); bank.u[idx] <- u
    again = literal_guide(y, signs(bank), labels, weighted=weighted)
    clean = task.objective.loss(z, y, index, 0.25)
    want = clean - lam * (u1 * again).mean() + mu * (u1 - signs(u1)).square().mean()
    same_gradient(task, task.step(batch_of(*INDEX)), want, twin)
    torch.testing.assert_close(task.bank.u, bank)
    torch.testing.assert_close(task.bank.signs, signs(bank))


def label_free_step(
    place: Place, monkeypatch: pytest.MonkeyPatch, method: str, *sets: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The loss of one step, the outputs for clean and attacked pictures, and the loss of the objective alone."""
    everything, labels, index = pictures(place)
    x, y = everything[index], labels[index]
    task = begun(place, method, *sets)
    made = recorded(task, monkeypatch)
    found = task.step(batch_of(*INDEX)).detach()
    z, z1 = task.model(x).detach(), task.model(made[0]).detach()
    return found, z, z1, task.objective.loss(z, y, index, 0.25)
