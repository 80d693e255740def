"""Attacks by name, filled by the decorator on each method's factory, and the facts that cards and help texts are made from."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import wraps
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, get_args, get_type_hints

from hamguard.core.checks import check_choice
from hamguard.core.registry import Registry

if TYPE_CHECKING:  # help texts ask for names, and torch is not theirs to load
    from hamguard.attacks.attack import Attack

Direction = Literal["toward", "away", "either", "none"]
"""Always targeted, never, by the option `toward`, or no guide at all."""

ATTACKS: Registry[Callable[..., Attack]] = Registry("attack", "hamguard.attacks.methods", public="register_attack")
"""Factories: what one returns knows its name and preset; some attacks are to be made ready first, see `Attack.prepared`."""

Factory = TypeVar("Factory", bound="Callable[..., Attack]")


@dataclass(frozen=True)
class MethodFacts:
    """What is known of a method without running it.

    Attributes:
        name: its name in the registry.
        direction: `toward`, `away`, `either` (it has the option `toward`) or `none`.
        presets: values of its option `preset`, the default first; empty where it has none.
        options: the keyword arguments of its factory with their defaults.
        title: first line of the factory's docstring.
        doc: docstring of its file: paper, authors' code, deliberate differences.
        needs_fit: its search is fitted on training pictures before it attacks, see `Attack.learns`.
        needs_generator: it is given a trained generator before it attacks, see `generated.generated`.
        follows_gradients: it needs gradients of the model that its pictures are made on; noise and trained generators do not.
    """

    name: str
    direction: Direction
    presets: tuple[str, ...]
    options: Mapping[str, inspect.Parameter]
    title: str
    doc: str
    needs_fit: bool
    needs_generator: bool
    follows_gradients: bool


def register(name: str, *, direction: Direction | None = None) -> Callable[[Factory], Factory]:
    """Function decorator: enter a factory under `name`.

    Args:
        name: of the method.
        direction: whether it approaches or leaves codes; by default `either` where the factory takes `toward`, else what the attack
            that it makes without arguments does.

    Raises:
        RequestError: the name is taken, or the direction is unknown.
    """
    check_choice("direction", direction or "away", get_args(Direction))

    def enter(factory: Factory) -> Factory:
        usual = inspect.signature(factory).parameters.get("preset")

        @wraps(factory)
        def named(*args: Any, **options: Any) -> Attack:
            preset = options.get("preset", usual.default if usual else "default")
            return replace(factory(*args, **options), name=name, preset=preset)

        return cast("Factory", ATTACKS.register(name, direction=direction)(named))

    return enter


def method_facts(name: str) -> MethodFacts:
    """What is known of a method, read from its signature and docstrings.

    Raises:
        RequestError: there is no such method.

    >>> facts = method_facts("tha")
    >>> facts.direction, facts.presets, facts.title
    ('toward', ('default', 'paper', 'saat'), 'THA: approach the code that a prototype net learned for the target label')
    """
    from hamguard.attacks.generated import NoGenerator
    from hamguard.attacks.search.noise import RandomNoise

    factory = ATTACKS[name]
    options = inspect.signature(factory).parameters
    hints, made = get_type_hints(factory), factory()
    derived: Direction = "either" if "toward" in options else "toward" if made.toward else "away"
    presets = tuple(str(value) for value in get_args(hints.get("preset")))
    doc = inspect.getdoc(sys.modules[factory.__module__]) or ""
    return MethodFacts(
        name,
        ATTACKS.facts(name)["direction"] or derived,
        presets,
        MappingProxyType(dict(options)),
        ATTACKS.title(name),
        doc,
        made.learns,
        isinstance(made.search, NoGenerator),
        not isinstance(made.search, RandomNoise | NoGenerator),
    )
