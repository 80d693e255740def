"""The batteries: which checks are made, in which order, and where two of them ask the same with other numbers.

An audit checks its own worst case; sanity checks the attack that a defense is quoted with, cheaply, so that every defense of a
table can carry it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hamguard.core.checks import suggest
from hamguard.core.errors import RequestError
from hamguard.evaluation.audit.checks.check import CHECKS

AUDIT: dict[str, dict[str, Any]] = {
    "zero-gradients": {},
    "saturated-tanh": {},
    "repeatable": {},
    "raw-logits": {},
    "restart-gain": {},
    "more-steps": {},
    "eps-monotone": {},
    "large-eps": {},
    "query-only": {},
    "transfer": {},
    "saved-file": {},
}
"""Checks of an audit with their parameters, in the order in which they are made."""

SANITY: dict[str, dict[str, Any]] = {
    "falls-with-eps": {},
    "more-steps": {"few": 10, "many": 100, "starts": 3},
    "transfer": {"by_mean": True},
    "query-only": {"by_mean": True},
    "slopes": {},
    "targeted": {},
    "controls": {},
}
"""Checks of a defense, likewise."""


def check_names(asked: Sequence[str]) -> tuple[str, ...]:
    """The checks to make of an audit: those asked for, all of `AUDIT` where nothing was, none for `none`.

    Any check that is registered may be asked for by name: of a file of this folder, of a plugin, of a notebook cell.

    Raises:
        RequestError: there is no such check; the message lists all and the nearest.
    """
    if list(asked) == ["none"]:
        return ()
    known = [*AUDIT, *(name for name in CHECKS if name not in AUDIT)]
    for name in asked:
        if name not in known:
            raise RequestError(f"unknown check {name!r}; allowed: {', '.join(known)}, none{suggest(name, known)}")
    return tuple(name for name in known if name in asked) if asked else tuple(AUDIT)
