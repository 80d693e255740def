"""The adaptive attack: options reach the search, and few steps do much."""

from __future__ import annotations

import pytest

from hamguard.attacks.guides.vote import SignedMean
from hamguard.attacks.losses.mainstay import MainstayLoss
from hamguard.attacks.methods.adaptive import adaptive
from hamguard.attacks.search.adaptive import AdaptiveSteps
from hamguard.attacks.search.signs import SignSteps
from hamguard.attacks.search.views import Diverse
from hamguard.attacks.threat import Linf
from hamguard.core.errors import RequestError
from tests.attacks.test_laws import world
from tests.attacks.test_search import bits, problem_of


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_it_takes_few_steps(steps: int) -> None:
    model, x, labels, bank = world()
    found = adaptive(steps=steps, guide=SignedMean(), threat=Linf(0.3))(model, x, labels, bank)
    assert int(found.spent.backwards.max()) == steps
    assert float((model.code(found.x_adv) != model.code(x)).float().sum(1).mean()) > 2


def test_ten_steps_do_what_a_hundred_constant_ones_do() -> None:
    few, many = problem_of(Linf(0.06)), problem_of(Linf(0.06))
    ten = bits(few, AdaptiveSteps(10)(few)).mean()
    hundred = bits(many, SignSteps(100, 0.06 / 8, random_start=True)(many)).mean()
    assert float(ten) <= float(hundred) + 0.25


def test_options_reach_the_search() -> None:
    attack = adaptive(steps=7, restarts=2, loss="mainstay", toward=True)
    assert attack.search == AdaptiveSteps(7, restarts=2) and attack.loss == MainstayLoss() and attack.toward
    assert adaptive(diversity=0.5).search == AdaptiveSteps(30, views=(Diverse(0.5),))
    assert adaptive(loss="margin").relaxation == "none"
    with pytest.raises(RequestError, match="unknown loss 'inne'; .*did you mean inner?"):
        adaptive(loss="inne")
