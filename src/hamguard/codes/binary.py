"""Hash codes as numbers and as bits: relax, sign, pack, unpack, Hamming distance.

A code is `(B, K)` in {-1, +1} when signed, `(-1, 1)` when relaxed, and `(B, ceil(K / 8))` uint8 when packed. Bit `k`
of a packed row is bit `k % 8` (least significant first) of byte `k // 8`; +1 is stored as 1 and padding bits are 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hamguard.core.errors import RequestError
from hamguard.core.types import Array, Bytes, Ints, is_tensor

if TYPE_CHECKING:
    from torch import Tensor


def relax(logits: Tensor, alpha: float = 1.0) -> Tensor:
    """Relaxed code `u = tanh(alpha * logits)`, same shape, in (-1, 1)."""
    return (alpha * logits).tanh()


def sign(u: Tensor) -> Tensor:
    """Signed code in {-1, +1}, same shape and type as `u`. Zero becomes +1, so no code has half a bit.

    Raises:
        RequestError: `u` contains NaN, which has no sign.

    >>> import torch
    >>> sign(torch.tensor([-0.5, 0.0, 2.0]))
    tensor([-1.,  1.,  1.])
    """
    import torch  # here, so that what only packs and counts does not wait for it

    if bool(torch.isnan(u).any()):
        raise RequestError(
            "codes cannot be signed: the outputs contain NaN; check the model's weights and the input pixels"
        )
    return torch.where(u < 0, -1.0, 1.0).to(u.dtype)


def straight_sign(logits: Tensor) -> Tensor:
    """Signed code of `logits`, same shape, whose gradient goes straight through to them; zero becomes +1, NaN stays NaN.

    >>> import torch
    >>> z = torch.tensor([-0.5, 0.0, 2.0], requires_grad=True)
    >>> code = straight_sign(z)
    >>> code.dot(torch.tensor([3.0, 4.0, 5.0])).backward()
    >>> code.tolist(), z.grad
    ([-1.0, 1.0, 1.0], tensor([3., 4., 5.]))
    """
    import torch

    return torch.where(logits < 0, -1.0, 1.0).to(logits.dtype) + (logits - logits.detach())


def bytes_of(bits: int) -> int:
    """Bytes that hold a packed code of `bits` bits.

    Raises:
        RequestError: `bits` is less than 1.
    """
    if bits < 1:
        raise RequestError(f"bits must be at least 1, got {bits}")
    return (bits + 7) // 8


def pack(code: Tensor | Array) -> Bytes:
    """Pack signed codes `(N, K)` in {-1, +1} or {0, 1} into `(N, ceil(K / 8))` uint8.

    Raises:
        RequestError: not two-dimensional, K = 0, no numbers, or values other than -1, 0, +1 (or -1 and 0 mixed); the
            message says what the values look like.

    >>> pack(np.array([[1, -1, 1, 1, -1, -1, -1, -1, 1]]))
    array([[13,  1]], dtype=uint8)
    """
    values = code.detach().cpu().numpy() if is_tensor(code) else np.asarray(code)
    if values.ndim != 2 or values.shape[1] == 0:
        raise RequestError(f"codes must have shape (N, K) with K at least 1, got {values.shape}")
    if values.dtype.kind not in "biuf":
        raise RequestError(f"codes must be numbers, got {values.dtype}")
    high = values == 1
    low = values == -1
    zero = values == 0
    if not bool((high | low).all() if low.any() else (high | zero).all()):
        raise RequestError(f"codes must consist of {{-1, +1}} or of {{0, 1}}; {_why_no_codes(values)}")
    return np.packbits(high, axis=1, bitorder="little")


def _why_no_codes(values: Array) -> str:
    """What stands in an array that holds no codes, and what to do."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return f"these hold {'NaN' if np.isnan(values).any() else 'infinity'}"
    odd = values[~np.isin(values, (-1, 0, 1))]
    if odd.size == 0:
        return (
            "these hold -1, 0 and +1, where 0 may be a bit that is off or a sign left open; say which, e.g. codes >= 0"
        )
    if values.dtype == np.uint8:
        return f"these hold {odd[0]}; packed bits need the number of bits beside them"
    return f"these hold {odd[0]:g}; sign real outputs first, e.g. codes >= 0"


def unpack(packed: Bytes, bits: int) -> npt.NDArray[np.int8]:
    """Unpack `(N, ceil(bits / 8))` uint8 into `(N, bits)` int8 in {-1, +1}.

    Raises:
        RequestError: the bytes do not fit the number of bits, or a padding bit is set.
    """
    check_packed(packed, bits)
    flat = np.unpackbits(packed, axis=1, count=bits, bitorder="little")
    return (2 * flat.astype(np.int8) - 1).astype(np.int8)


def check_packed(packed: Array, bits: int, name: str = "packed codes") -> None:
    """Check type, width and padding of packed codes.

    Raises:
        RequestError: not uint8, not two-dimensional, wrong number of bytes, or a padding bit is set.
    """
    width = bytes_of(bits)
    if not isinstance(packed, np.ndarray):
        raise RequestError(f"{name} must be a uint8 array (N, {width}), got {type(packed).__name__}")
    if packed.dtype != np.uint8 or packed.ndim != 2 or packed.shape[1] != width:
        raise RequestError(f"{name} of {bits} bits must be uint8 (N, {width}), got {packed.dtype} {packed.shape}")
    if bits % 8 and len(packed) and int(packed[:, -1].max()) >> (bits % 8):
        raise RequestError(f"{name} have bits set beyond bit {bits}; is the number of bits right?")


def hamming(a: Bytes, b: Bytes) -> Ints:
    """Hamming distance in bits of every pair of packed codes, `(Q, bytes)` and `(N, bytes)` to `(Q, N)` int64.

    Raises:
        RequestError: the codes have different widths.

    >>> hamming(pack(np.array([[1, 1, -1]])), pack(np.array([[1, -1, 1], [1, 1, -1]])))
    array([[2, 0]])
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise RequestError(f"packed codes must have equal widths, got {a.shape} and {b.shape}")
    dist = np.zeros((len(a), len(b)), dtype=np.int64)
    for byte in range(a.shape[1]):
        dist += np.bitwise_count(a[:, byte, None] ^ b[None, :, byte])  # (Q, N)
    return dist


def hamming_pairs(a: Bytes, b: Bytes) -> Ints:
    """Hamming distance in bits of codes in pairs, `(N, bytes)` twice to `(N,)` int64.

    Raises:
        RequestError: the shapes differ.

    >>> hamming_pairs(pack(np.array([[1, 1, -1]])), pack(np.array([[1, -1, 1]])))
    array([2])
    """
    if a.ndim != 2 or a.shape != b.shape:
        raise RequestError(f"packed codes in pairs must have one shape, got {a.shape} and {b.shape}")
    dist: Ints = np.bitwise_count(a ^ b).sum(1, dtype=np.int64)  # (N,)
    return dist


def words(packed: Bytes) -> Array:
    """Rows of packed bytes as rows of uint64 words, `(N, bytes)` to `(N, ceil(bytes / 8))`, padded with zeros."""
    count = -(-packed.shape[1] // 8)
    if packed.shape[1] == 8 * count and packed.flags.c_contiguous:
        return packed.view(np.uint64)
    wide = np.zeros((len(packed), 8 * count), dtype=np.uint8)
    wide[:, : packed.shape[1]] = packed
    return wide.view(np.uint64)
