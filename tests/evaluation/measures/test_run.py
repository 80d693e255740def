"""All measures on a model whose answers are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hamguard.attacks.budget import L2, Budget, Linf
from hamguard.core.errors import RequestError
from hamguard.evaluation.ground import Ground
from hamguard.evaluation.measures.registry import (
    Line,
)
from hamguard.evaluation.measures.run import measure_model
from tests.evaluation.measures.conftest import ratios


def test_lines_are_exact_on_a_linear_function(ground: Ground, lines: dict[str, Line]) -> None:
    exact = np.sort(ratios(ground), 1)
    for name, m in (("1 bit", 1), ("K/8 bits", 1), ("K/4 bits", 2), ("K/2 bits", 4)):
        assert lines[f"flip radius, {name}"].values == pytest.approx(exact[:, m - 1], rel=1e-3)
        assert lines[f"CLEVER, {name}"].values == pytest.approx(np.minimum(exact[:, m - 1], 8 / 255), rel=1e-3)
    slope = next(p for p in ground.model.parameters() if p.ndim == 2).abs().sum(1).max().item()
    assert lines["Lipschitz, logits"].values == pytest.approx(np.full(6, slope), rel=1e-2)
    assert (lines["least eps, median"].values >= exact[:, 3] - 0.3 / 255).all(), (
        "half of the bits need at least the 4th radius"
    )


def test_every_line_explains_itself(ground: Ground, lines: dict[str, Line]) -> None:
    for line in lines.values():
        assert line.means and line.robust in ("higher", "lower") and line.row.model == "linear" and line.row.bits == 8
        assert line.values is None or line.values.shape == (6,)
    means = {"bits moved": "bits-moved", "Lipschitz, tanh": "lipschitz[tanh, alpha=1]", "flips, noise": "bits-moved"}
    for name, metric in means.items():
        assert lines[name].row.metric == metric and lines[name].row.value == pytest.approx(np.mean(lines[name].values))
    assert lines["flips, pgd"].row.value >= lines["flips, noise"].row.value


def test_wrong_requests_cost_no_work(ground: Ground, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="robustness measures take a linf budget, got l2"):
        measure_model(ground, Budget(L2(1.0)))
    with pytest.raises(
        RequestError, match="unknown option of measure minimal 'mots'; allowed: most, tolerance; did you mean most"
    ):
        measure_model(ground, Budget(Linf(0.1)), options={"minimal": {"mots": 1}})
    with pytest.raises(RequestError, match="measure success has no options, got most"):
        measure_model(ground, Budget(Linf(0.1)), options={"success": {"most": 1}})
