"""C&W on codes: the authors' loop transcribed by hand, the least change on a linear model, and success after rounding."""

from __future__ import annotations

import math

import pytest
import torch

from hamguard.attacks.attack import Attack
from hamguard.attacks.guides.vote import SignedMean
from hamguard.attacks.losses.reach import ReachLoss
from hamguard.attacks.methods.cw import cw
from hamguard.attacks.search.least_change import LeastChange
from hamguard.attacks.threat import L2, Linf
from hamguard.core.errors import RequestError
from hamguard.core.seeds import torch_generator
from hamguard.models.hash_model import HashModel
from tests.attacks.test_laws import world


class Linear:
    """`z = W (x - 0.5)`."""

    bits = 4

    def __init__(self) -> None:
        self.W = torch.randn(4, 64, generator=torch_generator(1))

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        return (x.flatten(1) - 0.5) @ self.W.T


def by_hand(model: HashModel, x: torch.Tensor, left: int, constants: int, iterations: int, rate: float) -> torch.Tensor:
    """The authors' loop for one picture `(1, 1, H, W)` away from its own code, torch's Adam, no rounding; the least success."""
    own, c, low, high = model.code(x)[0], 0.01, 0.0, 1e10
    least, best = math.inf, x
    for _ in range(constants):
        w = torch.atanh((2 * x - 1) * 0.999999).requires_grad_()
        adam, succeeded = torch.optim.Adam([w], lr=rate), False
        for _ in range(iterations):
            adam.zero_grad()
            x_adv = (torch.tanh(w) + 1) / 2
            lacking = sorted(
                float((own[k] * z).detach()) for k, z in enumerate(model.logits(x_adv)[0])
            )  # smallest first
            f = sum(torch.relu(own[k] * z) for k, z in enumerate(model.logits(x_adv)[0]) if own[k] * z < lacking[-left])
            length = (x_adv - x).square().sum()
            if float(torch.as_tensor(f).detach()) <= 0:
                succeeded = True
                if float(length.detach()) < least:
                    least, best = float(length.detach()), x_adv.detach().clone()
            (length + c * f).backward()
            adam.step()
        low, high = (low, min(high, c)) if succeeded else (max(low, c), high)
        c = (low + high) / 2 if high < 1e9 else 10 * c
    return best


def test_it_is_the_authors_loop() -> None:
    model, x, _, _ = world()
    search = LeastChange(60, constants=3, first=0.01, rate=0.05, rounding=False)
    attack = Attack(loss=ReachLoss(4), search=search, threat=L2(50.0), relaxation="none", rounding=False)
    for number in range(2):
        one = x[number : number + 1]
        assert torch.allclose(attack(model, one).x_adv, by_hand(model, one, 4, 3, 20, 0.05), atol=2e-4)


def test_it_comes_near_the_least_change_of_a_linear_model() -> None:
    model, x = Linear(), 0.3 + 0.4 * torch.rand(6, 1, 8, 8, generator=torch_generator(2))
    z = model.logits(x)
    exact = (z.abs() / model.W.norm(dim=1)).min(1).values  # to turn one bit: the distance to the nearest border
    search = LeastChange(1200, constants=12, rate=0.02, rounding=False)
    attack = Attack(loss=ReachLoss(3), search=search, threat=L2(50.0), relaxation="none", rounding=False)
    length = (attack(model, x).x_adv - x).flatten(1).norm(dim=1)
    assert bool((length >= exact - 1e-4).all()) and bool((length <= 1.1 * exact + 0.02).all())


def test_what_it_reaches_holds_after_rounding() -> None:
    model, x, labels, bank = world()
    found = cw(steps=150)(model, x)
    moved = (model.code(found.x_adv) != model.code(x)).sum(1)
    assert bool((moved >= 4).all()), "half of the bits of the picture that a file holds"
    assert torch.allclose(found.x_adv * 255, (found.x_adv * 255).round(), atol=1e-3)
    length = (found.x_adv - x).flatten(1).norm(dim=1)
    noise = L2(float(length.max())).start(x, range(len(x)), 0)
    assert float((model.code(noise) != model.code(x)).float().sum(1).mean()) < 2
    target = labels.roll(1, dims=1)
    near = cw(steps=150, guide=SignedMean(), toward=True)(model, x, target, bank)
    assert isinstance(near.target, torch.Tensor)
    wrong = (model.code(near.x_adv) != near.target).sum(1)
    assert float((wrong <= 2).float().mean()) > 0.7


def test_fewer_bits_and_more_gradients_take_a_smaller_change() -> None:
    model, x, _, _ = world()
    sizes = [
        float((attack(model, x).x_adv - x).flatten(1).norm(dim=1).mean())
        for attack in (cw(steps=80, left=7), cw(steps=80, left=4), cw(steps=80, left=4, kappa=0.5), cw(steps=10))
    ]
    assert sizes[0] < sizes[1] < sizes[2] and sizes[1] < sizes[3]


@pytest.mark.parametrize("threat", [L2(0.15), Linf(4 / 255)])
def test_eps_bounds_the_change_and_the_best_inside_is_kept(threat: L2 | Linf) -> None:  # type: ignore[valid-type]
    model, x, _, _ = world()
    found = cw(steps=60, left=0, threat=threat)(model, x)
    assert float(threat.length(found.x_adv - x).max()) <= threat.eps + 1e-6
    assert float((model.code(found.x_adv) != model.code(x)).float().sum(1).mean()) > 0.5


def test_presets_and_wrong_numbers() -> None:
    assert cw().search == LeastChange(500) and cw().threat == L2(5.0) and cw().loss == ReachLoss()
    assert cw(preset="code").search == LeastChange(90_000, constants=9, first=1e-3, rate=0.01)
    with pytest.raises(RequestError, match="unknown preset"):
        cw(preset="paper")  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="constants must be at least 1"):
        LeastChange(constants=0)
