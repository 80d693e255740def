"""Universal perturbations: one for all pictures, fitted on some and worth something on others."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from hamguard.attacks.guides.prototype import FittedPrototype, PrototypeCode
from hamguard.attacks.guides.relevant import RelevantSet
from hamguard.attacks.guides.vote import AnchorCode, SignedMean
from hamguard.attacks.losses.sdha import SdhaLoss
from hamguard.attacks.methods.registry import ATTACKS
from hamguard.attacks.threat import L2, Linf
from hamguard.attacks.universal import Universal
from hamguard.core.errors import RequestError
from tests.attacks.test_laws import world

MODEL, X, LABELS, BANK = world(n=24)
TRAIN, REST = slice(0, 12), slice(12, 24)
SMALL = Universal(threat=Linf(0.3), steps=30, batch_size=6)


def test_it_moves_pictures_it_was_not_fitted_on_more_than_noise() -> None:
    fitted = SMALL.fit(MODEL, X[TRAIN])
    found = fitted(MODEL, X[REST])
    noisy = ATTACKS["noise"](threat=Linf(0.3))(MODEL, X[REST]).x_adv
    code = MODEL.code(X[REST])
    moved = (MODEL.code(found.x_adv) != code).float().sum(1).mean()
    assert float(moved) > float((MODEL.code(noisy) != code).float().sum(1).mean()) + 1
    assert torch.equal(found.target, code)
    assert found.spent.forwards.tolist() == [1] * 12 and found.spent.backwards.tolist() == [0] * 12
    assert (fitted.forwards, fitted.backwards) == (2 * 30 * 6, 30 * 6)


def test_one_perturbation_for_every_picture() -> None:
    for threat in (Linf(0.1), L2(1.0)):
        fitted = Universal(threat=threat, steps=5).fit(MODEL, X[TRAIN])
        gray = torch.full((2, 1, 16, 16), 127 / 255)
        x_adv = fitted(MODEL, gray).x_adv
        assert torch.equal(x_adv[0], x_adv[1])
        assert torch.allclose(x_adv - gray, fitted.delta.expand(2, -1, -1, -1), atol=1.01 / 255)
        assert float(threat.length(fitted.delta)) <= threat.eps + 1e-5


def test_fit_repeats_with_the_seed_and_takes_pictures_either_way() -> None:
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    asked: list[int] = []

    def pictures(numbers: Sequence[int]) -> torch.Tensor:
        asked.extend(numbers)
        return X[list(numbers)]

    made = Universal(SignedMean(), threat=Linf(0.1), steps=4, batch_size=5)
    whole = made.fit(MODEL, X, LABELS, BANK, 3)
    assert torch.equal(whole.delta, made.fit(MODEL, pictures, LABELS, BANK, 3).delta)
    assert not torch.equal(whole.delta, made.fit(MODEL, X, LABELS, BANK, 4).delta)
    assert len(asked) == 20 and max(asked) > 12
    assert torch.equal(state, torch.random.get_rng_state())
    free = Universal(steps=2).fit(MODEL, pictures, count=24)
    assert torch.equal(free.delta, Universal(steps=2).fit(MODEL, X).delta)


@pytest.mark.parametrize("guide", [SignedMean(), AnchorCode(1), RelevantSet(), PrototypeCode(steps=5)])
def test_toward_there_is_one_target(guide: object) -> None:
    goal = torch.eye(3)[:1]
    loss = {"loss": SdhaLoss()} if isinstance(guide, RelevantSet) else {}
    made = Universal(guide, toward=True, threat=Linf(0.3), steps=30, batch_size=6, **loss)  # type: ignore[arg-type]
    fitted = made.fit(MODEL, X, goal, BANK)
    assert torch.equal(fitted.delta, made.fit(MODEL, X, goal.expand(24, -1), BANK).delta)
    found = fitted(MODEL, X, goal.expand(24, -1), BANK)
    code = found.target if isinstance(found.target, torch.Tensor) else found.target.vote
    assert bool((code == code[0]).all()) and fitted.guide.name == guide.name  # type: ignore[attr-defined]
    near = (MODEL.code(found.x_adv) * code).sum(1).mean()
    assert float(near) > float((MODEL.code(X) * code).sum(1).mean()) + 1
    with pytest.raises(RequestError, match="fitted toward class 0, got the target class 1"):
        fitted(MODEL, X[:2], torch.eye(3)[:2], BANK)


def test_a_guide_that_learns_is_fitted_once() -> None:
    made = Universal(PrototypeCode(steps=2), steps=2).prepared(BANK)
    assert isinstance(made.guide, FittedPrototype) and made.prepared(BANK) is made
    fitted = made.fit(MODEL, X, LABELS, BANK)
    assert fitted.guide is made.guide and fitted.prepared(BANK) is fitted
    assert fitted.threat is made.threat and not fitted.toward


def test_wrong_inputs_explain_themselves() -> None:
    with pytest.raises(RequestError, match="fitted on training pictures first: call fit"):
        SMALL(MODEL, X)
    with pytest.raises(RequestError, match="needs their labels or their count|need their labels or their count"):
        SMALL.fit(MODEL, lambda numbers: X[list(numbers)])
    with pytest.raises(RequestError, match="got 24 pictures, 12 labels"):
        SMALL.fit(MODEL, X, LABELS[:12], BANK)
    with pytest.raises(RequestError, match="at least one picture, and labels of each, got 0 pictures"):
        SMALL.fit(MODEL, X[:0])
    with pytest.raises(RequestError, match="one target label for all pictures, got several"):
        Universal(SignedMean(), toward=True).fit(MODEL, X, LABELS, BANK)
    with pytest.raises(RequestError, match=r"fitted on pictures of shape \(1, 16, 16\), got \(1, 8, 8\)"):
        Universal(steps=1).fit(MODEL, X)(MODEL, X[:, :, :8, :8])
    with pytest.raises(RequestError, match=r"in \[0, 1\]"):
        SMALL.fit(MODEL, X * 255)
    with pytest.raises(RequestError, match="the mainstay code needs reference codes"):
        Universal(SignedMean()).fit(MODEL, X, LABELS)
    with pytest.raises(RequestError, match="batch size must be at least 1, got 0"):
        Universal(batch_size=0)
    with pytest.raises(RequestError, match="unknown relaxation"):
        Universal(relaxation="tan")  # type: ignore[arg-type]
