"""Real photos of about 320 pixels: `coco18` (18 labels, a caption each) and `caltech98` (one of 98 kinds); the split is stored.

Pictures are kept whole; a size scales the shorter side and cuts out the middle.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from hamguard.data.arrays import read_arrays
from hamguard.data.cache import Progress
from hamguard.data.dataset import Dataset
from hamguard.data.registry import one_file, source

COCO = "photos/coco18.npz"
CALTECH = "photos/caltech98.npz"


@source(
    "coco18",
    "8,000 MS-COCO photos, 18 labels, captions as text",
    protocol="stored",
    **one_file(COCO),
)
def read_coco18(folder: Path, *, size: int | None = None, progress: Progress | None = None) -> Dataset:
    """Read `photos/coco18.npz` below a data folder; 224 pixels by default.

    T.-Y. Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014; captions: X. Chen et al., arXiv:1504.00325.

    Raises:
        RequestError: the file is missing or its arrays do not agree.
    """
    notes = ("COCO's other 62 categories carry no label; networks that learned from COCO may have seen the pictures",)
    return dataclasses.replace(read_arrays(folder / COCO, size=size, progress=progress), name="coco18", notes=notes)


@source(
    "caltech98",
    "2,352 pictures of 98 kinds of object, 24 a kind",
    protocol="stored",
    **one_file(CALTECH),
)
def read_caltech98(folder: Path, *, size: int | None = None, progress: Progress | None = None) -> Dataset:
    """Read `photos/caltech98.npz` below a data folder; 224 pixels by default.

    L. Fei-Fei, R. Fergus, P. Perona, "Learning generative visual models from few training examples", CVPR workshop 2004
    (Caltech-101 without faces, brain and background).

    Raises:
        RequestError: the file is missing or its arrays do not agree.
    """
    notes = (
        "kinds of object differ in style (white grounds, drawings, black corners), which helps to tell them apart",
    )
    return dataclasses.replace(
        read_arrays(folder / CALTECH, size=size, progress=progress), name="caltech98", notes=notes
    )
