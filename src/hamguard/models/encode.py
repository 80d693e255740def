"""Codes of uint8 pictures that have the model's size."""

from __future__ import annotations

import torch
from torch import Tensor

from hamguard.codes.binary import pack
from hamguard.core.types import Bytes
from hamguard.models.foreign import check_face
from hamguard.models.hash_model import check_images
from hamguard.models.store import AnyModel


@torch.no_grad()
def codes_of(images: Bytes, model: AnyModel, device: torch.device | str = "cpu") -> Bytes:
    """Packed codes of uint8 pictures of one size, `(B, H, W)` or `(B, H, W, 3)` to `(B, ceil(K / 8))`.

    Raises:
        RequestError: a bare module, see `check_face`; or a model that learned on features.
    """
    check_face(model)
    check_images(model)
    return pack(model.code(pixels_of(images).to(device)))


def pixels_of(images: Bytes) -> Tensor:
    """uint8 pictures `(B, H, W)` or `(B, H, W, 3)` as `(B, C, H, W)` in [0, 1]."""
    x = torch.tensor(images).float() / 255  # a copy: resized pictures may be read-only
    x = x[:, None] if x.ndim == 3 else x.permute(0, 3, 1, 2)  # (B, C, H, W)
    return x.contiguous()
