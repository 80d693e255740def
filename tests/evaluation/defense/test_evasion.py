"""Attacks that know the detector: their gradients, their decoys, what is left to do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from hamguard.attacks.threat import L2, Linf, Threat
from hamguard.defenses.detect import denoise
from hamguard.evaluation.defense.detection import (
    calibrated,
)
from hamguard.evaluation.defense.evasion import Decoys, EvadingProblem, dissimilar, evasion
from hamguard.evaluation.ground import Ground
from tests.defenses.conftest import make_model
from tests.evaluation.defense.conftest import FEW


def problem_of(ground: Ground, threat: Threat, weight: float = 1.0) -> EvadingProblem:
    detector = calibrated(ground, **FEW)
    x = ground.dataset.images.batch(ground.rows[:5])
    target = ground.query.codes[:5]
    labels = torch.from_numpy(ground.query.labels[:5]).float()
    other = dissimilar(torch.zeros(5, len(detector.bank)), labels, torch.from_numpy(detector.bank.labels).float())

    def loss(u: torch.Tensor, guide: torch.Tensor, side: int) -> torch.Tensor:
        return -side * (u * guide).mean(1)

    return EvadingProblem(
        ground.model, x, target, -1, loss, threat, range(5), 0, detector=detector, other=other, weight=weight
    )


def test_what_is_left_to_do_is_of_the_rounded_picture(ground: Ground) -> None:
    problem = problem_of(ground, Linf(0.2))
    noise = torch.rand(problem.x.shape, generator=torch.Generator().manual_seed(1)) - 0.5
    x_adv, rows = problem.threat.project(problem.x + 0.4 * noise, problem.x), torch.arange(5)
    left = problem.score(x_adv, rows)
    on_grid = problem.threat.on_grid(x_adv, problem.x)
    pixels = (on_grid * 255).round().to(torch.uint8)[:, 0].numpy()
    alarms = problem.detector.alarms(problem.detector.measure(ground.model, pixels))
    code = ground.model.code(on_grid)
    kept = (code == problem.target).sum(1).numpy()
    np.testing.assert_array_equal(left.numpy(), kept + 9 * alarms)
    _, _, same = problem.gradient(x_adv, rows, 1.0)
    np.testing.assert_array_equal(same.numpy(), left.numpy())
    assert problem.spent.forwards.tolist() == [4] * 5 and problem.spent.backwards.tolist() == [2] * 5


def test_gradients_go_through_the_denoiser_and_the_criteria(ground: Ground) -> None:
    problem = problem_of(ground, L2(5.0), weight=0.7)
    rows = torch.arange(5)
    x = problem.x.clone()
    found, _, _ = problem.gradient(x, rows, 1.0)
    at = problem.threat.on_grid(x, x).double().requires_grad_()
    model, single = make_model(ground.dataset).double(), problem.target.double()
    z, z_denoised = model.logits(at), model.logits(denoise(at))
    scale = 2.0 / problem.detector.level
    goal = ((torch.tanh(scale * z) * single).mean(1) + (torch.tanh(scale * z_denoised) * single).mean(1)) / 2
    problem.detector.neighbors.__dict__["codes"] = problem.detector.neighbors.codes.double()
    problem.detector.neighbors.__dict__["marks"] = problem.detector.neighbors.marks.double()  # type: ignore[union-attr]
    total = (goal + 0.7 * problem.excess(z, z_denoised, rows, scale)).sum()
    (wanted,) = torch.autograd.grad(total, at)
    np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))
    assert float(wanted.abs().max()) > 0


def test_decoys_are_near_natural_and_of_other_labels(ground: Ground) -> None:
    detector = calibrated(ground, **FEW)
    decoys = Decoys.drawn(detector, 0)
    assert decoys.labels is not None and 0 < len(decoys.codes) <= len(detector.bank)
    own, labels = ground.query.codes, torch.from_numpy(ground.query.labels).float()
    found = decoys.nearest(own, labels)
    for q in range(len(own)):
        other = [j for j in range(len(decoys.codes)) if not bool((labels[q] * decoys.labels[j]).any())]
        least = min(int((own[q] != decoys.codes[j]).sum()) for j in other)
        assert any(bool((decoys.codes[j] == found[q]).all()) for j in other)
        assert int((own[q] != found[q]).sum()) == least
    alone = Decoys(decoys.codes, torch.ones(len(decoys.codes), labels.shape[1]))
    far = alone.nearest(own, labels)
    assert ((own[:, None] != decoys.codes).sum(2).max(1).values == (own != far).sum(1)).all()


def test_codes_of_misread_training_pictures_are_no_decoys(ground: Ground) -> None:
    detector = calibrated(ground, **FEW)
    codes = torch.ones(10, 8)
    codes[5:] = -1
    labels = np.zeros((10, 2), np.uint8)
    labels[:5, 0], labels[5:, 1] = 1, 1
    labels[9] = (1, 0)  # has the code of the other class
    from hamguard.codes.bank import CodeBank

    decoys = Decoys.drawn(replace(detector, bank=CodeBank.of(codes, labels), k=3), 0)
    assert len(decoys.codes) == 9 and decoys.labels is not None
    assert bool((decoys.nearest(codes[:1], torch.tensor([[1.0, 0.0]])) == -1).all())


def test_the_name_of_an_attack_says_what_it_is(ground: Ground) -> None:
    detector = calibrated(ground, **FEW)
    assert evasion(detector, Decoys.drawn(detector, 0), "decoy", 0.5).name == "decoy, weight 0.5"
