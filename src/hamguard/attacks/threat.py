"""The allowed set of an attack: a ball around the picture inside [0, 1], and the 8-bit grid that a file holds.

This is the only projection of the project. `eps` is in pixel units, written `8 / 255`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hamguard.core.checks import check_choice
from hamguard.core.errors import RequestError
from hamguard.core.seeds import torch_generator

Norm = Literal["linf", "l2"]
TINY = 1e-12


@dataclass(frozen=True)
class Threat:
    """What an attacker may do to a picture.

    Attributes:
        norm: `linf`, each value moves by at most eps; `l2`, the whole picture by at most eps in Euclidean length.
        eps: radius in pixel units, in (0, 1] for `linf`, above 0 for `l2`.
        one_sided: values may only grow, by at most eps (`linf`), as in CMLA's code.
    """

    norm: Norm
    eps: float
    one_sided: bool = False

    def __post_init__(self) -> None:
        check_choice("norm", self.norm, ("linf", "l2"))
        if self.norm == "linf" and not 0 < self.eps <= 1:
            hint = f"; did you mean {self.eps:g} / 255?" if self.eps > 1 else ""
            raise RequestError(f"eps must be in (0, 1], got {self.eps:g}{hint}")
        if not 0 < self.eps < float("inf"):
            raise RequestError(f"eps must be above 0, got {self.eps:g}")
        if self.one_sided and self.norm != "linf":
            raise RequestError("a one-sided threat is a linf threat, got l2")

    @property
    def low(self) -> float:
        """Smallest change of a value under `linf`: -eps, or 0 where the threat is one-sided."""
        return 0.0 if self.one_sided else -self.eps

    def project(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """The nearest picture inside the ball around `x` and inside [0, 1], `(B, C, H, W)`.

        For `l2` the ball comes first and [0, 1] second: clipping moves every value toward `x`, so it leaves no ball.
        """
        delta = x_adv - x
        if self.norm == "linf":
            delta = delta.clamp(self.low, self.eps)
        else:
            delta = delta * (self.eps / self.length(delta).clamp(min=self.eps))
        return (x + delta).clamp(0, 1)

    def length(self, delta: Tensor) -> Tensor:
        """Norm of each perturbation, `(B, 1, 1, 1)`."""
        flat = delta.flatten(1)
        order = float("inf") if self.norm == "linf" else 2.0
        found: Tensor = torch.linalg.vector_norm(flat, order, dim=1)
        return found.view(-1, 1, 1, 1)

    def steepest(self, gradient: Tensor) -> Tensor:
        """Direction of one step of unit size: the sign for `linf`, the normalized gradient for `l2`."""
        if self.norm == "linf":
            return gradient.sign()
        length: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
        return gradient / length.clamp(min=TINY).view(-1, 1, 1, 1)

    def start(self, x: Tensor, index: Sequence[int], seed: int, turn: int = 0) -> Tensor:
        """A random picture of the allowed set, drawn for each picture by its own generator.

        Args:
            x: clean pictures, `(B, C, H, W)`.
            index: number of each picture in the whole run, so that batches may be cut anywhere.
            seed: seed of the attack.
            turn: number of the restart.
        """
        noise = torch.stack(
            [torch.rand(x.shape[1:], generator=torch_generator(seed, "start", turn, int(i))) for i in index]
        ).to(x)  # (B, C, H, W)
        delta = noise * self.eps if self.one_sided else (2 * noise - 1) * self.eps
        if self.norm == "l2":  # a direction and a radius
            delta = delta / self.length(delta).clamp(min=TINY) * self.eps * noise.flatten(1)[:, :1].view(-1, 1, 1, 1)
        return self.project(x + delta, x)

    def on_grid(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """The picture as an 8-bit file holds it, still inside the threat: `(B, C, H, W)`, multiples of 1/255.

        Values are rounded to the nearest level; one that would leave the ball goes to the next level toward `x`. Where `x`
        lies between two levels and eps is smaller than the way to either, the nearest level to `x` is all a file can hold.
        """
        nearest = (x_adv * 255).round()
        if self.norm == "linf":
            low = ((x + self.low) * 255 - 1e-4).ceil()
            high = ((x + self.eps) * 255 + 1e-4).floor()
            nearest = torch.where(low <= high, nearest.clamp(low, high.maximum(low)), (x * 255).round())
        else:
            toward = torch.where(x_adv >= x, (x_adv * 255 + 1e-4).floor(), (x_adv * 255 - 1e-4).ceil())
            over = self.length(nearest / 255 - x) > self.eps
            nearest = torch.where(over, toward, nearest)
        return nearest.clamp(0, 255) / 255


def Linf(eps: float) -> Threat:  # noqa: N802 - reads as the norm's name
    """Every value moves by at most `eps`.

    Raises:
        RequestError: `eps` is not in (0, 1].
    """
    return Threat("linf", eps)


def L2(eps: float) -> Threat:  # noqa: N802
    """The picture moves by at most `eps` in Euclidean length.

    Raises:
        RequestError: `eps` is not above 0.
    """
    return Threat("l2", eps)


def parse_eps(text: str) -> float:
    """`8/255` or `0.03` as a number.

    Raises:
        RequestError: neither.

    >>> round(parse_eps("8/255"), 5), parse_eps("0.1")
    (0.03137, 0.1)
    """
    top, slash, bottom = text.partition("/")
    try:
        eps = float(top) / (float(bottom) if slash else 1.0)
    except (ValueError, ZeroDivisionError) as error:
        raise RequestError(f"eps must be a number such as 0.03 or 8/255, got {text!r}") from error
    if not (math.isfinite(eps) and math.isfinite(float(bottom or 1))):
        raise RequestError(f"eps must be a finite number such as 0.03 or 8/255, got {text!r}")
    return eps


def parse_threat(norm: str, eps: str) -> Threat:
    """The threat of two words of a command line.

    Raises:
        RequestError: an unknown norm, or a radius that is no number or out of range.

    >>> parse_threat("l2", "0.5")
    Threat(norm='l2', eps=0.5, one_sided=False)
    """
    check_choice("threat", norm, ("linf", "l2"))
    return Threat("linf" if norm == "linf" else "l2", parse_eps(eps))
