"""Names that help texts list: known from text, so that nothing heavy is loaded for them."""

from __future__ import annotations

import os
import sys
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


def attacks_listed() -> list[dict[str, Any]]:
    """Every attack: `method`, `title`, `direction`, `presets`, `options`; from text where no plugin may add any."""
    from hamguard.core.plugins import VARIABLE, written

    if os.environ.get(VARIABLE) or "torch" in sys.modules:  # a notebook may have registered some, too
        return _attacks_loaded()
    return [
        {
            "method": one.name,
            "title": one.title,
            "direction": one.facts.get("direction", "either"),
            "presets": list(one.choices.get("preset", ())),
            "options": [option for option in one.options if option not in ("threat", "toward")],
        }
        for one in written("hamguard.attacks.methods")
    ]


def _attacks_loaded() -> list[dict[str, Any]]:
    from hamguard.attacks.methods.registry import ATTACKS, method_facts

    return [
        {
            "method": one.name,
            "title": one.title,
            "direction": one.direction,
            "presets": list(one.presets),
            "options": [option for option in one.options if option not in ("threat", "toward")],
        }
        for one in map(method_facts, ATTACKS)
    ]
