"""Randomness as an argument: independent generators derived from one seed and a path of names.

A generator is a pure function of `(seed, names)`. Nothing reads or moves a global generator, so that a step
of a resumed run draws the same numbers as the same step of an uninterrupted one.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive_seed(seed: int, *names: object) -> int:
    """A 63-bit seed from a base seed and names, e.g. `derive_seed(0, "order", epoch)`.

    >>> derive_seed(0, "order", 1) == derive_seed(0, "order", 1)
    True
    >>> derive_seed(0, "order", 1) == derive_seed(0, "order", 2)
    False
    """
    text = "/".join([str(int(seed)), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big") >> 1


def torch_generator(seed: int, *names: object) -> torch.Generator:
    """A CPU `torch.Generator` that belongs to `(seed, names)` alone."""
    import torch  # here, so that what draws with NumPy does not wait for it

    return torch.Generator().manual_seed(derive_seed(seed, *names))


def numpy_generator(seed: int, *names: object) -> np.random.Generator:
    """A NumPy generator that belongs to `(seed, names)` alone."""
    return np.random.default_rng(derive_seed(seed, *names))
