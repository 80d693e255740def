"""The adaptive search on any guide: the attack to report a robustness by, and a strong one already at ten gradients.

Paper: F. Croce, M. Hein, ICML 2020 (APGD), after which the search goes; see `search/adaptive.py` for every difference. `diversity`
is that of C. Xie et al., CVPR 2019 (DI-FGSM).
"""

from __future__ import annotations

from hamguard.attacks.attack import Attack
from hamguard.attacks.guides.own import OwnCode
from hamguard.attacks.losses.registry import loss_named
from hamguard.attacks.methods.registry import register
from hamguard.attacks.search.adaptive import AdaptiveSteps
from hamguard.attacks.search.views import PLAIN, Diverse
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
    diversity: float = 0.0,
    threat: Threat = Linf(8 / 255),
) -> Attack:
    """Adaptive: momentum steps from random pictures of the ball, with a size that each picture finds for itself.

    Args:
        steps: number of gradients of each start; 5 already give a search.
        restarts: independent starts, the best counts.
        guide: the code to leave or approach.
        toward: approach it.
        loss: `inner`, `cosine`, `margin`, `hag` or `mainstay`; the last comes nearest to its guide at 8/255 where many bits resist.
        diversity: probability that the model sees a shrunk and shifted picture (DI-FGSM), 0 for none; for pictures that are asked
            of other models. Costs a forward pass more a gradient.
        threat: the allowed set.

    Raises:
        RequestError: unknown loss, or a probability outside [0, 1].
    """
    scored, relaxation = loss_named(loss)
    search = AdaptiveSteps(steps, restarts=restarts, views=(Diverse(diversity),) if diversity else PLAIN)
    return Attack(guide, scored, search, threat, toward=toward, relaxation=relaxation)
