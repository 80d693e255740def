"""One perturbation for all pictures, fitted on training pictures.

Paper of the idea: S.-M. Moosavi-Dezfooli, A. Fawzi, O. Fawzi, P. Frossard, "Universal Adversarial Perturbations", CVPR 2017; see
`attacks/search/universal.py` for what differs. Toward a code it has one target label for all pictures.
"""

from __future__ import annotations

from hamguard.attacks.attack import Attack
from hamguard.attacks.guides.own import OwnCode
from hamguard.attacks.losses.inner import inner_product
from hamguard.attacks.methods.registry import register
from hamguard.attacks.search.universal import UniversalSteps
from hamguard.attacks.threat import Linf, Threat
from hamguard.attacks.types import GuideMaker

OWN = OwnCode()
BALL = Linf(8 / 255)


@register("universal", direction="either")
def universal(
    *,
    guide: GuideMaker = OWN,
    toward: bool = False,
    steps: int = 200,
    batch_size: int = 32,
    threat: Threat = BALL,
) -> Attack:
    """One perturbation for all pictures, fitted on training pictures.

    Args:
        guide: which codes to leave, or the code to approach.
        toward: approach the code of one target label.
        steps: number of gradients, one batch each.
        batch_size: training pictures a step.
        threat: the allowed set.

    Returns:
        An attack that is fitted on training pictures first: `prepared` with a model and images does it.
    """
    return Attack(guide, inner_product, UniversalSteps(steps, batch_size), threat, toward=toward)
