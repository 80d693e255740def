"""Which networks can be used here and now, what is known of them, and how fast they are on this machine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from hamguard.core.errors import RequestError
from hamguard.models.backbones import backbone_channels, check_backbone, network
from hamguard.models.folders import without_memory
from hamguard.models.pretrained import TABLE, Known, Weights, described, place_of
from hamguard.models.registry import BACKBONES, TORCHVISION

SIDES = {"conv2": 28, "conv8": 32, "dsh": 32}
"""Pixels that a network is for where it has no known weights; 224 for all others."""
DOWNLOAD = "downloaded by --weights torchvision"
BYTES = 4  # of a weight in a model folder
BATCH, LEAST = 4, 0.5  # pictures at once, and seconds that the clock runs at least


@dataclass(frozen=True)
class Network:
    """What is known of a network on this machine.

    Attributes:
        name: as `--backbone` takes it.
        usable: whether it can be built here.
        pretrained: whether known weights are here; None where none are known.
        why: what is missing, and how to get it; empty where nothing is.
        parameters: weights of the network without hash head; None where it cannot be built.
        megabytes: of them in a model folder.
        size: side in pixels that it is for.
        weights: where known weights lie and their hash, or that they are downloaded; empty where there are none.
        learned_from: what they learned from; `licence` is theirs.
        known: accuracies that are known of them, that of their publication first.
        images_per_second: of `speed_of` on this machine; None where it was not measured.
    """

    name: str
    usable: bool
    pretrained: bool | None
    why: str
    parameters: int | None
    megabytes: float | None
    size: int
    weights: str = ""
    learned_from: str = ""
    licence: str = ""
    known: tuple[Known, ...] = ()
    images_per_second: float | None = None

    def to_json(self) -> dict[str, Any]:
        """All facts as plain values."""
        return asdict(self)


def list_networks(names: Sequence[str] = (), *, device: torch.device | str | None = None) -> list[Network]:
    """Networks by name, those with known weights first.

    Args:
        names: which; all registered ones by default. Names of timm (`timm:NAME`) are taken, too.
        device: where to measure their speed; None measures nothing.

    Raises:
        RequestError: unknown name.
    """
    for name in names:
        check_backbone(name)
    ordered = names or [*TABLE, *(name for name in BACKBONES if name not in TABLE)]
    return [_network(name, device) for name in ordered]


def _network(name: str, device: torch.device | str | None) -> Network:
    entry = TABLE.get(name)
    side = entry.size if entry else SIDES.get(name, 224)
    here, weights, missing = _weights(name, entry)
    try:
        net = _built(name, side, measured=device is not None)
    except RequestError as error:
        return Network(name, False, here, str(error), None, None, side, weights, **_known(name, entry))
    count = sum(value.numel() for value in net.parameters())
    speed = None if device is None else speed_of(net, backbone_channels(name, 3), side, device)
    size = round(count * BYTES / 1e6, 1)
    return Network(
        name, True, here, missing, count, size, side, weights, **_known(name, entry), images_per_second=speed
    )


def _weights(name: str, entry: Weights | None) -> tuple[bool | None, str, str]:
    """Whether known weights are here, where from, and what to do where they are not."""
    if entry is None:
        return None, DOWNLOAD if name in TORCHVISION else "", ""
    try:
        place_of(entry)
    except RequestError as error:
        return False, "", str(error)
    return True, described(entry), ""


def _known(name: str, entry: Weights | None) -> dict[str, Any]:
    if entry is None:
        return _of_torchvision(name) if name in TORCHVISION else {}
    return {"learned_from": entry.learned_from, "licence": entry.licence, "known": entry.known}


def _of_torchvision(name: str) -> dict[str, Any]:
    """What torchvision says of the weights that `--weights torchvision` downloads."""
    from torchvision.models import get_model_weights

    percent = get_model_weights(name).DEFAULT.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    return {"learned_from": "ImageNet-1k", "known": (Known(percent, "ImageNet validation", "torchvision"),)}


def _built(name: str, side: int, *, measured: bool) -> nn.Module:
    """The network; without memory (device meta) where only its shapes are asked for and it can be built so."""
    with torch.random.fork_rng(devices=[]):
        return network(name, 3, side) if measured else without_memory(lambda: network(name, 3, side))


@torch.no_grad()
def speed_of(net: nn.Module, channels: int, side: int, device: torch.device | str) -> float:
    """Pictures a second in evaluation mode: the best of forward passes of 4 pictures, after one that does not count.

    Args:
        net: the network, moved to the device.
        channels: of its pictures; `side` in pixels.
        side: height and width.
        device: where.
    """
    net.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.full((BATCH, channels, side, side), 0.5, device=device).to(memory_format=torch.channels_last)
    net(x)
    best, spent = float("inf"), 0.0
    while spent < LEAST:
        begun = time.perf_counter()
        net(x)
        if x.is_cuda:
            torch.cuda.synchronize(x.device)
        taken = time.perf_counter() - begun
        best, spent = min(best, taken), spent + taken
    return round(BATCH / best, 1)
