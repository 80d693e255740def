"""NAG: the published objective falls, the gradient is that of the L1 distance, presets."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hamguard.attacks.guides.vote import AnchorCode
from hamguard.attacks.methods.nag import nag
from hamguard.attacks.search.signs import SignSteps
from hamguard.attacks.search.views import Diverse, Noisy, Plain
from hamguard.attacks.threat import Linf
from hamguard.codes.binary import relax
from hamguard.core.errors import RequestError
from tests.attacks.test_laws import world
from tests.attacks.test_views import problem_of


def test_lowers_the_published_objective() -> None:
    model, x, labels, bank = world()
    target = labels.roll(1, dims=1)
    attack = nag(threat=Linf(0.2), radius=0.1, steps=12)
    assert attack.toward and attack.guide == AnchorCode(n=1) and attack.search.views == (Plain(), Noisy(0.1))  # type: ignore[attr-defined]
    found = attack(model, x, target, bank)
    assert found.spent.backwards.tolist() == [24] * 12 and found.spent.forwards.tolist() == [1 + 24 + 1] * 12

    def objective(at: Tensor) -> float:
        noisy = Noisy(0.1)(at, range(12), 99, 1)
        return sum((float((model.relaxed(seen) - found.target).abs().mean()) for seen in (at, noisy)), 0.0)  # type: ignore[operator]

    assert objective(found.x_adv) < objective(x) - 0.2


def test_gradient_is_that_of_the_l1_distance() -> None:
    problem = problem_of(side=1)
    at = problem.x.clone().requires_grad_()
    distance = (relax(problem.model.logits(at)) - problem.target).abs().mean(1).sum()  # type: ignore[operator]
    literal = torch.autograd.grad(distance, at)[0]
    assert torch.allclose(problem.gradient(problem.x, torch.arange(12), 1.0)[0], literal, atol=1e-7)


def test_presets() -> None:
    assert nag(preset="paper").threat == Linf(32 / 255) and nag().threat == Linf(8 / 255)
    paper = nag(preset="paper").search
    assert isinstance(paper, SignSteps) and paper.steps == 32 and paper.step_size == 1 / 255 and paper.keep == "last"
    assert nag(diverse=True).search.views[0] == Diverse()  # type: ignore[attr-defined]
    with pytest.raises(RequestError, match="unknown preset 'papr'"):
        nag(preset="papr")  # type: ignore[arg-type]
