"""Guides by name, as a command line writes them: `mainstay`, `anchor:5`, `prototype:paper`; the decorator on a maker enters it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from hamguard.core.checks import check_choice
from hamguard.core.errors import RequestError
from hamguard.core.plugins import load_files, load_plugins

if TYPE_CHECKING:  # the attack itself imports a guide
    from hamguard.attacks.types import GuideMaker

GUIDES: dict[str, Callable[..., GuideMaker]] = {}
"""Name to what makes the guide; full once `guide_names` was asked."""

WORDS: dict[str, str] = {}  # what may stand after the colon, as given to `register_guide`
FIRST = ("own", "center", "mainstay")  # lists begin with what most people take
Maker = TypeVar("Maker", bound="Callable[..., GuideMaker]")


def register_guide(name: str, *, word: str = "") -> Callable[[Maker], Maker]:
    """Decorator of a guide's class, or of a function that makes it: enter it under `name`.

    Args:
        name: of the guide; the guide's attribute `name` says the same.
        word: what a person may write after `NAME:`, which the maker is then given as text; empty where it takes none.

    Raises:
        RequestError: the name is taken.
    """

    def enter(maker: Maker) -> Maker:
        if name in GUIDES:
            raise RequestError(f"guide {name!r} is registered twice")
        GUIDES[name] = maker
        if word:
            WORDS[name] = word
        return maker

    return enter


def guide_names() -> list[str]:
    """All names: own, center and mainstay, then the others in the order of the alphabet."""
    load_files("hamguard.attacks.guides")
    load_plugins()
    return sorted(GUIDES, key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name))


def guide_named(text: str) -> GuideMaker:
    """The guide of a name, `NAME` or `NAME:WORD`.

    Args:
        text: a name of `guide_names`; `anchor:5` for another number of voters, `prototype:paper` for the published training.

    Raises:
        RequestError: unknown name (with the nearest one), a word after a name that takes none, or a wrong one.

    >>> guide_named("anchor:5")
    AnchorCode(n=5, replacement=False)
    """
    name, colon, word = text.partition(":")
    check_choice("guide", name, guide_names())
    if colon and name not in WORDS:
        raise RequestError(f"guide {name} takes nothing after a colon, got {text!r}")
    return GUIDES[name](word) if colon else GUIDES[name]()


def guide_title(name: str) -> str:
    """What a guide is: the first line of the docstring of its class, or of the function that makes it.

    Raises:
        RequestError: there is no such guide.

    >>> guide_title("own")
    "The picture's own clean code"
    """
    check_choice("guide", name, guide_names())
    return (inspect.getdoc(GUIDES[name]) or name).splitlines()[0].rstrip(".")
