"""Each step against a literal transcription of the printed algorithm, on one batch with fixed weights."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from hamguard.attacks.guides.prototype import BETAS
from hamguard.attacks.guides.vote import mainstay_sum
from hamguard.attacks.threat import Linf
from hamguard.core.seeds import torch_generator
from hamguard.defenses.atrdh import ATRDH
from hamguard.defenses.bank import TrainingBank
from hamguard.defenses.distill import Distill
from hamguard.defenses.registry import DEFENSES, defense_names
from hamguard.defenses.static import Static
from hamguard.defenses.task import Defense
from hamguard.defenses.trades import coin_divergence
from tests.defenses.conftest import BITS, Place, batch_of, begun

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


@pytest.mark.parametrize(("method", "weighted", "lam", "mu"), [("saat", True, 2.0, 0.5), ("cgat", False, 3.0, 0.0)])
def test_adv_train_step(place: Place, method: str, weighted: bool, lam: float, mu: float) -> None:
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


def test_atrdh_step(place: Place) -> None:
    task = begun(place, "atrdh", "weight=2")
    assert isinstance(task, ATRDH)
    twin, net = copy.deepcopy(task.model), copy.deepcopy(task.prototype)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, betas=BETAS)
    everything, labels, index = pictures(place)
    bank = torch.tanh(twin(everything)).detach()
    x, y = everything[index], labels[index]
    generator = torch_generator(0, "step")
    pool = labels.unique(dim=0)
    targets = pool[torch.randint(len(pool), (len(INDEX),), generator=generator)]
    h, codes, similar = net(targets), signs(bank), targets @ labels.T > 0  # the THA loss, joint over the batch
    s = h @ codes.T / BITS
    pull = torch.logsumexp((-(2 - s.detach()) * s)[similar], 0)
    push = torch.logsumexp(((2 + s.detach()) * s)[~similar], 0)
    loss = (pull + push + 1e-4 * (signs(h) - h).square().sum()) / len(h)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    code = signs(net(targets)).detach()
    draw = int(torch.randint(2**62, (), generator=generator))
    x1 = literal_pgd(twin, x, code, +1, INDEX, draw)  # x1 <- PGD toward sign(P(y_t))
    z, u1 = twin(x), torch.tanh(twin(x1))
    s_true = torch.where(y @ labels.T > 0, 1.0, -1.0)  # S under the true labels
    want = task.objective.loss(z, y, index, 0.25) + 2 * (u1 @ bank.T / BITS - s_true).square().mean()
    found = task.step(batch_of(*INDEX))
    for a, b in zip(task.prototype.parameters(), net.parameters(), strict=True):
        off = (
            a - b
        ).abs() > 1e-6 + 1e-4 * b.abs()  # Adam divides by the gradient's size, also where that is rounding alone
        assert float(off.float().mean()) < 1e-3 and float((a - b).detach().abs().max()) <= 2e-3
    same_gradient(task, found, want, twin)


def recorded(task: Defense, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The attacked pictures of a step, as they are made."""
    made: list[Tensor] = []
    real = task.adversaries

    def adversaries(*args: object) -> Tensor:
        made.append(real(*args))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(task, "adversaries", adversaries)
    return made


def test_losses_of_the_label_free_steps(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    everything, labels, index = pictures(place)
    x, y = everything[index], labels[index]

    def losses(method: str, *sets: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        task = begun(place, method, *sets)
        made = recorded(task, monkeypatch)
        found = task.step(batch_of(*INDEX)).detach()
        z, z1 = task.model(x).detach(), task.model(made[0]).detach()
        return found, z, z1, task.objective.loss(z, y, index, 0.25)

    found, z, z1, clean = losses("consistency", "lam=3")
    torch.testing.assert_close(found, clean + 3 * (z.tanh() - z1.tanh()).square().mean())
    found, z, z1, clean = losses("trades", "beta=2")
    p, p1 = (1 + z.tanh()) / 2, (1 + z1.tanh()) / 2
    divergence = (p * (p / p1).log() + (1 - p) * ((1 - p) / (1 - p1)).log()).mean()
    torch.testing.assert_close(found, clean + 2 * divergence, atol=1e-5, rtol=1e-4)
    found, z, z1, clean = losses("distill", "clean=0.5", "hash=2")
    teacher = z.tanh()  # the student is still its teacher
    torch.testing.assert_close(found, (z1.tanh() - teacher).square().mean() + 2 * clean, atol=1e-5, rtol=1e-4)
    task = begun(place, "control")
    torch.testing.assert_close(task.step(batch_of(*INDEX)).detach(), clean)


def test_the_student_learns_from_the_teacher_that_is_gone(place: Place) -> None:
    task = begun(place, "distill")
    assert isinstance(task, Distill)
    teacher = task.teacher.clone()
    with torch.no_grad():
        task.model.head.bias.add_(5.0)
    loss = float(task.step(batch_of(*INDEX)).detach())
    assert loss > 0.1 and torch.equal(task.teacher, teacher) and torch.equal(task.bank.u, teacher)


def test_static_pictures_are_made_once_and_mixed_in(place: Place) -> None:
    task = begun(place, "static", "mix=0.25", "augment=flip")
    assert isinstance(task, Static)
    everything, labels, index = pictures(place)
    made = task.made.float() / 255
    assert made.shape == everything.shape
    assert float((made - everything).abs().max()) <= EPS + 0.5 / 255 + 1e-6
    with torch.no_grad():
        before = task.model(everything) * task.bank.signs > 0
        after = task.model(made) * task.bank.signs > 0
        assert after.float().mean() < before.float().mean() - 0.2
        task.model.head.weight.mul_(-1)  # the pictures stay those of the model before the defense
    flips = torch.rand(len(INDEX), generator=torch_generator(0, "step")) < 0.5
    x, x_adv = (torch.where(flips[:, None, None, None], p[index].flip(3), p[index]) for p in (everything, made))
    clean, attacked = (task.objective.loss(task.model(p), labels[index], index, 0.25) for p in (x, x_adv))
    found = task.step(batch_of(*INDEX))
    torch.testing.assert_close(found, 0.75 * clean + 0.25 * attacked)
    assert torch.equal(task.made.float() / 255, made)


def test_coin_divergence() -> None:
    z = torch.tensor([[0.3, -40.0], [2.0, 0.0]])
    assert torch.equal(coin_divergence(z, z), torch.zeros(2))
    found = coin_divergence(z, -z)
    p = 1 / (1 + math.exp(-0.6))
    assert float(found[0]) == pytest.approx((p * math.log(p / (1 - p)) + (1 - p) * math.log((1 - p) / p) + 80) / 2)
    assert bool((found >= 0).all())


def test_votes_are_those_of_the_guides(place: Place) -> None:
    _, labels, _ = pictures(place)
    bank = TrainingBank(labels, 5)
    bank.fill(torch.randn(len(labels), 5, generator=torch_generator(7)))
    for weighted in (True, False):
        sums = mainstay_sum(labels[:9].double(), bank.signs.double(), labels.double(), weighted=weighted)
        assert float(sums.abs().min()) > 0.01, "no vote is so near to a tie that rounding decides it"
        want = literal_guide(labels[:9], bank.signs, labels, weighted=weighted)
        assert torch.equal(bank.vote(labels[:9], weighted=weighted), want)
    old = bank.u
    bank.refresh(torch.tensor([2, 5]), torch.full((2, 5), -0.5))
    assert bool((bank.u[[2, 5]] == -0.5).all() and (bank.signs[[2, 5]] == -1).all())
    assert torch.equal(bank.u[[0, 1, 3, 4]], old[[0, 1, 3, 4]]) and not bool((old[[2, 5]] == -0.5).all())


@pytest.mark.parametrize("method", defense_names())
def test_an_inner_attack_costs_seven_passes(place: Place, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task = begun(place, method)
    seen: list[int] = []
    real = type(task.model).logits

    def logits(model: torch.nn.Module, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            seen.append(len(x))
        return real(model, x)  # type: ignore[arg-type]

    monkeypatch.setattr(type(task.model), "logits", logits)
    task.step(batch_of(*INDEX))
    b = len(INDEX)
    want = {"control": [b], "static": [2 * b]}.get(method, [b] * 7 + [2 * b])
    assert seen == want


@pytest.mark.parametrize("method", defense_names())
def test_every_defense_has_a_name_and_a_title(method: str) -> None:
    assert DEFENSES[method].name == method and DEFENSES[method].title
