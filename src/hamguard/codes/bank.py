"""`CodeBank`: packed codes with labels and ids, and the hashes of the model and the split they came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hamguard.codes.binary import check_packed, pack, unpack
from hamguard.codes.labeled import ClassNumbers, check_marks
from hamguard.core.archives import read_npz
from hamguard.core.digests import digest_array
from hamguard.core.errors import RequestError, StaleError
from hamguard.core.files import SEAL, digest_arrays, write_npz
from hamguard.core.html import Shown
from hamguard.core.label_arrays import label_rows
from hamguard.core.types import Array, Bytes

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, repr=False)
class CodeBank(Shown):
    """Reference codes with labels.

    Attributes:
        packed: codes, `(N, ceil(bits / 8))` uint8.
        bits: code length K.
        labels: multi-hot labels, `(N, C)` uint8 in {0, 1}; `C` is 0 where nothing is labeled. Codes from elsewhere
            with very many classes hold `ClassNumbers` in their place.
        ids: one name an item, `(N,)` strings.
        model_hash: content hash of the model that made the codes; empty for foreign codes.
        split_hash: content hash of the split the items came from; empty for foreign codes.
    """

    packed: Bytes
    bits: int
    labels: Bytes
    ids: Array = field(default_factory=lambda: np.empty(0, dtype="<U1"))
    model_hash: str = ""
    split_hash: str = ""

    def __post_init__(self) -> None:
        check_packed(self.packed, self.bits)
        if not isinstance(self.labels, (np.ndarray, ClassNumbers)):
            raise RequestError(f"labels must be an array ({len(self.packed)}, C), got {type(self.labels).__name__}")
        if self.labels.ndim != 2 or len(self.labels) != len(self.packed):
            raise RequestError(f"labels must have shape ({len(self.packed)}, C), got {self.labels.shape}")
        if not isinstance(self.labels, ClassNumbers):
            check_marks(self.labels)
        if len(self.ids) == 0:
            object.__setattr__(self, "ids", np.arange(len(self.packed)).astype("<U12"))
        if len(self.ids) != len(self.packed):
            raise RequestError(f"a bank of {len(self.packed)} codes needs as many ids, got {len(self.ids)}")

    def __len__(self) -> int:
        return len(self.packed)

    @classmethod
    def of(cls, code: Tensor | Array, labels: Tensor | Array, **rest: object) -> CodeBank:
        """A bank from codes and labels.

        Args:
            code: signed codes, `(N, K)` in {-1, +1} or {0, 1}.
            labels: multi-hot labels, `(N, C)` of 0 and 1 of any type, or class numbers, `(N,)`.
            rest: the other attributes.

        Raises:
            RequestError: values that are no codes, or labels that are neither, soft ones among them.
        """
        return cls(pack(code), int(code.shape[1]), label_rows(labels), **rest)  # type: ignore[arg-type]

    @property
    def summary(self) -> dict[str, object]:
        """What tells it from others."""
        held = f"{self.labels.shape[1]:,} classes" if self.labels.shape[1] else "none"
        facts = {"codes": f"{len(self):,}", "bits": self.bits, "labels": held}
        return {**facts, "model": self.model_hash, "split": self.split_hash}

    @property
    def codes(self) -> Tensor:
        """Signed codes, `(N, K)` float32 in {-1, +1}."""
        return _signed(self.packed, self.bits)

    @property
    def digest(self) -> str:
        """Hash of codes, labels and ids."""
        return digest_array(self.packed, np.array([self.bits]), *self._label_arrays, self.ids)

    @property
    def _label_arrays(self) -> tuple[Array, ...]:
        if isinstance(self.labels, ClassNumbers):
            return self.labels.numbers, np.array([self.labels.classes])
        return (self.labels,)

    def select(self, index: Array) -> CodeBank:
        """The bank restricted to `index` (numbers or a mask).

        Raises:
            RequestError: numbers outside of the bank, or a mask of another length.
        """
        try:
            self.ids[index]
        except IndexError as error:
            raise RequestError(f"a bank of {len(self):,} codes has no such items: {error}") from error
        return CodeBank(
            self.packed[index], self.bits, self.labels[index], self.ids[index], self.model_hash, self.split_hash
        )

    def save(self, path: Path | str) -> None:
        """Write as one sealed `.npz` without pickled objects.

        Raises:
            RunError: the file cannot be written.
        """
        arrays = {
            "packed": self.packed,
            "bits": np.array(self.bits),
            "labels": self.labels,
            "ids": self.ids,
            "model_hash": np.array(self.model_hash),
            "split_hash": np.array(self.split_hash),
        }
        write_npz(path, arrays)

    @classmethod
    def load(cls, path: Path | str, *, model_hash: str | None = None, split_hash: str | None = None) -> CodeBank:
        """Read a bank and refuse it when it is damaged or stale.

        Args:
            path: file written by `save`.
            model_hash: hash that the bank must carry, or None to accept any.
            split_hash: the same for the split.

        Raises:
            RequestError: the file is missing, is no bank, or its content does not match its own hash.
            StaleError: the bank was made by another model or from another split.
        """
        arrays = read_npz(path, "code bank")
        try:
            found = str(arrays.pop(SEAL))
            bank = cls(
                arrays["packed"],
                int(arrays["bits"]),
                arrays["labels"],
                arrays["ids"],
                str(arrays["model_hash"]),
                str(arrays["split_hash"]),
            )
        except (KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:
            raise RequestError(f"{path} is not a readable code bank: {error}") from error
        # banks of 0.1.0 have the hash of codes, labels and ids; later ones that of all arrays
        if found not in (digest_arrays(arrays), bank.digest):
            raise RequestError(f"{path} is damaged: its content has hash {bank.digest}, the file says {found}")
        for what, wanted, got in (("model", model_hash, bank.model_hash), ("split", split_hash, bank.split_hash)):
            if wanted is not None and wanted != got:
                was = got or "(unknown)"
                raise StaleError(
                    f"{path} is stale: it belongs to {what} {was}, the {what} is now {wanted}; encode again"
                )
        return bank


@dataclass(frozen=True)
class PairBank(CodeBank):
    """A bank of pairs: the codes of one modality, and beside them those of the other for the same items.

    Attributes:
        other: codes of the other modality, `(N, ceil(K / 8))` uint8.

    Raises:
        RequestError: the two sides differ in number.
    """

    other: Bytes = field(default_factory=lambda: np.empty((0, 0), np.uint8))

    def __post_init__(self) -> None:
        super().__post_init__()
        check_packed(self.other, self.bits, "packed codes of the other modality")
        if len(self.other) != len(self.packed):
            raise RequestError(f"a bank of pairs needs two codes an item, got {len(self.packed)} and {len(self.other)}")

    @classmethod
    def join(cls, own: CodeBank, other: CodeBank) -> PairBank:
        """The pairs of two banks of the same items, seen from the first.

        Raises:
            RequestError: the items or the code lengths differ.
        """
        if own.bits != other.bits or not np.array_equal(own.ids, other.ids):
            raise RequestError("banks of pairs must hold the same items in the same order, with codes of one length")
        return cls(own.packed, own.bits, own.labels, own.ids, own.model_hash, own.split_hash, other.packed)

    @property
    def other_codes(self) -> Tensor:
        """Signed codes of the other modality, `(N, K)` float32 in {-1, +1}."""
        return _signed(self.other, self.bits)

    @property
    def digest(self) -> str:
        """Hash of both sides, labels and ids."""
        return digest_array(self.packed, self.other, np.array([self.bits]), *self._label_arrays, self.ids)

    def select(self, index: Array) -> PairBank:
        """The bank restricted to `index` (numbers or a mask)."""
        own = super().select(index)
        return PairBank(own.packed, own.bits, own.labels, own.ids, own.model_hash, own.split_hash, self.other[index])

    def save(self, path: Path | str) -> None:
        """A file holds the codes of one modality.

        Raises:
            RequestError: always.
        """
        raise RequestError(f"a bank of pairs has no file format; save the two banks that it was joined of, not {path}")

    def swapped(self) -> PairBank:
        """The same pairs seen from the other modality."""
        return PairBank(self.other, self.bits, self.labels, self.ids, self.model_hash, self.split_hash, self.packed)


def _signed(packed: Bytes, bits: int) -> Tensor:
    import torch  # here, so that banks that are only counted do not wait for it

    return torch.from_numpy(unpack(packed, bits)).float()
