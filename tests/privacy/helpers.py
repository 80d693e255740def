"""A small protector that makes strong noise, and pictures for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from hamguard.models.protector import Protector
from hamguard.models.protector_store import save_protector


def strong_protector(eps: float = 8 / 255, seed: int = 0) -> Protector:
    """Random weights that know the statistics of a batch; the last layer is turned up until noise reaches the bound."""
    net = Protector(3, "small", eps, torch.Generator().manual_seed(seed)).requires_grad_(False)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0
    net.train()(torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(1)))
    net.net[-2].weight.mul_(10)
    return net.eval()


def saved_protector(folder: Path) -> Path:
    """The folder of a `strong_protector`, which learned against a model of which nothing is known but a hash."""
    save_protector(strong_protector(), folder, side=64, surrogates=["abcd"])
    return folder


def drawn(height: int, width: int, layers: int = 3, seed: int = 0) -> np.ndarray:
    shape = (height, width, layers) if layers > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def write(path: Path, height: int = 20, width: int = 24, layers: int = 3, seed: int = 0, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(drawn(height, width, layers, seed)).save(path, **options)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    """The copies in a folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.png")}
