"""The radius at which an attack moves images as far as a generator does, found on training images and without any score.

A generator with a soft budget has no radius (ProS-GAN, CVPR 2021), so an attack in a ball stands beside it fairly only at the same
mean RMSE. An attack that stops where every bit is right may use less than its ball allows; then the radius is the largest that
was tried, and the note of its rows says what was reached.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from hamguard.attacks.attack import Attack
from hamguard.attacks.threat import Threat
from hamguard.codes.bank import CodeBank
from hamguard.core.errors import RequestError
from hamguard.core.noted import equal_rmse_note
from hamguard.evaluation.attack.generators import with_generator
from hamguard.evaluation.attack.spec import AttackSpec
from hamguard.evaluation.attack.targets import PROTOCOLS, draw_targets
from hamguard.evaluation.ground import Ground
from hamguard.models.folding import folded

IMAGES = 100  # training images that the radius is found on
TRIES = 6
NEAR = 0.02  # so far, as a share, may the two be apart; eps has steps of 1/255 on the 8-bit grid


def with_equal_rmse(ground: Ground, spec: AttackSpec, folder: str) -> tuple[AttackSpec, str]:
    """The attack at the radius where its mean RMSE is that of a generator.

    Args:
        ground: the attacked model on its data.
        spec: an attack in a ball, toward a target.
        folder: of the generator, trained against that model.

    Returns:
        The attack, and a note for its rows: radius, and both RMSE on training images.

    Raises:
        RequestError: the attack has no ball, or its targets cannot be drawn for training images.
    """
    ball, rule = spec.threat, spec.rule
    if ball is None or rule not in PROTOCOLS:
        raise RequestError(
            f"rmse_of takes an attack in a ball whose targets are one of {', '.join(PROTOCOLS)}; {spec.name} is none"
        )
    bank = ground.database if spec.reference == "database" else ground.reference
    made = with_generator(AttackSpec.read("prosgan"), folder).attack
    x, targets = _training(ground, rule, bank)
    want = _moved(ground, made, x, targets, bank)
    eps = want
    for _ in range(TRIES):
        attack = replace(spec.attack, threat=Threat(ball.norm, eps))
        reached = _moved(ground, attack, x, targets, bank)
        if abs(reached - want) <= NEAR * want or eps == 1.0:
            break
        eps = float(min(1.0, max(1 / 255, eps * min(2.0, want / max(reached, 1e-9)))))
    return replace(spec, attack=attack), equal_rmse_note(attack.threat.eps, reached, want, len(x))


def _training(ground: Ground, rule: str, bank: CodeBank) -> tuple[Tensor, Tensor]:
    """Some training images `(n, C, H, W)`, and their targets `(n, C)` by the same rule as those of the queries."""
    data, rows = ground.dataset, ground.split.train[:IMAGES]
    drawn = draw_targets(
        rule, data.labels[rows], ground.database.labels, reference=bank.labels, ids=data.ids[rows], seed=ground.seed
    )
    return data.images.batch(rows).to(ground.device), torch.from_numpy(drawn.labels).float().to(ground.device)


def _moved(ground: Ground, attack: Attack[Any], x: Tensor, targets: Tensor, bank: CodeBank) -> float:
    """Mean RMSE of attacked images, as files hold them."""
    victim, ready, size = folded(ground.model), attack.prepared(bank, ground.seed), ground.batch_size
    found = []
    for start in range(0, len(x), size):
        part = slice(start, start + size)
        index = range(len(x))[part]
        x_adv = ready(victim, x[part], targets[part], bank, index=index, seed=ground.seed).x_adv
        found.append((x_adv - x[part]).square().flatten(1).mean(1).sqrt())
    return float(torch.cat(found).mean())
