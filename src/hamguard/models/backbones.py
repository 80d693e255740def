"""Backbones by name: pixels in, features out. Small nets are ours, others are torchvision's (or timm's) without classifier."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from hamguard.core.checks import check_choice
from hamguard.core.digests import digest_file
from hamguard.core.errors import RequestError
from hamguard.models.pretrained import PRETRAINED, described, read_weights, weights_of
from hamguard.models.registry import BACKBONES, TORCHVISION
from hamguard.models.timm_nets import check_timm, from_timm
from hamguard.models.weight_files import COUNTER, read_safetensors

MAX_FEATURES = 8192
LARGE_ENOUGH = 96
"""Pixels of the smaller side from which a network with pretrained weights is the default."""


def default_backbone(size: tuple[int, int]) -> str:
    """The network of pictures of `size` where none is asked for: EfficientNet-Lite0 with its ImageNet weights from 96 pixels on."""
    return "efficientnet_lite0" if min(size) >= LARGE_ENOUGH else scratch_backbone(size)


def scratch_backbone(size: tuple[int, int]) -> str:
    """A backbone that suits pictures of `size` and learns from scratch: `conv2` up to 28 pixels, `conv8` up to 128."""
    side = min(size)
    return "conv2" if side <= 28 else "conv8" if side <= 128 else "resnet18"


def build_backbone(
    name: str,
    channels: int,
    size: tuple[int, int],
    generator: torch.Generator,
    weights: Mapping[str, Tensor] | None = None,
) -> tuple[nn.Module, int]:
    """Build a backbone with seeded random weights.

    Args:
        name: one of `BACKBONES` or `timm:NAME`; `NAME+F` adds a feature layer of F units with tanh.
        channels: channels of the pictures; torchvision's networks take 3, and gray pictures are repeated by `HashModel`.
        size: height and width in pixels, checked by one forward pass.
        generator: source of the initial weights.
        weights: weights of the whole `HashModel` that it will be given, whose shapes tell D without a forward pass; one of shapes
            alone (device meta) loads compilers, for seconds.

    Returns:
        The network and its number of features D.

    Raises:
        RequestError: unknown name, or pictures of this size are too small for the network.
    """
    with torch.random.fork_rng(devices=[]):  # torch's layers draw their weights from the global generator
        torch.manual_seed(generator.initial_seed())
        base, units = _neck(name)
        net = network(base, channels, min(size))
        wanted = backbone_channels(name, channels)
        net.eval()
        if units:
            inside = _inputs(weights, "backbone.1") or count_features(net, base, wanted, size)
            net = nn.Sequential(net, nn.Linear(inside, units), nn.Tanh()).eval()
    found = _inputs(weights, "head") or count_features(net, name, wanted, size)
    return net.train(), found


def network(base: str, channels: int, side: int) -> nn.Module:
    """A network by name without feature layer; its weights are drawn from the global generator.

    Raises:
        RequestError: unknown name, or a package that it needs is not installed.
    """
    check_backbone(base)
    return from_timm(base.removeprefix("timm:")) if base.startswith("timm:") else BACKBONES[base](channels, side)


def check_backbone(name: str) -> None:
    """Refuse a name that no network has, where nothing is built yet; timm's own names are known to timm alone.

    Raises:
        RequestError: unknown name; the message has the nearest.
    """
    base, _ = _neck(name)
    if base.startswith("timm:"):
        check_timm(base.removeprefix("timm:"))
    else:
        check_choice("backbone", base, [*BACKBONES, "timm:NAME"])


def _neck(name: str) -> tuple[str, int]:
    """`conv8+512` as the backbone and the units of its feature layer; 0 where there is none."""
    base, plus, units = name.partition("+")
    if plus and not (units.isascii() and units.isdigit() and 1 <= int(units) <= MAX_FEATURES):
        raise RequestError(f"backbone NAME+F takes a number of features from 1 to {MAX_FEATURES}, got {name!r}")
    return base, int(units) if plus else 0


def feature_layer(name: str) -> int:
    """Units of the feature layer of a backbone; 0 where it has none.

    >>> feature_layer("conv8+512"), feature_layer("conv8")
    (512, 0)
    """
    return _neck(name)[1]


def _inputs(weights: Mapping[str, Tensor] | None, layer: str) -> int | None:
    """What a linear layer takes; None where its weights are not there."""
    found = (weights or {}).get(f"{layer}.weight")
    return int(found.shape[1]) if found is not None and found.ndim == 2 else None


def count_features(net: nn.Module, name: str, wanted: int, size: tuple[int, int]) -> int:
    """Number of features of a network in evaluation mode on pictures of a size, from one forward pass.

    Raises:
        RequestError: it cannot take such pictures, or what it gives are no features.
    """
    try:
        with torch.no_grad():
            features = net(torch.zeros(1, wanted, *size))  # (1, D)
    except (RuntimeError, ValueError, AssertionError) as error:
        message = f"backbone {name} cannot take pictures of {size[0]}x{size[1]} pixels: {str(error).splitlines()[0]}"
        raise RequestError(message) from error
    if features.ndim != 2 or features.shape[1] == 0:
        raise RequestError(f"backbone {name} must give features (B, D), got {tuple(features.shape)}")
    return int(features.shape[1])


def backbone_channels(name: str, channels: int) -> int:
    """Input channels of backbone `name` on pictures with `channels` channels."""
    base = _neck(name)[0]
    return channels if not base.startswith("timm:") and BACKBONES.facts(base)["gray"] else 3


CLASSIFIERS = ("classifier", "fc", "head", "heads", "AuxLogits", "aux1", "aux2")
"""First words of names that networks give what they are cut off from here."""


def load_initial(backbone: nn.Module, name: str, weights: str) -> str:
    """Give a backbone its initial weights.

    Args:
        backbone: network of `build_backbone`, changed in place.
        name: its name.
        weights: path of a safetensors file, `pretrained` for known weights on this machine (`pretrained.TABLE`), or `torchvision`
            for the published ones of torchvision (this downloads them).

    Returns:
        Where they come from, with their hash where they are a file's.

    Raises:
        RequestError: a weight of the backbone is missing in the file or has another shape, the file holds further layers, known
            weights are not on this machine or not as they should be, or the download failed.
    """
    name, units = _neck(name)
    if units:  # the feature layer above stays as it was drawn
        backbone = next(backbone.children())
    own = backbone.state_dict()
    if weights == PRETRAINED:
        entry = weights_of(name)
        state, said = read_weights(entry, own), described(entry)
    elif weights == "torchvision":
        state, said = _published(name), weights
    else:
        state, said = read_safetensors(weights), f"{Path(weights).name}, sha256 {digest_file(Path(weights))}"
    state = {key.removeprefix("module.").removeprefix("backbone."): value for key, value in state.items()}
    _take(backbone, own, state, f"{weights} does not fit {name}")
    return said


def _take(backbone: nn.Module, own: Mapping[str, Tensor], state: Mapping[str, Tensor], wrong: str) -> None:
    """Give a backbone weights by name; those of a classifier are left.

    Raises:
        RequestError: some are missing, have another shape, or belong to further layers.
    """
    needed = [key for key in own if not key.endswith(COUNTER)]
    missing = [key for key in needed if key not in state]
    if missing:
        raise RequestError(f"{wrong}: {len(missing)} of {len(needed)} weights are missing, e.g. {missing[0]}")
    for key in needed:
        if state[key].shape != own[key].shape:
            found, wanted = tuple(state[key].shape), tuple(own[key].shape)
            raise RequestError(f"{wrong}: {key} has shape {found}, needed {wanted}")
    if further := _further(own, state):
        raise RequestError(f"{wrong}: it has {len(further)} weights of further layers, e.g. {further[0]}")
    backbone.load_state_dict({key: state[key] for key in needed}, strict=False)


def _further(own: Collection[str], state: Collection[str]) -> list[str]:
    """Weights of layers that a smaller network of the same names lacks; what stands for classifiers is none."""
    parts = {key.partition(".")[0] for key in own} - {*CLASSIFIERS}
    return [key for key in state if key not in own and key.partition(".")[0] in parts and not key.endswith(COUNTER)]


def _published(name: str) -> dict[str, Tensor]:
    from torchvision import models

    if name not in TORCHVISION:
        raise RequestError(f"torchvision has no weights for {name}; give a safetensors file")
    try:
        state: dict[str, Tensor] = models.get_model_weights(name).DEFAULT.get_state_dict(
            progress=False, check_hash=True
        )
    except OSError as error:
        raise RequestError(f"the published weights of {name} could not be downloaded: {error}") from error
    return state
