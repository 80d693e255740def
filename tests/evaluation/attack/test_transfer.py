"""Side by side: same query pictures, short names, and what a matrix of transfer refuses."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hamguard.core.context import Context
from hamguard.core.errors import RequestError
from hamguard.data.opened import Data
from hamguard.evaluation.attack.spec import AttackSpec
from hamguard.evaluation.attack.transfer import Maker, measure_transfer
from hamguard.evaluation.ground import Ground, Loaded
from hamguard.evaluation.search.same_queries import check_same_queries
from hamguard.models.hash_model import HashModel
from tests.training.conftest import make_blobs, make_split


def make_ground(name: str, bits: int = 8) -> Ground:
    dataset = make_blobs(60)
    split = make_split(dataset)
    model = HashModel("conv2", bits, channels=1, size=(16, 16)).eval().requires_grad_(False)
    return Ground.open(Loaded(name, model), Data(dataset, split), queries=4)


def test_same_queries_look_at_pixels_not_at_names() -> None:
    dataset = make_blobs(60)
    split = make_split(dataset)
    renamed = replace(dataset, name="copy")
    check_same_queries(["a", "b"], [Data(dataset, split), Data(renamed, split)])
    pixels = dataset.images.array.copy()
    pixels[split.query[3]] ^= 255
    moved = replace(dataset, images=replace(dataset.images, array=pixels, known_digest=""))
    check_same_queries(["a", "b"], [Data(dataset, split), Data(moved, split)], queries=3)
    with pytest.raises(RequestError, match="the query pictures of b .* are not those of a"):
        check_same_queries(["a", "b"], [Data(dataset, split), Data(moved, split)], queries=4)
    labels = dataset.labels.copy()
    labels[split.query[0]] = np.roll(labels[split.query[0]], 1)
    with pytest.raises(RequestError, match="the labels of the query pictures of b are not those of a"):
        check_same_queries(["a", "b"], [Data(dataset, split), Data(replace(dataset, labels=labels), split)])
    with pytest.raises(RequestError, match="a is given twice"):
        check_same_queries(["a", "a"], [Data(dataset, split), Data(dataset, split)])


def test_a_matrix_refuses_sources_that_do_not_compare(tmp_path: Path) -> None:
    ground = make_ground("a")
    away = Maker(ground, AttackSpec.read("hag", steps=2))
    with pytest.raises(RequestError, match="needs sources and scored models, got 0 and 1"):
        measure_transfer([], [ground], work=tmp_path)
    other = Maker(make_ground("b"), AttackSpec.read("hag", steps=2, eps=0.1))
    with pytest.raises(
        RequestError, match="all sources of a matrix need one threat, one direction and one target rule"
    ):
        measure_transfer([away, other], [ground], work=tmp_path)


def test_targets_are_the_same_for_all_sources(tmp_path: Path) -> None:
    one, two = make_ground("a"), make_ground("b")
    kept = two.split.train[two.dataset.labels[two.split.train][:, 0] == 0]  # nobody of the first class was learned from
    two = replace(two, data=Data(two.dataset, replace(two.split, train=kept)))
    plan = AttackSpec.read("dhta", steps=1)
    with pytest.raises(
        RequestError, match="the rule no-overlap draws other targets .* give a saved list or label:NAME"
    ):
        measure_transfer([Maker(one, plan), Maker(two, plan)], [one, two], work=tmp_path)


def test_sources_may_carry_plans_of_their_own(tmp_path: Path) -> None:
    one, two = make_ground("a"), make_ground("b", bits=12)
    told: list[float] = []
    one = replace(one, context=Context(stage=lambda what: nullcontext(lambda share, text: told.append(share))))
    makers = [Maker(one, AttackSpec.read("hag", steps=2)), Maker(two, AttackSpec.read("pgd", steps=3))]
    found = measure_transfer(makers, [one, two], work=tmp_path)
    methods = {(row.attack or {})["made_on"][0]: (row.attack or {})["method"] for row in found.rows[4:]}
    assert methods == {"a": "hag", "b": "pgd"} and found.noise.shape == (2, 4)
    assert told == sorted(told) and told[-1] == pytest.approx(1)
    assert not list(tmp_path.iterdir())
