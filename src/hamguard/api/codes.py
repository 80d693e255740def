"""Codes that were made elsewhere."""

from __future__ import annotations

from typing import Any

from hamguard.api.arguments import checked
from hamguard.codes.bank import CodeBank
from hamguard.codes.given import bank_of

__all__ = ["codes"]


@checked
def codes(
    array: Any, labels: Any = None, *, ids: Any = None, bits: int | None = None, classes: int | None = None
) -> CodeBank:
    """Codes from elsewhere as a bank: `hg.metrics.mean_average_precision(hg.codes(q, q_labels), hg.codes(db, db_labels))`.

    Args:
        array: codes of {-1, +1}, {0, 1} or bool, `(N, K)`; or packed, `(N, ceil(K / 8))` uint8, with `bits`. Array, tensor or list.
        labels: class numbers `(N,)`, or multi-hot `(N, C)` of 0 and 1; None for codes without labels.
        ids: one name an item, `(N,)`; by default their numbers.
        bits: code length K of packed codes.
        classes: number of classes C of class numbers; by default one more than the largest. Queries and database need the same.

    Raises:
        RequestError: values that are no codes, packed codes without `bits`, or labels that are neither, soft ones among them.
    """
    return bank_of(array, labels, ids=ids, bits=bits, classes=classes)
