"""The control: fine-tuning by the objective alone."""

from __future__ import annotations

import torch

from tests.defenses.conftest import Place, batch_of, begun
from tests.defenses.steps import (
    INDEX,
    pictures,
)


def test_the_loss_is_that_of_the_objective(place: Place) -> None:
    everything, labels, index = pictures(place)
    task = begun(place, "control")
    with torch.no_grad():
        clean = task.objective.loss(task.model(everything[index]), labels[index], index, 0.25)
    torch.testing.assert_close(task.step(batch_of(*INDEX)).detach(), clean)
