"""What holds, what does not, what is within the intervals and what cannot be said, on rows made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hamguard.core.errors import RequestError
from hamguard.core.noted import equal_rmse_note
from hamguard.core.rows import Row
from hamguard.core.types import Floats
from hamguard.evaluation.reproduce.experiment import EXPERIMENTS, Line, experiment
from hamguard.evaluation.reproduce.found import Found
from hamguard.evaluation.reproduce.relations import gaps_of
from hamguard.evaluation.reproduce.run import SCALES, recipe_of
from hamguard.evaluation.study.plan import expand
from hamguard.evaluation.study.recipe import read_study
from tests.evaluation.reproduce.planted import each, found, planted

NONE = Found([])
Figures = Sequence[Row]


def noisy(value: float, noise: float, seed: int, **more: Any) -> Row:
    return planted(each(value, noise=noise, seed=seed), **more)


def bare(value: float | None, width: float | None = 0.01, **more: Any) -> Row:
    interval = None if value is None or width is None else (value - width, value + width)
    return replace(Row(metric="map", value=value, ci95=interval, n=10), **more)


def above(pairs: Sequence[tuple[Row | None, Row | None]], **more: Any) -> tuple[str, str]:
    said = found([]).above("a over b", pairs, **more)
    return said.verdict, said.figures


def test_above_holds_where_every_pair_is_beyond_its_interval() -> None:
    verdict, said = above([(planted(0.52), planted(0.50)), (planted(0.8), planted(0.3))])
    assert verdict == "holds" and said.startswith("2 of 2 pairs in order; ")
    assert (
        "0.520 > 0.500 (+0.020, +0.020 to +0.020)" in said
    )  # their own intervals overlap, query by query they never do
    first, second = planted(0.52).ci95, planted(0.50).ci95
    assert first and second and first[0] < second[1]


def test_one_pair_the_other_way_is_enough() -> None:
    verdict, said = above([(planted(0.9), planted(0.5)), (planted(0.2), planted(0.3))])
    assert verdict == "does not hold" and said.startswith("1 of 2 pairs in order, 1 the other way; ")


def test_a_pair_that_may_be_chance_decides_nothing() -> None:
    undecided = noisy(0.51, 0.2, 1), noisy(0.50, 0.2, 2)
    verdict, said = above([(planted(0.9), planted(0.5)), undecided])
    assert verdict == "within the intervals" and "1 of 2 pairs in order, 1 undecided" in said
    assert above([tuple(reversed(undecided))])[0] == "within the intervals"  # nor the other way round
    assert above([(planted(0.5), planted(0.5))])[0] == "within the intervals"  # nothing says that either is larger


def test_a_missing_figure_is_not_made_up_for() -> None:
    assert above([(planted(0.9), None)])[0] == above([])[0] == above([(None, None)])[0] == "not testable"
    verdict, said = above([(planted(0.9), planted(0.5)), (planted(0.9), None)])
    assert verdict == "not testable" and "1 figure or pair not run" in said
    assert above([(planted(0.2), planted(0.5)), (planted(0.9), None)])[0] == "does not hold"
    assert above([(bare(None), planted(0.5))])[0] == "not testable"


def test_a_defense_is_judged_beside_its_control() -> None:
    plain, tuned, hard = planted(0.5), planted(0.7), planted(0.6)
    assert above([(hard, plain)])[0] == "holds"
    verdict, said = above([(hard, plain)], control=[(hard, tuned)])
    assert verdict == "does not hold"
    assert "beside fine-tuning without adversaries: 0.600 < 0.700" in said
    assert above([(hard, plain)], control=[(hard, planted(0.55))])[0] == "holds"
    undecided = noisy(0.6, 0.2, 3), noisy(0.59, 0.2, 4)
    assert above([(undecided[0], planted(0.2))], control=[undecided])[0] == "within the intervals"
    assert above([(hard, plain)], control=[(hard, None)])[0] == above([(hard, plain)], control=[])[0] == "not testable"


def literal(first: Floats, second: Floats, level: float, resamples: int = 20000) -> tuple[float, float]:
    """A paired bootstrap as it is explained: draw seeds, draw queries, take the mean of the differences."""
    rng = np.random.default_rng(5)
    seeds, n = first.shape
    means = []
    for _ in range(resamples):
        chosen, queries = rng.integers(0, seeds, seeds), rng.integers(0, n, n)
        means.append((first - second)[chosen][:, queries].mean())
    return tuple(np.quantile(means, [(1 - level) / 2, (1 + level) / 2]).tolist())  # type: ignore[return-value]


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_joint_interval_is_that_of_a_literal_bootstrap(seeds: int) -> None:
    first = np.stack([each(0.6 + 0.02 * s, noise=0.2, seed=10 + s) for s in range(seeds)])
    second = np.stack([each(0.5, noise=0.2, seed=20 + s) for s in range(seeds)])
    rows = [planted(first[s], seed=s, task="a") for s in range(seeds)] + [
        planted(second[s], seed=s, task="b") for s in range(seeds)
    ]
    asked = found(rows)
    a, b = asked.one(task="a"), asked.one(task="b")
    assert a and b and a.seeds == tuple(range(seeds)) and a.value == pytest.approx(first.mean())
    (gap,) = gaps_of([(a, b)], 10)  # joint over ten pairs: each at 99.5%
    low, high = literal(first, second, 0.995)
    assert gap.by == "queries" and gap.value == pytest.approx((first - second).mean())
    assert (gap.low, gap.high) == pytest.approx((low, high), abs=0.02)
    (alone,) = gaps_of([(a, b)], 1)
    assert gap.low < alone.low < gap.value < alone.high < gap.high


def test_seeds_widen_what_queries_alone_call_decided() -> None:
    """Each seed is sure of itself, and they disagree: of one seed it holds, of three it is within the intervals."""
    firsts = [planted(0.60, seed=0, task="a"), planted(0.40, seed=1, task="a"), planted(0.56, seed=2, task="a")]
    seconds = [planted(0.50, seed=s, task="b") for s in range(3)]
    one = found([firsts[0], seconds[0]])
    assert one.above("", [(one.one(task="a"), one.one(task="b"))]).verdict == "holds"
    three = found([*firsts, *seconds])
    assert three.above("", [(three.one(task="a"), three.one(task="b"))]).verdict == "within the intervals"
    figure = three.one(task="a")
    assert figure and figure.ci95 and figure.ci95[0] < 0.45 < 0.55 < figure.ci95[1]


def test_figures_of_other_queries_are_compared_by_their_intervals() -> None:
    verdict, said = above([(planted(0.9, split="one"), planted(0.5, split="other"))])
    assert verdict == "holds" and "no values a query: by both intervals" in said
    assert (
        above([(bare(0.51), bare(0.50))])[0] == "within the intervals" and above([(bare(0.6), bare(0.5))])[0] == "holds"
    )
    some = each(0.5)
    some[:20] = np.nan
    verdict, said = above([(planted(0.9), planted(some))])  # a query that one of them does not have counts in neither
    assert verdict == "holds" and "by both" not in said


def test_figures_without_queries_need_a_margin() -> None:
    verdict, said = above([(bare(2.5, None), bare(1.0, None))])
    assert verdict == "holds" and "factor 2.5" in said and "no queries: by a factor of 2" in said
    assert above([(bare(1.5, None), bare(1.0, None))])[0] == "within the intervals"
    assert above([(bare(0.4, None), bare(1.0, None))])[0] == "does not hold"


def test_near_is_a_test_of_equivalence() -> None:
    def near(*pairs: tuple[Row | None, Row | None]) -> str:
        return NONE.near("alike", pairs, 0.05).verdict if not pairs else found([]).near("alike", pairs, 0.05).verdict

    assert near((planted(0.5), planted(0.52))) == "holds" and near((planted(0.5), planted(0.58))) == "does not hold"
    assert near((noisy(0.50, 0.2, 1), noisy(0.51, 0.2, 2))) == "within the intervals"  # too few queries to say so
    assert near() == near((planted(0.5), None)) == "not testable"
    assert near((planted(0.5), planted(0.52)), (planted(0.58), planted(0.5))) == "does not hold"
    assert near((bare(0.5, None), bare(0.52, None))) == "holds"
    assert "allowed 0.05; 0.500 < 0.520" in found([]).near("", [(planted(0.5), planted(0.52))], 0.05).figures


def test_falling_looks_at_steps_and_at_first_against_last() -> None:
    def falling(*rows: Row | None, slack: float = 0.0) -> str:
        return found([]).falling("down", rows, slack=slack).verdict

    assert falling(planted(0.9), planted(0.5), planted(0.4)) == "holds"
    assert falling(planted(0.9), planted(0.4), planted(0.42), slack=0.05) == "holds"
    assert falling(planted(0.9), planted(0.4), planted(0.42)) == "does not hold"
    assert falling(planted(0.4), planted(0.42), slack=0.05) == "does not hold"  # no step counts, but it rose all in all
    assert falling(planted(0.4), planted(0.4)) == "within the intervals"
    assert falling(planted(0.9), noisy(0.5, 0.2, 1), noisy(0.49, 0.2, 2)) == "within the intervals"
    assert falling(planted(0.9), None) == falling(planted(0.9)) == falling() == "not testable"
    assert found([]).falling("", [planted(0.9), planted(0.5)]).figures.startswith("0.900, 0.500; 1 of 1 steps fall")


def test_of_many_pairs_the_nearest_are_named() -> None:
    pairs = [
        (planted(0.9 - i / 100, bits=bits, task=task), planted(0.5, bits=bits, task="C->C"))
        for i, (bits, task) in enumerate((b, t) for b in (8, 16, 24, 32) for t in ("C->A", "A->C"))
    ]
    verdict, said = above(pairs)
    assert (
        verdict == "holds"
        and said.startswith("8 of 8 pairs in order; least sure: 32 bits A->C 0.830 > 0.500 (")
        and said.count(">") < 8
    )


def test_whose_sentence_it_is() -> None:
    pair = [(planted(0.9), planted(0.5))]
    kinds = [
        found([]).above("", pair, **more).kind for more in ({}, {"ours": True}, {"printed": "in 8 of 12 cells not"})
    ]  # type: ignore[arg-type]
    assert kinds == ["claim", "ours", "contradicted"]
    looked = found([]).look("It looks alike", "a person decides")
    assert (looked.verdict, looked.kind, looked.figures) == ("not testable", "claim", "a person decides")


def test_seeds_of_a_study_are_one_figure() -> None:
    def run(seed: int, value: float, end: str = "") -> list[Row]:
        facts = {
            "made_on": [f"dph-seed{seed}"],
            "generator": f"cells/prosgan-{seed}f00dfeed0123456",
            "values": {"alpha": 1},
        }
        return [planted(value, model=f"dph-seed{seed}{end}", method="hag", seed=seed, facts=facts, forwards=seed)]

    cells = {
        (f"dph-seed{seed}{end}", "hag"): run(seed, 0.2 + 0.1 * seed, end) for seed in range(3) for end in ("", "+saat")
    }
    asked = found([row for rows in cells.values() for row in rows], cells)
    assert asked.models == ["dph", "dph+saat"]
    (figure,) = asked.of("dph", "hag").all(attack="hag")
    assert figure.seeds == (0, 1, 2) and figure.value == pytest.approx(0.3) and figure.row.model == "dph"
    (again,) = asked.all(model="dph+saat", made_on=["dph"])
    assert again.value == figure.value and Line("x", 0.2, figure).difference == pytest.approx(0.1)
    assert figure.scaled(100).value == pytest.approx(30) and figure.scaled(2).values is not None
    assert np.allclose(figure.scaled(2).values, 2 * figure.values)  # type: ignore[operator, arg-type]


def test_a_radius_that_was_measured_is_another_with_every_seed() -> None:
    rows = [
        planted(0.5, method="dhta", seed=seed, threat={"norm": "linf", "eps": eps}, facts={"values": {"eps": eps}},
                notes=(equal_rmse_note(eps, 0.02, 0.02, 100),))
        for seed, eps in ((0, 0.11), (1, 0.14))
    ]  # fmt: skip
    (figure,) = found(rows).all(attack="dhta")
    assert figure.seeds == (0, 1)
    assert len(found([replace(row, notes=()) for row in rows]).all(attack="dhta")) == 2  # two radii that were asked for


def test_one_seed_is_its_row_and_two_rows_that_differ_stay_two() -> None:
    rows = [planted(0.5, threat={"steps": 1}), planted(0.4, threat={"steps": 2}), planted(0.3, threat={"steps": 2})]
    asked = found(rows)
    assert asked.one(steps=1).row is rows[0] and asked.one(steps=1).ci95 == rows[0].ci95  # type: ignore[union-attr]
    assert [figure.value for figure in asked.all()] == pytest.approx(
        [0.5, 0.4, 0.3]
    )  # the last two say the same of themselves


def test_curves_are_means_of_their_points_query_by_query() -> None:
    rows = [
        planted(value, metric, "hag", at=at)
        for metric in ("curve-precision", "curve-precision-at-recall")
        for at, value in ((1, 0.9), (10, 0.5))
    ]
    curves = found(rows, {("m", "hag"): rows}).curves("m", "hag", "hag")
    assert list(curves) == ["precision over recall", "precision@N"]
    mean = curves["precision@N"]
    assert mean.value == pytest.approx(0.7) and mean.values is not None and mean.values.shape == (1, 40)
    assert np.allclose(mean.values[0], each(0.7))


def test_seconds_a_query_have_no_queries() -> None:
    figure = found([planted(0.5, seconds=8.0)]).one()
    spent = figure and figure.per_query_seconds
    assert spent and spent.value == pytest.approx(0.2) and spent.values is None and spent.ci95 is None
    assert found([planted(0.5)]).all()[0].per_query_seconds is None


def test_a_line_knows_its_difference() -> None:
    figure = NONE.figure(bare(0.7))
    assert Line("x", 0.5, figure).difference == pytest.approx(0.2)
    assert Line("x", None, figure).difference is None and Line("x", 0.5, None).difference is None


def test_rows_are_asked_by_field_and_inside_attack_and_threat() -> None:
    rows = [
        bare(0.9, attack=None), bare(0.4, attack={"method": "hag", "toward": False}, threat={"eps": 8 / 255, "steps": 10}),
        bare(None, attack={"method": "hag"}),
    ]  # fmt: skip
    asked = Found(rows, {("m", "hag-10"): rows[1:]})
    first = asked.one(attack=None)
    assert first and first.row is rows[0]
    assert [figure.row for figure in asked.all(attack="hag", eps=0.0314, steps=10)] == [rows[1]]
    assert asked.of("m", "hag-10").one(attack="hag") and asked.of("m", "none").rows == []
    assert asked.one(attack="hag", steps=11) is None and asked.part(attack="hag").rows == rows[1:]


def test_a_second_experiment_of_a_name_is_refused() -> None:
    first = next(iter(EXPERIMENTS.values()))
    with pytest.raises(RequestError, match="registered twice"):
        experiment(first.name, paper="", what="", small="", minutes=0)(len)
    assert EXPERIMENTS[first.name] is first


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("scale", SCALES)
def test_every_experiment_has_a_recipe_of_each_scale_that_is_whole(name: str, scale: Any) -> None:
    if scale not in EXPERIMENTS[name].scales:
        with pytest.raises(RequestError, match=f"{name} has no recipe at scale {scale}, only at "):
            recipe_of(EXPERIMENTS[name], scale)
        return
    path = recipe_of(EXPERIMENTS[name], scale)
    recipe = read_study(path)
    plan = expand(recipe)
    assert plan.models or recipe.protections


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_no_rows_make_no_verdict_up(name: str) -> None:
    judged = EXPERIMENTS[name].judge(Found([]), "small")
    assert all(one.verdict == "not testable" for one in judged.relations)
    assert all(line.ours is None for line in judged.lines)
