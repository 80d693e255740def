"""Universal perturbations: one for all pictures, fitted on some and worth something on others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from hamguard.attacks.attack import Attack
from hamguard.attacks.guides.prototype import FittedPrototype, PrototypeCode
from hamguard.attacks.guides.relevant import RelevantSet
from hamguard.attacks.guides.vote import AnchorCode, SignedMean
from hamguard.attacks.losses.sdha import SdhaLoss
from hamguard.attacks.methods.registry import ATTACKS
from hamguard.attacks.search.universal import OneForAll, UniversalSteps
from hamguard.attacks.threat import L2, Linf, Threat
from hamguard.core.errors import RequestError
from tests.attacks.test_laws import world

MODEL, X, LABELS, BANK = world(n=24)
TRAIN, REST = slice(0, 12), slice(12, 24)


def universal(*, threat: Threat = Linf(8 / 255), steps: int = 200, batch_size: int = 32, **more: Any) -> Attack:
    return Attack(search=UniversalSteps(steps, batch_size), threat=threat, **more)


def fit(
    attack: Attack, pictures: Any, labels: Any = None, bank: Any = None, seed: int = 0, count: int | None = None
) -> tuple[Attack, OneForAll]:
    """The attack made ready, and what was fitted."""
    ready = attack.prepared(bank, seed, model=MODEL, images=pictures, labels=labels, count=count)
    assert isinstance(ready.search, OneForAll)
    return ready, ready.search


SMALL = universal(threat=Linf(0.3), steps=30, batch_size=6)


def test_it_moves_pictures_it_was_not_fitted_on_more_than_noise() -> None:
    fitted, one = fit(SMALL, X[TRAIN])
    found = fitted(MODEL, X[REST])
    noisy = ATTACKS["noise"](threat=Linf(0.3))(MODEL, X[REST]).x_adv
    code = MODEL.code(X[REST])
    moved = (MODEL.code(found.x_adv) != code).float().sum(1).mean()
    assert float(moved) > float((MODEL.code(noisy) != code).float().sum(1).mean()) + 1
    assert torch.equal(found.target, code)
    assert found.spent.forwards.tolist() == [1] * 12 and found.spent.backwards.tolist() == [0] * 12
    assert (one.forwards, one.backwards) == (2 * 30 * 6, 30 * 6)


def test_one_perturbation_for_every_picture() -> None:
    for threat in (Linf(0.1), L2(1.0)):
        fitted, one = fit(universal(threat=threat, steps=5), X[TRAIN])
        gray = torch.full((2, 1, 16, 16), 127 / 255)
        x_adv = fitted(MODEL, gray).x_adv
        assert torch.equal(x_adv[0], x_adv[1])
        assert torch.allclose(x_adv - gray, one.delta.expand(2, -1, -1, -1), atol=1.01 / 255)
        assert float(threat.length(one.delta)) <= threat.eps + 1e-5


def test_fit_repeats_with_the_seed_and_takes_pictures_either_way() -> None:
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    asked: list[int] = []

    def pictures(numbers: Sequence[int]) -> torch.Tensor:
        asked.extend(numbers)
        return X[list(numbers)]

    made = universal(guide=SignedMean(), threat=Linf(0.1), steps=4, batch_size=5)
    _, whole = fit(made, X, LABELS, BANK, 3)
    assert torch.equal(whole.delta, fit(made, pictures, LABELS, BANK, 3)[1].delta)
    assert not torch.equal(whole.delta, fit(made, X, LABELS, BANK, 4)[1].delta)
    assert len(asked) == 20 and max(asked) > 12
    assert torch.equal(state, torch.random.get_rng_state())
    _, free = fit(universal(steps=2), pictures, count=24)
    assert torch.equal(free.delta, fit(universal(steps=2), X)[1].delta)


@pytest.mark.parametrize("guide", [SignedMean(), AnchorCode(1), RelevantSet(), PrototypeCode(steps=5)])
def test_toward_there_is_one_target(guide: object) -> None:
    goal = torch.eye(3)[:1]
    loss = {"loss": SdhaLoss()} if isinstance(guide, RelevantSet) else {}
    made = universal(guide=guide, toward=True, threat=Linf(0.3), steps=30, batch_size=6, **loss)
    fitted, one = fit(made, X, goal, BANK)
    assert torch.equal(one.delta, fit(made, X, goal.expand(24, -1), BANK)[1].delta)
    found = fitted(MODEL, X, goal.expand(24, -1), BANK)
    code = found.target if isinstance(found.target, torch.Tensor) else found.target.vote
    assert bool((code == code[0]).all()) and fitted.guide.name == guide.name  # type: ignore[attr-defined]
    near = (MODEL.code(found.x_adv) * code).sum(1).mean()
    assert float(near) > float((MODEL.code(X) * code).sum(1).mean()) + 1
    with pytest.raises(RequestError, match="fitted toward class 0, got the target class 1"):
        fitted(MODEL, X[:2], torch.eye(3)[:2], BANK)


def test_a_guide_that_learns_is_fitted_once() -> None:
    made = universal(guide=PrototypeCode(steps=2), steps=2).prepared(BANK)
    assert isinstance(made.guide, FittedPrototype) and made.prepared(BANK) is made
    fitted, _ = fit(made, X, LABELS, BANK)
    assert fitted.guide is made.guide and fitted.prepared(BANK) is fitted
    assert fitted.threat is made.threat and not fitted.toward and made.learns and not fitted.learns


def test_wrong_inputs_explain_themselves() -> None:
    with pytest.raises(RequestError, match="fitted on training pictures first: call prepared with a model"):
        SMALL(MODEL, X)
    with pytest.raises(RequestError, match="needs their labels or their count|need their labels or their count"):
        fit(SMALL, lambda numbers: X[list(numbers)])
    with pytest.raises(RequestError, match="got 24 pictures, 12 labels"):
        fit(SMALL, X, LABELS[:12], BANK)
    with pytest.raises(RequestError, match="at least one picture, and labels of each, got 0 pictures"):
        fit(SMALL, X[:0])
    with pytest.raises(RequestError, match="one target label for all pictures, got several"):
        fit(universal(guide=SignedMean(), toward=True), X, LABELS, BANK)
    with pytest.raises(RequestError, match=r"fitted on pictures of shape \(1, 16, 16\), got \(1, 8, 8\)"):
        fit(universal(steps=1), X)[0](MODEL, X[:, :, :8, :8])
    with pytest.raises(RequestError, match=r"in \[0, 1\]"):
        fit(SMALL, X * 255)
    with pytest.raises(RequestError, match="the mainstay code needs reference codes"):
        fit(universal(guide=SignedMean()), X, LABELS)
    with pytest.raises(RequestError, match="batch size must be at least 1, got 0"):
        universal(batch_size=0)
    with pytest.raises(RequestError, match="unknown relaxation"):
        universal(relaxation="tan")
