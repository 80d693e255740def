"""Losses by name, for methods that take any."""

from __future__ import annotations

from typing import Literal, TypeAlias

from hamguard.attacks.losses.hag import HagLoss
from hamguard.attacks.losses.inner import cosine, inner_product, logarithm, margin
from hamguard.attacks.losses.mainstay import MainstayLoss
from hamguard.attacks.types import Loss
from hamguard.core.checks import check_choice

Relaxation: TypeAlias = Literal["tanh", "none"]

LOSSES: dict[str, tuple[Loss, Relaxation]] = {
    "inner": (inner_product, "tanh"),
    "cosine": (cosine, "tanh"),
    "margin": (margin, "none"),
    "logarithm": (logarithm, "none"),
    "hag": (HagLoss(), "tanh"),
    "mainstay": (MainstayLoss(), "tanh"),
}
"""Each with what it wants to be given: relaxed codes, or raw logits."""


def loss_named(name: str) -> tuple[Loss, Relaxation]:
    """A loss and whether it takes tanh codes or raw logits.

    Raises:
        RequestError: there is none of that name.

    >>> loss_named("margin")[1]
    'none'
    """
    return LOSSES[check_choice("loss", name, LOSSES)]
