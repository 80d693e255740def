"""Guides by name, as a command line writes them: `mainstay`, `anchor:5`, `prototype:paper`; the decorator on a maker enters it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from hamguard.core.checks import check_choice
from hamguard.core.errors import RequestError
from hamguard.core.registry import Registry

if TYPE_CHECKING:
    from hamguard.attacks.types import GuideMaker

GUIDES: Registry[Callable[..., GuideMaker]] = Registry(
    "guide",
    "hamguard.attacks.guides",
    decorator="register_guide",
    public="register_guide",
    first=("own", "center", "mainstay"),
)
"""Name to what makes the guide; the fact `word` is what may stand after `NAME:`, empty where nothing may."""

Maker = TypeVar("Maker", bound="Callable[..., GuideMaker]")


def register_guide(name: str, *, word: str = "") -> Callable[[Maker], Maker]:
    """Decorator of a guide's class, or of a function that makes it: enter it under `name`.

    Args:
        name: of the guide; the guide's attribute `name` says the same.
        word: what a person may write after `NAME:`, which the maker is then given as text; empty where it takes none.

    Raises:
        RequestError: the name is taken.
    """
    return GUIDES.register(name, word=word)


def guide_named(text: str) -> GuideMaker:
    """The guide of a name, `NAME` or `NAME:WORD`.

    Args:
        text: a name of `GUIDES`; `anchor:5` for another number of voters, `prototype:paper` for the published training.

    Raises:
        RequestError: unknown name (with the nearest one), a word after a name that takes none, or a wrong one.

    >>> guide_named("anchor:5")
    AnchorCode(n=5, replacement=False)
    """
    name, colon, word = text.partition(":")
    check_choice("guide", name, GUIDES.names())
    if colon and not GUIDES.facts(name)["word"]:
        raise RequestError(f"guide {name} takes nothing after a colon, got {text!r}")
    return GUIDES[name](word) if colon else GUIDES[name]()
