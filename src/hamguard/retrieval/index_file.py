"""The folder of an index: a file of codes, named by its content, and `index.json` with the facts of `FolderFacts`.

The file of codes is written first and `index.json` last, so a folder always shows one complete index, also to a reader beside a
writer. `index.json` carries the hash of its own content, ids included, and of the arrays of the other file.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from hamguard.codes.binary import bytes_of
from hamguard.codes.label_sets import LabelSets
from hamguard.codes.labeled import ClassNumbers
from hamguard.core.archives import memory_bytes, read_npz
from hamguard.core.checks import check_choice
from hamguard.core.errors import MissingFileError, RequestError
from hamguard.core.files import SEAL, digest_arrays, read_sealed, write_npz, write_sealed
from hamguard.core.types import Array, Ints
from hamguard.retrieval.index import ENGINES, IndexFacts, check_current
from hamguard.retrieval.items import Items

FACTS = "index.json"
Arrays = dict[str, Array]


@dataclass(frozen=True)
class FolderFacts(IndexFacts):
    """Content of `index.json`.

    Attributes:
        file: name of the file of codes in the folder.
        file_hash: hash of its arrays.
        ids: ids in the order of insertion.
    """

    file: str
    file_hash: str
    ids: list[str]

    @classmethod
    def load(cls, folder: Path | str, *, model_hash: str | None = None, split_hash: str | None = None) -> FolderFacts:
        """Read `index.json` and refuse a stale or damaged one.

        Raises:
            RequestError: the folder holds no index, or `index.json` is damaged or contradicts itself.
            StaleError: the index belongs to another model or split than the one given.
        """
        path = Path(folder) / FACTS
        try:
            content = read_sealed(path, "index", limit=memory_bytes() // 4)
        except MissingFileError as error:
            raise RequestError(
                f"no index at {folder}: there is no {FACTS}; build one with `hamguard index build`"
            ) from error
        kinds = {"bits": int, "count": int, "distinct": int, "classes": int, "ids": list}
        names = [f.name for f in fields(cls)]
        if {*names} - {*content} == {"distinct", "classes"}:
            raise RequestError(
                f"index {folder} was written by an older hamguard, which kept the code of every item; "
                "build it again with `hamguard index build`"
            )
        if sorted(content) != sorted(names):
            raise RequestError(f"{path} is damaged: it must have the keys {', '.join(names)}")
        wrong = [name for name in names if not isinstance(content[name], kinds.get(name, str))]
        if wrong or not all(isinstance(i, str) for i in content["ids"]):
            raise RequestError(f"{path} is damaged: {', '.join(wrong or ['ids'])} has the wrong type")
        facts = cls(**content)
        check_choice(f"engine in {path}", facts.engine, ENGINES)
        if facts.file != Path(facts.file).name or facts.bits < 1 or facts.count != len(facts.ids):
            raise RequestError(
                f"{path} is damaged: file name, bits, or the count ({facts.count}) of {len(facts.ids)} ids"
            )
        if len(set(facts.ids)) != facts.count:
            raise RequestError(f"{path} is damaged: an id stands in it twice")
        return check_current(str(folder), facts, model_hash, split_hash)


def write_index(folder: Path, facts: IndexFacts, items: Items, codes: Arrays) -> None:
    """Write an index folder; an older index in it is replaced in one step.

    Args:
        folder: where to.
        facts: what is known of the index.
        items: its items.
        codes: its codes, as the engine writes them.

    Raises:
        RunError: the folder cannot be written.
    """
    arrays = codes | arrays_of(items)
    file_hash = digest_arrays(arrays)
    file = f"codes-{file_hash}.npz"
    write_npz(folder / file, arrays)
    write_sealed(
        folder / FACTS, asdict(FolderFacts(**facts.common, file=file, file_hash=file_hash, ids=items.ids.tolist()))
    )
    for other in (*folder.glob("codes-*.npz"), *folder.glob("codes-*.faiss")):  # the latter of an older hamguard
        if other.name != file:
            other.unlink(missing_ok=True)


def read_index(folder: Path, model_hash: str | None, split_hash: str | None) -> tuple[FolderFacts, Arrays]:
    """The facts of an index and its arrays; begun again where a writer has replaced both in between.

    Raises:
        RequestError: no index there, or it is damaged.
        StaleError: it belongs to another model or split.
    """
    while True:
        facts = FolderFacts.load(folder, model_hash=model_hash, split_hash=split_hash)
        try:
            arrays = read_npz(folder / facts.file, "codes of an index")
        except MissingFileError as error:
            if FolderFacts.load(folder).file == facts.file:
                raise RequestError(f"index {folder} is damaged: {facts.file} is missing; build it again") from error
            continue
        arrays.pop(SEAL, None)
        if digest_arrays(arrays) != facts.file_hash:
            raise RequestError(
                f"index {folder} is damaged: {facts.file} is not the file that index.json names; build it again"
            )
        return facts, arrays


def arrays_of(items: Items) -> Arrays:
    """What items have in common, and their labels, without their ids.

    The first item of each code needs no number: codes are numbered by it. So each further item costs a number, and saves a code.
    """
    first = np.zeros(len(items), dtype=bool)
    first[np.unique(items.owner, return_index=True)[1]] = True
    arrays = {} if items.single else {"first": np.packbits(first), "again": _small(items.owner[~first], items.codes)}
    labels = items.labels
    if labels.classes:
        numbers = isinstance(labels.sets, ClassNumbers)
        sets = labels.sets.numbers if isinstance(labels.sets, ClassNumbers) else np.packbits(labels.sets, axis=1)
        arrays |= {"class_numbers" if numbers else "label_sets": sets, "label_of": _small(labels.which, len(sets))}
    return arrays


def items_of(arrays: Arrays, facts: FolderFacts) -> Items:
    """The items that `arrays_of` has written.

    Raises:
        ValueError: arrays and facts do not belong together.
        KeyError: an array is missing.
    """
    count = facts.count
    owner = np.arange(count, dtype=np.int64)
    if facts.distinct != count:
        first = np.unpackbits(arrays["first"], count=count).astype(bool)
        owner = np.cumsum(first) - 1  # the youngest code so far
        again = arrays["again"].astype(np.int64)
        if (
            len(arrays["first"]) != bytes_of(count)
            or owner[-1] + 1 != facts.distinct
            or (again > owner[~first]).any()
            or again.min(initial=0) < 0
        ):
            raise ValueError("items and codes")
        owner[~first] = again
    return Items(np.array(facts.ids, dtype=np.str_), owner, _labels(arrays, facts))


def _labels(arrays: Arrays, facts: IndexFacts) -> LabelSets:
    if not facts.classes:
        return LabelSets(np.zeros((1, 0), np.uint8), np.zeros(facts.count, np.int64))
    which = arrays["label_of"].astype(np.int64)
    if "class_numbers" in arrays:
        sets: Any = ClassNumbers(arrays["class_numbers"].astype(np.int64), facts.classes)
    else:
        sets = np.unpackbits(arrays["label_sets"], axis=1, count=facts.classes)
        if arrays["label_sets"].shape[1] != bytes_of(facts.classes):
            raise ValueError("classes")
    if which.shape != (facts.count,) or not 0 <= which.min() <= which.max() < len(sets):
        raise ValueError("labels")
    return LabelSets(sets, which)


def check_codes(codes: Array, facts: IndexFacts) -> None:
    """Check the shape of the codes.

    Raises:
        ValueError: it is not that of the facts.
    """
    if codes.dtype != np.uint8 or codes.shape != (facts.distinct, bytes_of(facts.bits)):
        raise ValueError("codes")


def _small(numbers: Ints, most: int) -> Array:
    """Numbers below `most` in the smallest type that holds them."""
    return numbers.astype(np.min_scalar_type(max(most - 1, 0)))
