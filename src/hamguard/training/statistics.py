"""Statistics of a set of codes: what a look at the MAP does not tell."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from hamguard.codes.binary import pack, relax, sign


def code_statistics(logits: Tensor) -> dict[str, float]:
    """Describe the codes of a set of items.

    Args:
        logits: network outputs, `(n, K)`, finite.

    Returns:
        `bit_balance`: mean over bits of |mean bit|, 0 for halves, 1 for constant bits.
        `bit_correlation`: mean absolute correlation of two bits; constant bits count as 0.
        `distinct_codes`: number of different codes.
        `collision_rate`: share of item pairs with the same code.
        `quantization_error`: mean of (|tanh z| - 1)^2.
    """
    code = sign(logits).double()  # (n, K)
    bits = code.shape[1]
    centered = code - code.mean(0)
    spread = centered.square().mean(0).sqrt()  # (K,)
    scaled = centered / spread.where(spread > 0, 1.0)
    correlation = (scaled.T @ scaled / len(code)).abs()  # (K, K)
    off = float(correlation.sum() - correlation.diagonal().sum()) / max(1, bits * (bits - 1))
    counts = np.unique(pack(code), axis=0, return_counts=True)[1].astype(np.float64)
    pairs = len(code) * (len(code) - 1) / 2
    return {
        "bit_balance": float(code.mean(0).abs().mean()),
        "bit_correlation": off,
        "distinct_codes": float(len(counts)),
        "collision_rate": float((counts * (counts - 1) / 2).sum() / max(1.0, pairs)),
        "quantization_error": float((relax(logits).abs() - 1).square().mean()),
    }
