"""Center and mainstay attacks: leave, or approach, the code that the labels' training codes vote for.

Papers: CgAT, WWW 2023 (arXiv 2204.10779), and PgA (arXiv 2303.12658): center code, inner product, PGD;
SAAT, IEEE TIFS 18, 2023: mainstay code, masked quadratic, PGD with 100 steps of 1/255 and the slope schedule.

The reference codes must be those of the training part: codes of the database would leak the evaluation set.
"""

from __future__ import annotations

from hamguard.attacks.attack import Attack
from hamguard.attacks.guides.vote import SignedMean
from hamguard.attacks.losses.inner import inner_product
from hamguard.attacks.losses.mainstay import MainstayLoss
from hamguard.attacks.methods.registry import register
from hamguard.attacks.search.signs import SignSteps
from hamguard.attacks.threat import Linf, Threat


@register("center")
def center(
    *,
    steps: int = 100,
    toward: bool = False,
    threat: Threat = Linf(8 / 255),  # noqa: B008 - a frozen value
) -> Attack:
    """Center attack: inner product with the center code, PGD."""
    search = SignSteps(steps, random_start=True)
    return Attack(SignedMean("center"), inner_product, search, threat, toward=toward)  # type: ignore[arg-type]


@register("mainstay")
def mainstay(
    *,
    steps: int = 100,
    toward: bool = False,
    printed: bool = False,
    threat: Threat = Linf(8 / 255),  # noqa: B008
) -> Attack:
    """Mainstay attack: masked quadratic against the mainstay code, PGD with the slope schedule.

    Args:
        steps: number of gradients.
        toward: approach the mainstay code of target labels.
        printed: the printed toward loss, which gives a fully wrong bit no gradient.
        threat: the allowed set.
    """
    search = SignSteps(steps, random_start=True, alpha="published")
    return Attack(SignedMean(), MainstayLoss(printed=printed), search, threat, toward=toward)  # type: ignore[arg-type]
