"""An attack in a ball at the RMSE of a generator without one: found on training images, whatever the queries are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hamguard.attacks.methods.registry import ATTACKS
from hamguard.attacks.search.signs import SignSteps
from hamguard.core.context import Context
from hamguard.core.errors import RequestError
from hamguard.data.opened import Data
from hamguard.evaluation.attack.equal_rmse import with_equal_rmse
from hamguard.evaluation.attack.generators import with_generator
from hamguard.evaluation.attack.measure import measure_attack
from hamguard.evaluation.attack.spec import AttackSpec
from hamguard.evaluation.ground import Ground, Loaded
from hamguard.trainers.kind import Start
from tests.trainers.runs import train
from tests.trainers.test_generator import ask, make_place


@pytest.fixture(scope="module")
def ground() -> Ground:
    model, dataset, split = make_place()
    split = replace(
        split, query=split.train
    )  # the same pictures, so that the figures of the queries are those of the search
    return Ground.open(Loaded("victim", model), Data(dataset, split), context=Context(batch_size=7))


@pytest.fixture(scope="module")
def folder(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generator") / "soft"
    train(ask("reconstruction=20"), ground.dataset, ground.split, folder, start=[Start("victim", ground.model)])
    return folder


def steady() -> AttackSpec:
    """DHTA that uses its whole ball: it does not stop where every bit is right."""
    attack = ATTACKS["dhta"](steps=3)
    return AttackSpec(replace(attack, search=replace(attack.search, keep="last")), "dhta")


def rmse(ground: Ground, spec: AttackSpec) -> float:
    return float(next(row.value or 0 for row in measure_attack(ground, spec).rows if row.metric == "rmse"))


def test_the_two_move_images_alike(ground: Ground, folder: Path) -> None:
    spec, note = with_equal_rmse(ground, steady(), str(folder))
    made = with_generator(AttackSpec.read("prosgan"), str(folder))
    assert rmse(ground, spec) == pytest.approx(rmse(ground, made), rel=0.05)
    assert (
        spec.threat is not None
        and f"eps {spec.threat.eps:.4f} is where" in note
        and f"{len(ground.query)} training" in note
    )
    assert (spec.attack.search, spec.attack.guide, spec.name) == (steady().attack.search, steady().attack.guide, "dhta")


def test_no_query_decides(ground: Ground, folder: Path) -> None:
    few = replace(ground, query=ground.query.select(np.arange(2)))
    assert with_equal_rmse(few, steady(), str(folder)) == with_equal_rmse(ground, steady(), str(folder))


def test_an_attack_that_stops_early_gets_at_most_every_picture(ground: Ground, folder: Path) -> None:
    lazy = AttackSpec(replace(ATTACKS["dhta"](), search=SignSteps(1, step_size=1 / 255)), "dhta")
    spec, note = with_equal_rmse(ground, lazy, str(folder))
    assert spec.threat is not None and spec.threat.eps <= 1 and "RMSE of 0.00" in note


def test_what_has_no_ball_or_no_drawn_target_is_refused(ground: Ground, folder: Path) -> None:
    for spec in (AttackSpec.read("hag"), AttackSpec.read("dhta", targets="label:corner 1")):
        with pytest.raises(RequestError, match="rmse_of takes an attack in a ball whose targets are one of no-overlap"):
            with_equal_rmse(ground, spec, str(folder))
