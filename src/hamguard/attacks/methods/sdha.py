"""SDHA: leave all relevant codes together, near ones first.

Paper: J. Lu, M. Chen, Y. Sun, W. Wang, Y. Wang, X. Yang, "A Smart Adversarial Attack on Deep Hashing Based Image Retrieval",
ICMR 2021; after the code in SAAT's repository: Adam on the pixels, rate 0.01, 1,500 steps, slope schedule, and the squared error
to the clean picture as a soft bound beside the ball. The default takes 200 steps and keeps the best iterate.
"""

from __future__ import annotations

from typing import Literal

from hamguard.attacks.attack import Attack
from hamguard.attacks.guides.relevant import RelevantSet
from hamguard.attacks.losses.sdha import SdhaLoss
from hamguard.attacks.methods.registry import register
from hamguard.attacks.search.gradient_descent import GradientSteps
from hamguard.attacks.threat import Linf, Threat
from hamguard.core.checks import check_choice


@register("sdha", direction="either")
def sdha(
    *,
    steps: int | None = None,
    toward: bool = False,
    preset: Literal["default", "code"] = "default",
    threat: Threat = Linf(8 / 255),
) -> Attack:
    """SDHA: leave, or approach, all relevant codes together, near ones first.

    Args:
        steps: number of gradients; 200, or 1,500 for the preset.
        toward: approach the codes that share a target label.
        preset: `default` or `code`.
        threat: the allowed set.

    Raises:
        RequestError: unknown preset.
    """
    check_choice("preset", preset, ("default", "code"))
    keep: Literal["best", "last"] = "last" if preset == "code" else "best"
    count = (1500 if preset == "code" else 200) if steps is None else steps
    search = GradientSteps("adam", 0.01, count, alpha="published", keep=keep)
    return Attack(RelevantSet(), SdhaLoss(), search, threat, toward=toward, fidelity=1.0)
