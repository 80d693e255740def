"""An attack as a value: named, measured like one that words name, and known by what it does."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from hamguard.attacks.attack import Attack
from hamguard.attacks.methods.hag import hag
from hamguard.attacks.methods.mainstay import mainstay
from hamguard.attacks.search.signs import SignSteps
from hamguard.attacks.threat import Linf
from hamguard.core.context import Context
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row
from hamguard.evaluation.attack.measure import measure_attack
from hamguard.evaluation.attack.run import Source, run_key
from hamguard.evaluation.attack.spec import AttackSpec, code_digests
from tests.evaluation.attack.test_transfer import make_ground


def facts(rows: list[Row]) -> list[Row]:
    return [replace(row, seconds=None) for row in rows]


def test_a_value_is_measured_like_the_words_that_name_it(tmp_path: Path) -> None:
    ground = make_ground("a")
    words = measure_attack(ground, AttackSpec.read("mainstay", eps=0.1, steps=2), context=Context(work=tmp_path))
    value = measure_attack(
        ground, AttackSpec(mainstay(steps=2, threat=Linf(0.1)), "mainstay"), context=Context(work=tmp_path)
    )
    assert facts(value.rows) == facts(words.rows) and np.array_equal(value.made.pixels, words.made.pixels)
    mine = measure_attack(
        ground, AttackSpec(mainstay(steps=2, threat=Linf(0.1)), "mine"), context=Context(work=tmp_path)
    )
    assert {row.attack["method"] for row in mine.rows if row.attack} == {"mine", "noise", "ideal-code"}
    assert [row.value for row in mine.rows] == [row.value for row in words.rows]


def test_an_attack_without_a_factory_is_called_attack_and_is_its_own_control_where_it_is_noise(tmp_path: Path) -> None:
    ground = make_ground("a")
    spec = AttackSpec(Attack(search=SignSteps(steps=1)))
    assert (spec.name, spec.preset, spec.toward, spec.rule) == ("attack", "default", False, None)
    rows = measure_attack(ground, spec, context=Context(work=tmp_path)).rows
    assert "attack" in {row.attack["method"] for row in rows if row.attack}
    noisy = AttackSpec(AttackSpec.read("noise").attack, "grain")
    assert noisy.is_noise and not noisy.follows_gradients
    methods = {
        row.attack["method"] for row in measure_attack(ground, noisy, context=Context(work=tmp_path)).rows if row.attack
    }
    assert methods == {"grain"}, "no noise beside noise"


def test_core_seconds_are_those_of_the_processor_and_survive_a_stopped_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def waits(u: Tensor, guide: Tensor, direction: int) -> Tensor:
        time.sleep(0.2)
        return -direction * (u * guide).sum(1)

    ground = make_ground("a")
    spec = AttackSpec(Attack(loss=waits, search=SignSteps(steps=1)))
    two = Context(work=tmp_path, batch_size=2)
    with monkeypatch.context() as patched:
        patched.setattr("hamguard.evaluation.attack.measure.forget", lambda folder: None)
        made = measure_attack(replace(ground, context=two), spec, context=two).made
    assert made.seconds > 0.4 and 0 < float(made.core_seconds or 0) < made.seconds - 0.35
    again = measure_attack(replace(ground, context=two), spec, context=two).made
    assert again.core_seconds == made.core_seconds, "kept with the batches"


def test_targets_need_an_attack_that_approaches() -> None:
    with pytest.raises(RequestError, match="hag has no target: it leaves a code"):
        AttackSpec(hag(), "hag", targets="no-overlap")
    spec = AttackSpec.read("mainstay", targets="label:1")
    assert spec.toward and spec.rule == "label:1" and AttackSpec(spec.attack, "m").rule == "no-overlap"
    with pytest.raises(RequestError, match="unknown reference 'trian'.*did you mean train"):
        replace(spec, reference="trian")  # type: ignore[arg-type]


def test_values_of_options_are_taken_as_they_are() -> None:
    assert (
        AttackSpec.read("cmla", options={"norm": 2, "squared": True}).attack
        == AttackSpec.read("cmla", options={"norm": "2", "squared": "true"}).attack
    )


def losses() -> tuple[Any, Any]:
    """Two losses of one name, as two runs of a notebook cell leave them."""

    def first() -> Any:
        def mine(u: Tensor, target: Any, direction: int) -> Tensor:
            return (u * target).sum(1) * -direction

        return mine

    def second() -> Any:
        def mine(u: Tensor, target: Any, direction: int) -> Tensor:
            return ((u * target).sum(1) * -direction).square()

        return mine

    return first(), second()


def test_a_rewritten_loss_does_not_find_the_batches_of_the_old_one() -> None:
    ground = make_ground("a")
    one, other = (AttackSpec(Attack(loss=loss)) for loss in losses())
    assert code_digests(hag()) == [] and len(code_digests(one.attack)) == 1
    keys = [run_key(spec, [Source(spec.attack, ground.model, ground.query)], ground, None) for spec in (one, other)]
    again = AttackSpec(Attack(loss=losses()[0]))
    assert keys[0] != keys[1]
    assert keys[0] == run_key(again, [Source(again.attack, ground.model, ground.query)], ground, None)
