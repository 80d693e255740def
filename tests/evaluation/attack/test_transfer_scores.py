"""Transfer scores on hand-made code tables."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import pack
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row
from hamguard.evaluation.attack.transfer_scores import transfer_matrix, transfer_rows, transfer_score
from hamguard.retrieval.metrics import mean_average_precision, with_labels


def test_transfer_score_is_the_share_of_the_white_box_gain() -> None:
    assert transfer_score(0.9, 0.9, 0.1) == 0 and transfer_score(0.9, 0.1, 0.1) == 1
    assert transfer_score(0.9, 0.95, 0.1) == pytest.approx(-0.0625)  # it helped the victim
    assert transfer_score(0.1, 0.2, 0.6, toward=True) == pytest.approx(0.2)
    assert math.isnan(transfer_score(0.5, 0.3, 0.5)) and math.isnan(transfer_score(0.5, 0.3, 0.6))
    assert math.isnan(transfer_score(0.5, 0.6, 0.4, toward=True))
    with pytest.raises(RequestError, match=r"white must be between 0.0 and 1.0, got 40"):
        transfer_score(0.5, 0.5, 40)


def tables(seed: int = 0) -> tuple[dict[str, CodeBank], dict[str, dict[str, CodeBank]], dict[str, CodeBank]]:
    """Two victims of 16 and 8 bits whose codes are class codes; each source turns some bits of them."""
    rng = np.random.default_rng(seed)
    kinds, marks = np.arange(30) % 3, np.eye(3, dtype=np.uint8)
    clean, attacked, databases = {}, {"a": {}, "b": {}, "ensemble": {}}, {}
    for name, K in (("a", 16), ("b", 8)):
        centers = rng.integers(0, 2, (3, K))
        clean[name] = CodeBank(pack(centers[kinds]), K, marks[kinds])
        databases[name] = CodeBank(pack(np.tile(centers, (20, 1))), K, marks[np.arange(60) % 3])
        for source, made in attacked.items():
            turned = rng.random((30, K)) < (0.5 if source in (name, "ensemble") else 0.3)
            made[name] = CodeBank(pack(centers[kinds] ^ turned), K, marks[kinds])
    return clean, attacked, databases


def test_transfer_matrix_of_code_banks() -> None:
    clean, attacked, databases = tables()
    matrix = transfer_matrix(clean, attacked, databases)
    assert matrix.sources == ("a", "b", "ensemble") and matrix.victims == ("a", "b") and matrix.metric == "map"
    for s, source in enumerate(matrix.sources):
        for v, victim in enumerate(matrix.victims):
            value = mean_average_precision(attacked[source][victim], databases[victim]).value
            white = mean_average_precision(attacked[victim][victim], databases[victim]).value
            assert matrix.maps[s, v] == pytest.approx(value)
            assert matrix.scores[s, v] == pytest.approx((matrix.clean_maps[v] - value) / (matrix.clean_maps[v] - white))
    assert matrix.scores[0, 0] == matrix.scores[1, 1] == 1 and 0 < matrix.scores[1, 0] < 1
    rows = transfer_rows(matrix, Row(attack={"method": "pgd"}), facts={"b": Row(bits=8)}, seed=1)
    assert [row.metric for row in rows] == ["map", "transfer"] * 6
    assert [(row.model, (row.attack or {})["made_on"]) for row in rows[:6:2]] == [
        ("a", ["a"]),
        ("b", ["a"]),
        ("a", ["b"]),
    ]
    assert all((row.attack or {})["method"] == "pgd" and row.n == 30 and row.ci95 for row in rows)
    assert rows[2].bits == 8 and rows[0].bits is None
    assert all(row.ci95[0] <= row.value <= row.ci95[1] for row in rows)  # type: ignore[index,operator]


def test_targeted_transfer_takes_target_labels() -> None:
    clean, attacked, databases = tables()
    targets = np.roll(clean["a"].labels, 1, axis=1)
    matrix = transfer_matrix(clean, attacked, databases, targets=targets, at=10)
    assert matrix.metric == "t-map@10" and matrix.toward
    own = mean_average_precision(with_labels(attacked["a"]["b"], targets), databases["b"], at=10).value
    assert matrix.maps[0, 1] == pytest.approx(own)
    clean_b, white = matrix.clean_maps[1], matrix.maps[1, 1]
    assert matrix.scores[0, 1] == pytest.approx((own - clean_b) / (white - clean_b))


def test_a_victim_that_was_not_attacked_itself_has_no_score() -> None:
    clean, attacked, databases = tables()
    del attacked["a"]
    attacked["b"]["b"] = clean["b"]  # and an attack that does nothing
    matrix = transfer_matrix(clean, attacked, databases)
    assert np.isnan(matrix.scores).all() and np.isfinite(matrix.maps).all()
    rows = transfer_rows(matrix, Row())
    assert [row.value is None for row in rows] == [False, True] * 4
    assert rows[1].notes == ("transfer: no attack made on a itself gained anything to compare with",)


def test_transfer_refuses_a_table_with_holes() -> None:
    clean, attacked, databases = tables()
    with pytest.raises(RequestError, match="needs sources and victims, got 0 and 2"):
        transfer_matrix(clean, {}, databases)
    with pytest.raises(RequestError, match=r"lacks codes \(database\) of b"):
        transfer_matrix(clean, attacked, {"a": databases["a"]})
    few = {**attacked, "a": {"a": attacked["a"]["a"], "b": attacked["a"]["b"].select(np.arange(5))}}
    with pytest.raises(RequestError, match=r"codes \(made on a\) are of \[5, 30\] queries, expected 30"):
        transfer_matrix(clean, few, databases)
    del attacked["ensemble"]["b"]
    with pytest.raises(RequestError, match=r"lacks codes \(made on ensemble\) of b"):
        transfer_matrix(clean, attacked, databases)
