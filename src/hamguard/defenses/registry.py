"""Defenses by name, filled by the decorator on each method's class."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from hamguard.core.registry import Registry

if TYPE_CHECKING:  # help texts ask for names, and torch is not theirs to load
    from hamguard.defenses.task import Defense

DEFENSES: Registry[type[Defense]] = Registry("defense", "hamguard.defenses", public="register_defense", named=True)

Kind = TypeVar("Kind", bound="type[Defense]")


def register(name: str) -> Callable[[Kind], Kind]:
    """Class decorator: enter a defense under `name`.

    Raises:
        RequestError: the name is taken by another one.
    """
    return DEFENSES.register(name)
