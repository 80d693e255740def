"""Own code: what HAG leaves; needs no label and no reference codes (IEEE TCYB 50(4), 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from hamguard.attacks.guides.registry import register_guide
from hamguard.codes.bank import CodeBank


@register_guide("own")
@dataclass(frozen=True)
class OwnCode:
    """The picture's own clean code."""

    name: str = "own"
    needs_labels = False

    def __call__(
        self, own: Tensor, labels: Tensor | None, bank: CodeBank | None, index: Sequence[int], seed: int
    ) -> Tensor:
        """The code itself, `(B, K)`."""
        return own
