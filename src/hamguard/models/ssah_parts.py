"""The parts of SSAH that only its training needs: label net, label heads, modality discriminators (CVPR 2018, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hamguard.core.seeds import derive_seed


class LabelNet(nn.Module):
    """Labels to features, code and labels again: `L -> width -> features -> {K, L}`; 4,096 and 512 in the paper."""

    def __init__(self, labels: int, bits: int, width: int, features: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(labels, width), nn.ReLU(), nn.Linear(width, features), nn.Tanh())
        self.head = nn.Linear(features, bits)
        self.label = nn.Linear(features, labels)

    def forward(self, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Labels `(B, L)` to features `(B, F)`, logits of the code `(B, K)`, logits of the labels `(B, L)`."""
        f = self.encoder(labels)
        return f, self.head(f), self.label(f)


class Discriminator(nn.Module):
    """Tells features of labels (1) from features of one modality (0): `F -> F -> F / 2 -> 1`."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(features, features),
            nn.ReLU(),
            nn.Linear(features, features // 2),
            nn.ReLU(),
            nn.Linear(features // 2, 1),
        )

    def forward(self, f: Tensor) -> Tensor:
        """Features `(B, F)` to logits `(B,)`."""
        found: Tensor = self.net(f).squeeze(1)
        return found


class SsahParts(nn.Module):
    """Label net, one label head a modality, one discriminator a modality.

    Args:
        labels: number of labels L.
        bits: code length K.
        width: units of the label net's wide layer.
        features: units of the feature layers.
        seed: of the initial weights.
    """

    def __init__(self, labels: int, bits: int, *, width: int, features: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, "ssah parts"))
            self.label_net = LabelNet(labels, bits, width, features)
            self.image_label = nn.Linear(features, labels)
            self.text_label = nn.Linear(features, labels)
            self.image_critic = Discriminator(features)
            self.text_critic = Discriminator(features)
