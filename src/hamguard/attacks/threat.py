"""The allowed set of an attack: a ball around the picture inside [0, 1], and the 8-bit grid that a file holds.

This is the only projection of the project. `eps` is in pixel units, written `8 / 255`; for `l0` it is a share of the pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from hamguard.core.checks import check_choice, parse_eps
from hamguard.core.errors import RequestError
from hamguard.core.seeds import torch_generator

Norm = Literal["linf", "l2", "l1", "l0"]
NORMS: tuple[Norm, ...] = get_args(Norm)
BALLS: tuple[Norm, ...] = ("linf", "l2")
"""Norms of what is asked of a model by several attacks at once, which take their steps from the radius."""
TINY = 1e-12
STILL = 1e-6
"""A value that differs by less has not moved: a level of a file is 1/255."""
SPARSE = 0.01
"""Share of values that an `l1` step moves, those of largest gradient: SLIDE's 99th percentile (Tramer, Boneh, NeurIPS 2019)."""


@dataclass(frozen=True)
class Threat:
    """What an attacker may do to a picture.

    Attributes:
        norm: `linf`, each value moves by at most eps; `l2`, the whole picture by at most eps in Euclidean length; `l1`, all values
            together by at most eps; `l0`, at most a share eps of the pixels moves, each as far as it likes with all its channels.
        eps: radius in pixel units, in (0, 1] for `linf`, above 0 for `l2` and `l1`; for `l0` a share of the pixels in (0, 1].
        one_sided: values may only grow, by at most eps (`linf`), as in CMLA's code.
    """

    norm: Norm
    eps: float
    one_sided: bool = False

    def __post_init__(self) -> None:
        check_choice("norm", self.norm, NORMS)
        if self.norm == "linf" and not 0 < self.eps <= 1:
            hint = f"; did you mean {self.eps:g} / 255?" if self.eps > 1 else ""
            raise RequestError(f"eps must be in (0, 1], got {self.eps:g}{hint}")
        if self.norm == "l0" and not 0 < self.eps <= 1:
            hint = f"; did you mean {self.eps:g} / (height x width)?" if self.eps > 1 else ""
            raise RequestError(f"eps of l0 is a share of the pixels in (0, 1], got {self.eps:g}{hint}")
        if not 0 < self.eps < float("inf"):
            raise RequestError(f"eps must be above 0, got {self.eps:g}")
        if self.one_sided and self.norm != "linf":
            raise RequestError(f"a one-sided threat is a linf threat, got {self.norm}")

    @property
    def low(self) -> float:
        """Smallest change of a value: `-reach`, or 0 where the threat is one-sided."""
        return 0.0 if self.one_sided else -self.reach

    @property
    def reach(self) -> float:
        """How far one value can move, from which searches take their steps: eps; for `l0` the whole range."""
        return 1.0 if self.norm == "l0" else self.eps

    def times(self, count: int) -> Threat:
        """The set that sums of so many changes lie in."""
        eps = self.eps * count
        return replace(self, eps=eps if self.norm in ("l2", "l1") else min(eps, 1.0))

    def pixels(self, x: Tensor) -> int:
        """How many pixels of a picture may move; all of them, but for `l0`.

        Raises:
            RequestError: a share of less than one pixel.
        """
        all_pixels = x[0].numel() if x.ndim == 2 else x.shape[-2] * x.shape[-1]
        if self.norm != "l0":
            return all_pixels
        count = math.floor(self.eps * all_pixels + 1e-6)
        if count == 0:
            raise RequestError(
                f"eps {self.eps:g} of {all_pixels:,} pixels is less than one; give 1/{all_pixels} or more"
            )
        return count

    def project(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """The nearest picture inside the ball around `x` and inside [0, 1], `(B, C, H, W)`.

        For `l2` the ball comes first and [0, 1] second: clipping moves every value toward `x`, so it leaves no ball. For `l1`
        that would waste length on values that [0, 1] cuts off, so both are met at once, see `shrink_l1`.
        For `l0` those pixels stay moved that would be farthest from `x_adv` if they did not.
        """
        if self.norm == "l1":
            return (x + shrink_l1(x_adv - x, x, self.eps)).clamp(0, 1)
        if self.norm == "l0":
            return self._few(x_adv, x)
        delta = x_adv - x
        if self.norm == "linf":
            delta = delta.clamp(self.low, self.eps)
        else:
            delta = delta * (self.eps / self.length(delta).clamp(min=self.eps))
        return (x + delta).clamp(0, 1)

    def length(self, delta: Tensor) -> Tensor:
        """Norm of each perturbation, `(B, 1, 1, 1)`; for `l0` the share of the pixels that moved."""
        if self.norm == "l0":
            return moved_pixels(delta).flatten(1).to(delta.dtype).mean(1).view(-1, 1, 1, 1)
        flat = delta.flatten(1)
        order = {"linf": float("inf"), "l2": 2.0, "l1": 1.0}[self.norm]
        found: Tensor = torch.linalg.vector_norm(flat, order, dim=1)
        return found.view(-1, 1, 1, 1)

    def steepest(self, gradient: Tensor, at: Tensor | None = None) -> Tensor:
        """Direction of one step of unit size, taken against it: the sign for `linf`, the normalized gradient for `l2`.

        For `l1` a step of unit length along one value alone is the steepest; as one value soon stands at 0 or 1, the length is
        shared by the `SPARSE` values of largest gradient that can still move. For `l0` it is the gradient over its largest value.

        Args:
            gradient: `(B, C, H, W)`.
            at: where the step begins, in [0, 1]; None where every value can move.
        """
        if self.norm == "linf":
            return gradient.sign()
        if self.norm == "l1":
            size = gradient.abs()
            if at is not None:
                size = size.masked_fill(torch.where(gradient > 0, at <= 0, at >= 1), 0.0)
            flat = size.flatten(1)  # (B, D)
            least = flat.topk(max(1, round(SPARSE * flat.shape[1]))).values[:, -1:]
            chosen = (flat >= least.clamp(min=TINY)).to(gradient)
            return gradient.sign() * (chosen / chosen.sum(1, keepdim=True).clamp(min=1.0)).view_as(gradient)
        if self.norm == "l0":
            return gradient / gradient.abs().flatten(1).amax(1).clamp(min=TINY).view(-1, 1, 1, 1)
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
        if self.norm == "l0":  # any color in pixels that are drawn
            where = torch.stack(
                [torch.rand(x.shape[2:], generator=torch_generator(seed, "pixels", turn, int(i))) for i in index]
            ).to(x)  # (B, H, W)
            return torch.where(_largest(where.flatten(1), self.pixels(x)).view_as(where)[:, None], noise, x)
        delta = noise * self.eps if self.one_sided else (2 * noise - 1) * self.eps
        if self.norm != "linf":  # a direction and a radius
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
        elif self.norm != "l0":
            toward = torch.where(x_adv >= x, (x_adv * 255 + 1e-4).floor(), (x_adv * 255 - 1e-4).ceil())
            over = self.length(nearest / 255 - x) > self.eps
            nearest = torch.where(over, toward, nearest)
        return nearest.clamp(0, 255) / 255

    def _few(self, x_adv: Tensor, x: Tensor) -> Tensor:
        inside, count = x_adv.clamp(0, 1), self.pixels(x)
        gain = (x_adv - x).square() - (x_adv - inside).square()  # what it saves to let the value move
        gain = gain if x.ndim == 2 else gain.sum(1)  # (B, H, W)
        keep = _largest(gain.flatten(1), count).view_as(gain)
        return torch.where(keep if x.ndim == 2 else keep[:, None], inside, x)


def _largest(values: Tensor, count: int) -> Tensor:
    """The `count` largest of each row, `(B, n)` bool."""
    keep = torch.zeros_like(values, dtype=torch.bool)
    return keep.scatter_(1, values.topk(min(count, values.shape[1]), dim=1).indices, value=True)


def moved_pixels(delta: Tensor) -> Tensor:
    """Which pixels moved in any channel, `(B, H, W)` bool; of bags of words, which words, `(B, V)`."""
    moved = delta.abs() > STILL
    return moved if delta.ndim == 2 else moved.any(1)


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


def L0(eps: float) -> Threat:  # noqa: N802
    """At most a share `eps` of the pixels moves: `L0(0.05)`, or `L0(20 / (28 * 28))` for twenty pixels.

    Raises:
        RequestError: `eps` is not in (0, 1].
    """
    return Threat("l0", eps)


def L1(eps: float) -> Threat:  # noqa: N802
    """All values of the picture together move by at most `eps`.

    Raises:
        RequestError: `eps` is not above 0.
    """
    return Threat("l1", eps)


def shrink_l1(delta: Tensor, x: Tensor, eps: float) -> Tensor:
    """The nearest change of length at most `eps` in L1 that keeps `x + delta` in [0, 1], exactly.

    The nearest point has `|d_i| = min(max(|delta_i| - t, 0), u_i)` with `u_i` the room of value i in its direction and one t >= 0
    for all (F. Croce, M. Hein, "Mind the box", ICML 2021). Its length falls in t along straight lines, which begin at
    `|delta_i| - u_i` and end at `|delta_i|`; the 2D ends are sorted, and t lies on the line that crosses eps.

    Args:
        delta: changes, `(B, ...)`.
        x: clean pictures in [0, 1], `(B, ...)`.
        eps: L1 radius.

    Returns:
        `(B, ...)`.
    """
    flat = delta.flatten(1).double()  # (B, D)
    size, clean = flat.abs(), x.flatten(1).double()
    room = torch.minimum(size, torch.where(flat > 0, 1 - clean, clean).clamp(min=0))  # u, (B, D)
    ends, order = torch.cat([size - room, size], 1).sort(1)  # (B, 2D)
    slopes = (
        torch.cat([torch.ones_like(size), -torch.ones_like(size)], 1).gather(1, order).cumsum(1)
    )  # values on their way down
    falls = slopes[:, :-1] * ends.diff(dim=1)  # (B, 2D - 1)
    whole = room.sum(1, keepdim=True)  # length at t = 0, (B, 1)
    lengths = whole - torch.cat([torch.zeros_like(whole), falls.cumsum(1)], 1)  # at the ends, (B, 2D), falling
    at = (lengths > eps).sum(1, keepdim=True).sub(1).clamp(min=0)  # the last end above eps, (B, 1)
    over = lengths.gather(1, at) - eps
    t = ends.gather(1, at) + over / slopes.gather(1, at).clamp(min=1.0)
    t = torch.where(whole > eps, t, torch.zeros_like(t))
    moved = torch.minimum((size - t).clamp(min=0), room)
    return (flat.sign() * moved).view_as(delta).to(delta)


def parse_threat(norm: str, eps: str) -> Threat:
    """The ball of two words of a command line.

    Raises:
        RequestError: a norm without a ball, or a radius that is no number or out of range.

    >>> parse_threat("l2", "0.5")
    Threat(norm='l2', eps=0.5, one_sided=False)
    """
    return Threat(parse_norm(norm, BALLS), parse_eps(eps))


def parse_norm(norm: str, allowed: Sequence[Norm] = NORMS) -> Norm:
    """A norm of a command line.

    Raises:
        RequestError: one that is not allowed.
    """
    check_choice("threat", norm, allowed)
    return next(one for one in allowed if one == norm)


def check_ball(threat: Threat, what: str) -> None:
    """Check that a budget is a ball, for what takes no budget of few pixels.

    Raises:
        RequestError: it counts pixels.
    """
    if threat.norm not in BALLS:
        raise RequestError(f"{what} takes a linf or l2 budget, got {threat.norm}")
