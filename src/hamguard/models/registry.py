"""Backbones by name: small nets of ours, entered by the decorator, and torchvision's, which are built when they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from hamguard.core.registry import Registry

if TYPE_CHECKING:  # lists of names need no torch
    from torch import nn

TORCHVISION = (
    "alexnet", "vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg16_bn", "vgg19_bn",
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x8d",
    "wide_resnet50_2", "wide_resnet101_2", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large",
    "googlenet", "squeezenet1_0", "squeezenet1_1", "densenet121", "densenet161", "efficientnet_b0",
    "shufflenet_v2_x1_0", "mnasnet1_0", "regnet_y_400mf", "convnext_tiny", "vit_b_16",
)  # fmt: skip

LITE = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2", "mobilenet_v2_tf", "alexnet_st")
"""Networks that are there for their published weights."""

BACKBONES: Registry[Callable[[int, int], nn.Module]] = Registry(
    "backbone",
    "hamguard.models",
    decorator="register_backbone",
    first=("conv2", "conv8", "dsh", "resnet20", "resnet32", "resnet44", "resnet56", *LITE, *TORCHVISION),
)
"""Name to what builds a network without classifier, of input channels and the smaller side in pixels.

The fact `gray` says whether it takes any number of channels; others take 3, and gray pictures are repeated.
"""

Builder = TypeVar("Builder", bound="Callable[[int, int], nn.Module]")


def register_backbone(name: str, *, gray: bool = True) -> Callable[[Builder], Builder]:
    """Function decorator: enter what builds a network under `name`.

    Args:
        name: of the network; cards of models hold it.
        gray: it takes as many channels as it is asked for; else 3.

    Raises:
        RequestError: the name is taken by another one.
    """
    return BACKBONES.register(name, gray=gray)


def from_torchvision(name: str, channels: int, side: int) -> nn.Module:
    """A torchvision network that ends in its last features (fc7 for AlexNet and VGG, the pooled map for the others)."""
    from torch import nn
    from torchvision import models

    options = {"aux_logits": False, "init_weights": True} if name == "googlenet" else {}
    net: nn.Module = models.get_model(name, weights=None, **options)
    if name.startswith("squeezenet"):
        net.classifier = nn.AdaptiveAvgPool2d(1)
    elif name.startswith("vit"):
        net.heads = nn.Identity()
    elif isinstance(getattr(net, "fc", None), nn.Linear):
        net.fc = nn.Identity()
    elif isinstance(tail := getattr(net, "classifier", None), nn.Sequential):
        tail[-1] = nn.Identity()
    else:
        net.classifier = nn.Identity()
    return net


for _name in TORCHVISION:
    register_backbone(_name, gray=False)(partial(from_torchvision, _name))
