"""JSMA on codes: as few pixels as possible, chosen by a saliency map of the guide's loss.

Paper: N. Papernot, P. McDaniel, S. Jha, M. Fredrikson, Z. B. Celik, A. Swami, "The Limitations of Deep Learning in Adversarial
Settings", EuroS&P 2016 (arXiv 1511.07528), made for classifiers; the slides of C. Deng (2019) name it among the attacks on codes.
What differs from the paper stands in `search/few_pixels.py`.

The budget counts pixels: `threat=L0(0.05)` lets one pixel in twenty move, `L0(20 / (28 * 28))` twenty of a digit. With another
threat any number may move, each within its ball, until the guide is reached or the gradients are spent.

`preset="paper"`: two pixels at a step and no schedule of the slope. The paper's bound on MNIST is 14.5% of the pixels, `L0(0.145)`.
The default begins with a small slope, as HAG does, which turned more bits on validation pictures.
"""

from __future__ import annotations

from typing import Literal

from hamguard.attacks.attack import Attack
from hamguard.attacks.guides.own import OwnCode
from hamguard.attacks.losses.registry import loss_named
from hamguard.attacks.methods.registry import register
from hamguard.attacks.search.few_pixels import FewPixels
from hamguard.attacks.threat import L0, Threat
from hamguard.attacks.types import GuideMaker
from hamguard.core.checks import check_choice

OWN = OwnCode()


@register("jsma")
def jsma(
    *,
    steps: int | None = None,
    guide: GuideMaker = OWN,
    loss: str = "inner",
    toward: bool = False,
    preset: Literal["default", "paper"] = "default",
    threat: Threat = L0(0.05),
) -> Attack:
    """JSMA on codes: move few pixels, each all the way, the most salient one first.

    Args:
        steps: number of gradients at most, 100; where the budget has more pixels, several move at once. The preset takes as many
            as there are pairs.
        guide: the code to leave or approach.
        loss: how a relaxed code is scored against it.
        toward: approach it.
        preset: `default`, or `paper`, which takes pairs; its budget is `L0(0.145)`.
        threat: the allowed set.

    Raises:
        RequestError: unknown loss or preset.
    """
    check_choice("preset", preset, ("default", "paper"))
    scored, relaxation = loss_named(loss)
    search = (
        FewPixels(100 if steps is None else steps)
        if preset == "default"
        else FewPixels(steps, together=2, alpha="constant")
    )
    return Attack(guide, scored, search, threat, toward=toward, relaxation=relaxation)
