"""A hash function whose measures are known, and pictures for it."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from hamguard.attacks.threat import L2, Linf
from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import pack
from hamguard.core.seeds import torch_generator

SHAPE = (3, 4, 4)
BALLS = [Linf(0.1), L2(0.3)]


class LinearHash:
    """`z = W x + b`: every measure has an exact value, because the gradient of a bit is `w_k` everywhere."""

    def __init__(self, bits: int = 6, seed: int = 0, *, equal: bool = False) -> None:
        size = math.prod(SHAPE)
        generator = torch_generator(seed, "linear")
        self.bits = bits
        self.W = torch.randn(bits, size, generator=generator) * (1 + torch.arange(bits))[:, None]  # (K, D)
        if equal:
            self.W = self.W / self.W.abs().sum(1, keepdim=True)
        offset = 0.06 * (torch.rand(bits, generator=generator) - 0.5)
        self.b = offset * self.W.abs().sum(1) - 0.5 * self.W.sum(1)

    def logits(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.W.T + self.b  # (B, K)

    def norms(self, norm: str) -> Tensor:
        """Dual norms of the rows, `(K,)`."""
        return self.W.abs().sum(1) if norm == "linf" else self.W.norm(dim=1)

    def exact(self, x: Tensor, norm: str) -> np.ndarray:
        """Distance of every picture to the border of every bit, `(n, K)`."""
        return (self.logits(x).abs() / self.norms(norm)).double().numpy()


def pictures(n: int = 5, seed: int = 0) -> Tensor:
    """Well inside [0, 1], on the 8-bit grid."""
    x = 0.5 + 0.1 * (torch.rand(n, *SHAPE, generator=torch_generator(seed, "pictures")) - 0.5)
    return (x * 255).round() / 255


class Constant:
    """Saturated beyond float32: no gradient, no flip."""

    bits = 3

    def logits(self, x: Tensor) -> Tensor:
        return torch.tanh(1e4 * (x.flatten(1)[:, :3] + 1))


def codes(model: LinearHash, x: Tensor) -> CodeBank:
    code = torch.where(model.logits(x) < 0, -1, 1)
    return CodeBank(pack(code), model.bits, np.zeros((len(x), 0), np.uint8))
