"""Gray and color: images brought to the channels that a network takes."""

from __future__ import annotations

from torch import Tensor

LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in JPEG


def match_channels(x: Tensor, channels: int) -> Tensor:
    """Images `(B, 1 or 3, H, W)` with 1 or 3 channels: gray is repeated, color becomes luminance."""
    if x.shape[1] == 3 and channels == 1:
        return (x * x.new_tensor(LUMINANCE).view(1, 3, 1, 1)).sum(1, keepdim=True)  # (B, 1, H, W)
    return x.expand(-1, 3, -1, -1) if x.shape[1] == 1 and channels == 3 else x  # (B, 3, H, W)
