"""CLEVER: exact on a linear hash function, equal to a slow transcription elsewhere, and honest about its fits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hamguard.attacks.threat import L2, Linf, Threat
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row
from hamguard.core.seeds import torch_generator
from hamguard.evaluation.measures.clever import bit_clever
from hamguard.evaluation.measures.clever_guide import guide_clever, rival_codes
from hamguard.evaluation.measures.extreme import Clever, Sampling, clever_rows, end_point
from hamguard.evaluation.measures.gradients import draw_in_ball
from hamguard.evaluation.measures.rows import Cost
from tests.attacks.test_laws import world
from tests.evaluation.measures.linear import LinearHash, pictures


@pytest.mark.parametrize("ball", [Linf(0.3), L2(2.0)], ids=repr)
def test_bits_of_a_linear_function_are_exact(ball: Threat) -> None:
    model, x = LinearHash(), pictures(3)
    found = bit_clever(model, x, Sampling(ball, batches=3, points=5))
    exact = model.exact(x, ball.norm)
    assert np.allclose(found.score, exact, rtol=1e-4) and (found.fit == 1).all()
    assert np.allclose(found.constant, model.norms(ball.norm).numpy(), rtol=1e-4)
    for m in (1, 3, 6):
        assert np.allclose(found.at_least(m), np.sort(exact, 1)[:, m - 1], rtol=1e-4)
    few = bit_clever(model, x, Sampling(ball, batches=3, points=5), nearest=2)
    assert np.allclose(few.at_least(2), found.at_least(2), rtol=1e-4) and np.isnan(few.score).sum() == 3 * 4
    assert few.cost.backwards == 15 * 2 + 6 and found.cost.backwards == 15 * 6 + 6
    with pytest.raises(RequestError, match="m must be between 1 and 2, got 3"):
        few.at_least(3)


def test_a_score_is_never_more_than_the_radius() -> None:
    model, x = LinearHash(), pictures(3)
    radius = float(np.median(model.exact(x, "linf")))
    found = bit_clever(model, x, Sampling(Linf(radius), 2, 2))
    assert np.allclose(found.score, np.minimum(model.exact(x, "linf"), radius), rtol=1e-4)
    assert 0 < (found.score == radius).mean() < 1


def test_constants_equal_a_slow_transcription() -> None:
    model, x, _, _ = world(n=3)
    for ball in (Linf(8 / 255), L2(0.5)):
        sampling = Sampling(ball, batches=4, points=6, seed=5)
        found = bit_clever(model, x, sampling, index=[7, 8, 9])
        for i, number in enumerate((7, 8, 9)):
            for k in (0, 5):
                maxima = []
                for batch in range(4):
                    points = draw_in_ball(x[i], ball, 6, torch_generator(5, "clever", number, batch))
                    sizes = []
                    for point in points:
                        at = point[None].clone().requires_grad_()
                        model.logits(at)[0, k].backward()
                        sizes.append(float(at.grad.abs().sum() if ball.norm == "linf" else at.grad.norm()))  # type: ignore[union-attr]
                    maxima.append(max(sizes))
                a, _ = end_point(np.array(maxima))
                assert found.constant[i, k] == pytest.approx(a, rel=1e-3) and a >= max(maxima) * (1 - 1e-6)
                score = min(abs(float(model.logits(x)[i, k])) / a, ball.eps)
                assert found.score[i, k] == pytest.approx(score, rel=1e-3)


def test_scores_depend_on_seed_and_number_only() -> None:
    model, x, _, _ = world(n=4)
    sampling = Sampling(batches=3, points=4)
    whole = bit_clever(model, x, sampling)
    assert np.array_equal(whole.score, bit_clever(model, x, sampling).score)
    part = bit_clever(model, x[2:], sampling, index=[2, 3])
    assert np.allclose(part.constant, whole.constant[2:], rtol=1e-3)
    assert not np.allclose(whole.constant, bit_clever(model, x, Sampling(batches=3, points=4, seed=1)).constant)
    state = torch.random.get_rng_state()
    bit_clever(model, x[:1], Sampling(batches=2, points=2))
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_constant_function_is_beyond_the_radius() -> None:
    class Saturated:
        bits = 2

        def logits(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tanh(1e5 * (x.flatten(1)[:, :2] + 1))

    found = bit_clever(Saturated(), pictures(2), Sampling(batches=2, points=2))
    assert (found.score == 8 / 255).all() and (found.constant == 0).all()


def test_clever_on_a_tiny_model_and_its_rows() -> None:
    model, x, labels, bank = world()
    sampling = Sampling(batches=5, points=4)
    found = bit_clever(model, x, sampling)
    assert ((found.score >= 0) & (found.score <= 8 / 255)).all() and np.isfinite(found.constant).all()
    own, rivals = rival_codes(bank, labels.numpy().astype(np.uint8))
    guide = guide_clever(model, x, own, rivals, sampling)
    assert guide.score.shape == (12, 2)
    rows = clever_rows(found, Row(model="tiny"), seed=1)
    names = ["clever[bit]", *(f"clever[bit]-{q}" for q in ("median", "p10", "p90", "capped"))]
    assert [(row.metric, row.at) for row in rows] == [
        *((n, m) for m in (1, 2, 4) for n in names),
        ("clever[bit]-poor-fit", None),
    ]
    for row in rows:
        assert row.ci95 is not None and row.ci95[0] <= float(row.value or 0) <= row.ci95[1] and row.n == 12
        assert "CLEVER is an estimate, not a certificate" in row.notes and row.backwards == 20 * 8 + 8
    assert [row.at for row in clever_rows(guide, Row())] == [1] * 5 + [None]
    few = clever_rows(bit_clever(model, x[:2], sampling, nearest=3), Row())
    assert "only the 3 nearest bits of a picture were asked" in few[0].notes and {row.at for row in few} == {1, 2, None}
    poor = Clever(
        np.ones((2, 1)), np.ones((2, 1)), np.ones((2, 1)), np.array([[0.0], [0.5]]), "linf", 1.0, "bit", Cost(1, 1, 1.0)
    )
    assert clever_rows(poor, Row())[-1].value == 0.5


def test_clever_refuses_wrong_input() -> None:
    model, x = LinearHash(), pictures(2)
    with pytest.raises(RequestError, match="nearest must be between 1 and 6, got 7"):
        bit_clever(model, x, nearest=7)
    with pytest.raises(RequestError, match="batches must be at least 2, got 1"):
        Sampling(batches=1)
    with pytest.raises(RequestError, match="points must be at least 1, got 0"):
        Sampling(points=0)
    with pytest.raises(RequestError, match="pictures to attack must be"):
        bit_clever(model, 255 * x)
    with pytest.raises(RequestError, match="index must have a number for each of 2"):
        bit_clever(model, x, index=[0])
