"""Names that help texts list: known from text, so that nothing heavy is loaded for them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

if TYPE_CHECKING:
    from hamguard.core.registry import Registry

Kind: TypeAlias = Literal["attack", "guide", "loss", "hash method", "cross-modal method", "defense", "measure"]

PLACES: dict[Kind, str] = {
    "attack": "attacks.methods.registry:ATTACKS",
    "guide": "attacks.guides.registry:GUIDES",
    "loss": "attacks.losses.registry:LOSSES",
    "hash method": "hashing.registry:OBJECTIVES",
    "cross-modal method": "hashing.registry:CROSS_METHODS",
    "defense": "defenses.registry:DEFENSES",
    "measure": "evaluation.measures.registry:MEASURES",
}


def names(kind: Kind) -> str:
    """Everything registered of a kind, divided by commas.

    >>> names("cross-modal method")
    'dcmh, ssah'
    """
    module, _, name = PLACES[kind].partition(":")
    registry = cast("Registry[Any]", getattr(import_module(f"hamguard.{module}"), name))
    return ", ".join(registry.known())
