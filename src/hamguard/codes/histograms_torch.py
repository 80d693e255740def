"""The counting kernel in torch: tiles of pairs on the device of the tensors, for GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hamguard.codes.labeled import LabeledCodes, asked_classes
from hamguard.core.errors import RequestError
from hamguard.core.types import Ints

TILE_PAIRS = 1 << 17  # about 32 bytes a pair are alive at once: 4 MiB


def count_shards(query: LabeledCodes, shards: Sequence[LabeledCodes], total: Ints, relevant: Ints) -> None:
    """Add the counts of all shards to `total` and `relevant`, `(Q, K + 1)`, in place.

    Distances come from products of signed codes, which float32 holds exactly up to 2**24 bits, whatever the precision
    of the device's multipliers, because all factors are -1 or +1.

    Args:
        query: packed codes and labels; tensors decide the device, arrays are counted on the CPU or follow the shards.
        shards: the database in parts.
        total: items at each distance.
        relevant: relevant items at each distance.

    Raises:
        RequestError: a label is neither 0 nor 1.
    """
    bits, size = query.bits, query.bits + 1
    device = _device(query, *shards)
    kept = asked_classes(query.labels)
    asked = None if kept is None else torch.from_numpy(kept).to(device)
    wide = max(bits, query.labels.shape[1])
    rows = max(1, min(1 << 14, (4 << 20) // (8 * wide)))  # of the database in one tile
    step = max(1, min(TILE_PAIRS // rows, (4 << 20) // (8 * wide)))  # queries in one tile
    found = torch.zeros(len(query.packed), 2 * size, dtype=torch.int64, device=device)
    for shard in shards:
        for start in range(0, len(shard.packed), rows):
            b = _signed(shard.packed[start : start + rows], bits, device)  # (n, K)
            b_labels = _marks(shard.labels[start : start + rows], device, asked)  # (n, C)
            for first in range(0, len(query.packed), step):
                a = _signed(query.packed[first : first + step], bits, device)  # (m, K)
                a_labels = _marks(query.labels[first : first + step], device, asked)  # (m, C)
                key = (bits - a @ b.T).to(torch.int64)  # (m, n): twice the distance
                key += (a_labels @ b_labels.T) > 0
                key += torch.arange(len(a), device=device)[:, None] * (2 * size)
                counts = torch.bincount(key.flatten(), minlength=len(a) * 2 * size)
                found[first : first + len(a)] += counts.view(len(a), 2 * size)
    table = found.view(-1, size, 2).cpu().numpy()  # (Q, K + 1, 2)
    relevant += table[:, :, 1]
    np.add(total, table.sum(axis=2), out=total)


def _device(*parts: LabeledCodes) -> torch.device:
    for part in parts:
        if isinstance(part.packed, Tensor):
            return part.packed.device
    return torch.device("cpu")


def _signed(packed: Any, bits: int, device: torch.device) -> Tensor:
    """Packed rows as {-1, +1} float32, `(n, K)`."""
    stored = torch.as_tensor(packed, device=device)
    shifts = torch.arange(8, dtype=torch.uint8, device=device)
    flat = ((stored[:, :, None] >> shifts) & 1).flatten(1)[:, :bits]  # (n, K)
    return flat.float().mul_(2).sub_(1)


def _marks(labels: Any, device: torch.device, asked: Tensor | None) -> Tensor:
    marks = torch.as_tensor(labels if isinstance(labels, Tensor) else np.asarray(labels), device=device)
    if not bool(((marks == 0) | (marks == 1)).all()):
        raise RequestError("labels must be multi-hot, 0 or 1; a value is neither")
    return (marks if asked is None else marks[:, asked]).float()
