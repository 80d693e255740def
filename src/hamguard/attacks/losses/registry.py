"""Losses by name, for methods that take any; the decorator on a loss, or on a class of losses, enters it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, cast, get_args

from hamguard.core.checks import check_choice
from hamguard.core.registry import Registry

if TYPE_CHECKING:
    from hamguard.attacks.types import Loss

Relaxation: TypeAlias = Literal["tanh", "none"]
"""What a loss wants to be given: relaxed codes, or raw logits."""

LOSSES: Registry[Callable[..., Any]] = Registry(
    "loss", "hamguard.attacks.losses", decorator="register_loss", public="register_loss", first=("inner",)
)
"""Name to a loss, or to a class whose instances are losses; the fact `relaxation` says what they want to be given."""

Entered = TypeVar("Entered", bound=Callable[..., Any])


def register_loss(name: str, *, relaxation: Relaxation = "tanh") -> Callable[[Entered], Entered]:
    """Decorator of a loss, or of a class whose instances are losses: enter it under `name`.

    Args:
        name: as a command line writes it.
        relaxation: whether it wants relaxed codes (`tanh`) or raw logits (`none`).

    Raises:
        RequestError: the name is taken, or the relaxation is unknown.
    """
    check_choice("relaxation", relaxation, get_args(Relaxation))
    return LOSSES.register(name, relaxation=relaxation)


def loss_named(name: str) -> tuple[Loss, Relaxation]:
    """A loss, of a class that with its defaults, and whether it takes tanh codes or raw logits.

    Raises:
        RequestError: there is none of that name.

    >>> loss_named("margin")[1]
    'none'
    """
    entered, facts = LOSSES[name], LOSSES.facts(name)
    return cast("Loss", entered() if isinstance(entered, type) else entered), facts["relaxation"]
