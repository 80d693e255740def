"""Backbones by name: pixels in, features out. Small nets are ours, others are torchvision's (or timm's) without classifier."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from hamguard.core.checks import check_choice
from hamguard.core.errors import RequestError
from hamguard.core.files import open_ordinary
from hamguard.models.registry import BACKBONES, TORCHVISION

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LARGEST_HEADER = 100_000_000  # bytes, the limit of safetensors itself

MAX_FEATURES = 8192


def default_backbone(size: tuple[int, int]) -> str:
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
        name: one of `BACKBONES` or `timm:NAME` (extra `timm`); `NAME+F` adds a feature layer of F units with tanh.
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
        net = _timm(base) if base.startswith("timm:") else BACKBONES[base](channels, min(size))
        wanted = backbone_channels(name, channels)
        net.eval()
        if units:
            inside = _inputs(weights, "backbone.1") or count_features(net, base, wanted, size)
            net = nn.Sequential(net, nn.Linear(inside, units), nn.Tanh()).eval()
    found = _inputs(weights, "head") or count_features(net, name, wanted, size)
    return net.train(), found


def check_backbone(name: str) -> None:
    """Refuse a name that no network has, where nothing is built yet; timm's own names are known to timm alone.

    Raises:
        RequestError: unknown name; the message has the nearest.
    """
    base, _ = _neck(name)
    if not base.startswith("timm:"):
        check_choice("backbone", base, BACKBONES)


def _neck(name: str) -> tuple[str, int]:
    """`conv8+512` as the backbone and the units of its feature layer; 0 where there is none."""
    base, plus, units = name.partition("+")
    if plus and not (units.isascii() and units.isdigit() and 1 <= int(units) <= MAX_FEATURES):
        raise RequestError(f"backbone NAME+F takes a number of features from 1 to {MAX_FEATURES}, got {name!r}")
    return base, int(units) if plus else 0


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


def _timm(name: str) -> nn.Module:
    name = name.removeprefix("timm:")
    if ":" in name:
        raise RequestError(f"timm:{name} would fetch a model from a hub; give the name of an architecture")
    try:
        import timm
    except ImportError as error:
        raise RequestError("backbones timm:NAME need the extra: pip install 'hamguard[timm]'") from error
    try:
        net: nn.Module = timm.create_model(name, pretrained=False, num_classes=0)
    except RuntimeError as error:
        raise RequestError(f"timm has no model {name!r}") from error
    return net


def read_safetensors(path: Path | str) -> dict[str, Tensor]:
    """Read a weight file without executing code; half precision becomes float32.

    Raises:
        RequestError: missing, a pickle (which could execute code), damaged, or with values that are not finite.
    """
    with open_ordinary(path, "weight file") as stream:
        head = stream.read(9)
        told, held = _bytes_told(head, stream), os.fstat(stream.fileno()).st_size
    # a safetensors file begins with the length of its header, whose first byte may be any, and then the header, a JSON object
    if head[:2] == b"PK" or (head[:1] == pickle.PROTO and head[8:] != b"{"):
        raise RequestError(
            f"{path} is a pickle, which can execute code when it is loaded; give a .safetensors file "
            "(convert on a machine you trust: safetensors.torch.save_file(torch.load(path, weights_only=True), out))"
        )
    if told is not None and told != held:  # said here, because the reader takes memory for all of the file first
        raise RequestError(
            f"{path} is not a readable safetensors file: its header tells of {told:,} bytes, it has {held:,}"
        )
    try:
        state = load_file(path)
    except MemoryError:
        raise
    except Exception as error:  # its parser's own kinds, and a type of numbers that torch does not know
        raise RequestError(f"{path} is not a readable safetensors file: {str(error).splitlines()[0]}") from error
    state = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    broken = [name for name, value in state.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if broken:
        raise RequestError(f"{path} holds NaN or infinite weights in {', '.join(broken[:3])}")
    return state


def _bytes_told(head: bytes, stream: BinaryIO) -> int | None:
    """Bytes of a safetensors file by its header, of which `head` is read already; None where it has no sound header."""
    length = int.from_bytes(head[:8], "little")
    if len(head) < 9 or length > LARGEST_HEADER:
        return None
    try:
        header = json.loads(head[8:] + stream.read(length - 1))
        return (
            8
            + length
            + max((one["data_offsets"][1] for name, one in header.items() if name != "__metadata__"), default=0)
        )
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return None


def load_initial(backbone: nn.Module, name: str, weights: str) -> None:
    """Give a backbone its initial weights.

    Args:
        backbone: network of `build_backbone`, changed in place.
        name: its name.
        weights: path of a safetensors file, or `torchvision` for the published weights (this downloads them).

    Raises:
        RequestError: a weight of the backbone is missing in the file or has another shape, or the download failed.
    """
    name, units = _neck(name)
    if units:  # the feature layer above stays as it was drawn
        backbone = next(backbone.children())
    state = _published(name) if weights == "torchvision" else read_safetensors(weights)
    own = backbone.state_dict()
    state = {key.removeprefix("module.").removeprefix("backbone."): value for key, value in state.items()}
    needed = [key for key in own if not key.endswith("num_batches_tracked")]
    missing = [key for key in needed if key not in state]
    if missing:
        raise RequestError(
            f"{weights} does not fit {name}: {len(missing)} of {len(needed)} weights are missing, e.g. {missing[0]}"
        )
    for key in needed:
        if state[key].shape != own[key].shape:
            found, wanted = tuple(state[key].shape), tuple(own[key].shape)
            raise RequestError(f"{weights} does not fit {name}: {key} has shape {found}, needed {wanted}")
    backbone.load_state_dict({key: state[key] for key in needed}, strict=False)


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
