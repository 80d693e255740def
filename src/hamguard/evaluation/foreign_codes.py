"""Codes that other software made: `.npz` files with `codes` and `labels`, of any length."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import check_packed, pack
from hamguard.core.errors import RequestError
from hamguard.core.types import Array


def read_codes(path: Path | str) -> tuple[CodeBank, Array]:
    """Read foreign codes.

    Args:
        path: `.npz` with `codes`, `(N, K)` of {-1, +1} or {0, 1}, or packed `uint8` `(N, ceil(K / 8))` with a
            scalar `bits`; and `labels`, `(N, C)` multi-hot or `(N,)` class numbers. A bank of hamguard is read too.

    Returns:
        The bank (without labels, `(N, 0)`) and the labels as they stand in the file; see `with_labels`.

    Raises:
        RequestError: missing file or array, pickled objects, shapes that do not fit, values that are no codes.
    """
    path = Path(path)
    if not path.is_file():
        raise RequestError(f"no codes at {path}")
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise RequestError(f"{path} is no readable .npz of plain arrays: {str(error).splitlines()[0]}") from error
    name = "codes" if "codes" in arrays else "packed"
    missing = [key for key in (name, "labels") if key not in arrays]
    if missing:
        raise RequestError(f"{path} must hold the arrays codes and labels; it has {', '.join(arrays) or 'none'}")
    codes, labels = arrays[name], arrays["labels"]
    try:
        if "bits" in arrays:
            bits = int(arrays["bits"])
            check_packed(codes, bits)
        else:
            bits = int(codes.shape[1]) if codes.ndim == 2 else 0
            codes = pack(codes)
    except (RequestError, TypeError, ValueError) as error:
        raise RequestError(f"{path}: {error}") from error
    if len(codes) == 0:
        raise RequestError(f"{path} holds no codes")
    if labels.ndim not in (1, 2) or len(labels) != len(codes):
        raise RequestError(f"{path}: labels must be ({len(codes)}, C) or ({len(codes)},), got {labels.shape}")
    return CodeBank(codes, bits, np.zeros((len(codes), 0), np.uint8)), labels


def with_labels(query: tuple[CodeBank, Array], database: tuple[CodeBank, Array]) -> tuple[CodeBank, CodeBank]:
    """Give two foreign banks labels of one width: class numbers on either side become multi-hot rows.

    Raises:
        RequestError: class numbers are negative or no whole numbers, or the two sides count different classes.
    """
    sides = (query[1], database[1])
    numbers = [labels for labels in sides if labels.ndim == 1]
    for labels in numbers:
        whole = labels.dtype.kind in "iub" or (labels.dtype.kind == "f" and bool((labels == np.round(labels)).all()))
        if not whole or (len(labels) and int(labels.min()) < 0):
            raise RequestError("class numbers must be whole numbers from 0")
    wide = [labels.shape[1] for labels in sides if labels.ndim == 2]
    classes = max([*wide, *(int(labels.max()) + 1 for labels in numbers)])
    if wide and (len(set(wide)) > 1 or classes > wide[0]):
        raise RequestError(
            f"query and database must have the same classes, got labels {sides[0].shape} and {sides[1].shape}"
        )
    banks = []
    for (bank, _), labels in zip((query, database), sides, strict=True):
        if labels.ndim == 1:
            marks = np.zeros((len(labels), classes), np.uint8)
            marks[np.arange(len(labels)), labels.astype(np.int64)] = 1
        else:
            if not bool(np.isin(labels, (0, 1)).all()):
                raise RequestError("labels must be multi-hot, 0 or 1")
            marks = labels.astype(np.uint8)
        banks.append(CodeBank(bank.packed, bank.bits, marks))
    if banks[0].bits != banks[1].bits:
        raise RequestError(f"query codes have {banks[0].bits} bits, database codes have {banks[1].bits}")
    return banks[0], banks[1]
