"""Types that several packages share."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

Bytes: TypeAlias = npt.NDArray[np.uint8]
Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Array: TypeAlias = npt.NDArray[Any]

Modality: TypeAlias = Literal["image", "text"]
"""What an item is that asks, is searched or is attacked."""

EncoderName: TypeAlias = Literal["words", "minilm", "features"]
"""What makes the numbers that a text net takes: a bag of words, a sentence encoder, or a file of features of texts."""

Ties = Literal["expected", "stable", "worst", "best"]
"""What happens inside a group of equal distances: mean over all orders, database order, or a bound."""

Norm = Literal["relevant", "hits", "min"]
"""Denominator of an average precision: all relevant items, those within the cut, or `min(at, relevant)`."""


def is_tensor(value: object) -> TypeGuard[Tensor]:
    """Whether a value is a torch tensor, without loading torch: before somebody did, nothing is one.

    Torch takes 600 MiB and two seconds to load, which codes that come and stay as arrays need not pay.
    """
    return isinstance(value, getattr(sys.modules.get("torch"), "Tensor", ()))
