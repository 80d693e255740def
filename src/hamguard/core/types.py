"""Types that several packages share."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Bytes: TypeAlias = npt.NDArray[np.uint8]
Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Array: TypeAlias = npt.NDArray[Any]

Ties = Literal["expected", "stable", "worst", "best"]
"""What happens inside a group of equal distances: mean over all orders, database order, or a bound."""

Norm = Literal["relevant", "hits", "min"]
"""Denominator of an average precision: all relevant items, those within the cut, or `min(at, relevant)`."""
