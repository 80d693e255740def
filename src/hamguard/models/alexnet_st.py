"""AlexNet in its shift-tolerant form, for the weights of ST-LPIPS.

A. Ghildyal, F. Liu, "Shift-tolerant Perceptual Similarity Metric", ECCV 2022, section 3 (AlexNet: A. Krizhevsky et al., NeurIPS
2012): the first convolution looks at every pixel, nothing is left out without a blur before it, the blur comes before the
activation, and borders are reflected by twice the usual width.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hamguard.models.registry import register_backbone

WIDTHS = (64, 192, 384, 256, 256)
"""Channels of the five convolutions."""


class BlurPool(nn.Module):
    """Every second position of a map that was blurred by (1, 2, 1) / 4 in both directions (R. Zhang, ICML 2019).

    Args:
        channels: of the map.
    """

    filt: Tensor
    border = (2, 2, 2, 2)  # the kernel's half is 1; the published network reflects twice as much

    def __init__(self, channels: int) -> None:
        super().__init__()
        line = torch.tensor([1.0, 2.0, 1.0])
        self.register_buffer("filt", (line[:, None] * line / 16).repeat(channels, 1, 1, 1))  # (channels, 1, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)` to `(B, C, (H + 3) // 2, (W + 3) // 2)`; sides of 3 and more."""
        return F.conv2d(F.pad(x, self.border, mode="reflect"), self.filt, stride=2, groups=len(self.filt))


@register_backbone("alexnet_st", gray=False)
def alexnet_st(channels: int, side: int) -> nn.Module:
    """Shift-tolerant AlexNet: 2.5 million weights; its last map, averaged over positions, is 256 features."""
    first, second, third, fourth, fifth = WIDTHS
    # names as in the weight file: the slice between two published maps, and the layer's place in the whole
    slices = {
        "slice1": {"0": nn.Conv2d(3, first, 11, padding=2), "1": BlurPool(first), "2": nn.ReLU()},
        "slice2": {
            "3": nn.MaxPool2d(3, 1),
            "4": BlurPool(first),
            "5": nn.Conv2d(first, second, 5, padding=2),
            "6": nn.ReLU(),
        },
        "slice3": {
            "7": nn.MaxPool2d(3, 1),
            "8": BlurPool(second),
            "9": nn.Conv2d(second, third, 3, padding=1),
            "10": nn.ReLU(),
        },
        "slice4": {"11": nn.Conv2d(third, fourth, 3, padding=1), "12": nn.ReLU()},
        "slice5": {"13": nn.Conv2d(fourth, fifth, 3, padding=1), "14": nn.ReLU()},
    }
    net = nn.Sequential(OrderedDict((name, nn.Sequential(OrderedDict(parts))) for name, parts in slices.items()))
    net.add_module("pool", nn.AdaptiveAvgPool2d(1))
    net.add_module("flat", nn.Flatten())
    return net
