"""FGSM, I-FGSM, PGD and MI-FGSM with any loss on any guide.

Papers: Goodfellow et al., ICLR 2015; Kurakin et al., ICLR workshop 2017; Madry et al., ICLR 2018; Dong et al., CVPR 2018.
With `mifgsm`'s last options: NI (Lin et al., ICLR 2020), DI (Xie et al., CVPR 2019), TI (Dong et al., CVPR 2019).
`loss` is `inner`, `cosine`, `margin`, `hag` or `mainstay`.

Deliberate differences: the kept picture is the iterate with the fewest wrong bits, not the last (but see `deep` of `mifgsm`); the
step size is 2.5 eps / steps where 1/255 could not cross the ball; MI's falls by cosine, the papers' is constant.
ProS-GAN's rows "DHTA + FGSM" and "DHTA + I-FGSM" are these with `AnchorCode()` and `toward=True`.
"""

from __future__ import annotations

from hamguard.attacks.attack import Attack
from hamguard.attacks.guides.own import OwnCode
from hamguard.attacks.losses.registry import loss_named
from hamguard.attacks.methods.registry import register
from hamguard.attacks.search.signs import SignSteps
from hamguard.attacks.search.views import PLAIN, Diverse
from hamguard.attacks.threat import Linf, Threat
from hamguard.attacks.types import GuideMaker

OWN = OwnCode()
BALL = Linf(8 / 255)


def _attack(search: SignSteps, guide: GuideMaker, loss: str, toward: bool, threat: Threat) -> Attack:
    scored, relaxation = loss_named(loss)
    return Attack(guide, scored, search, threat, toward=toward, relaxation=relaxation)


@register("fgsm")
def fgsm(*, guide: GuideMaker = OWN, loss: str = "inner", toward: bool = False, threat: Threat = BALL) -> Attack:
    """FGSM: one step of full size; away from the own code it starts at random, where the gradient says something."""
    alone = isinstance(guide, OwnCode)
    return _attack(SignSteps(1, threat.reach, random_start=alone, keep="last"), guide, loss, toward, threat)


@register("ifgsm")
def ifgsm(
    *, steps: int = 100, guide: GuideMaker = OWN, loss: str = "inner", toward: bool = False, threat: Threat = BALL
) -> Attack:
    """I-FGSM: sign steps from the clean picture, with a smaller slope first, which gives a gradient at the own code."""
    return _attack(SignSteps(steps, alpha="published"), guide, loss, toward, threat)


@register("pgd")
def pgd(
    *,
    steps: int = 100,
    restarts: int = 1,
    guide: GuideMaker = OWN,
    loss: str = "inner",
    toward: bool = False,
    threat: Threat = BALL,
) -> Attack:
    """PGD: sign steps from random pictures of the ball."""
    return _attack(SignSteps(steps, random_start=True, restarts=restarts), guide, loss, toward, threat)


@register("mifgsm")
def mifgsm(
    *,
    steps: int = 20,
    guide: GuideMaker = OWN,
    loss: str = "inner",
    toward: bool = False,
    nesterov: bool = False,
    diversity: float = 0.0,
    translation: int = 0,
    deep: bool = False,
    threat: Threat = BALL,
) -> Attack:
    """MI-FGSM: momentum with a step size that falls by cosine; with NI, DI and TI for transfer.

    Args:
        steps: number of gradients.
        guide: the code to leave or approach.
        loss: how a relaxed code is scored against it.
        toward: approach it.
        nesterov: look ahead along the momentum (NI).
        diversity: probability that the model sees a shrunk and shifted picture (DI; 0.5 in the paper), 0 for none.
        translation: odd size of the kernel that blurs the gradient (TI), 0 for none.
        deep: go on to the last step where the guide is reached before, and keep that point, as published; pictures that are asked
            of other models are better for it.
        threat: the allowed set.

    Raises:
        RequestError: unknown loss, a probability outside [0, 1], or a kernel of even size.
    """
    size = min(2 * threat.reach, max(threat.reach / 2, 1 / 255))
    search = SignSteps(
        steps,
        size,
        "cosine",
        momentum=1.0,
        nesterov=nesterov,
        random_start=True,
        keep="last" if deep else "best",
        translation=translation,
        views=(Diverse(diversity),) if diversity else PLAIN,
    )
    return _attack(search, guide, loss, toward, threat)
