"""`TextModel`: bags of words to hash codes, the text side of a cross-modal model.

Two nets of the papers: DCMH's `Linear(D, 8192) ReLU Linear(8192, K)` (CVPR 2017), and SSAH's multi-scale fusion (CVPR 2018):
the bag and five copies averaged over 50, 30, 15, 10 and 5 neighboring words, each through a 1x1 convolution and ReLU and stretched
back, as six channels into a wide layer and a feature layer. Widths are options.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hamguard.codes.binary import relax, sign
from hamguard.core.checks import check_choice, check_range
from hamguard.core.digests import digest_state
from hamguard.core.errors import RequestError
from hamguard.core.seeds import derive_seed

TextNet = Literal["mlp", "multi-scale"]
WINDOWS = (50, 30, 15, 10, 5)


class MultiScale(nn.Module):
    """SSAH's fusion of one bag at six scales, `(B, D)` to `(B, 6 D)`."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.ModuleList(nn.Conv1d(1, 1, 1) for _ in WINDOWS)

    def forward(self, bag: Tensor) -> Tensor:
        """The bag itself first, then its averages, coarse to fine."""
        line = bag[:, None]  # (B, 1, D)
        scales = [line]
        for window, mix in zip(WINDOWS, self.mix, strict=True):
            pooled = F.avg_pool1d(line, min(window, bag.shape[1]), ceil_mode=True)  # (B, 1, D / window)
            scales.append(F.interpolate(F.relu(mix(pooled)), size=bag.shape[1], mode="linear", align_corners=False))
        return torch.cat(scales, 1).flatten(1)  # (B, 6 D)


class TextModel(nn.Module):
    """Encoder of bags of words, or of other numbers that stand for a text, with a linear hash head.

    Args:
        kind: `mlp` or `multi-scale`.
        words: numbers of a text D: size of the vocabulary, or of a vector.
        bits: code length K.
        width: units of the wide layer.
        features: units of a further layer with tanh before the head; 0 for none.
        seed: of the initial weights.

    Raises:
        RequestError: unknown kind, or a size out of range.
    """

    def __init__(
        self, kind: TextNet, words: int, bits: int, *, width: int = 1024, features: int = 0, seed: int = 0
    ) -> None:
        super().__init__()
        check_choice("text net", kind, ("mlp", "multi-scale"))
        for name, value in (("words", words), ("bits", bits), ("text width", width)):
            check_range(name, value, 1)
        check_range("features", features, 0)
        self.kind, self.words, self.bits, self.width, self.features = kind, words, bits, width, features
        with torch.random.fork_rng(devices=[]):  # torch's layers draw their weights from the global generator
            torch.manual_seed(derive_seed(seed, "text net"))
            scales: list[nn.Module] = [MultiScale()] if kind == "multi-scale" else []
            wide = words * (1 + len(WINDOWS)) if scales else words
            layers = [*scales, nn.Linear(wide, width), nn.ReLU()]
            if features:
                layers += [nn.Linear(width, features), nn.Tanh()]
            self.encoder = nn.Sequential(*layers)
            self.head = nn.Linear(features or width, bits)

    def encode(self, bag: Tensor) -> Tensor:
        """Features `(B, features or width)` of bags `(B, D)`: in [0, 1] of words, any real numbers of a sentence encoder.

        Raises:
            RequestError: bags of another vocabulary size.
        """
        if bag.ndim != 2 or bag.shape[1] != self.words:
            raise RequestError(f"bags of words must have shape (B, {self.words}), got {tuple(bag.shape)}")
        found: Tensor = self.encoder(bag)
        return found

    def logits(self, bag: Tensor) -> Tensor:
        """Unbounded outputs z, `(B, K)`, of bags `(B, D)`."""
        z: Tensor = self.head(self.encode(bag))
        return z

    def relaxed(self, bag: Tensor, alpha: float = 1.0) -> Tensor:
        """Relaxed codes `tanh(alpha z)`, `(B, K)` in (-1, 1)."""
        return relax(self.logits(bag), alpha)

    def code(self, bag: Tensor) -> Tensor:
        """Signed codes, `(B, K)` in {-1, +1}."""
        return sign(self.logits(bag))

    def forward(self, bag: Tensor) -> Tensor:
        """The logits."""
        return self.logits(bag)

    @property
    def digest(self) -> str:
        """Content hash of the weights."""
        return digest_state(self.state_dict())
