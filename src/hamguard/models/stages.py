"""Statistics of a network's middle layers: what textures and edges a picture has, which networks of other kinds share.

The last map at each resolution is a stage; the two before the final one are looked at, which are those at an eighth and a
sixteenth of the sides in most networks. Of each map the means and the standard deviations of its channels over all positions are
kept, so that the size of the picture does not matter (as in X. Huang, S. Belongie, ICCV 2017, where they say what a style is).
Which modules give the stages is seen by running the network once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hamguard.models.hash_model import HashModel

STAGES = 2
"""Stages before the final one."""
TINY = 1e-6  # of variances, below the root
LEAST = 1e-4  # of deviations over pictures


@dataclass(frozen=True)
class StageScale:
    """How the statistics of stages are distributed over pictures.

    Attributes:
        means, deviations: of each stage, `(2C,)` each.
    """

    means: Sequence[Tensor]
    deviations: Sequence[Tensor]

    @classmethod
    def of(cls, stages: Sequence[Tensor]) -> StageScale:
        """That of pictures whose statistics are `(n, 2C)` for each stage."""
        return cls([one.mean(0) for one in stages], [one.std(0) + LEAST for one in stages])

    def __call__(self, stages: Sequence[Tensor]) -> list[Tensor]:
        """Statistics `(B, 2C)` of each stage, less the mean and divided by the deviation."""
        return [(one - mean) / spread for one, mean, spread in zip(stages, self.means, self.deviations, strict=True)]

    def to(self, device: torch.device | str) -> StageScale:
        """The same on a device."""
        return StageScale(*([one.to(device) for one in part] for part in (self.means, self.deviations)))


class Stages:
    """A hash model that says what its middle layers see, too.

    Args:
        model: frozen, in evaluation mode; hooks are put on it.
        scale: of its statistics; None for statistics as they are.
    """

    def __init__(self, model: HashModel, scale: StageScale | None = None) -> None:
        self.model, self.scale = model, scale
        self._kept: dict[int, Tensor] = {}
        self._modules = _stage_modules(model)
        for number, module in enumerate(self._modules):
            module.register_forward_hook(self._keeper(number))

    def _keeper(self, number: int) -> Any:
        def keep(module: nn.Module, given: Any, out: Tensor) -> None:
            flat = out.clone().flatten(2)  # a copy, for what follows may work in place
            spread = (flat.var(2, unbiased=False) + TINY).sqrt()
            self._kept[number] = torch.cat([flat.mean(2), spread], 1)  # (B, 2C)

        return keep

    def __len__(self) -> int:
        return len(self._modules)

    def __call__(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Pictures `(B, C, H, W)` in [0, 1], of any size that the network takes.

        Returns:
            Features `(B, D)` below the hash head, and statistics `(B, 2C)` of each stage, scaled where their scale is known.
        """
        features = self.model.features_of(x)
        found = [self._kept.pop(number) for number in range(len(self._modules))]
        return features, found if self.scale is None else self.scale(found)


@torch.no_grad()
def _stage_modules(model: HashModel) -> list[nn.Module]:
    """The blocks that give the last maps of the stages before the final one; fewer, or none, in a small network."""
    last: dict[tuple[int, int], nn.Module] = {}
    order: list[tuple[int, int]] = []

    def look(module: nn.Module, given: Any, out: Any) -> None:
        if isinstance(out, Tensor) and out.ndim == 4 and min(out.shape[2:]) > 1:
            side = (int(out.shape[2]), int(out.shape[3]))
            if side not in last:
                order.append(side)
            last[side] = module  # an outer module ends after its inner ones

    inner = [module for module in model.trunk.modules() if module is not model.trunk]
    blocks = [one for one in inner if any(isinstance(part, nn.Conv2d) for part in one.modules() if part is not one)]
    hooks = [module.register_forward_hook(look) for module in blocks or inner]
    try:
        at = next(model.parameters())
        model.features_of(torch.zeros(1, model.channels, *model.size, device=at.device, dtype=at.dtype))
    finally:
        for hook in hooks:
            hook.remove()
    return [last[side] for side in order[:-1][-STAGES:]]
