"""What an attacker may spend, from the words of a command line, and on how many queries where nobody says."""

from __future__ import annotations

from collections.abc import Sequence

from hamguard.attacks.budget import Budget
from hamguard.attacks.threat import parse_threat
from hamguard.core.context import Context
from hamguard.data.opened import Data

__all__ = ["of_photos", "read_budget", "usual_queries"]

ATTACKED, AUDITED, CHECKED = 64, 32, 16
"""Queries of an attack, of an audit and of checks on photos where nobody says: so many take minutes on two cores."""


def read_budget(
    norm: str, eps: str, *, steps: int | None = None, restarts: int | None = None, queries: int | None = None
) -> Budget:
    """A budget of words: `read_budget("linf", "8/255", steps=50)`.

    Args:
        norm: `linf` or `l2`.
        eps: `8/255` or `0.03`, in pixel units.
        steps: gradients.
        restarts: starts.
        queries: answers of a search.

    Raises:
        RequestError: an unknown norm, a radius that is no number or out of range, or a number below 1.
    """
    return Budget(parse_threat(norm, eps), steps=steps, restarts=restarts, queries=queries)


def of_photos(size: Sequence[int]) -> bool:
    """Whether images of this height and width are photos: large enough for pretrained networks, and a gradient takes long there."""
    from hamguard.models.backbones import LARGE_ENOUGH

    return min(size) >= LARGE_ENOUGH


def usual_queries(asked: int | None, data: Data, most: int, context: Context, *, name: str = "queries") -> int | None:
    """How many queries are attacked: what was asked for; else all, or of photos the first `most`, as a gradient takes long there.

    Args:
        asked: what a person says, None for nothing.
        data: photos are images that are large enough for pretrained networks.
        most: queries of photos.
        context: tells that it is not all.
        name: of the argument that asks for more.
    """
    there = len(data.split.query)
    if asked is not None or data.dataset.images.missing or not of_photos(data.dataset.images.size) or there <= most:
        return asked
    context.tell(f"the first {most} of {there:,} queries, as gradients of photos take long; `{name}` asks for more")
    return most
