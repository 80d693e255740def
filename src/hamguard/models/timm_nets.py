"""Networks of timm without classifier, by its own names; EfficientNet-Lite among them, for whose ImageNet weights see `pretrained`.

EfficientNet: M. Tan, Q. Le, ICML 2019, arXiv:1905.11946; the Lite form (no squeeze-and-excitation, ReLU6, fixed stem and head) is
Google's of 2020 (tensorflow/tpu, `efficientnet/lite`). timm is imported when a network is built, for it loads a second or more.
"""

from __future__ import annotations

from importlib.util import find_spec

from torch import nn

from hamguard.core.checks import suggest
from hamguard.core.errors import RequestError
from hamguard.models.registry import register_backbone


def check_timm(name: str) -> None:
    """Refuse a name that timm does not know; where timm is not installed any name may be one.

    Raises:
        RequestError: timm has no such network, or would fetch it from a hub; the message has the nearest name.
    """
    if ":" in name:
        raise RequestError(f"timm:{name} would fetch a model from a hub; give the name of an architecture")
    if find_spec("timm") is None:
        return
    import timm

    if not timm.is_model(name):
        raise RequestError(f"timm has no model {name!r}{suggest(name, timm.list_models())}")


def from_timm(name: str) -> nn.Module:
    """A network of timm with random weights; nothing is fetched.

    Raises:
        RequestError: timm is not installed, has no such network, or would fetch it from a hub.
    """
    check_timm(name)
    try:
        import timm
    except ImportError as error:
        raise RequestError(
            "networks of timm need the package timm, which is not installed: pip install timm"
        ) from error
    net: nn.Module = timm.create_model(name, pretrained=False, num_classes=0)
    return net


@register_backbone("efficientnet_lite0", gray=False)
def efficientnet_lite0(channels: int, side: int) -> nn.Module:
    """EfficientNet-Lite0: 3.4 million weights, 1,280 features."""
    return from_timm("tf_efficientnet_lite0")


@register_backbone("efficientnet_lite1", gray=False)
def efficientnet_lite1(channels: int, side: int) -> nn.Module:
    """EfficientNet-Lite1: deeper than Lite0, 1,280 features."""
    return from_timm("tf_efficientnet_lite1")


@register_backbone("efficientnet_lite2", gray=False)
def efficientnet_lite2(channels: int, side: int) -> nn.Module:
    """EfficientNet-Lite2: deeper and wider than Lite0, 1,280 features."""
    return from_timm("tf_efficientnet_lite2")
