"""Distillation: attacked pictures learn the codes of the model that was there before."""

from __future__ import annotations

import pytest
import torch

from hamguard.defenses.distill import Distill
from tests.defenses.conftest import Place, batch_of, begun
from tests.defenses.steps import (
    INDEX,
    label_free_step,
)


def test_the_loss_is_the_distance_to_the_teacher(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    found, z, z1, clean = label_free_step(place, monkeypatch, "distill", "clean=0.5", "hash=2")
    teacher = z.tanh()  # the student is still its teacher
    torch.testing.assert_close(found, (z1.tanh() - teacher).square().mean() + 2 * clean, atol=1e-5, rtol=1e-4)


def test_the_student_learns_from_the_teacher_that_is_gone(place: Place) -> None:
    task = begun(place, "distill")
    assert isinstance(task, Distill)
    teacher = task.teacher.clone()
    with torch.no_grad():
        task.model.head.bias.add_(5.0)
    loss = float(task.step(batch_of(*INDEX)).detach())
    assert loss > 0.1 and torch.equal(task.teacher, teacher) and torch.equal(task.bank.u, teacher)
