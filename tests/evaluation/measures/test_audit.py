"""Measures beside an audit: rank correlation, and whose audit it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from hamguard.core.digests import digest_file
from hamguard.core.errors import RequestError, StaleError
from hamguard.core.files import read_sealed, write_npz, write_sealed
from hamguard.core.rows import Row
from hamguard.evaluation.ground import Ground
from hamguard.evaluation.measures.audit import over_models, over_queries, rank_correlation, read_audit
from hamguard.evaluation.measures.registry import (
    Line,
)


def test_rank_correlation_is_spearmans() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random(30), rng.random(30)
    rho, ends, n = rank_correlation(a, b + a)
    assert rho == pytest.approx(spearmanr(a, b + a).statistic) and n == 30
    assert ends is not None and -1 <= ends[0] < rho < ends[1] <= 1
    assert rank_correlation(a, np.exp(a))[0] == pytest.approx(1)
    assert rank_correlation(a, b + a) == rank_correlation(a, b + a), "the interval is a function of the seed"
    holes = a.copy()
    holes[:5], holes[5] = np.nan, np.inf
    rho, _, n = rank_correlation(holes, b)
    assert n == 25 and rho == pytest.approx(spearmanr(np.where(np.isinf(holes), 9, holes)[5:], b[5:]).statistic)
    for few, other in ((a[:2], b[:2]), (np.ones(9), a[:9]), (a[:9], np.ones(9))):
        assert np.isnan(rank_correlation(few, other)[0]) and rank_correlation(few, other)[1] is None
    with pytest.raises(RequestError, match="needs two sides"):
        rank_correlation(a, b[:3])


def make_audit(folder: Path, ground: Ground, worst: np.ndarray, clean: np.ndarray) -> Path:
    folder.mkdir()
    ids = ground.dataset.ids[ground.split.query][::-1]  # another order, and more queries than are measured
    place = {str(item): row for row, item in enumerate(ground.dataset.ids[ground.split.query])}
    order = np.array([place[str(item)] for item in ids])
    arrays = {"ids": ids.astype(str), "clean_ap": clean[order], "worst_ap": worst[order], "floor_ap": 0 * worst}
    write_npz(folder / "worst.npz", arrays)
    facts = {"model_hash": ground.model.digest, "dataset": ground.dataset.title, "eps": 0.1, "norm": "linf"}
    write_sealed(folder / "audit.json", facts | {"files": {"worst.npz": digest_file(folder / "worst.npz")}})
    return folder


def test_audits_are_matched_by_id_and_signs_are_turned(ground: Ground, lines: dict[str, Line], tmp_path: Path) -> None:
    count = len(ground.split.query)
    rng = np.random.default_rng(2)
    clean, lost = 0.5 + 0.4 * rng.random(count), np.zeros(count)
    radius = lines["flip radius, 1 bit"].values
    lost[:6] = 0.4 / (1 + np.argsort(np.argsort(radius)))  # the smaller the radius, the more is lost
    audit = read_audit(make_audit(tmp_path / "audit", ground, clean - lost, clean), ground)
    assert audit.drop == pytest.approx(lost[:6]) and audit.map == pytest.approx((clean - lost)[:6].mean())
    drop, worst = over_queries(lines["flip radius, 1 bit"], audit)
    assert drop.value == pytest.approx(1) and drop.metric == "spearman-drop[flip radius, 1 bit]" and drop.n == 6
    assert worst.metric == "spearman-worst-ap[flip radius, 1 bit]"
    assert worst.value == pytest.approx(spearmanr(radius, audit.worst).statistic)
    turned = replace(lines["flip radius, 1 bit"], robust="lower")
    assert over_queries(turned, audit)[0].value == pytest.approx(-1), "lower is more robust: the sign is turned"
    assert over_queries(lines["least eps, p10"], audit) == []
    same = replace(lines["flip radius, 1 bit"], values=np.ones(6))
    assert over_queries(same, audit)[0].value is None


def test_over_models_needs_three(ground: Ground, tmp_path: Path) -> None:
    count = len(ground.split.query)
    audits = []
    for number, level in enumerate((0.2, 0.3, 0.1)):
        folder = make_audit(tmp_path / str(number), ground, np.full(count, level), np.ones(count))
        audits.append(read_audit(folder, ground))

    def line(value: float | None, model: str) -> Line:
        return Line("least eps", "", "higher", "eps", Row(model=model, value=value))

    three = [line(0.5, "a"), line(None, "b"), line(0.1, "c")]  # none found: the largest
    row = over_models(three, audits)
    assert (
        row is not None and row.value == pytest.approx(1) and row.n == 3 and row.model == "a, b, c" and row.ci95 is None
    )
    pair = over_models([three[0], None, three[2]], audits)
    assert pair is not None and pair.value is None and pair.n == 2
    assert over_models([None] * 3, audits) is None


def test_an_audit_of_another_model_is_refused(ground: Ground, tmp_path: Path) -> None:
    count = len(ground.split.query)
    folder = make_audit(tmp_path / "audit", ground, np.zeros(count), np.ones(count))
    facts = read_sealed(folder / "audit.json", "audit")
    write_sealed(folder / "audit.json", {**facts, "model_hash": "0" * 16})
    with pytest.raises(
        StaleError, match="is the audit of another model: its hash is 0000000000000000, that of linear is"
    ):
        read_audit(folder, ground)
