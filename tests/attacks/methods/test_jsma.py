"""JSMA on codes: the greedy choice transcribed by hand, the count of pixels after rounding, and what it does."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hamguard.attacks.guides.vote import SignedMean
from hamguard.attacks.methods.jsma import jsma
from hamguard.attacks.search.few_pixels import FewPixels, saliency
from hamguard.attacks.threat import L0, L2, Linf, Threat, moved_pixels
from hamguard.core.errors import RequestError
from hamguard.core.seeds import torch_generator
from hamguard.models.hash_model import HashModel
from tests.attacks.test_laws import world


def by_hand(model: HashModel, x: torch.Tensor, moves: int, together: int) -> torch.Tensor:
    """Away from the own code, one picture `(1, 1, H, W)`, pixel by pixel: the smallest loss by first derivatives comes first."""
    own, at, moved = model.code(x)[0], x.clone(), set()
    kept, fewest = x.clone(), model.bits
    for _ in range(moves):
        here = at.clone().requires_grad_()
        loss = sum(own[k] * torch.tanh(model.logits(here)[0, k]) for k in range(model.bits)) / model.bits
        (gradient,) = torch.autograd.grad(loss, here)
        gains = {}
        for i in range(x.shape[2]):
            for j in range(x.shape[3]):
                slope, value = float(gradient[0, 0, i, j]), float(at[0, 0, i, j])
                gains[i, j] = max(-slope * (1 - value), slope * value)  # to white, or to black
        for i, j in sorted(gains.keys() - moved, key=lambda p: -gains[p])[:together]:
            at[0, 0, i, j] = 1.0 if float(gradient[0, 0, i, j]) < 0 else 0.0
            moved.add((i, j))
        wrong = int((model.code(at)[0] == own).sum())
        if wrong < fewest:
            kept, fewest = at.clone(), wrong
        if wrong == 0:
            break
    return kept


@pytest.mark.parametrize("together", [1, 2])
def test_it_is_the_greedy_choice(together: int) -> None:
    model, x, _, _ = world()
    attack = replace(jsma(threat=L0(12 / 256)), search=FewPixels(None, together=together, alpha="constant"))
    for number in range(3):
        one = x[number : number + 1]
        assert torch.allclose(attack(model, one).x_adv, by_hand(model, one, 12 // together, together), atol=1e-6)


def test_the_map_adds_up_channels() -> None:
    gradient = torch.tensor([1.0, -2.0, 0.5]).view(1, 3, 1, 1)
    move = torch.tensor([-0.2, 0.4, -0.1]).view(1, 3, 1, 1)
    assert float(saliency(gradient, move)) == pytest.approx(0.2 + 0.8 + 0.05)


@pytest.mark.parametrize("count", [1, 5, 40])
def test_no_more_pixels_move_than_allowed_after_rounding(count: int) -> None:
    model = HashModel("conv2", 8, channels=3, size=(16, 16), generator=torch_generator(4)).eval().requires_grad_(False)
    x = (torch.rand(6, 3, 16, 16, generator=torch_generator(1)) * 255).round() / 255
    model.head.bias.data.sub_(model.logits(x).mean(0))  # so that bits are near to flipping
    found = jsma(threat=L0(count / 256), steps=7)(model, x)
    moved = moved_pixels(found.x_adv - x).flatten(1).sum(1)
    assert bool((moved <= count).all()) and (count < 40 or bool((moved > 5).any()))
    assert torch.allclose(found.x_adv * 255, (found.x_adv * 255).round(), atol=1e-3)
    assert bool((found.spent.backwards <= min(7, count)).all())


def test_few_pixels_turn_bits_and_random_ones_do_not() -> None:
    model, x, labels, bank = world()
    found, noise = jsma(threat=L0(0.1))(model, x), L0(0.1).start(x, range(len(x)), 0)
    turned, chance = ((model.code(one) != model.code(x)).float().sum(1).mean() for one in (found.x_adv, noise))
    assert float(turned) > float(chance) + 2
    target = labels.roll(1, dims=1)
    near = jsma(threat=L0(0.1), guide=SignedMean(), toward=True)(model, x, target, bank)
    assert isinstance(near.target, torch.Tensor)
    before, after = ((model.code(one) * near.target).sum(1).mean() for one in (x, near.x_adv))
    assert float(after) > float(before) + 2


def test_it_stops_at_the_first_picture_without_a_wrong_bit() -> None:
    model, x, _, _ = world()
    found = jsma(threat=L0(0.9), steps=200)(model, x)
    done = (model.code(found.x_adv) == model.code(x)).sum(1) == 0
    assert bool(done.any()) and float(moved_pixels(found.x_adv - x).flatten(1).sum(1)[done].median()) < 64


@pytest.mark.parametrize("threat", [Linf(0.2), L2(1.0), Threat("linf", 0.2, one_sided=True)])
def test_other_budgets_hold_too(threat: Threat) -> None:
    model, x, _, _ = world()
    found = jsma(threat=threat)(model, x)
    assert float(threat.length(found.x_adv - x).max()) <= threat.eps + 1e-6
    assert float((found.x_adv - x).min()) >= threat.low - 1e-6
    assert bool((model.code(found.x_adv) != model.code(x)).any())


def test_presets() -> None:
    assert jsma().search == FewPixels(100) and jsma().threat == L0(0.05)
    assert jsma(preset="paper").search == FewPixels(None, together=2, alpha="constant")
    with pytest.raises(RequestError, match="unknown preset"):
        jsma(preset="papr")  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="together must be at least 1"):
        FewPixels(together=0)
