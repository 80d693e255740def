"""Weight averaging: the exponential mean of the weights over the steps of a run.

Paper: B. Polyak, A. Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992; for adversarial training e.g.
S. Gowal et al., arXiv 2010.03593. In the first steps the decay is `(1 + t) / (10 + t)`, so that short runs forget their start.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Average:
    """Mean of all floating-point weights and buffers; whole numbers are those of the model.

    Args:
        model: the network.
        decay: weight of the past at each step, in (0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model, self.decay, self.steps = model, decay, 0
        self.mean = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights of now."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, value in self.model.state_dict().items():
            if value.is_floating_point():
                self.mean[name].mul_(decay).add_(value, alpha=1 - decay)
            else:
                self.mean[name].copy_(value)

    def apply(self) -> None:
        """Give the model the mean weights."""
        self.model.load_state_dict(self.mean)

    def state(self) -> dict[str, Tensor | int]:
        """Mean and number of steps; copies."""
        return {"steps": self.steps, **{f"mean.{name}": value.cpu().clone() for name, value in self.mean.items()}}

    def load_state(self, state: dict[str, Tensor | int]) -> None:
        """Take what `state` gave."""
        self.steps = int(state["steps"])
        for name, mean in self.mean.items():
            value = state[f"mean.{name}"]
            assert isinstance(value, Tensor)
            mean.copy_(value)
