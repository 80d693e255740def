"""Pictures to codes a piece at a time: shards that a stopped run keeps, made here one after another or by workers of Ray."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hamguard.codes.bank import CodeBank
from hamguard.core.context import Context
from hamguard.core.digests import digest_json
from hamguard.core.errors import RequestError, RunError
from hamguard.data.opened import DataPart
from hamguard.data.split import Part
from hamguard.training.encode import encode

if TYPE_CHECKING:
    from hamguard.models.store import AnyModel


@dataclass(frozen=True)
class Shard:
    """Some pictures of one part in a row, and the file of their codes.

    Attributes:
        part: the pictures.
        start: number of the first of them in the whole part.
        path: where their codes lie, once they are made.
    """

    part: DataPart
    start: int
    path: Path

    def __len__(self) -> int:
        return len(self.part)

    def read(self, model_hash: str) -> CodeBank | None:
        """The codes that an earlier run kept; None where there are none, or none that can be read."""
        if not self.path.exists():
            return None
        try:
            bank = CodeBank.load(self.path, model_hash=model_hash, split_hash=self.part.split.digest)
        except RequestError:
            return None
        return bank if list(bank.ids) == list(self.part.ids) else None

    def write(self, bank: CodeBank, model_hash: str) -> None:
        """Keep the codes, in one step.

        Raises:
            RunError: they are codes of another model, of other pictures, or cannot be written.
        """
        held = (bank.model_hash, bank.split_hash, len(bank))
        if held != (model_hash, self.part.split.digest, len(self)):
            raise RunError(f"{self.path.name}: a worker found another model or other pictures under the same names")
        bank.save(self.path)


def shards_of(part: DataPart, size: int, model_hash: str, folder: Path) -> list[Shard]:
    """The pictures of a part in shards of `size`; their folder is named by everything that codes depend on.

    Args:
        part: queries or database.
        size: pictures a shard.
        model_hash: content hash of the model.
        folder: where the folder of shards lies.
    """
    named = digest_json([model_hash, part.split.digest, part.role, len(part), size])
    place, shards = folder / f"shards-{part.role}-{named[:12]}", []
    for number, start in enumerate(range(0, len(part), size)):
        rows = Part(part.role, part.part.index[start : start + size])
        shards.append(Shard(DataPart(part.dataset, part.split, rows), start, place / f"{number:06d}.npz"))
    return shards


def encode_shards(model: AnyModel, shards: Sequence[Shard], *, batch_size: int, context: Context) -> Iterator[Shard]:
    """Make the codes of shards here, one after another, and keep each.

    Raises:
        RequestError: as `encode`.
        RunError: the model returns NaN, or a shard cannot be written.
    """
    for shard in shards:
        given = (model, shard.part.dataset, shard.part.split, shard.part.part)
        shard.write(encode(*given, batch_size=batch_size, device=context.device), model.digest)
        yield shard


def joined(banks: Sequence[CodeBank]) -> CodeBank:
    """Banks of shards of one part as one."""
    first = banks[0]
    packed, labels, ids = (
        np.concatenate([getattr(bank, name) for bank in banks]) for name in ("packed", "labels", "ids")
    )
    return CodeBank(packed, first.bits, labels, ids, first.model_hash, first.split_hash)
