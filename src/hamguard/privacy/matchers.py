"""A hash model as a picture search uses it: pictures of any size are brought to the model's the way its card says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from hamguard.core.checks import check_choice
from hamguard.images.io import MAX_PIXELS
from hamguard.images.views import center_crop, resize
from hamguard.models.folding import folded
from hamguard.models.foreign import check_face
from hamguard.models.hash_model import HashModel, check_images
from hamguard.models.stages import Stages
from hamguard.models.store import AnyModel, called, load_any

FITS = ("crop", "pad", "stretch")


@dataclass(frozen=True)
class Matcher:
    """A frozen model with the way it takes pictures.

    Attributes:
        name: what the person gave, without folders.
        model: for gradients: batch norms folded where that can be done.
        fit: crop, pad (on white) or stretch.
        hash: content hash of the weights as stored.
        free: whether it takes pictures of other sizes than its own, see `takes_any_size`.
        middle: its middle layers, where it is known what they see of photos.
    """

    name: str
    model: AnyModel
    fit: str
    hash: str
    free: bool = False
    middle: Stages | None = None

    @property
    def network(self) -> str:
        """Name of its backbone; empty for foreign models."""
        return self.model.name if isinstance(self.model, HashModel) else ""

    def logits(self, x: Tensor) -> Tensor:
        """Outputs `(B, K)` of pictures `(B, C, H, W)` in [0, 1], any size; differentiable."""
        return self.model.logits(fitted(x, self.model.size, self.fit))

    def seen(self, x: Tensor, scale: float = 1.0) -> list[Tensor]:
        """Outputs `(B, K)`, and what the middle layers see, `(B, 2C)` for each; differentiable.

        Args:
            x: pictures `(B, C, H, W)` in [0, 1], any size.
            scale: side that the network sees, in units of its own; where it takes no other side, its own.
        """
        height, width = self.model.size
        if self.free and scale != 1:
            height, width = max(1, round(scale * height)), max(1, round(scale * width))
        x = fitted(x, (height, width), self.fit)
        if self.middle is None:
            return [self.model.logits(x)]
        assert isinstance(self.model, HashModel)
        features, stages = self.middle(x)
        return [self.model.head(features), *stages]


def matcher_of(model: str | Path | AnyModel, device: torch.device | str = "cpu") -> Matcher:
    """A model, or whatever names one, as a matcher.

    Raises:
        RequestError: it is no model, a bare module, or one that learned on features.
    """
    if isinstance(model, (str, Path)):
        place = Path(model)
        name = place.resolve().name if place.exists() else str(model)
        model, card = load_any(model, device)
    else:
        check_face(model)
        name, card = Path(called(model)).name, getattr(model, "card", None)
    check_images(model)
    return Matcher(name, folded(model), card.fit if card else "crop", model.digest, takes_any_size(model))


def fitted(x: Tensor, size: tuple[int, int], fit: str) -> Tensor:
    """Bring pictures to a size as `images.views.fit_to` does, differentiably and without rounding.

    Args:
        x: `(B, C, H, W)` in [0, 1].
        size: height and width.
        fit: `crop` covers and cuts the middle, `pad` contains on white, `stretch` ignores the ratio of the sides.

    Raises:
        RequestError: unknown fit.
    """
    check_choice("fit", fit, FITS)
    H, W = x.shape[2:]
    height, width = size
    if (height, width) == (H, W):
        return x
    if fit == "stretch":
        return resize(x, size, kernel="bicubic")
    if fit == "crop":
        scale = max(height / H, width / W)
        covering = (max(height, round(H * scale)), max(width, round(W * scale)))
        if covering[0] * covering[1] > MAX_PIXELS:  # a line of pixels: cut first what would be cut afterwards
            x = center_crop(x, (min(H, math.ceil(height / scale)), min(W, math.ceil(width / scale))))
            covering = size
        return center_crop(resize(x, covering, kernel="bicubic"), size)
    scale = min(height / H, width / W)
    inner = resize(x, (max(1, round(H * scale)), max(1, round(W * scale))), kernel="bicubic")
    down, right = height - inner.shape[2], width - inner.shape[3]
    return F.pad(inner, (right // 2, right - right // 2, down // 2, down - down // 2), value=1.0)


@torch.no_grad()
def takes_any_size(model: AnyModel) -> bool:
    """Whether a hash model gives features of pictures that are smaller and larger than its own size, too; tried on black ones."""
    if not isinstance(model, HashModel):
        return False
    for scale in (0.7, 1.2):
        height, width = (max(1, round(scale * side)) for side in model.size)
        at = next(model.parameters())
        try:
            found = model.features_of(torch.zeros(1, model.channels, height, width, device=at.device, dtype=at.dtype))
        except (RuntimeError, ValueError, AssertionError):  # a layer that counts on the number of positions
            return False
        if found.shape[1] != model.features:
            return False
    return True
