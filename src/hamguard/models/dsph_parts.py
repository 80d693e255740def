"""The part of DSPH that only its training needs: a proxy for each class (IEEE TCSVT 2024)."""

from __future__ import annotations

import torch
from torch import nn

from hamguard.core.seeds import torch_generator


class Proxies(nn.Module):
    """One point a class, of which only the direction counts.

    Args:
        classes: number of classes C.
        bits: code length K.
        seed: of the initial points.
    """

    def __init__(self, classes: int, bits: int, *, seed: int) -> None:
        super().__init__()
        points = torch.randn(classes, bits, generator=torch_generator(seed, "dsph proxies"))
        self.points = nn.Parameter(points * (2 / classes) ** 0.5)  # Kaiming's by fan out, as in the code
