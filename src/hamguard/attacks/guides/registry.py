"""Guides by name, as a command line writes them: `mainstay`, `anchor:5`, `prototype:paper`."""

from __future__ import annotations

from collections.abc import Callable

from hamguard.attacks.attack import GuideMaker
from hamguard.attacks.guides.optimal import OptimalCode
from hamguard.attacks.guides.own import OwnCode
from hamguard.attacks.guides.prototype import PUBLISHED, PrototypeCode
from hamguard.attacks.guides.relevant import RelevantSet
from hamguard.attacks.guides.vote import AnchorCode, SignedMean
from hamguard.core.checks import check_choice
from hamguard.core.errors import RequestError


def _anchor(voters: str = "9") -> AnchorCode:
    if not (voters.isascii() and voters.isdigit()):
        raise RequestError(f"anchor:N takes the number of codes that vote, such as anchor:5, got {voters!r}")
    return AnchorCode(int(voters))


def _prototype(training: str = "default") -> PrototypeCode:
    check_choice("training of the prototype", training, ("default", "paper"))
    return PUBLISHED if training == "paper" else PrototypeCode()


GUIDES: dict[str, Callable[..., GuideMaker]] = {
    "own": OwnCode,
    "center": lambda: SignedMean("center"),
    "mainstay": lambda: SignedMean("mainstay"),
    "anchor": _anchor,
    "p2p": lambda: AnchorCode(1),
    "relevant": RelevantSet,
    "prototype": _prototype,
    "optimal": OptimalCode,
}
"""Name to what makes the guide."""

TAKES_WORD = ("anchor", "prototype")


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
    check_choice("guide", name, GUIDES)
    if colon and name not in TAKES_WORD:
        raise RequestError(f"guide {name} takes nothing after a colon, got {text!r}")
    return GUIDES[name](word) if colon else GUIDES[name]()
