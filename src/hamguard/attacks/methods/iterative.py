"""FGSM, I-FGSM, PGD and MI-FGSM with the inner-product loss on any guide.

Papers: Goodfellow et al., ICLR 2015; Kurakin et al., ICLR workshop 2017; Madry et al., ICLR 2018; Dong et al., CVPR 2018.
With `mifgsm`'s last options: NI (Lin et al., ICLR 2020), DI (Xie et al., CVPR 2019), TI (Dong et al., CVPR 2019).
ProS-GAN's rows "DHTA + FGSM" and "DHTA + I-FGSM" are these with `AnchorCode()` and `toward=True`.
"""

from __future__ import annotations

from hamguard.attacks.attack import Attack, GuideMaker
from hamguard.attacks.guides.own import OwnCode
from hamguard.attacks.losses.inner import inner_product
from hamguard.attacks.methods.registry import register
from hamguard.attacks.search.signs import SignSteps
from hamguard.attacks.search.views import PLAIN, View
from hamguard.attacks.threat import Linf, Threat

OWN = OwnCode()
BALL = Linf(8 / 255)


def _attack(search: SignSteps, guide: GuideMaker, toward: bool, threat: Threat) -> Attack:
    return Attack(guide, inner_product, search, threat, toward=toward)  # type: ignore[arg-type]


@register("fgsm")
def fgsm(*, guide: GuideMaker = OWN, toward: bool = False, threat: Threat = BALL) -> Attack:
    """One step of full size; away from the own code it starts at random, where the gradient says something."""
    alone = isinstance(guide, OwnCode)
    return _attack(SignSteps(1, threat.eps, random_start=alone, keep="last"), guide, toward, threat)


@register("ifgsm")
def ifgsm(*, steps: int = 100, guide: GuideMaker = OWN, toward: bool = False, threat: Threat = BALL) -> Attack:
    """Sign steps from the clean picture; away from the own code with a smaller slope first, which gives a gradient there."""
    return _attack(SignSteps(steps, alpha="published"), guide, toward, threat)


@register("pgd")
def pgd(
    *, steps: int = 100, restarts: int = 1, guide: GuideMaker = OWN, toward: bool = False, threat: Threat = BALL
) -> Attack:
    """Sign steps from random pictures of the ball."""
    return _attack(SignSteps(steps, random_start=True, restarts=restarts), guide, toward, threat)


@register("mifgsm")
def mifgsm(
    *,
    steps: int = 20,
    guide: GuideMaker = OWN,
    toward: bool = False,
    nesterov: bool = False,
    views: tuple[View, ...] = PLAIN,
    translation: int = 0,
    threat: Threat = BALL,
) -> Attack:
    """Momentum with a step size that falls by cosine.

    Args:
        steps: number of gradients, of each view.
        guide: the code to leave or approach.
        toward: approach it.
        nesterov: look ahead along the momentum (NI-FGSM).
        views: what the model sees, e.g. `(Diverse(),)` for DI.
        translation: odd size of the kernel that blurs the gradient (TI), 0 for none.
        threat: the allowed set.
    """
    size = min(2 * threat.eps, max(threat.eps / 2, 1 / 255))
    search = SignSteps(
        steps, size, "cosine", momentum=1.0, nesterov=nesterov, random_start=True, views=views, translation=translation
    )
    return _attack(search, guide, toward, threat)
