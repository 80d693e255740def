"""Views and blur: shape, range, gradient, draws, and literal transcriptions of what they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hamguard.attacks.attack import Attack
from hamguard.attacks.guides.vote import SignedMean
from hamguard.attacks.losses.inner import inner_product
from hamguard.attacks.problem import Problem
from hamguard.attacks.search.adaptive import AdaptiveSteps
from hamguard.attacks.search.signs import SignSteps
from hamguard.attacks.search.views import PLAIN, Diverse, Noisy, Plain, View, blur
from hamguard.attacks.threat import Linf
from hamguard.codes.binary import relax
from hamguard.core.errors import RequestError
from hamguard.core.seeds import derive_seed, torch_generator
from tests.attacks.test_laws import world

VIEWS: list[View] = [Plain(), Noisy(0.1), Diverse(probability=1.0, factor=0.6), Diverse()]


def pictures(n: int = 6) -> Tensor:
    return torch.rand(n, 3, 20, 14, generator=torch_generator(8))


def problem_of(side: int = -1, n: int = 12) -> Problem:
    model, x, labels, bank = world()
    guide = SignedMean()(model.code(x), labels, bank, range(len(x)), 0)
    return Problem(model, x[:n], guide[:n], side, inner_product, Linf(0.1), range(n), 3)


@pytest.mark.parametrize("view", VIEWS, ids=repr)
def test_views_keep_shape_range_and_gradient(view: View) -> None:
    x = pictures().requires_grad_()
    seen = view(x, range(6), 2, 0)
    assert seen.shape == x.shape and bool(((seen >= 0) & (seen <= 1)).all())
    (found,) = torch.autograd.grad(seen.square().sum(), x)
    assert bool(found.isfinite().all()) and float((found != 0).float().mean()) > 0.7


@pytest.mark.parametrize("view", VIEWS[1:3], ids=repr)
def test_views_draw_for_each_picture_step_and_seed(view: View) -> None:
    x = pictures()
    whole = view(x, range(6), 2, 0)
    assert torch.equal(whole, view(x, range(6), 2, 0))
    parts = torch.cat([view(x[4:], [4, 5], 2, 0), view(x[:4], [0, 1, 2, 3], 2, 0)])
    assert torch.allclose(torch.cat([parts[2:], parts[:2]]), whole, atol=1e-6)
    assert not torch.equal(whole, view(x, range(6), 3, 0)) and not torch.equal(whole, view(x, range(6), 2, 1))
    same = view(x[:1].expand(6, -1, -1, -1), range(6), 2, 0)
    assert not torch.equal(same[0], same[1]), "pictures draw apart"


def test_noise_is_uniform_in_its_radius() -> None:
    moved = Noisy(0.2)(torch.full((40, 1, 20, 20), 0.5), range(40), 0, 0) - 0.5
    assert 0.19 < float(moved.max()) <= 0.2 + 1e-6 and -0.2 - 1e-6 <= float(moved.min()) < -0.19
    assert float(moved.mean()) == pytest.approx(0, abs=0.005)
    assert float(moved.std()) == pytest.approx(0.2 / 3**0.5, abs=0.003)


def test_diverse_is_resize_and_padding() -> None:
    x, view = pictures(), Diverse(probability=1.0, factor=0.6)
    windows = view.windows((20, 14), range(6), 0, 0)
    literal = torch.zeros_like(x)
    for picture, (height, width, top, left) in enumerate(windows):
        assert 12 <= height <= 20 and top + height <= 20 and left + width <= 14
        small = F.interpolate(x[picture : picture + 1], size=(height, width), mode="bilinear", align_corners=False)
        literal[picture, :, top : top + height, left : left + width] = small[0]
    assert len(set(windows)) > 3
    assert torch.allclose(view(x, range(6), 0, 0), literal, atol=1e-5)


def test_diverse_leaves_the_rest_alone() -> None:
    x = pictures()
    assert Diverse(probability=0.0)(x, range(6), 0, 0) is x and Diverse(factor=1.0)(x, range(6), 0, 0) is x
    windows = Diverse(probability=0.5, factor=0.5).windows((100, 100), range(400), 0, 0)
    assert 0.42 < sum(window[0] < 100 for window in windows) / 400 < 0.58
    assert {window[0] for window in Diverse(1.0, 0.9).windows((20, 20), range(200), 0, 0)} == {18, 19, 20}


def test_blur_is_the_authors_kernel() -> None:
    size = 7
    line = np.exp(-(np.linspace(-3, 3, size) ** 2) / 2)  # gkern(7, nsig=3) up to its norm
    kernel = np.outer(line, line) / np.outer(line, line).sum()
    gradient = torch.randn(2, 3, 9, 8, generator=torch_generator(5))
    padded = np.pad(gradient.numpy(), ((0, 0), (0, 0), (3, 3), (3, 3)))
    literal = np.zeros_like(gradient.numpy())
    for row in range(9):
        for column in range(8):
            literal[:, :, row, column] = (padded[:, :, row : row + size, column : column + size] * kernel).sum((2, 3))
    assert np.allclose(blur(gradient, size).numpy(), literal, atol=1e-6)
    assert blur(gradient, 0) is gradient and torch.equal(blur(gradient, 1), gradient)


def test_gradient_is_the_weighted_sum_over_views() -> None:
    problem, rows = problem_of(), torch.tensor([1, 4, 5])
    views: tuple[View, ...] = (Plain(0.5), Noisy(0.1, weight=2.0))
    at = problem.x[rows]
    found, value, wrong = problem.gradient(at, rows, 0.7, views, step=6)
    literal, total = torch.zeros_like(at), torch.zeros(3)
    for number, view in enumerate(views):
        moving = at.clone().requires_grad_()
        seen = view(moving, [1, 4, 5], 6, derive_seed(3, "view", number))
        loss = view.weight * inner_product(relax(problem.model.logits(seen), 0.7), problem.target[rows], -1)  # type: ignore[index]
        literal += torch.autograd.grad(loss.sum(), moving)[0]
        total += loss.detach()
    assert torch.allclose(found, literal, atol=1e-7) and torch.allclose(value, total, atol=1e-6)
    assert torch.equal(wrong, problem.wrong(problem.model.logits(at), rows))
    assert problem.spent.forwards.tolist() == [0, 2, 0, 0, 2, 2] + [0] * 6
    assert torch.equal(problem.spent.forwards, problem.spent.backwards)


def test_wrong_bits_are_those_of_the_picture_itself() -> None:
    problem, rows = problem_of(), torch.arange(12)
    plain = problem.gradient(problem.x, rows, 1.0)[2]
    noisy = problem.gradient(problem.x, rows, 1.0, (Noisy(0.5),))[2]
    assert torch.equal(plain, noisy)
    assert problem.spent.forwards.tolist() == [3] * 12, "one more forward where no view is plain"
    assert problem.spent.backwards.tolist() == [2] * 12


@dataclass(frozen=True)
class Recorder:
    """A plain view that writes down when it was asked."""

    seen: list[tuple[int, tuple[int, ...]]]
    weight: float = 1.0

    def __call__(self, x: Tensor, index: Sequence[int], step: int, seed: int) -> Tensor:
        self.seen.append((step, tuple(index)))
        return x


@pytest.mark.parametrize("kind", [SignSteps, AdaptiveSteps])
def test_searches_hand_step_and_picture_to_their_views(kind: type[SignSteps] | type[AdaptiveSteps]) -> None:
    model, x, labels, bank = world()
    seen: list[tuple[int, tuple[int, ...]]] = []
    search = kind(steps=3, restarts=2, random_start=True, early_stop=False, views=(Recorder(seen),))
    Attack(SignedMean(), inner_product, search, Linf(0.05))(model, x[:2], labels[:2], bank, index=[7, 9])
    assert seen == [(step, (7, 9)) for step in range(6)], "restarts draw anew"


@pytest.mark.parametrize("kind", [SignSteps, AdaptiveSteps])
@pytest.mark.parametrize("views", [(Plain(), Noisy(0.1)), (Diverse(1.0, 0.7),)], ids=["noisy", "diverse"])
def test_searches_with_views_do_not_depend_on_the_batch(
    kind: type[SignSteps] | type[AdaptiveSteps], views: tuple[View, ...]
) -> None:
    model, x, labels, bank = world()
    attack = Attack(SignedMean(), inner_product, kind(steps=5, views=views, translation=3), Linf(0.1))
    whole = attack(model, x, labels, bank).x_adv
    parts = [attack(model, x[p], labels[p], bank, index=range(12)[p]).x_adv for p in (slice(0, 5), slice(5, 12))]
    assert float(((whole - torch.cat(parts)).abs() > 1e-6).float().mean()) < 0.01
    plain = Attack(SignedMean(), inner_product, kind(steps=5), Linf(0.1))(model, x, labels, bank)
    assert not torch.equal(whole, plain.x_adv)
    assert float((whole - x).abs().max()) <= 0.1 + 1e-6


def test_wrong_views_explain_themselves() -> None:
    with pytest.raises(RequestError, match=r"radius of the noise must be in \(0, 1\], got 32; did you mean 32 / 255\?"):
        Noisy(32)
    with pytest.raises(RequestError, match="weight of a view must be at least 0.0, got -1"):
        Plain(-1)
    with pytest.raises(RequestError, match="probability must be between 0.0 and 1.0, got 2"):
        Diverse(probability=2)
    with pytest.raises(RequestError, match="factor must be between 0.1 and 1.0, got 1.1"):
        Diverse(factor=1.1)
    for kind in (SignSteps, AdaptiveSteps):
        with pytest.raises(RequestError, match="at least one view with a weight above 0"):
            kind(views=())
        with pytest.raises(RequestError, match="at least one view with a weight above 0"):
            kind(views=(Plain(0.0),))
        with pytest.raises(RequestError, match=r"translation must be 0 \(off\) or the odd size of a kernel, got 4"):
            kind(translation=4)
    assert PLAIN == (Plain(),)
