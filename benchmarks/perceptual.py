"""ST-LPIPS: how different two pictures look, by a network that learned from people's judgements of distorted patches.

A. Ghildyal, F. Liu, "Shift-tolerant Perceptual Similarity Metric", ECCV 2022; R. Zhang et al., CVPR 2018, eq. (1): of five maps,
scaled to length 1 over channels, the squared difference, weighted by channel and averaged over places, summed over maps. Network
and weights are those of `--backbone alexnet_st` (package `stlpips-pytorch`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from hamguard.models.backbones import network
from hamguard.models.pretrained import check_file, place_of, weights_of
from hamguard.models.weight_files import read_pickled

NAME = "alexnet_st"
SLICES = tuple(f"slice{number}" for number in range(1, 6))


class Perceptual:
    """The distance; the weights are read once.

    Raises:
        MissingFileError: they are not here; the message says what to install.
        RequestError: the file is another one.
    """

    def __init__(self) -> None:
        entry = weights_of(NAME)
        path = place_of(entry)
        check_file(entry, path)
        state = read_pickled(path)
        self.net = network(NAME, 3, 224).eval().requires_grad_(False)
        own = {name.removeprefix(entry.prefix): value for name, value in state.items() if name.startswith(entry.prefix)}
        self.net.load_state_dict(own)
        self.weights = [state[f"lin{number}.model.1.weight"] for number in range(len(SLICES))]  # (1, C, 1, 1) each
        self.shift, self.scale = state["scaling_layer.shift"], state["scaling_layer.scale"]

    def maps(self, x: Tensor) -> list[Tensor]:
        """The five maps of pictures `(B, 3, H, W)` in [0, 1], of length 1 over channels."""
        at, found = (2 * x - 1 - self.shift) / self.scale, []
        for name in SLICES:
            at = self.net.get_submodule(name)(at)
            found.append(at / (at.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return found

    @torch.no_grad()
    def __call__(self, x: Tensor, other: Tensor) -> Tensor:
        """How different they look, `(B,)`, 0 for the same.

        Args:
            x: `(B, 3, H, W)` in [0, 1].
            other: the same shape.
        """
        total = x.new_zeros(len(x))
        for weight, a, b in zip(self.weights, self.maps(x), self.maps(other), strict=True):
            total = total + ((a - b).square() * weight).sum(1).mean((1, 2))
        return total
