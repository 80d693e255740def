"""Attacks on a detector: what they may do, that knowing it never hurts the attacker, and the figures beside them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hamguard.attacks.budget import Budget
from hamguard.attacks.threat import L2
from hamguard.codes.binary import hamming
from hamguard.core.errors import RequestError
from hamguard.data.opened import Data
from hamguard.evaluation.attack.run import AttackedSet
from hamguard.evaluation.defense.detection import (
    AWARE,
    Detection,
    Judged,
    Watched,
    auroc,
    calibrated,
    check_validation,
    first_answers,
    measure_detection,
    share_interval,
    worst_of,
)
from hamguard.evaluation.ground import Ground
from tests.evaluation.defense.conftest import BUDGET, FEW, make_ground


@pytest.fixture(scope="module")
def done(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Detection:
    there = replace(ground, context=ground.context.but(work=tmp_path_factory.mktemp("work")))
    return measure_detection(there, BUDGET, weights=(0.3,), **FEW)


def test_the_attacker_who_knows_is_never_worse(done: Detection) -> None:
    clean, unaware, *aware = done.judged
    assert [one.aware for one in done.judged] == [None, False, True, True, True] and aware[-1].name == AWARE
    worst = aware[-1]
    for one in (unaware, *aware[:-1]):
        assert not (one.broken(clean.ap) & ~worst.broken(clean.ap)).any(), one.name
        assert worst.alarms.mean() <= one.alarms.mean()
    tried = done.judged[1:-1]
    for q in range(len(clean.ap)):  # the choice, query by query
        quiet = [one.ap[q] for one in tried if not one.alarms[q]]
        assert worst.ap[q] == (min(quiet) if quiet else min(one.ap[q] for one in tried))
        assert worst.alarms[q] == (not quiet)
    assert worst.alarms.mean() < unaware.alarms.mean(), "on this toy, knowing the detector must help"


def test_pictures_stay_in_the_ball_on_the_grid_and_are_what_is_judged(ground: Ground, done: Detection) -> None:
    clean = ground.dataset.images.pixels(ground.rows).astype(int)
    watched = Watched.of(ground, done.detector)
    for one in done.judged[1:]:
        assert one.made is not None and one.made.pixels.dtype == np.uint8
        assert np.abs(one.made.pixels.astype(int) - clean).max() <= 51
        again = watched.judge("again", one.made.pixels)
        np.testing.assert_allclose(again.ap, one.ap)
        np.testing.assert_allclose(again.values, one.values, atol=1e-5)


def test_neighbors_are_neither_validation_pictures_nor_queries(ground: Ground) -> None:
    split = ground.split
    mixed = replace(split, train=np.concatenate([split.train, split.validation[:3], split.query[:2]]))
    other = replace(ground, data=Data(ground.dataset, mixed))
    detector = calibrated(other, **FEW)
    assert set(detector.bank.ids) == {f"b{i}" for i in split.train}
    with pytest.raises(RequestError, match="no training picture is left to be a neighbor"):
        calibrated(replace(other, data=Data(ground.dataset, replace(split, train=split.validation))), **FEW)
    with pytest.raises(RequestError, match="needs at least 19 validation pictures, got 12"):
        check_validation(split, 0.05)
    with pytest.raises(RequestError, match="all validation pictures are queries, too"):
        check_validation(replace(split, validation=split.query), 0.1)


def test_rows(ground: Ground, done: Detection) -> None:
    rows = done.rows
    clean = [row for row in rows if row.attack is None]
    assert [row.metric for row in clean] == ["false-alarms", "map"]
    assert clean[0].value == done.judged[0].alarms.mean() and clean[0].n == 12
    assert all(row.defense and row.defense["method"] == "detect" and row.defense["rate"] == 0.1 for row in rows)
    for one in done.judged[1:]:
        own = {row.metric: row for row in rows if row.attack == one.facts}
        assert own["detected"].value == one.alarms.mean() and own["map"].value == pytest.approx(one.ap.mean())
        assert own["evaded-and-broken"].value == one.broken(done.judged[0].ap).mean()
        assert own["map"].attack is not None and own["map"].attack["adaptive"] is one.aware
        low, high = own["detected"].ci95 or (1, 0)
        assert low <= (own["detected"].value or 0) <= high
        assert {name for name in own if str(name).startswith("auroc")} == {
            f"auroc-{name}" for name in ("score", *done.detector.names)
        }
    passes = {row.attack["method"]: row.backwards for row in rows if row.attack and "values" in row.attack}
    assert passes["mainstay"] <= 6 and passes["detector-aware"] == 12, "the denoised copy costs a pass, too"


def test_results_do_not_depend_on_batches_and_the_seed_decides(done: Detection, tmp_path: Path) -> None:
    again = measure_detection(make_ground(batch_size=5, work=tmp_path), BUDGET, weights=(0.3,), **FEW)
    for a, b in zip(done.judged, again.judged, strict=True):
        same = np.isclose(a.ap, b.ap, atol=1e-6) & (a.alarms == b.alarms)
        assert same.sum() >= 10, "rounding of another batch size may turn a sign of the search for one or two of twelve"
    np.testing.assert_allclose(done.judged[0].ap, again.judged[0].ap, atol=1e-6)
    assert not list(tmp_path.iterdir()), "finished batches are removed"


def test_no_labels_at_all(tmp_path: Path) -> None:
    ground = make_ground(labeled=False, work=tmp_path)
    done = measure_detection(ground, BUDGET, weights=(0.3,), **FEW)
    assert done.metric == "map-of-first-answers" and "disagreement" not in done.detector.names
    assert done.judged[1].name == "hag" and done.judged[0].ap.tolist() == pytest.approx([1.0] * 12)
    assert done.judged[-1].ap.mean() < 1 and not any(row.metric == "map" for row in done.rows)
    for one in done.judged[1:-1]:
        assert not (one.broken(done.judged[0].ap) & ~done.judged[-1].broken(done.judged[0].ap)).any()


def test_l2_budgets(ground: Ground, tmp_path: Path) -> None:
    done = measure_detection(make_ground(work=tmp_path), Budget(L2(1.0), steps=2), weights=(0.3,), **FEW)
    made = done.judged[-1].made
    assert made is not None
    delta = (made.pixels.astype(float) - ground.dataset.images.pixels(ground.rows)) / 255
    assert np.sqrt((delta**2).sum((1, 2))).max() <= 1.0 + 1e-6


def test_first_answers_hold_ties() -> None:
    query = np.array([[0]], np.uint8)
    database = np.array([[0]] * 4 + [[1]] * 9 + [[3]], np.uint8)
    near = first_answers(query, database)[0]
    assert near.sum() == 13 and (hamming(query, database)[0][near] <= 1).all()
    assert first_answers(query, database[:3]).all()


def test_auroc_is_a_share_of_pairs() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, 20) / 1.0, rng.integers(1, 6, 30) / 1.0
    assert auroc(a, b) == pytest.approx(np.mean([(y > x) + (y == x) / 2 for x in a for y in b]))
    assert auroc(a, a + 9) == 1 and auroc(a, a) == 0.5


def test_intervals_of_shares_have_a_width() -> None:
    low, high = share_interval(np.zeros(100, bool))
    assert low == pytest.approx(0, abs=1e-12) and high == pytest.approx(1.96**2 / (100 + 1.96**2), abs=1e-4)


def test_the_worst_prefers_what_passes() -> None:
    def one(name: str, alarms: list[int], ap: list[float]) -> Judged:
        made = AttackedSet(np.full((3, 2, 2), len(name), np.uint8), np.ones(3, int), np.ones(3, int), 1.0)
        values = np.zeros((3, 5))
        return Judged(name, True, values, values[:, 0], np.array(alarms, bool), np.array(ap), {"labels": "aware"}, made)

    worst = worst_of([one("a", [1, 0, 1], [0.1, 0.6, 0.3]), one("bb", [0, 0, 1], [0.9, 0.5, 0.2])])
    assert worst.ap.tolist() == [0.9, 0.5, 0.2] and worst.alarms.tolist() == [False, False, True]
    assert worst.made is not None and worst.made.pixels[:, 0, 0].tolist() == [2, 2, 2]
    assert worst.facts is not None and worst.facts["kept_of_each"] == [0, 3] and worst.made.seconds == 2
    assert worst.broken(np.array([1.0, 1.1, 1.0])).tolist() == [False, True, False]
