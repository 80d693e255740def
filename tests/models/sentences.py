"""A sentence encoder of no weights: texts that share words lie near each other, and no word is unknown."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hamguard.core.digests import digest_bytes
from hamguard.core.seeds import torch_generator
from hamguard.models import text_encoders
from hamguard.models.minilm import WIDTH
from hamguard.models.vocabulary import phrases


def word_vector(word: str) -> Tensor:
    return torch.randn(WIDTH, generator=torch_generator(int(digest_bytes(word.encode()), 16) % 2**32, "word"))


def toy_vectors(texts: Sequence[str]) -> Tensor:
    """Sums of random vectors of the words, `(n, 384)` of unit length."""
    rows = [
        torch.stack([word_vector("."), *(word_vector(word) for part in phrases(text) for word in part)]).sum(0)
        for text in texts
    ]
    return F.normalize(torch.stack(rows)) if rows else torch.zeros(0, WIDTH)


def use_toy_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands for the weights, which are in a package."""
    monkeypatch.setattr(text_encoders, "sentence_vectors", toy_vectors)
