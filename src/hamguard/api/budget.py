"""What an attacker may spend, from the words of a command line."""

from __future__ import annotations

from hamguard.attacks.budget import Budget
from hamguard.attacks.threat import parse_threat

__all__ = ["read_budget"]


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
