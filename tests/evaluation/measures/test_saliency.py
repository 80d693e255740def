"""Saliency maps: exact on a linear function, complete on a network, and what an attack does to them beside noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hamguard.codes.binary import sign
from hamguard.core.errors import RequestError
from hamguard.core.rows import Rows
from hamguard.core.seeds import torch_generator
from hamguard.evaluation.measures.registry import Found
from hamguard.evaluation.measures.saliency import (
    rank_correlations,
    saliency_maps,
    scattered,
    top_overlaps,
)
from tests.attacks.test_laws import world
from tests.evaluation.measures.linear import LinearHash, pictures


def test_maps_are_exact_on_a_linear_function() -> None:
    model, x = LinearHash(), pictures()
    own = sign(model.logits(x))
    slope = (own @ model.W / model.bits).view_as(x)  # of J(x) = mean_k b_k z_k(x)
    assert np.allclose(saliency_maps(model, x, "gradient"), slope.abs().sum(1), rtol=1e-4)
    for points in (1, 7):
        assert np.allclose(saliency_maps(model, x, "integrated", points=points), (x * slope).sum(1), atol=1e-5)


def test_integrated_gradients_add_up_to_the_difference_from_black() -> None:
    model, x, _, _ = world()
    own = model.code(x)
    whole = ((model.logits(x) - model.logits(torch.zeros_like(x))) * own).mean(1).double().numpy()
    apart = [
        np.abs(saliency_maps(model, x, "integrated", points=points).sum((1, 2)) - whole).max() for points in (4, 128)
    ]
    assert apart[1] < 0.01 * np.abs(whole).max() and apart[1] < apart[0], "completeness, up to the rule of the path"
    slow = torch.zeros_like(x)
    for number in range(16):  # the integral by hand, a picture and a point at a time
        for i in range(len(x)):
            at = (x[i : i + 1] * (number + 0.5) / 16).requires_grad_()
            (model.logits(at) * own[i]).mean().backward()
            assert at.grad is not None
            slow[i] += at.grad[0]
    assert np.allclose(saliency_maps(model, x, "integrated", points=16), (x * slow / 16).sum(1), atol=1e-5)


def test_comparisons() -> None:
    first = np.arange(20.0).reshape(1, 4, 5)
    assert rank_correlations(first, 3 * first + 1) == pytest.approx([1.0])
    assert rank_correlations(first, 100 - first) == pytest.approx([-1.0])
    assert rank_correlations(first, -first) == pytest.approx([1.0]), "sizes count"
    assert np.isnan(rank_correlations(first, np.ones_like(first))).all()
    assert top_overlaps(first, first).tolist() == [1.0] and top_overlaps(first, 100 - first).tolist() == [0.0]
    assert top_overlaps(first, np.roll(first, 1), 0.1).tolist() == [0.5], "19 and 18 against 0 and 19"


def test_noise_has_the_size_of_the_change_and_other_places() -> None:
    x = (torch.rand(3, 1, 12, 12, generator=torch_generator(1)) * 255).round() / 255
    x_adv = ((x + 0.1 * torch.randn(x.shape, generator=torch_generator(2))).clamp(0, 1) * 255).round() / 255
    noise = scattered(x, x_adv, 5)
    assert bool(((noise >= 0) & (noise <= 1)).all())
    sizes = [(one - x).abs().flatten(1).sort(1).values for one in (x_adv, noise)]
    assert torch.allclose(sizes[0], sizes[1], atol=0.5 / 255 + 1e-6) and not torch.equal(noise, x_adv)
    assert torch.equal(noise, scattered(x, x_adv, 5)) and not torch.equal(noise, scattered(x, x_adv, 6))


def test_rows_lines_and_the_sheet(found: dict[str, Found]) -> None:
    saliency = found["saliency"]
    rows = Rows(saliency.rows)
    assert {row.metric for row in rows} == {
        f"saliency-{what}[{kind}]" for what in ("rank", "top", "beyond-noise") for kind in ("gradient", "integrated")
    }
    for row in rows.where(metric="saliency-rank[gradient]"):
        assert row.value is not None and -1 <= row.value < 1 and row.ci95 is not None
    assert {(row.attack or {})["method"] for row in rows} == {"pgd", "noise"} and rows[0].n == 6
    beyond = rows.one("saliency-beyond-noise[integrated]")
    line = {line.name: line for line in saliency.lines}
    own, noise = line["map kept, integrated"].values, line["map kept, integrated, noise"].values
    assert own is not None and noise is not None and beyond.value == pytest.approx(float((noise - own).mean()))
    assert len(saliency.pictures) == 6 and len(saliency.pictures[0]) == 8
    assert all(one.pixels.shape[:2] == (16, 16) and one.pixels.dtype == np.uint8 for one in saliency.pictures[0])


def test_wrong_words() -> None:
    with pytest.raises(RequestError, match="unknown kind of map 'smooth'"):
        saliency_maps(LinearHash(), pictures(), "smooth")
    with pytest.raises(RequestError, match="points must be at least 1"):
        saliency_maps(LinearHash(), pictures(), "integrated", points=0)
