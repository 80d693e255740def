"""What is measured of a model before and after a defense."""

from __future__ import annotations

import numpy as np

from hamguard.attacks.budget import Budget, Linf
from hamguard.core.rows import Rows
from hamguard.evaluation.defense.hardening import can_target, measure_side
from hamguard.evaluation.ground import Ground


def test_one_model_is_attacked_away_and_toward_and_audited(ground: Ground) -> None:
    assert can_target(ground.dataset, ground.split, None, 0)
    rows = Rows(measure_side(ground.first(4), Budget(Linf(0.2), steps=1), audit=3))
    assert {(row.attack or {}).get("toward") for row in rows.where(attack="mainstay")} == {False, True}
    worst = rows.where(metric="map", attack="audit")
    assert len(worst) == 2 and {row.n for row in worst} == {3} and not rows.where(metric="check")
    few = Rows(measure_side(ground.first(4), Budget(Linf(0.2), steps=1), targeted=False))
    assert not few.where(metric="t-map") and np.isfinite(
        few.where(metric="map", attack="mainstay").one().value or np.nan
    )
