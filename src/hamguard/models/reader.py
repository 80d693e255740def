"""`Reader`: a text net with its vocabulary, which takes texts as people type them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hamguard.core.digests import digest_bytes
from hamguard.models.text_model import TextModel
from hamguard.models.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class Reader:
    """The text side of a cross-modal model.

    Attributes:
        net: bags of words to codes.
        vocabulary: what the columns of a bag mean.
    """

    net: TextModel
    vocabulary: Vocabulary

    @property
    def bits(self) -> int:
        """Code length K."""
        return self.net.bits

    @property
    def digest(self) -> str:
        """Content hash of weights and vocabulary."""
        return digest_bytes(self.net.digest.encode(), self.vocabulary.digest.encode())

    def bag(self, texts: Sequence[str]) -> Tensor:
        """Bags of words, `(B, V)` in {0, 1}, where the net is."""
        weights = next(self.net.parameters(), torch.zeros(0))
        return self.vocabulary.bag(texts).to(weights.device)

    def logits(self, x: Tensor) -> Tensor:
        """Bags `(B, V)` in [0, 1] to `(B, K)` real numbers."""
        return self.net.logits(x)
