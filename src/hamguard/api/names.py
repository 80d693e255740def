"""Names that help texts list, and what `--list` says of them: known from text where it can be, so that nothing heavy is loaded."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

if TYPE_CHECKING:
    from hamguard.core.registry import Registry

Kind: TypeAlias = Literal[
    "attack", "guide", "loss", "hash method", "fitted method", "cross-modal method", "defense", "measure", "engine"
]

PLACES: dict[Kind, str] = {
    "attack": "attacks.methods.registry:ATTACKS",
    "guide": "attacks.guides.registry:GUIDES",
    "loss": "attacks.losses.registry:LOSSES",
    "hash method": "hashing.registry:OBJECTIVES",
    "fitted method": "hashing.registry:UNSUPERVISED",
    "cross-modal method": "hashing.registry:CROSS_METHODS",
    "defense": "defenses.registry:DEFENSES",
    "measure": "evaluation.measures.registry:MEASURES",
    "engine": "retrieval.forms.registry:FORMS",
}


def names(kind: Kind) -> str:
    """Everything registered of a kind, divided by commas.

    >>> names("cross-modal method")
    'dcmh, dsph, ssah'
    """
    module, _, name = PLACES[kind].partition(":")
    registry = cast("Registry[Any]", getattr(import_module(f"hamguard.{module}"), name))
    return ", ".join(registry.known())


def attacks_listed() -> list[dict[str, Any]]:
    """Every attack: `method`, `title`, `direction`, `presets`, `options`."""
    from hamguard.attacks.methods.registry import ATTACKS

    if not (texts := ATTACKS.written()):
        return _attacks_loaded()
    return [
        {
            "method": one.name,
            "title": one.title,
            "direction": one.facts.get("direction", "either"),
            "presets": list(one.choices.get("preset", ())),
            "options": [option for option in one.options if option not in ("threat", "toward")],
        }
        for one in texts
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


def measures_listed() -> list[dict[str, Any]]:
    """Every measure: its name, what it asks, whether it needs labels, and whether it is carried out by default."""
    from hamguard.evaluation.measures.registry import MEASURES

    texts = [(one.name, one.title, one.facts) for one in MEASURES.written()]
    known = texts or [(name, MEASURES.title(name), MEASURES.facts(name)) for name in MEASURES]
    return [
        {"measure": name, "title": title, "labels": of.get("labeled", False), "default": of.get("default", True)}
        for name, title, of in known
    ]


def experiments_listed() -> list[dict[str, Any]]:
    """Every experiment: `name`, `source`, `what`, how it differs where it is `small` or on `photos`, and `minutes` of both."""
    from hamguard.evaluation.reproduce.experiment import EXPERIMENTS  # whose files load nothing heavy

    return [
        {
            "name": one.name,
            "source": one.source,
            "what": one.what,
            "small": one.small,
            "minutes": one.minutes,
            "photos": one.photos,
            "photos_minutes": one.photos_minutes,
        }
        for one in EXPERIMENTS.values()
    ]


def defenses_listed() -> list[dict[str, Any]]:
    """Every defense of a hash model: `method`, `title`, `needs_labels`, and what its `settings` mean."""
    from hamguard.defenses.registry import DEFENSES  # its settings are classes beside the methods, which load torch

    return [
        {
            "method": kind.name,
            "title": kind.title,
            "needs_labels": kind.needs_labels,
            "settings": {
                key: {"default": field.default, "description": field.description}
                for key, field in kind.settings_type.model_fields.items()
            },
        }
        for kind in DEFENSES.values()
    ]
