"""Center and mainstay attacks: leave, or approach, the code that the labels' training codes vote for.

Papers: CgAT, WWW 2023 (arXiv 2204.10779), and PgA (arXiv 2303.12658): center code, inner product, PGD;
SAAT, IEEE TIFS 18, 2023: mainstay code, masked quadratic, PGD with 100 steps of 1/255 and the slope schedule.

`preset="code"` is SAAT's code in two points: the printed toward loss, and the last iterate kept. In two others we never follow it,
because they make a picture's result depend on its neighbors or its report wrong: kept bits are counted per picture, not over the
batch, and codes are those of the final picture, not of the one before.

The reference codes must be those of the training part: codes of the database would leak the evaluation set.
"""

from __future__ import annotations

from typing import Literal

from hamguard.attacks.attack import Attack
from hamguard.attacks.guides.vote import SignedMean
from hamguard.attacks.losses.inner import inner_product
from hamguard.attacks.losses.mainstay import MainstayLoss
from hamguard.attacks.methods.registry import register
from hamguard.attacks.search.signs import SignSteps
from hamguard.attacks.threat import Linf, Threat
from hamguard.core.checks import check_choice


@register("center", direction="either")
def center(
    *,
    steps: int = 100,
    toward: bool = False,
    threat: Threat = Linf(8 / 255),
) -> Attack:
    """Center attack: leave, or approach, the center code with the inner product, PGD.

    Args:
        steps: number of gradients.
        toward: approach the center code of target labels.
        threat: the allowed set.
    """
    search = SignSteps(steps, random_start=True)
    return Attack(SignedMean("center"), inner_product, search, threat, toward=toward)


@register("mainstay", direction="either")
def mainstay(
    *,
    steps: int = 100,
    toward: bool = False,
    printed: bool = False,
    preset: Literal["default", "code"] = "default",
    threat: Threat = Linf(8 / 255),
) -> Attack:
    """Mainstay attack: leave, or approach, the mainstay code with a masked quadratic, PGD with the slope schedule.

    Args:
        steps: number of gradients.
        toward: approach the mainstay code of target labels.
        printed: the printed toward loss, which gives a fully wrong bit no gradient.
        preset: `default`, or `code` for the printed toward loss and the last iterate.
        threat: the allowed set.

    Raises:
        RequestError: unknown preset.
    """
    check_choice("preset", preset, ("default", "code"))
    code = preset == "code"
    search = SignSteps(steps, random_start=True, alpha="published", keep="last" if code else "best")
    return Attack(SignedMean(), MainstayLoss(printed=printed or code), search, threat, toward=toward)
