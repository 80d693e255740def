"""A model seen through its steps and its saturated parts: the same outputs, with gradients where it has none.

Paper: A. Athalye, N. Carlini, D. Wagner, "Obfuscated Gradients Give a False Sense of Security", ICML 2018 (backward pass
differentiable approximation, section 4.1). A rounding passes the gradient on as if it were not there; a tanh or sigmoid passes it
on as if its input were smaller, so that half of the values lie where it bends.

It reaches what calls torch's functions, also from inside foreign modules; not the inside of exported programs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from hamguard.attacks.types import Victim

F = torch.nn.functional
STEPS = frozenset(
    {
        torch.round, torch.floor, torch.ceil, torch.trunc, torch.sign, Tensor.round, Tensor.floor, Tensor.ceil,
        Tensor.trunc, Tensor.sign, F.hardtanh, F.hardsigmoid,
    }
)  # fmt: skip
SATURATING = frozenset({torch.tanh, Tensor.tanh, F.tanh, torch.sigmoid, Tensor.sigmoid, F.sigmoid, F.softsign})


class _Through(TorchFunctionMode):
    """Replaces the backward pass of steps and saturating functions, and counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.met = 0

    def __torch_function__(
        self, func: Any, types: Sequence[Any], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func not in STEPS and func not in SATURATING:
            return func(*args, **kwargs)
        self.met += 1
        x, rest = args[0], args[1:]
        y = func(x.detach(), *rest, **kwargs).detach()
        passed = x if func in STEPS else _bent(func, x, rest, kwargs)
        return y + (passed - passed.detach())


def _bent(func: Callable[..., Tensor], x: Tensor, rest: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
    """The function at values brought to a median size of at most 1."""
    return func(x / x.detach().abs().median().clamp(min=1.0), *rest, **kwargs)


@dataclass(frozen=True)
class Through:
    """A model whose gradient passes through steps and saturation; outputs are the model's own.

    Attributes:
        model: the model.
    """

    model: Victim

    @property
    def bits(self) -> int:
        """Code length K."""
        return self.model.bits

    def logits(self, x: Tensor) -> Tensor:
        """Outputs `(B, K)` of pixels `(B, C, H, W)` in [0, 1]."""
        with _Through():
            return self.model.logits(x)

    def meets(self, x: Tensor) -> int:
        """Number of steps and saturating functions that the model calls; where it is 0, nothing is gained."""
        mode = _Through()
        with torch.no_grad(), mode:
            self.model.logits(x)
        return mode.met
