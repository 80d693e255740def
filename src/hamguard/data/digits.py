"""`digits`: 1,797 real scanned digits that ship inside scikit-learn; no download.

The originals are 8 x 8 pixels with 17 gray levels. They are scaled to 28 x 28 (bilinear) by default, so that the
papers' small networks for 28 pixels take them as they are; this adds no information.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hamguard.data.cache import Progress
from hamguard.data.dataset import Dataset, ImageStore, multi_hot
from hamguard.data.registry import source
from hamguard.images.views import resize_image

SIZE = 28


@source("digits", "1,797 real scanned digits, ten classes, inside scikit-learn")
def read_digits(folder: Path = Path(), *, size: int | None = None, progress: Progress | None = None) -> Dataset:
    """Read the digits that scikit-learn holds.

    Args:
        folder: not needed.
        size: height and width; 28 by default, 8 gives the originals.
        progress: not needed.

    Returns:
        1,797 gray pictures, ten classes.
    """
    del folder, progress
    from sklearn.datasets import load_digits

    found = load_digits()
    levels = np.round(found.images * (255 / 16)).astype(np.uint8)  # (1797, 8, 8), values 0..16 become 0..255
    side = SIZE if size is None else size
    images = np.stack([resize_image(image, side, kernel="bilinear") for image in levels])
    return Dataset(
        name="digits",
        images=ImageStore(images),
        labels=multi_hot(found.target, 10),
        class_names=tuple("0123456789"),
        ids=np.array([f"digit/{i}" for i in range(len(images))]),
        notes=("originals are 8 x 8 pixels",),
    )
