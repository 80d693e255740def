"""The small networks of the papers and of small data, as feature extractors without a head.

Every network maps normalized pixels `(B, C, H, W)` to features `(B, D)`. Names of the CIFAR ResNet's parts follow the
public weight files (conv1, bn1, layer1..3), so that those load without renaming.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hamguard.models.registry import register_backbone

WHOLE = 40  # pictures up to this side are read at full resolution by conv8


@register_backbone("conv2")
def conv2(channels: int, side: int) -> nn.Module:
    """PPL's network for 28-pixel gray images: conv 20, conv 50 (AAAI 2021, section "Settings").

    The paper gives neither kernel nor pooling; 5x5 and 2x2 maximum pooling are those of LeNet.
    """
    return nn.Sequential(
        nn.Conv2d(channels, 20, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
    )


@register_backbone("dsh")
def dsh_net(channels: int, side: int) -> nn.Module:
    """Network of DSH for 32-pixel images (CVPR 2016): three 5x5 convolutions and a layer of 500."""
    return nn.Sequential(
        nn.Conv2d(channels, 32, 5, padding=2), nn.MaxPool2d(3, 2, ceil_mode=True), nn.ReLU(),
        nn.Conv2d(32, 32, 5, padding=2), nn.ReLU(), nn.AvgPool2d(3, 2, ceil_mode=True),
        nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.AvgPool2d(3, 2, ceil_mode=True),
        nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64 * 16, 500), nn.ReLU(),
    )  # fmt: skip


@register_backbone("conv8")
def conv8(channels: int, side: int, widths: tuple[int, ...] = (24, 48, 96, 128)) -> nn.Module:
    """Four stages of two 3x3 convolutions with batch norm, halved between stages, averaged over positions.

    Ours: a network for small photos (32 to 128 pixels) that learns from scratch in minutes on a CPU. Above 40 pixels the first
    convolution takes every second pixel, which costs a quarter of the time.
    """
    layers: list[nn.Module] = []
    stride = 2 if side > WHOLE else 1
    for stage, width in enumerate(widths):
        for block in range(2):
            layers += [
                nn.Conv2d(channels, width, 3, stride, 1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            channels, stride = width, 1
            if block == 1 and stage < len(widths) - 1:
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut without parameters (option A of He et al. 2016)."""

    def __init__(self, inside: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride, self.pad = stride, (width - inside) // 2

    def forward(self, x: Tensor) -> Tensor:
        """`(B, inside, H, W)` to `(B, width, H / stride, W / stride)`."""
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        if self.pad:  # every second pixel, zero channels on both sides
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.pad, self.pad))
        return F.relu(out + x, inplace=True)


class CifarResNet(nn.Module):
    """ResNet for 32-pixel images (He et al., CVPR 2016, section 4.2): depth `6 n + 2`, 64 features.

    Args:
        channels: input channels.
        blocks: n, blocks a stage: 3, 5, 7, 9 for ResNet-20, 32, 44, 56.
    """

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._stage(16, 16, blocks, 1)
        self.layer2 = self._stage(16, 32, blocks, 2)
        self.layer3 = self._stage(32, 64, blocks, 2)

    @staticmethod
    def _stage(inside: int, width: int, blocks: int, stride: int) -> nn.Sequential:
        rest = [BasicBlock(width, width, 1) for _ in range(blocks - 1)]
        return nn.Sequential(BasicBlock(inside, width, stride), *rest)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)` to `(B, 64)`."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = self.layer3(self.layer2(self.layer1(x)))
        return torch.mean(x, dim=(2, 3))  # (B, 64)


@register_backbone("resnet20")
def resnet20(channels: int, side: int) -> nn.Module:
    """ResNet-20 of `CifarResNet`."""
    return CifarResNet(channels, 3)


@register_backbone("resnet32")
def resnet32(channels: int, side: int) -> nn.Module:
    """ResNet-32 of `CifarResNet`."""
    return CifarResNet(channels, 5)


@register_backbone("resnet44")
def resnet44(channels: int, side: int) -> nn.Module:
    """ResNet-44 of `CifarResNet`."""
    return CifarResNet(channels, 7)


@register_backbone("resnet56")
def resnet56(channels: int, side: int) -> nn.Module:
    """ResNet-56 of `CifarResNet`."""
    return CifarResNet(channels, 9)
