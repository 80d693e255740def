"""MobileNetV2 as TensorFlow pads it, for the weights that Google trained there.

M. Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018. In torchvision's network convolutions of
stride 2 pad one pixel on every side; in Keras Applications, which gave the weights, an even side is padded at its end alone.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from hamguard.models.registry import from_torchvision, register_backbone


class KerasStride(nn.Conv2d):
    """A 3x3 convolution of stride 2 with the padding of Keras; it has the weights of an `nn.Conv2d`."""

    def forward(self, input: Tensor) -> Tensor:
        """`(B, C, H, W)` to `(B, D, ceil(H / 2), ceil(W / 2))`."""
        height, width = input.shape[-2:]
        return super().forward(F.pad(input, (width % 2, 1, height % 2, 1)))


@register_backbone("mobilenet_v2_tf", gray=False)
def mobilenet_v2_tf(channels: int, side: int) -> nn.Module:
    """MobileNetV2 with TensorFlow's padding: 1,280 features."""
    net = from_torchvision("mobilenet_v2", channels, side)
    for name, part in list(net.named_modules()):
        if isinstance(part, nn.Conv2d) and part.stride == (2, 2):
            padded = KerasStride(part.in_channels, part.out_channels, 3, 2, groups=part.groups, bias=False)
            padded.load_state_dict(part.state_dict())
            net.set_submodule(name, padded)
    return net
