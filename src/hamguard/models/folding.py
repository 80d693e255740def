"""A copy of a model for gradients, up to 1.6 times as fast: batch norms folded into convolutions, rectifiers in place.

Which convolution a batch norm follows is seen by running the network once, not by tracing its code, which timm's networks do not
allow. The copy is the same function up to rounding, so it serves gradients only; figures come from the model itself.
"""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from hamguard.core.seeds import torch_generator
from hamguard.models.hash_model import HashModel
from hamguard.models.store import AnyModel
from hamguard.models.trial import CLOSE

TURNED = 0.05
"""Largest difference of two gradients of one function, relative to their length. Measured: up to 0.006 (EfficientNet-Lite0, random
weights, where rounding turns rectifiers at 0); another function is at 0.5 and more."""


class Folding:
    """Folds one model again and again while it learns; how it can be folded is tried the first time only.

    A copy counts only if outputs and the gradient to the picture agree with the model's on a trial picture, which costs as much
    as a few pictures of a batch.
    """

    def __init__(self) -> None:
        self._ways: tuple[bool, ...] = (True, False)  # rectifiers in place, or as they are
        self._tried = False

    def __call__(self, model: AnyModel) -> AnyModel:
        """The quicker copy, frozen and in evaluation mode; the model itself where it cannot be copied or nothing is gained.

        Args:
            model: frozen, in evaluation mode; the same network each time, with whatever weights.
        """
        if not isinstance(model, HashModel):
            return model
        for in_place in self._ways:
            try:
                twin = _copy(model, in_place)
                if self._tried or _agrees(model, twin):
                    self._ways, self._tried = (in_place,), True
                    return twin
            except Exception:  # a network may hold any code; the model itself is as right, only slower
                continue
        self._ways = ()
        return model


def folded(model: AnyModel) -> AnyModel:
    """The quicker copy of a model that is folded once; see `Folding`.

    Args:
        model: frozen, in evaluation mode.
    """
    return Folding()(model)


def _copy(model: HashModel, in_place: bool) -> HashModel:
    twin = copy.deepcopy(model)
    at = next(iter(twin.parameters())).device
    _fold(twin.backbone, torch.zeros(1, twin.channels, *twin.size, device=at))
    if in_place:
        for name, part in list(twin.backbone.named_modules()):
            if isinstance(part, nn.ReLU6):
                twin.backbone.set_submodule(name, InPlaceReLU6())
            elif isinstance(part, nn.ReLU):
                part.inplace = True
    return twin.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def _fold(net: nn.Module, trial: Tensor) -> None:
    """Put each batch norm that is handed the output of a convolution into that convolution; what it does after stays."""
    made: list[
        tuple[str, Tensor]
    ] = []  # outputs of convolutions, held so that no other tensor takes their place in memory
    pairs: dict[str, set[str | None]] = {}
    hooks = []
    for name, part in net.named_modules():
        if isinstance(part, nn.Conv2d):
            hooks.append(part.register_forward_hook(lambda _, given, out, name=name: made.append((name, out))))
        elif isinstance(part, nn.BatchNorm2d):

            def met(_: nn.Module, given: tuple[Tensor, ...], name: str = name) -> None:
                pairs.setdefault(name, set()).add(next((conv for conv, out in made if out is given[0]), None))

            hooks.append(part.register_forward_pre_hook(met))
    with torch.no_grad():
        net(trial)
    for hook in hooks:
        hook.remove()
    calls = Counter(name for name, _ in made)
    for norm, convolutions in pairs.items():
        (conv,) = convolutions if len(convolutions) == 1 else (None,)
        if conv is None or calls[conv] != 1:
            continue
        before, part = net.get_submodule(conv), net.get_submodule(norm)
        assert isinstance(before, nn.Conv2d) and isinstance(part, nn.BatchNorm2d)
        net.set_submodule(conv, fuse_conv_bn_eval(before, part))
        after = [getattr(part, own, None) for own in ("drop", "act")]  # which timm's hold
        net.set_submodule(norm, nn.Sequential(*[one for one in after if one is not None]))


class InPlaceReLU6(nn.Module):
    """`min(max(x, 0), 6)` in the place of x, which torch's own form copies first; its gradient is 0 where the result is 0 or 6."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, returned changed."""
        clamped: Tensor = _Clamp.apply(x)
        return clamped


class _Clamp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        ctx.save_for_backward(x.clamp_(0, 6))
        return x

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        (out,) = ctx.saved_tensors
        back: Tensor = torch.ops.aten.hardtanh_backward(slope, out, 0.0, 6.0)
        return back


def _agrees(model: HashModel, twin: HashModel) -> bool:
    """Whether outputs agree up to rounding, and gradients up to rectifiers that rounding turns; NaN agrees with nothing."""
    at = next(iter(model.parameters())).device
    trial = torch.rand(2, model.channels, *model.size, generator=torch_generator(0)).to(
        at
    )  # an even ramp would tie in every pooling
    (want, slope), (got, other) = _outputs(model, trial), _outputs(twin, trial)
    same = (want - got).abs().max() <= CLOSE * want.abs().max().clamp(min=1e-6)
    return bool(same) and bool((slope - other).norm() <= TURNED * slope.norm())


def _outputs(model: HashModel, x: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        at = x.clone().requires_grad_()
        z = model.logits(at)
        (slope,) = torch.autograd.grad(z.sum(), at)
    return z.detach(), slope
