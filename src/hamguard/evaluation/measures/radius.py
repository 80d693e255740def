"""First-bit-flip radius: how far a picture is from the nearest border of a bit (H.3; definitions ours).

`r(x) = min_k |z_k(x)| / ||grad z_k(x)||` with the dual norm: exact for a linear function inside [0, 1], an estimate for any other,
too large or too small. The m-th smallest of the K ratios estimates what flips m bits.

The iterated form follows DeepFool (Moosavi-Dezfooli et al., CVPR 2016) on the bits: step to the nearest linearized border, ask
again, until a bit has flipped. It ends at a picture whose code differs, so it is an upper bound of the true radius that was seen.

Deliberate differences from DeepFool: values at the edge of [0, 1] that would leave it are held and do not count in the norm, so
that steps reach as far as they mean to. And the point is pulled back along the straight line to the clean picture, as far as the
bit stays flipped, which takes away the overshoot.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from hamguard.attacks.attack import clean_code
from hamguard.attacks.threat import BALLS, Norm, Threat
from hamguard.attacks.types import Victim
from hamguard.codes.binary import sign
from hamguard.core.checks import check_choice, check_range
from hamguard.core.rows import Row, Rows
from hamguard.core.types import Floats
from hamguard.evaluation.measures.gradients import blocks, dual_norm, jacobian
from hamguard.evaluation.measures.registry import Found, Line, Subject, register
from hamguard.evaluation.measures.rows import Cost, eighths, fractions, noted, picture_numbers, quantile_rows

STEPS = 20  # linearizations at most
OVERSHOOT = 0.02  # DeepFool's
NUDGE = 1e-6  # beyond it, so that an output of exactly 0 moves, too
HALVINGS = 12  # of the way back: the point is within 1/4096 of the border on the line


@dataclass(frozen=True)
class FlipRadius:
    """Distances to the borders of bits, in pixel units.

    Attributes:
        ratio: `|z_k| / ||grad z_k||` of every bit, `(n, K)`; infinite where the gradient is 0.
        reached: norm of the least perturbation found that flips a bit, `(n,)`; infinite where none was found.
        norm: `linf` or `l2`.
        cost: what was spent.
    """

    ratio: Floats
    reached: Floats
    norm: Norm
    cost: Cost = field(compare=False)

    @property
    def first(self) -> Floats:
        """Estimated radius of the first flip, `(n,)`."""
        return self.at_least(1)

    def at_least(self, m: int) -> Floats:
        """Estimated radius at which m bits have flipped, the m-th smallest ratio, `(n,)`.

        Raises:
            RequestError: `m` is not between 1 and K.
        """
        check_range("m", m, 1, self.ratio.shape[1])
        return np.asarray(np.sort(self.ratio, axis=1)[:, m - 1])


def border_distance(z: Tensor, size: Tensor) -> Tensor:
    """`|z_k| / ||grad z_k||` of outputs and their dual gradient norms, `(b, K)`; infinite where the gradient is 0."""
    return torch.where(size > 0, z.abs() / size, torch.inf)


def flip_radius(model: Victim, x: Tensor, *, norm: Norm = "linf", steps: int = STEPS) -> FlipRadius:
    """First-bit-flip radii of pictures; nothing is drawn.

    Args:
        model: frozen, in evaluation mode.
        x: clean pictures, `(n, C, H, W)` in [0, 1].
        norm: `linf` or `l2`.
        steps: linearizations at most; each costs K backward passes of the pictures that have not flipped yet.

    Raises:
        RequestError: pictures outside [0, 1], an unknown norm, fewer than one step, or no gradient to the pictures.
        RunError: a gradient is not finite.
    """
    started = time.perf_counter()
    picture_numbers(None, len(x))
    check_choice("norm", norm, BALLS)
    check_range("steps", steps, 1)
    ratios, reached, passes = [], [], np.zeros(2)
    for part in blocks(len(x), x, 4):  # the Jacobian is several times the size of the activations
        ratio, distance, spent = _search(model, x[part], norm, steps)
        ratios.append(ratio)
        reached.append(distance)
        passes += spent
    each = np.ceil(passes / len(x)).astype(int)
    cost = Cost(int(each[0]), int(each[1]), time.perf_counter() - started)
    return FlipRadius(torch.cat(ratios).double().cpu().numpy(), torch.cat(reached).double().cpu().numpy(), norm, cost)


def _search(model: Victim, x: Tensor, norm: Norm, steps: int) -> tuple[Tensor, Tensor, Floats]:
    # the radius bounds a step, which is never longer than the unit cube; it is no budget
    space = Threat(norm, 1.0 if norm == "linf" else x[0].numel() ** 0.5)
    own, at = clean_code(model, x), x.clone()  # (b, K), (b, C, H, W)
    live, ratios, spent = torch.arange(len(x), device=x.device), None, np.array([len(x), 0.0])
    for _ in range(steps):
        z, gradient = jacobian(model.logits, at[live])  # (b, K), (b, K, C, H, W)
        spent += (len(live), len(live) * z.shape[1])
        if ratios is None:
            ratios = border_distance(z, dual_norm(gradient.flatten(0, 1), norm).view_as(z))  # (n, K)
        held = (sign(z) == own[live]).all(1)
        live, z, gradient = live[held], z[held], gradient[held]
        if len(live) == 0:
            break
        # 1. the way down for every bit, without values that stand at an edge
        here = at[live][:, None]
        down = -own[live][:, :, None, None, None] * gradient
        down = down * (((down > 0) & (here < 1)) | ((down < 0) & (here > 0)))  # (b, K, C, H, W)
        # 2. the nearest border
        size = dual_norm(down.flatten(0, 1), norm).view_as(z)  # (b, K)
        length, bit = border_distance(z, size).min(1)  # (b,)
        moving = length.isfinite()
        live, length = live[moving], length[moving]
        # 3. the step there
        direction = space.steepest(down[moving, bit[moving]])  # (b, C, H, W)
        stride = (length * (1 + OVERSHOOT) + NUDGE).clamp(max=space.eps).view(-1, 1, 1, 1)
        at[live] = (at[live] + stride * direction).clamp(0, 1)
        if len(live) == 0:
            break
    assert ratios is not None
    reached, forwards = _pulled_back(model, x, at, own, space)
    spent[0] += forwards
    return ratios, reached, spent


@torch.no_grad()
def _pulled_back(model: Victim, x: Tensor, at: Tensor, own: Tensor, space: Threat) -> tuple[Tensor, int]:
    """Norm of the least part of the way to `at` that flips a bit, `(b,)`, and the forward passes it took."""

    def flips(share: Tensor) -> Tensor:
        z = model.logits(x + share.view(-1, 1, 1, 1) * (at - x))
        return (sign(z) != own).any(1)

    high = torch.ones(len(x), dtype=x.dtype, device=x.device)
    low, flipped = torch.zeros_like(high), flips(high)
    for _ in range(HALVINGS if bool(flipped.any()) else 0):
        middle = (low + high) / 2
        hit = flips(middle)
        low, high = torch.where(hit, low, middle), torch.where(hit, middle, high)
    length = high * space.length(at - x).flatten()
    return torch.where(flipped, length, torch.inf), len(x) * (1 + (HALVINGS if bool(flipped.any()) else 0))


def radius_rows(found: FlipRadius, base: Row, *, bits: tuple[int, ...] | None = None, seed: int = 0) -> list[Row]:
    """Median, 10th and 90th percentile of the estimate for m bits (`flip-radius`, `at` m) and of what was reached.

    Args:
        found: what was measured.
        base: model and data.
        bits: values of m; None takes 1, K/8, K/4 and K/2.
        seed: of the bootstrap.

    Returns:
        Rows of `flip-radius` for every m, then of `flip-reached`, the norm of a perturbation that did flip a bit.
    """
    K = found.ratio.shape[1]
    base = found.cost.on(replace(base, threat={"norm": found.norm, "grid": "none"}, task="query"))
    rows: list[Row] = []
    for m in bits or eighths(K):
        estimate = noted(base, "flip-radius is linear at the clean picture: an estimate, no bound")
        rows += quantile_rows(estimate, "flip-radius", found.at_least(m), seed=seed, at=m)
    return rows + quantile_rows(base, "flip-reached", found.reached, seed=seed, at=1)


@register("radius")
def radius(subject: Subject, *, steps: int = STEPS) -> Found:
    """Distance to the nearest border of a bit, linear estimates for several bits, and a flip that was reached."""
    found = flip_radius(subject.ground.model, subject.x, steps=steps)
    rows = Rows(radius_rows(found, subject.base, seed=subject.ground.seed))
    lines = [
        Line(
            f"flip radius, {name}",
            f"estimated budget that turns {name}, median",
            "higher",
            "eps",
            rows.where(metric="flip-radius-median", at=m)[-1],
            found.at_least(m),
        )
        for name, m in fractions(subject.clean.bits).items()
    ]
    reached, text = rows.one("flip-reached-median"), "budget of a change that was found to turn a bit, median"
    return Found(rows, [*lines, Line("flip radius, reached", text, "higher", "eps", reached, found.reached)])
