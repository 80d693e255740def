"""What an attacker may spend: how far pictures move, and how many gradients, starts and answers of a search."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace

from hamguard.attacks.threat import L0, L1, L2, Linf, Threat
from hamguard.core.checks import check_range
from hamguard.core.errors import RequestError

__all__ = ["L0", "L1", "L2", "Budget", "Linf", "Threat"]


@dataclass(frozen=True)
class Budget:
    """A threat and what may be spent inside it; None takes what the method has of its own.

    Attributes:
        threat: the allowed set, `Linf(8 / 255)`, `L2(0.5)` or `L1(10)`.
        steps: number of gradients of each start, at least 1.
        restarts: independent starts, at least 1.
        queries: answers of a search about one picture, at least 1.

    Raises:
        RequestError: no `Threat`, or a number below 1.
    """

    threat: Threat
    _: KW_ONLY
    steps: int | None = None
    restarts: int | None = None
    queries: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.threat, Threat):
            raise RequestError(f"a budget begins with a threat such as Linf(8 / 255) or L2(0.5), got {self.threat!r}")
        for name in ("steps", "restarts", "queries"):
            value = getattr(self, name)
            if value is not None:
                check_range(name, value, 1)

    def filled(self, *, steps: int, queries: int | None = None) -> Budget:
        """The same, with what it leaves open."""
        return replace(self, steps=self.steps or steps, queries=self.queries or queries)


BUDGET = Budget(Linf(8 / 255))
"""What is asked for where nobody says."""
