"""`fashion-products`: 25,000 real product photos with 41 labels and the product's name; the split is stored."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from hamguard.data.arrays import read_arrays
from hamguard.data.cache import Progress
from hamguard.data.dataset import Dataset
from hamguard.data.registry import one_file, source

FILE = "fashion_products/fashion_products.npz"


@source(
    "fashion-products",
    "25,000 product photos, 41 labels, product names as text",
    protocol="stored",
    **one_file(FILE),
)
def read_products(folder: Path, *, size: int | None = None, progress: Progress | None = None) -> Dataset:
    """Read `fashion_products/fashion_products.npz` below a data folder; 64 pixels by default.

    Raises:
        RequestError: the file is missing or its arrays do not agree.
    """
    dataset = read_arrays(folder / FILE, size=size, progress=progress)
    notes = (*dataset.notes, "labels are the shop's own and sometimes wrong; many garments are shown worn by models")
    return dataclasses.replace(dataset, name="fashion-products", notes=notes)
