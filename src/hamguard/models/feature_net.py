"""The backbone of `features:` data: features are there already, and are handed on as they are."""

from __future__ import annotations

from torch import nn

from hamguard.models.registry import register_backbone

FEATURES = "features"
"""Its name."""


@register_backbone("features")
def features_net(channels: int, side: int) -> nn.Module:
    """Values of a picture in a row, `(B, C, H, W)` to `(B, C H W)`; of `features:` data, `(B, 1, 1, D)`, what a network made."""
    return nn.Flatten()
