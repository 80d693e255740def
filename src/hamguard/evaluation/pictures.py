"""A picture file as a model takes it: decoded, upright, brought to the model's size the way its card says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from hamguard.codes.binary import pack
from hamguard.core.errors import RequestError
from hamguard.core.types import Bytes
from hamguard.images.io import decode
from hamguard.images.views import fit_image, resize_image
from hamguard.models.store import AnyModel, Card


def fit_to(image: Bytes, size: tuple[int, int], fit: str) -> Bytes:
    """Bring one uint8 picture to a size: `crop` (cover, cut the middle), `pad` (contain, on white) or `stretch`.

    Raises:
        RequestError: unknown fit.
    """
    if image.shape[:2] == tuple(size):
        return image
    if fit == "crop":
        return fit_image(image, size)
    if fit == "stretch":
        return resize_image(image, size)
    if fit != "pad":
        raise RequestError(f"unknown fit {fit!r}; allowed: crop, pad, stretch")
    scale = min(size[0] / image.shape[0], size[1] / image.shape[1])
    inner = resize_image(image, (max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale))))
    canvas = np.full((*size, *image.shape[2:]), 255, np.uint8)
    top, left = (size[0] - inner.shape[0]) // 2, (size[1] - inner.shape[1]) // 2
    canvas[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return canvas


def read_picture(path: Path | str, model: AnyModel, card: Card | None) -> Bytes:
    """Decode a file for a model, `(H, W)` or `(H, W, 3)` uint8.

    Raises:
        ImageError: missing, truncated, too large or no picture.
    """
    return fit_to(decode(path, gray=model.channels == 1), model.size, card.fit if card else "crop")


@torch.no_grad()
def codes_of(images: Bytes, model: AnyModel, device: torch.device | str = "cpu") -> Bytes:
    """Packed codes of uint8 pictures of one size, `(B, H, W)` or `(B, H, W, 3)` to `(B, ceil(K / 8))`."""
    x = torch.tensor(images).float() / 255  # a copy: resized pictures may be read-only
    x = x[:, None] if x.ndim == 3 else x.permute(0, 3, 1, 2)  # (B, C, H, W)
    return pack(model.code(x.contiguous().to(device)))
