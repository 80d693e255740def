"""A copy of a model whose batch norms are folded into the convolutions before them: the same function, a fifth faster.

Rounding differs in the last digits, so the copy serves gradients only; figures come from the model itself.
"""

from __future__ import annotations

import copy

import torch

from hamguard.models.hash_model import HashModel
from hamguard.models.store import AnyModel

CLOSE = 1e-3  # largest difference of an output that is still rounding, relative to the largest output


@torch.no_grad()
def folded(model: AnyModel) -> AnyModel:
    """The folded copy, frozen and in evaluation mode; the model itself where it has nothing to fold or cannot be traced.

    Args:
        model: frozen, in evaluation mode.
    """
    if not isinstance(model, HashModel) or not any(
        isinstance(part, torch.nn.modules.batchnorm._BatchNorm) for part in model.backbone.modules()
    ):
        return model
    from torch.fx.experimental.optimization import fuse

    twin = copy.deepcopy(model)
    try:
        twin.backbone = fuse(twin.backbone)
    except Exception:  # tracing may meet any code; the model itself is as right, only slower
        return model
    twin.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    at = next(iter(model.parameters())).device
    height, width = model.size
    trial = torch.linspace(0, 1, 2 * model.channels * height * width, device=at).view(2, model.channels, height, width)
    want, got = model.logits(trial), twin.logits(trial)
    same = bool((want - got).abs().max() <= CLOSE * want.abs().max().clamp(min=1.0))
    return twin if same else model
