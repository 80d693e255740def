"""Defenses by name, filled by the decorator on each method's class."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from hamguard.core.checks import check_choice
from hamguard.core.errors import RequestError
from hamguard.core.plugins import load_files, load_plugins
from hamguard.defenses.task import Defense

DEFENSES: dict[str, type[Defense]] = {}
Kind = TypeVar("Kind", bound=type[Defense])


def register(name: str) -> Callable[[Kind], Kind]:
    """Class decorator: enter a defense under `name`.

    Raises:
        RequestError: the name is taken.
    """

    def enter(kind: Kind) -> Kind:
        if name in DEFENSES:
            raise RequestError(f"defense {name!r} is registered twice")
        kind.name = name
        DEFENSES[name] = kind
        return kind

    return enter


def defense_names() -> list[str]:
    """All names, sorted: of every file of this package, and of plugins."""
    load_files("hamguard.defenses")
    load_plugins()
    return sorted(DEFENSES)


def defense_type(name: str) -> type[Defense]:
    """Look up a defense.

    Raises:
        RequestError: there is none; the message lists all and the nearest.
    """
    check_choice("defense", name, defense_names())
    return DEFENSES[name]
