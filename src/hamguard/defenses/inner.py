"""The inner attack of adversarial training: an `Attack` that is given its guide codes and is never scored.

Its search keeps the last point, so what a point scores decides nothing and the model is not asked: k steps cost k forward and k
backward passes, no more. Pictures are not rounded to 8 bits; that is the business of attacks that are measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from hamguard.attacks.attack import Attack
from hamguard.attacks.guides.registry import guide_named
from hamguard.attacks.losses.registry import loss_named
from hamguard.attacks.problem import Problem
from hamguard.attacks.search.signs import SignSteps
from hamguard.attacks.threat import Threat
from hamguard.attacks.types import Guide, Victim
from hamguard.core.checks import check_choice
from hamguard.models.folding import folded
from hamguard.models.hash_model import HashModel
from hamguard.models.store import AnyModel

GUIDES = ("mainstay", "center", "own", "anchor", "p2p")
"""Guides that adversaries may leave: made from labels and codes at hand, without a search or a training of their own."""

ONE_STEP = 1.25
"""Length of the single step of fast adversarial training, in eps (Wong, Rice, Kolter, ICLR 2020)."""


def inner_attack(
    guide: str, loss: str, threat: Threat, *, steps: int, step_size: float | None = None, toward: bool = False
) -> Attack:
    """PGD from a random start, the last point kept.

    Args:
        guide: code to leave, one of `GUIDES`.
        loss: name of the loss.
        threat: the allowed set.
        steps: number of gradients.
        step_size: length of a step in pixel units; None takes eps / 4, which is the published 2/255 at 8/255, and 1.25 eps for a
            single step.
        toward: approach codes instead.

    Raises:
        RequestError: unknown guide or loss, or no step.
    """
    value, relaxation = loss_named(loss)
    size = step_size or (ONE_STEP if steps == 1 else 0.25) * threat.eps
    search = SignSteps(steps, size, random_start=True, keep="last")
    made = guide_named(check_choice("guide of adversarial training", guide, GUIDES))
    return Attack(made, value, search, threat, toward=toward, relaxation=relaxation, rounding=False)


class Unscored(Problem):
    """A problem whose search keeps its last point, which then needs no score."""

    def score(self, x_adv: Tensor, rows: Tensor) -> Tensor:
        """0 for each, `(b,)`, without asking the model."""
        return torch.zeros(len(rows), dtype=x_adv.dtype, device=x_adv.device)


def adversaries(attack: Attack, model: Victim, x: Tensor, target: Guide, index: Sequence[int], seed: int) -> Tensor:
    """Pictures `(B, C, H, W)` that an inner attack makes of `x`, leaving or approaching the codes `target` `(B, K)`.

    Args:
        attack: the attack; its guide is not asked.
        model: the network.
        x: clean pictures, in [0, 1].
        target: guide codes, or whatever the attack's loss compares with.
        index: numbers of the pictures, for their random starts.
        seed: seed of the random starts.

    Raises:
        RunError: the gradient is not finite.
    """
    problem = Unscored(
        model,
        x,
        target,
        1 if attack.toward else -1,
        attack.loss,
        attack.threat,
        index,
        seed,
        relaxed=attack.relaxation == "tanh",
    )
    return attack.solve(problem)


@contextmanager
def at_rest(model: HashModel, fold: Callable[[AnyModel], AnyModel] = folded) -> Iterator[AnyModel]:
    """The model in evaluation mode with frozen weights, and then as it was: batch norm learns nothing from attacks under way.

    Gives what gradients are taken from: a folded copy where there are batch norms to fold, which is a sixth faster with the
    copying counted, and the model itself where there are none.

    Args:
        model: the network.
        fold: makes the copy; a `Folding` where the same network is folded at every step.
    """
    was = [(part, part.training) for part in model.modules()]  # each for itself: a frozen backbone is at rest already
    learned = [p for p in model.parameters() if p.requires_grad]
    model.eval()
    for p in learned:
        p.requires_grad_(False)
    try:
        seen: AnyModel = model
        if any(isinstance(part, nn.BatchNorm2d) for part in model.modules()):
            with torch.autocast(next(model.parameters()).device.type, enabled=False):  # its trial is in full precision
                seen = fold(model)
        yield seen
    finally:
        for p in learned:
            p.requires_grad_(True)
        for part, training in was:
            part.training = training
