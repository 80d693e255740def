"""A picture file as a model takes it: decoded, upright, brought to the model's size the way its card says."""

from __future__ import annotations

from pathlib import Path

from hamguard.core.types import Bytes
from hamguard.images.io import decode
from hamguard.images.views import fit_to
from hamguard.models.store import AnyModel, Card


def read_picture(path: Path | str, model: AnyModel, card: Card | None) -> Bytes:
    """Decode a file for a model, `(H, W)` or `(H, W, 3)` uint8.

    Raises:
        ImageError: missing, truncated, too large or no picture.
    """
    return fit_to(decode(path, gray=model.channels == 1), model.size, card.fit if card else "crop")
