"""Static adversarial training: pictures are made once, before anything is learned."""

from __future__ import annotations

import torch

from hamguard.core.seeds import torch_generator
from hamguard.defenses.static import Static
from tests.defenses.conftest import Place, batch_of, begun
from tests.defenses.steps import (
    EPS,
    INDEX,
    pictures,
)


def test_pictures_are_made_once_and_mixed_in(place: Place) -> None:
    task = begun(place, "static", "mix=0.25", "augment=flip")
    assert isinstance(task, Static)
    everything, labels, index = pictures(place)
    made = task.made.float() / 255
    assert made.shape == everything.shape
    assert float((made - everything).abs().max()) <= EPS + 0.5 / 255 + 1e-6
    with torch.no_grad():
        before = task.model(everything) * task.bank.signs > 0
        after = task.model(made) * task.bank.signs > 0
        assert after.float().mean() < before.float().mean() - 0.2
        task.model.head.weight.mul_(-1)  # the pictures stay those of the model before the defense
    flips = torch.rand(len(INDEX), generator=torch_generator(0, "step")) < 0.5
    x, x_adv = (torch.where(flips[:, None, None, None], p[index].flip(3), p[index]) for p in (everything, made))
    clean, attacked = (task.objective.loss(task.model(p), labels[index], index, 0.25) for p in (x, x_adv))
    found = task.step(batch_of(*INDEX))
    torch.testing.assert_close(found, 0.75 * clean + 0.25 * attacked)
    assert torch.equal(task.made.float() / 255, made)
