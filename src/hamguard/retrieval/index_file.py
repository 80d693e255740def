"""The folder of an index: a file of codes, named by its content, and `index.json` with the facts of `IndexFacts`.

The file of codes is written first and `index.json` last, so a folder always shows one complete index, also to a reader beside a
writer. `index.json` carries the hash of its own content, ids included, and of the arrays of the other file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hamguard.codes.binary import bytes_of
from hamguard.codes.label_sets import LabelSets
from hamguard.codes.labeled import ClassNumbers
from hamguard.core.archives import read_npz
from hamguard.core.errors import MissingFileError, RequestError
from hamguard.core.files import SEAL, digest_arrays, write_npz
from hamguard.core.types import Array, Ints
from hamguard.retrieval.index import IndexFacts
from hamguard.retrieval.items import Items

Arrays = dict[str, Array]


def write_index(folder: Path, facts: IndexFacts, arrays: Arrays) -> IndexFacts:
    """Write an index folder; an older index in it is replaced in one step.

    Args:
        folder: where to.
        facts: all but the file's name and hash.
        arrays: content of the file of codes.

    Returns:
        The facts as they were written.

    Raises:
        RunError: the folder cannot be written.
    """
    file_hash = digest_arrays(arrays)
    facts = changed(facts, file=f"codes-{file_hash}.npz", file_hash=file_hash)
    write_npz(folder / facts.file, arrays)
    facts.save(folder)
    for other in (*folder.glob("codes-*.npz"), *folder.glob("codes-*.faiss")):  # the latter of an older hamguard
        if other.name != facts.file:
            other.unlink(missing_ok=True)
    return facts


def read_index(folder: Path, model_hash: str | None, split_hash: str | None) -> tuple[IndexFacts, Arrays]:
    """The facts of an index and its arrays; begun again where a writer has replaced both in between.

    Raises:
        RequestError: no index there, or it is damaged.
        StaleError: it belongs to another model or split.
    """
    while True:
        facts = IndexFacts.load(folder, model_hash=model_hash, split_hash=split_hash)
        try:
            arrays = read_npz(folder / facts.file, "codes of an index")
        except MissingFileError as error:
            if IndexFacts.load(folder).file == facts.file:
                raise RequestError(f"index {folder} is damaged: {facts.file} is missing; build it again") from error
            continue
        arrays.pop(SEAL, None)
        if digest_arrays(arrays) != facts.file_hash:
            raise RequestError(
                f"index {folder} is damaged: {facts.file} is not the file that index.json names; build it again"
            )
        return facts, arrays


def changed(facts: IndexFacts, **values: Any) -> IndexFacts:
    """The same with some values changed."""
    return IndexFacts(**{**vars(facts), **values})


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


def items_of(arrays: Arrays, facts: IndexFacts) -> Items:
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
