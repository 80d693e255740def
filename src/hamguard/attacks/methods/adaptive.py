"""The adaptive search on any guide: the attack to report a robustness by, and a strong one already at ten gradients.

Paper: F. Croce, M. Hein, ICML 2020 (APGD), after which the search goes; see `search/adaptive.py` for every difference.
"""

from __future__ import annotations

from hamguard.attacks.attack import Attack, GuideMaker
from hamguard.attacks.guides.own import OwnCode
from hamguard.attacks.losses.inner import inner_product
from hamguard.attacks.methods.registry import register
from hamguard.attacks.problem import Loss
from hamguard.attacks.search.adaptive import AdaptiveSteps
from hamguard.attacks.threat import Linf, Threat


@register("adaptive")
def adaptive(
    *,
    steps: int = 30,
    restarts: int = 1,
    guide: GuideMaker = OwnCode(),  # noqa: B008 - frozen values
    toward: bool = False,
    loss: Loss = inner_product,  # type: ignore[assignment]
    threat: Threat = Linf(8 / 255),  # noqa: B008
) -> Attack:
    """Adaptive: momentum steps from random pictures of the ball, with a size that each picture finds for itself.

    Args:
        steps: number of gradients of each start; 5 already give a search.
        restarts: independent starts, the best counts.
        guide: the code to leave or approach.
        toward: approach it.
        loss: scores relaxed codes against the guide.
        threat: the allowed set.
    """
    return Attack(guide, loss, AdaptiveSteps(steps, restarts=restarts), threat, toward=toward)
