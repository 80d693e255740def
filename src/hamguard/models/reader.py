"""`Reader`: a text net with its text encoder, which takes texts as people type them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hamguard.core.digests import digest_bytes
from hamguard.models.text_encoders import TextEncoder
from hamguard.models.text_model import TextModel
from hamguard.models.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class Reader:
    """The text side of a cross-modal model.

    Attributes:
        net: bags to codes.
        encoder: texts to bags.
    """

    net: TextModel
    encoder: TextEncoder

    @property
    def vocabulary(self) -> Vocabulary:
        """Terms of the training texts."""
        return self.encoder.vocabulary

    @property
    def bits(self) -> int:
        """Code length K."""
        return self.net.bits

    @property
    def digest(self) -> str:
        """Content hash of weights and text encoder."""
        return digest_bytes(self.net.digest.encode(), self.encoder.digest.encode())

    def bag(self, texts: Sequence[str]) -> Tensor:
        """Bags, `(B, V)`, where the net is: in {0, 1} of words, any real numbers of a sentence encoder."""
        weights = next(self.net.parameters(), torch.zeros(0))
        return self.encoder.bag(texts).to(weights.device)

    def logits(self, x: Tensor) -> Tensor:
        """Bags `(B, V)` to `(B, K)` real numbers."""
        return self.net.logits(x)
