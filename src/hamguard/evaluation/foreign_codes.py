"""Codes that other software made: `.npz` files with `codes` and `labels`, of any length."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import bytes_of, check_packed, pack
from hamguard.core.archives import read_npz
from hamguard.core.errors import RequestError
from hamguard.core.types import Array, Bytes

BitOrder = Literal["little", "big"]
Foreign = tuple[CodeBank, Array]


def read_codes(path: Path | str, *, bit_order: BitOrder = "little") -> Foreign:
    """Read foreign codes.

    Args:
        path: `.npz` with `codes`, `(N, K)` of {-1, +1} or {0, 1}, or packed `uint8` `(N, ceil(K / 8))` with a
            scalar `bits`; and `labels`, `(N, C)` multi-hot or `(N,)` class numbers. A bank of hamguard is read too.
        bit_order: order of packed bits, as `numpy.packbits` calls it.

    Returns:
        The bank (without labels, `(N, 0)`) and the labels as they stand in the file; see `with_labels`.

    Raises:
        RequestError: missing file or array, pickled objects, shapes that do not fit, values that are no codes.
    """
    path = Path(path)
    arrays = read_npz(path, "codes")
    name = "codes" if "codes" in arrays else "packed"
    missing = [key for key in (name, "labels") if key not in arrays]
    if missing:
        raise RequestError(f"{path} must hold the arrays codes and labels; it has {', '.join(arrays) or 'none'}")
    codes, labels = arrays[name], arrays["labels"]
    try:
        packed, bits = _pack(codes, arrays.get("bits"), bit_order)
    except RequestError as error:
        raise RequestError(f"{path}: {error}") from error
    if len(packed) == 0:
        raise RequestError(f"{path} holds no codes")
    if labels.ndim not in (1, 2) or len(labels) != len(packed):
        raise RequestError(f"{path}: labels must be ({len(packed)}, C) or ({len(packed)},), got {labels.shape}")
    return CodeBank(packed, bits, np.zeros((len(packed), 0), np.uint8)), labels


def read_pair(query: Path | str, database: Path | str) -> tuple[CodeBank, CodeBank]:
    """Read foreign query and database codes with labels of one width.

    Packed bits may stand in either order of `numpy.packbits`, the same in both files: distances do not depend on it,
    but the padding of lengths that are no multiple of 8 does.

    Raises:
        RequestError: as `read_codes` and `with_labels`.
    """
    try:
        sides = read_codes(query), read_codes(database)
    except RequestError as error:
        try:
            sides = read_codes(query, bit_order="big"), read_codes(database, bit_order="big")
        except RequestError:
            raise error from None
    return with_labels(*sides)


def _pack(codes: Array, bits: Array | None, bit_order: BitOrder) -> tuple[Bytes, int]:
    """Packed codes, first bit lowest, and their length, from any of the encodings."""
    if bits is None:
        return pack(codes), int(codes.shape[1])
    if bits.size != 1 or bits.dtype.kind not in "iuf" or int(bits.item()) != bits.item():
        raise RequestError(f"bits must be one whole number, got {bits.tolist()}")
    length = int(bits.item())
    if codes.ndim == 2 and codes.shape[1] == length != bytes_of(length):  # not packed: bits only says K once more
        return pack(codes), length
    if bit_order == "big" and codes.dtype == np.uint8:
        flat = np.unpackbits(codes, axis=-1, bitorder="big")
        codes = np.packbits(flat, axis=-1, bitorder="little")
    check_packed(codes, length)
    return codes, length


def with_labels(query: Foreign, database: Foreign) -> tuple[CodeBank, CodeBank]:
    """Give two foreign banks labels of one width: class numbers on either side become multi-hot rows.

    Raises:
        RequestError: class numbers are negative or no whole numbers, labels are not multi-hot, or the two sides have
            different classes or code lengths.
    """
    sides = (query[1], database[1])
    if query[0].bits != database[0].bits:
        raise RequestError(f"query codes have {query[0].bits} bits, database codes have {database[0].bits}")
    for name, labels in zip(("query", "database"), sides, strict=True):
        _check_labels(name, labels)
    widths = {labels.shape[1] for labels in sides if labels.ndim == 2}
    if len(widths) > 1:
        raise RequestError(
            f"query and database must have the same classes, got labels {sides[0].shape} and {sides[1].shape}"
        )
    wide = widths.pop() if widths else None
    numbers = [labels.astype(np.int64) for labels in sides if labels.ndim == 1]
    classes = np.unique(np.concatenate(numbers)) if wide is None else np.arange(wide)
    banks = []
    for (bank, _), labels in zip((query, database), sides, strict=True):
        if labels.ndim == 2:
            marks = labels.astype(np.uint8)
        else:
            if int(labels.max()) > classes[-1]:
                raise RequestError(
                    f"class numbers go up to {int(labels.max())}, but the multi-hot labels of the other side "
                    f"have {len(classes)} columns"
                )
            marks = np.zeros((len(labels), len(classes)), np.uint8)
            marks[np.arange(len(labels)), np.searchsorted(classes, labels)] = 1
        banks.append(CodeBank(bank.packed, bank.bits, marks))
    return banks[0], banks[1]


def _check_labels(name: str, labels: Array) -> None:
    if labels.dtype.kind not in "biuf":
        raise RequestError(f"{name} labels must be numbers, got {labels.dtype}")
    if labels.ndim == 2 and labels.shape[1] == 0:
        raise RequestError(f"{name} labels have no column, so nothing can be relevant")
    if labels.ndim == 2 and not bool(np.isin(labels, (0, 1)).all()):
        raise RequestError(f"{name} labels must be multi-hot, 0 or 1 (or class numbers of shape ({len(labels)},))")
    if labels.ndim == 1 and not (
        np.isfinite(labels).all() and (labels == np.round(labels)).all() and (labels >= 0).all()
    ):
        raise RequestError(f"{name} class numbers must be whole numbers from 0")
