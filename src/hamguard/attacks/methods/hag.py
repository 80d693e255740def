"""HAG: leave the own code, without labels.

Paper: E. Yang, T. Liu, C. Deng, D. Tao, "Adversarial Examples for Hamming Space Search", IEEE TCYB 50(4), 2020.

`preset="paper"`: 2,000 raw gradient steps with the slope schedule, last iterate (slides; step rule after THA's port, rate 1).
`preset="code"`: SAAT's port, SGD with rate 100 and momentum 0.9 and its balance term. Both ports take the mean over a batch of 32
pictures, so that their rates are divided by 32 on our sum over pictures. The default takes sign steps, which reach the same in a
twentieth of the gradients; it starts at random, because at the clean picture the own code has no informative gradient.

Deliberate difference of the default: it leaves the signs of the clean outputs, the presets the outputs themselves, as published.
Outputs make a bit of which the model is unsure weigh less. On a plain model that is nothing (shipped digits, 0.1: MAP .456 both
ways); a hardened one is unsure of many bits, and looks safer than it is (shipped:digits-hard, 0.1: .911 in place of .874).
"""

from __future__ import annotations

from typing import Literal

from hamguard.attacks.attack import Attack
from hamguard.attacks.losses.hag import HagLoss
from hamguard.attacks.methods.registry import register
from hamguard.attacks.search.gradient_descent import GradientSteps
from hamguard.attacks.search.signs import SignSteps
from hamguard.attacks.threat import Linf, Threat
from hamguard.core.checks import check_choice

PORTS_BATCH = 32  # both ports' rates are on the mean over so many pictures (SAAT's later files have 128)


@register("hag", direction="away")
def hag(
    *,
    steps: int | None = None,
    t: float = 0.5,
    schedule: bool = True,
    preset: Literal["default", "paper", "code"] = "default",
    threat: Threat = Linf(8 / 255),
) -> Attack:
    """HAG: leave the own code, without labels.

    Args:
        steps: number of gradients; 100, or 2,000 for the presets.
        t: how far a bit must be over before it leaves the loss.
        schedule: the slope of tanh grows over the steps; without is the paper's ablation HAG*.
        preset: `default`, `paper` or `code`.
        threat: the allowed set; both ports take 8/255, the slides name no budget.

    Raises:
        RequestError: unknown preset.
    """
    check_choice("preset", preset, ("default", "paper", "code"))
    slope: Literal["published", "constant"] = "published" if schedule else "constant"
    if preset == "paper":
        search = GradientSteps("raw", 1.0 / PORTS_BATCH, 2000 if steps is None else steps, alpha=slope, keep="last")
        return Attack(loss=HagLoss(t), search=search, threat=threat)
    if preset == "code":
        search = GradientSteps(
            "sgd", 100.0 / PORTS_BATCH, 2000 if steps is None else steps, momentum=0.9, alpha=slope, keep="last"
        )
        return Attack(loss=HagLoss(t, balance_weight=1.0), search=search, threat=threat)
    signs = SignSteps(100 if steps is None else steps, alpha=slope, random_start=True)
    return Attack(loss=HagLoss(t, leaves="signs"), search=signs, threat=threat)
