"""What a gradient to the pixels costs at least on this core: its FLOPs at the speed of a large matrix product."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode


def least_seconds(works: Mapping[str, Callable[[], object]], turns: int) -> dict[str, float]:
    """Least CPU seconds of each, measured in turn so that a busy moment meets all."""
    least = dict.fromkeys(works, float("inf"))
    for turn in range(turns + 1):
        for name, work in works.items():
            start = time.process_time()
            work()
            if turn:  # the first turn warms up
                least[name] = min(least[name], time.process_time() - start)
    return least


def flop_rate() -> float:
    """FLOP per second of a large float32 matrix product on one core."""
    a = torch.rand(1024, 1024)
    spent = min(least_seconds({"product": lambda: a @ a}, 5).values())
    return 2 * 1024**3 / spent


def gradient_flops(model: Any) -> int:
    """FLOPs of one gradient to the pixels of one picture, forward and backward, two for each multiplication with its addition.

    Args:
        model: with frozen weights, so that none of their gradients is counted.
    """
    with FlopCounterMode(display=False) as counter:
        at = torch.rand(1, model.channels, *model.size).requires_grad_()
        torch.autograd.grad(model.logits(at).sum(), at)
    return int(counter.get_total_flops())
