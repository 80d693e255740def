"""Parts of a picture at full size, where a look tells most about its protected copy.

Small pictures hide noise, and who publishes photos looks at faces and skies: even ground, skin tones, fine detail (as letters
are), and the place that changed most. Parts are found by measures of ours, not by people: even ground and fine detail by texture
(`models/contrast.py`), skin tones by chroma between fixed bounds, which wood and sand have, too (D. Chai, K. N. Ngan, "Face
Segmentation Using Skin-Color Map in Videophone Applications", IEEE TCSVT 1999: Cb in 77 to 127, Cr in 133 to 173), and the last
by structural similarity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from hamguard.core.types import Bytes
from hamguard.images.likeness import REACH, similarity_map
from hamguard.images.views import shrink_image
from hamguard.models.contrast import contrast
from hamguard.models.encode import pixels_of

PART = 180  # pixels to a side, or half of a small picture's shorter side, but `LEAST` of them
LEAST = 64
SCREEN = 1600  # longest side of what a screen shows; a larger picture is shrunk first
LIT = (0.1, 0.95)  # mean brightness of even ground on which a change can be seen
TONES = ((77, 127), (133, 173))  # of skin: Cb, Cr
SKIN = 0.5  # share of a part that has the tones at least


@dataclass(frozen=True)
class Detail:
    """A part of a picture and of its copy.

    Attributes:
        what: `even ground`, `skin tones`, `fine detail` or `changed most`.
        original, protected: `(h, w, 3)` of at most `PART` pixels to a side, not scaled.
    """

    what: str
    original: Bytes
    protected: Bytes


def details(original: Bytes, protected: Bytes) -> list[Detail]:
    """The parts, none for the most part the same as one before it; the first two only where a picture has them.

    A picture that is no larger than a part has none.

    Args:
        original: `(H, W, 3)`.
        protected: the same size.
    """
    original, protected = (shrink_image(one, SCREEN) for one in (original, protected))
    shorter = min(original.shape[:2])
    height, width = (min(side, PART, max(LEAST, shorter // 2)) for side in original.shape[:2])
    stride = (max(1, height // 2), max(1, width // 2))

    def mean(maps: Tensor) -> Tensor:
        return F.avg_pool2d(maps, (height, width), stride)[0, 0]  # (rows, columns) of parts

    if (height, width) == original.shape[:2]:
        return []
    x, z = (pixels_of(one[None]) for one in (original, protected))
    texture, light = mean(contrast(x)), mean(x.mean(1, keepdim=True))
    even = torch.where((light >= LIT[0]) & (light <= LIT[1]), -texture, -torch.inf)
    skin = mean(_skin_tones(original))
    skin = torch.where(skin >= SKIN, skin, -torch.inf)
    scores = {"even ground": even, "skin tones": skin, "fine detail": texture}
    if min(x.shape[2:]) > 2 * REACH:
        scores["changed most"] = mean(1 - similarity_map(x, z).mean(1, keepdim=True))
    taken: list[tuple[int, int]] = []
    found = []
    for what, score in scores.items():
        for row, column in taken:  # parts half over it go with it
            score[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = -torch.inf
        best = int(score.argmax())
        row, column = divmod(best, score.shape[1])
        if not bool(score[row, column].isfinite()):
            continue
        taken.append((row, column))
        top, left = row * stride[0], column * stride[1]
        inside = (slice(top, top + height), slice(left, left + width))
        found.append(Detail(what, original[inside], protected[inside]))
    return found


def _skin_tones(picture: Bytes) -> Tensor:
    """1 where a pixel's chroma is that of skin, `(1, 1, H, W)`."""
    chroma = torch.tensor(np.asarray(Image.fromarray(picture).convert("YCbCr")))[..., 1:]  # (H, W, 2)
    low, high = torch.tensor(TONES).T
    tones: Tensor = ((chroma >= low) & (chroma <= high)).all(-1)
    return tones.float()[None, None]
