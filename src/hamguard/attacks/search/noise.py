"""No search at all: uniform noise in the ball, or signs of full size. The control row of every table (ProS-GAN, CVPR 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hamguard.attacks.types import SearchProblem
from hamguard.core.seeds import torch_generator


@dataclass(frozen=True)
class RandomNoise:
    """One random picture of the allowed set.

    Attributes:
        full: every value moves by the whole eps (`linf` only makes sense); else uniform in the ball, as published.
    """

    full: bool = False

    def __call__(self, problem: SearchProblem) -> Tensor:
        """Noisy pictures, `(B, C, H, W)`, or bags of words, `(B, V)`, drawn a batch at a time; no pass through the model."""
        x, threat = problem.x, problem.threat
        if x.ndim == 2:
            coins = torch.rand(x.shape, generator=torch_generator(problem.seed, "text noise", int(problem.index[0])))
            return threat.project(x + threat.low + (threat.eps - threat.low) * coins.to(x), x)
        if not self.full:
            return threat.start(x, problem.index, problem.seed)
        coins = torch.stack(
            [torch.rand(x.shape[1:], generator=torch_generator(problem.seed, "noise", int(i))) for i in problem.index]
        ).to(x)  # (B, C, H, W)
        return threat.project(x + threat.eps * torch.where(coins < 0.5, -1.0, 1.0), x)
