"""C&W on codes: the least Euclidean change that turns enough bits.

Paper: N. Carlini, D. Wagner, "Towards Evaluating the Robustness of Neural Networks", IEEE S&P 2017 (arXiv 1608.04644), made for
classifiers; the slides of C. Deng (2019) name it among the attacks on codes. What success means on bits stands in
`losses/reach.py`, what differs from the paper's search in `search/least_change.py`.

It has no budget to use up: `eps` bounds the change, and the change is as small as the search can make it. So compare its L2, and
the share of pictures that it brings there, not its MAP at `eps`.

`preset="code"`: the authors' settings, 9 constants from 0.001 of 10,000 gradients each at a rate of 0.01. The default spends 500
in all.
"""

from __future__ import annotations

from typing import Literal

from hamguard.attacks.attack import Attack
from hamguard.attacks.guides.own import OwnCode
from hamguard.attacks.losses.reach import ReachLoss
from hamguard.attacks.methods.registry import register
from hamguard.attacks.search.least_change import LeastChange
from hamguard.attacks.threat import L2, Threat
from hamguard.attacks.types import GuideMaker
from hamguard.core.checks import check_choice

OWN = OwnCode()


@register("cw")
def cw(
    *,
    steps: int | None = None,
    left: int | None = None,
    kappa: float = 0.0,
    guide: GuideMaker = OWN,
    toward: bool = False,
    preset: Literal["default", "code"] = "default",
    threat: Threat = L2(5.0),
) -> Attack:
    """C&W on codes: the least change, in Euclidean length, that turns half of the bits or comes near a code.

    Args:
        steps: number of gradients of all constants together; 500, or 90,000 for the preset.
        left: bits that may be left wrong; by default half of them away from a code, and two toward one.
        kappa: margin that a turned bit must have, in units of the logits.
        guide: the code to leave or approach.
        toward: approach it.
        preset: `default`, or `code` for the authors' settings.
        threat: bounds the change; `L2` as the length that is made small, or another.

    Raises:
        RequestError: unknown preset, or numbers out of range.
    """
    check_choice("preset", preset, ("default", "code"))
    search = LeastChange(500 if steps is None else steps)
    if preset == "code":
        search = LeastChange(90_000 if steps is None else steps, constants=9, first=1e-3, rate=0.01)
    return Attack(guide, ReachLoss(left, kappa), search, threat, toward=toward, relaxation="none")
