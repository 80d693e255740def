"""The adaptive search on any guide: the attack to report a robustness by, and a strong one already at ten gradients.

Paper: F. Croce, M. Hein, ICML 2020 (APGD), after which the search goes; see `search/adaptive.py` for every difference.
"""

from __future__ import annotations

from hamguard.attacks.attack import Attack
from hamguard.attacks.guides.own import OwnCode
from hamguard.attacks.losses.registry import loss_named
from hamguard.attacks.methods.registry import register
from hamguard.attacks.search.adaptive import AdaptiveSteps
from hamguard.attacks.threat import Linf, Threat
from hamguard.attacks.types import GuideMaker


@register("adaptive")
def adaptive(
    *,
    steps: int = 30,
    restarts: int = 1,
    guide: GuideMaker = OwnCode(),  # noqa: B008 - frozen values
    toward: bool = False,
    loss: str = "inner",
    threat: Threat = Linf(8 / 255),
) -> Attack:
    """Adaptive: momentum steps from random pictures of the ball, with a size that each picture finds for itself.

    Args:
        steps: number of gradients of each start; 5 already give a search.
        restarts: independent starts, the best counts.
        guide: the code to leave or approach.
        toward: approach it.
        loss: `inner`, `cosine`, `margin`, `hag` or `mainstay`; the last comes nearest to its guide at 8/255 where many bits resist.
        threat: the allowed set.

    Raises:
        RequestError: unknown loss.
    """
    scored, relaxation = loss_named(loss)
    search = AdaptiveSteps(steps, restarts=restarts)
    return Attack(guide, scored, search, threat, toward=toward, relaxation=relaxation)
