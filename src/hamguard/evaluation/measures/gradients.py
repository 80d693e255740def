"""Gradients of every output to the pixels, their dual norms, and uniform draws from a ball: the ground of H.3, H.4 and H.5."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from hamguard.attacks.threat import BALLS, TINY, Norm, Threat
from hamguard.core.checks import check_choice
from hamguard.core.errors import RequestError, RunError

Outputs = Callable[[Tensor], Tensor]
"""Pictures `(b, C, H, W)` to `(b, F)` real numbers; no picture's depend on its neighbors."""

TOGETHER = 8
"""Up to so many pictures all outputs go back in one batched pass. Beyond, one pass an output is as parallel and up to three times
as fast on a CPU: 65 against 182 ms a picture for 32 bits of a ResNet-20 on 64 pictures."""

PIXELS = 1 << 18
"""Pixels that go through a model at once: 256 pictures of 32x32, 5 of 224x224. Bounds the memory of the activations."""


def whole(gradient: Tensor) -> Tensor:
    """The gradient itself."""
    return gradient


def dual_norm(gradient: Tensor, norm: Norm) -> Tensor:
    """Norm of each gradient `(b, C, H, W)` that belongs to a ball: L1 for `linf`, L2 for `l2`; `(b,)`.

    Raises:
        RequestError: another norm.
    """
    check_choice("norm", norm, BALLS)
    found: Tensor = torch.linalg.vector_norm(gradient.flatten(1), 1.0 if norm == "linf" else 2.0, dim=1)
    return found


def jacobian(outputs: Outputs, x: Tensor, reduce: Callable[[Tensor], Tensor] = whole) -> tuple[Tensor, Tensor]:
    """Values and gradients of all outputs.

    Args:
        outputs: the function.
        x: where, `(b, C, H, W)`.
        reduce: what is kept of gradients `(b, C, H, W)`, e.g. their norms `(b,)`; with it no Jacobian is stored.

    Returns:
        Values `(b, F)` and gradients `(b, F, C, H, W)`, or what `reduce` left, `(b, F, ...)`.

    Raises:
        RequestError: the function does not return `(b, F)`, or no gradient comes back to the pictures.
        RunError: a gradient is not finite.
    """
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        values = outputs(x)
    if values.ndim != 2 or len(values) != len(x):
        raise RequestError(f"the measured model must return ({len(x)}, K) numbers, got {tuple(values.shape)}")
    if not values.requires_grad:
        raise RequestError("the measured model lets no gradient through: its outputs do not depend on the pictures")
    parts = _together(values, x, reduce) if len(x) <= TOGETHER else None
    if parts is None:
        parts = torch.stack([reduce(gradient) for gradient in _one_by_one(values, x)])
    if not bool(parts.isfinite().all()):
        raise RunError("the gradient to the picture is NaN or infinite; the model's weights or outputs are broken")
    return values.detach(), parts.transpose(0, 1)  # (b, F), (b, F, ...)


def _together(values: Tensor, x: Tensor, reduce: Callable[[Tensor], Tensor]) -> Tensor | None:
    b, F = values.shape
    eye = torch.eye(F, dtype=values.dtype, device=values.device)[:, None].expand(F, b, F)
    try:
        (found,) = torch.autograd.grad(values, x, eye, is_grads_batched=True, retain_graph=True)  # (F, b, C, H, W)
    except RuntimeError:  # an operation of the model that cannot be batched
        return None
    kept = reduce(found.flatten(0, 1))  # (F b, ...)
    return kept.view(F, b, *kept.shape[1:])


def _one_by_one(values: Tensor, x: Tensor) -> Iterator[Tensor]:
    last = values.shape[1] - 1
    for k in range(last + 1):
        yield torch.autograd.grad(values[:, k].sum(), x, retain_graph=k < last)[0]


def blocks(count: int, x: Tensor, each: int = 1) -> Iterator[slice]:
    """Slices of `range(count)` whose items, `each` pictures of the size of `x` every one, go through a model at once."""
    step = max(1, PIXELS // (each * x.shape[-2] * x.shape[-1]))
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def draw_in_ball(x: Tensor, ball: Threat, count: int, generator: torch.Generator) -> Tensor:
    """Pictures drawn uniformly from the ball around one picture, then clipped to [0, 1].

    Args:
        x: the picture, `(C, H, W)`.
        ball: norm and radius.
        count: how many.
        generator: source of the draw, on the CPU.

    Returns:
        `(count, C, H, W)`.
    """
    shape = (count, *x.shape)
    if ball.norm == "linf":
        delta = (2 * torch.rand(shape, generator=generator) - 1) * ball.eps
    else:  # a normal direction, and a length whose power D is uniform
        delta = torch.randn(shape, generator=generator)
        radius = torch.rand((count, 1, 1, 1), generator=generator).pow(1 / x.numel()) * ball.eps
        delta = delta / ball.length(delta).clamp(min=TINY) * radius
    return ball.project(x + delta.to(x), x)
