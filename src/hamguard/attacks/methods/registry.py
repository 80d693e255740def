"""Attacks by name; filled by the decorator on each method's factory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from hamguard.attacks.attack import Attack
from hamguard.core.checks import check_choice
from hamguard.core.errors import RequestError

ATTACKS: dict[str, Callable[..., Attack]] = {}
Factory = TypeVar("Factory", bound=Callable[..., Attack])


def register(name: str) -> Callable[[Factory], Factory]:
    """Function decorator: enter a factory under `name`. A second registration of a name is an error."""

    def enter(factory: Factory) -> Factory:
        if name in ATTACKS:
            raise RequestError(f"attack {name!r} is registered twice")
        ATTACKS[name] = factory
        return factory

    return enter


def attack_named(name: str) -> Callable[..., Attack]:
    """Look up an attack.

    Raises:
        RequestError: there is none; the message lists all and the nearest.
    """
    from hamguard.attacks.methods import dhta, hag, iterative, mainstay, noise, sdha  # noqa: F401 - fill the registry

    check_choice("attack", name, sorted(ATTACKS))
    return ATTACKS[name]
