"""Hash models on one network look at a picture once: their heads share what the network makes of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hamguard.codes.binary import pack, sign
from hamguard.core.types import Bytes
from hamguard.models.encode import codes_of, pixels_of
from hamguard.models.hash_model import HashModel
from hamguard.models.store import AnyModel
from hamguard.training.features import backbone_digest


def share_trunk(model: HashModel, known: dict[str, HashModel]) -> HashModel:
    """Give a model the network of an earlier one that has the same weights, so that memory holds one of them.

    Args:
        model: frozen and in evaluation mode; changed in place.
        known: models by `backbone_digest`; this one is entered where it is new.
    """
    first = known.setdefault(backbone_digest(model), model)
    model.backbone = first.backbone
    return model


@torch.no_grad()
def codes_together(
    images: Sequence[Bytes], models: Sequence[AnyModel], device: torch.device | str = "cpu"
) -> list[Bytes]:
    """Packed codes of pictures through several models, as `codes_of` gives them; a shared network is asked once.

    Args:
        images: for each model uint8 pictures of its size, `(B, H, W)` or `(B, H, W, 3)`; the same array where models share it.
        models: see `share_trunk`.
        device: where the models are.

    Returns:
        For each model `(B, ceil(K / 8))`.
    """
    known: dict[tuple[int, int], Tensor] = {}
    found = []
    for pictures, model in zip(images, models, strict=True):
        if not isinstance(model, HashModel):
            found.append(codes_of(pictures, model, device))
            continue
        key = (id(pictures), id(model.trunk))
        if key not in known:
            known[key] = model.trunk_of(pixels_of(pictures).to(device))
        found.append(pack(sign(model.tail(known[key]))))
    return found
