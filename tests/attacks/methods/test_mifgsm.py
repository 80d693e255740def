"""MI-FGSM: options for transfer reach the search, and its step size falls."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor

from hamguard.attacks.methods.iterative import mifgsm
from hamguard.attacks.search.signs import SignSteps
from hamguard.attacks.search.views import Diverse
from hamguard.attacks.threat import Linf
from tests.attacks.test_laws import world


def test_options_reach_the_search() -> None:
    search = mifgsm(steps=5, nesterov=True, diversity=0.5, translation=7).search
    assert isinstance(search, SignSteps) and (search.steps, search.nesterov, search.translation) == (5, True, 7)
    assert search.views == (Diverse(0.5),) and search.momentum == 1.0


@pytest.mark.parametrize(("eps", "size"), [(0.2, 0.1), (1 / 255, 1 / 255), (0.4 / 255, 0.8 / 255)])
def test_the_first_step_is_half_the_ball_or_a_level_and_sizes_fall_by_cosine(eps: float, size: float) -> None:
    search = mifgsm(threat=Linf(eps)).search
    assert isinstance(search, SignSteps)
    assert search.step_size == pytest.approx(size) and search.schedule == "cosine"


@pytest.mark.parametrize("options", [{}, {"nesterov": True}, {"diversity": 0.5}, {"translation": 3}])
def test_it_leaves_the_own_code_in_every_form(options: dict[str, Any]) -> None:
    model, x, _, _ = world()
    found = mifgsm(steps=10, threat=Linf(0.3), **options)(model, x)
    assert float((model.code(found.x_adv) != model.code(x)).float().sum(1).mean()) > 2


def test_deep_goes_on_where_the_guide_is_reached() -> None:
    model, x, _, _ = world()
    threat = Linf(0.3)
    stopped, deep = (mifgsm(steps=12, threat=threat, deep=one)(model, x) for one in (False, True))
    assert int(deep.spent.backwards.min()) == 12 > int(stopped.spent.backwards.min())

    def depth(x_adv: Tensor) -> float:
        return float((-model.logits(x_adv) * model.code(x)).mean())

    assert depth(deep.x_adv) > depth(stopped.x_adv), "further behind the border, not only across"
