"""THA: approach the code that a prototype net learned for the target label.

Paper: X. Wang, Z. Zhang, G. Lu, Y. Xu, "Targeted Attack and Defense for Deep Hashing", SIGIR 2021, 2298-2302: inner product with
the prototype code, 100 sign steps of 1/255 from the clean picture, no slope schedule, 8/255.

`preset="paper"` trains the prototype as published (30,000 steps, loss joint over the batch) and keeps the last iterate. The
default trains it in 400 steps with a loss label by label (`guides/prototype.py` has both, and what their codes are worth), and
keeps the best iterate. `preset="saat"` is SAAT's port, with which its Table I was made: the published prototype, and the slope
schedule in the steps. That port puts a softplus around the prototype's loss, which hardly turns Adam's steps; it is left out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from hamguard.attacks.attack import Attack
from hamguard.attacks.guides.prototype import PUBLISHED, PrototypeCode
from hamguard.attacks.losses.inner import inner_product
from hamguard.attacks.methods.registry import register
from hamguard.attacks.search.signs import SignSteps
from hamguard.attacks.threat import Linf, Threat
from hamguard.core.checks import check_choice


@register("tha", direction="toward")
def tha(
    *,
    steps: int = 100,
    training_steps: int | None = None,
    preset: Literal["default", "paper", "saat"] = "default",
    threat: Threat = Linf(8 / 255),
) -> Attack:
    """THA: approach the code that a prototype net learned for the target label.

    `prepared(bank, seed)` trains the net once; without it, every batch does.

    Args:
        steps: number of gradients.
        training_steps: of the prototype net; 400, or 30,000 for the presets.
        preset: `default`, `paper` or `saat`.
        threat: the allowed set.

    Raises:
        RequestError: unknown preset.
    """
    check_choice("preset", preset, ("default", "paper", "saat"))
    guide = PrototypeCode() if preset == "default" else PUBLISHED
    if training_steps is not None:
        guide = replace(guide, steps=training_steps)
    alpha: Literal["constant", "published"] = "published" if preset == "saat" else "constant"
    search = SignSteps(steps, 1 / 255, alpha=alpha, keep="best" if preset == "default" else "last")
    return Attack(guide, inner_product, search, threat, toward=True)
