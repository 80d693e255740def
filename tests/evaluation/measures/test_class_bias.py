"""Bias by class: means and spread by hand, a planted bias against none, and the measure on a model."""

from __future__ import annotations

import numpy as np
import pytest

from hamguard.attacks.budget import Budget, Linf
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row, Rows
from hamguard.evaluation.ground import Ground
from hamguard.evaluation.measures.class_bias import bias_rows, class_bias, class_means, spread_of
from hamguard.evaluation.measures.registry import Found
from hamguard.evaluation.measures.run import measure_model


def one_hot(classes: list[int], count: int) -> np.ndarray:
    return np.eye(count, dtype=np.uint8)[classes]


def test_means_and_spread_by_hand() -> None:
    distance, labels = np.array([1.0, 3.0, 6.0]), one_hot([0, 0, 1], 3)
    means = class_means(distance, labels)
    assert means[:2].tolist() == [2.0, 6.0] and np.isnan(means[2])
    center = (2 * 2.0 + 6.0) / 3
    assert spread_of(distance, labels) == pytest.approx(((2 * (2 - center) ** 2 + (6 - center) ** 2) / 3) ** 0.5)
    both = np.array([[1, 1], [1, 0]], dtype=np.uint8)
    assert class_means(np.array([1.0, 3.0]), both).tolist() == [2.0, 1.0], "a picture counts in each of its classes"


def test_a_planted_bias_is_found_and_none_where_there_is_none() -> None:
    generator = np.random.default_rng(1)
    labels = one_hot(list(range(5)) * 20, 5)
    plain = generator.normal(1.0, 0.2, 100)
    biased = plain + 0.3 * labels[:, 2]
    found, none = class_bias(biased, labels), class_bias(plain, labels)
    assert found.p < 0.01 and found.mean.argmax() == 2 and found.spread > np.quantile(found.shuffled, 0.975)
    chances = [class_bias(generator.normal(1.0, 0.2, 100), labels, shuffles=99).p for _ in range(40)]
    assert none.p > 0.01 and np.mean(np.array(chances) <= 0.1) < 0.3, "one in ten, by chance"


def test_rows() -> None:
    distance = np.array([0.1, 0.3, 0.6, np.inf])
    rows = Rows(bias_rows(class_bias(distance, one_hot([0, 0, 1, 1], 3), shuffles=9), Row(model="m"), ("a", "b", "c")))
    assert [row.metric for row in rows] == [
        "class-distance[a]", "class-distance[b]", "class-spread", "class-spread-shuffled", "class-spread-p",
    ]  # fmt: skip
    first = rows.one("class-distance[a]")
    assert (first.value, first.n) == (pytest.approx(0.2), 2) and first.ci95 is not None
    assert rows.one("class-distance[b]").n == 1 and rows.one("class-distance[b]").ci95 is None
    assert rows.one("class-spread").n == 3, "a picture without a distance is left out"
    shuffled = rows.one("class-spread-shuffled")
    assert shuffled.ci95 is not None and shuffled.notes == ("9 shuffles of labels",)
    with pytest.raises(RequestError, match="pictures of two classes at least"):
        class_bias(distance, one_hot([0, 0, 0, 1], 2))
    with pytest.raises(RequestError, match="a label row for each of 4 distances is needed, got 3"):
        class_bias(distance, one_hot([0, 0, 1], 2))


def test_the_measure(found: dict[str, Found]) -> None:
    bias = found["class-bias"]
    rows = Rows(bias.rows)
    whole, radius = rows.one("class-spread"), Rows(found["radius"].rows).one("flip-reached-median")
    assert whole.n == radius.n == 6 and whole.threat == radius.threat
    values = {row.metric: row.value for row in rows}
    bars = {name: value for name, (value, _, _) in bias.bars.items()}
    assert bars == {str(name)[15:-1]: value for name, value in values.items() if str(name).startswith("class-distance")}
    lines = {line.name: line.row for line in bias.lines}
    assert lines["distance of the nearest class"].value == min(bars.values())
    assert lines["distance of the farthest class"].value == max(bars.values())


def test_the_measure_takes_the_least_budget_of_pgd_for_the_distance(ground: Ground) -> None:
    """The distances are those of the measure `minimal`, and each class has their mean over its pictures."""
    both = measure_model(
        ground,
        Budget(Linf(8 / 255), steps=4),
        ["minimal", "class-bias"],
        options={"class-bias": {"distance": "minimal"}},
    )
    least = next(line for line in both["minimal"].lines if line.name == "least eps, median").values
    labels = ground.dataset.labels[ground.rows]
    assert least is not None and np.isfinite(least).all() and len(set(least.tolist())) > 2
    own: dict[str, list[float]] = {}
    for value, row in zip(least.tolist(), labels, strict=True):
        for number in np.flatnonzero(row):
            own.setdefault(ground.dataset.class_names[number], []).append(value)
    rows = Rows(both["class-bias"].rows)
    found = {row.metric: (row.value, row.n) for row in rows if str(row.metric).startswith("class-distance")}
    assert found == {
        f"class-distance[{name}]": (pytest.approx(sum(each) / len(each)), len(each)) for name, each in own.items()
    }
    whole = rows.one("class-spread")
    assert (whole.n, (whole.attack or {})["method"], (whole.threat or {})["steps"]) == (6, "pgd", 4)
    assert any(note.startswith("distance: minimal") for note in whole.notes)
    with pytest.raises(RequestError, match="distance"):
        measure_model(ground, Budget(Linf(8 / 255)), ["class-bias"], options={"class-bias": {"distance": "nearest"}})
