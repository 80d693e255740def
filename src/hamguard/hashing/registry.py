"""Hash methods by name: supervised, cross-modal and without labels; decorators on their classes and functions enter them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from hamguard.core.registry import Registry

if TYPE_CHECKING:  # help texts ask for names, and torch is not theirs to load
    from torch import Tensor

    from hamguard.hashing.objective import CrossSettings, LinearHead, Objective

PACKAGE = "hamguard.hashing"
OBJECTIVES: Registry[type[Objective]] = Registry("hash method", PACKAGE, public="register_objective", named=True)
CROSS_METHODS: Registry[type[CrossSettings]] = Registry(
    "cross-modal method", PACKAGE, decorator="register_cross", named=True
)
UNSUPERVISED: Registry[Callable[[Tensor, int, int], LinearHead]] = Registry(
    "unsupervised method", PACKAGE, decorator="register_unsupervised", first=("lsh", "itq")
)
"""Functions from features `(n, D)`, bits and seed to a head; the fact `title` names method and paper, `bits_of_features` says that
bits are at most as many as features."""

Kind = TypeVar("Kind", bound="type[Objective]")
CrossKind = TypeVar("CrossKind", bound="type[CrossSettings]")
Fit = TypeVar("Fit", bound="Callable[[Tensor, int, int], LinearHead]")


def register(name: str) -> Callable[[Kind], Kind]:
    """Class decorator: enter an objective under `name`.

    Raises:
        RequestError: the name is taken by another one.
    """
    return OBJECTIVES.register(name)


def register_cross(name: str) -> Callable[[CrossKind], CrossKind]:
    """Class decorator: enter the settings of a cross-modal method under `name`.

    Raises:
        RequestError: the name is taken by another one.
    """
    return CROSS_METHODS.register(name)


def register_unsupervised(name: str, *, title: str, bits_of_features: bool = False) -> Callable[[Fit], Fit]:
    """Function decorator: enter what fits a linear head under `name`.

    Args:
        name: of the method.
        title: method and paper, as a card says them.
        bits_of_features: whether it gives at most as many bits as there are features.

    Raises:
        RequestError: the name is taken by another one.
    """
    return UNSUPERVISED.register(name, title=title, bits_of_features=bits_of_features)


def hash_methods() -> list[str]:
    """Names of all methods that give one model for pictures: those that learn from labels, then those without."""
    return [*OBJECTIVES, *UNSUPERVISED]
