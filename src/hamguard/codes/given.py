"""Codes that somebody hands over, in an array or a file: signs, bits or packed bytes in either order of `numpy.packbits`."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import bytes_of, check_packed, pack
from hamguard.core.errors import RequestError
from hamguard.core.label_arrays import label_rows
from hamguard.core.types import Array, Bytes, is_tensor

BitOrder = Literal["little", "big"]
ORDERS: tuple[BitOrder, ...] = ("little", "big")


def bank_of(
    codes: Any, labels: Any = None, *, ids: Any = None, bits: int | None = None, classes: int | None = None
) -> CodeBank:
    """Codes that somebody hands over in Python as a bank; a file is read by the same rules.

    Args:
        codes: `(N, K)` of {-1, +1}, {0, 1} or bool; or packed `(N, ceil(bits / 8))` uint8, with `bits`.
        labels: class numbers `(N,)` or multi-hot `(N, C)`; None for none.
        ids: one name an item; by default their numbers.
        bits: code length of packed codes.
        classes: number of classes of class numbers.

    Raises:
        RequestError: values that are no codes, labels that are neither, soft ones among them, or numbers that do not agree.
    """
    try:
        array = codes.detach().cpu().numpy() if is_tensor(codes) else np.asarray(codes)
    except ValueError as error:
        raise RequestError(f"codes must have shape (N, K): {error}") from error
    packed, length, orders = packed_of(array, None if bits is None else np.asarray(bits))
    packed = lowest_first(packed, orders[0]) if orders else packed
    marks = np.zeros((len(packed), 0), np.uint8) if labels is None else label_rows(labels, classes)
    if len(marks) != len(packed):
        raise RequestError(f"{len(packed):,} codes need as many labels, got {len(marks):,}")
    named = np.empty(0, "<U1") if ids is None else ids_of(np.asarray(ids), len(packed))
    return CodeBank(packed, length, marks, named)


def packed_of(codes: Array, bits: Array | None) -> tuple[Bytes, int, tuple[BitOrder, ...]]:
    """Packed codes of any of the encodings, their length, and the orders that their bits may stand in.

    Raises:
        RequestError: values that are no codes, or packed ones that `bits` does not fit.
    """
    if bits is None:
        return pack(codes), int(codes.shape[1]), ()
    if bits.size != 1 or bits.dtype.kind not in "iuf" or not np.isfinite(bits).all() or int(bits.item()) != bits.item():
        raise RequestError(f"bits must be one whole number, got {bits.tolist()}")
    length = int(bits.item())
    if codes.ndim == 2 and codes.shape[1] == length and not _only_packed(codes, length):  # bits says K once more
        return pack(codes), length, ()
    orders: list[BitOrder] = []
    refusals = []
    for order in ORDERS:
        try:
            check_packed(lowest_first(codes, order), length)
            orders.append(order)
        except RequestError as error:
            refusals.append(error)
    if not orders:
        raise refusals[0]
    return codes, length, tuple(orders)


def _only_packed(codes: Array, length: int) -> bool:
    """Whether codes `(N, length)` must be packed: one bit a byte and a bit that is not the lowest."""
    return bytes_of(length) == length and codes.dtype == np.uint8 and int(codes.max(initial=0)) > 1


def lowest_first(codes: Array, order: BitOrder) -> Array:
    """Packed codes `(N, bytes)` with the first bit lowest, of codes packed in an order."""
    if order == "little" or codes.dtype != np.uint8 or codes.ndim != 2:
        return codes
    return np.packbits(np.unpackbits(codes, axis=-1, bitorder="big"), axis=-1, bitorder="little")


def ids_of(ids: Array, items: int) -> Array:
    """Names of items as strings, `(N,)`.

    Raises:
        RequestError: another number of them, neither strings nor whole numbers, or bytes that are no UTF-8.
    """
    if ids.shape != (items,) or ids.dtype.kind not in "iuUS":
        raise RequestError(f"ids must be ({items},) strings or whole numbers, got {ids.shape} {ids.dtype}")
    try:
        return np.asarray(np.char.decode(ids, "utf-8") if ids.dtype.kind == "S" else ids.astype(str))
    except UnicodeDecodeError as error:
        raise RequestError(f"ids hold a name that is no UTF-8: {error.object!r}") from error
