"""Target labels of a targeted attack: four published ways to draw them, or one that a person names. The list is saved.

| rule | pool | leaves out | source |
|---|---|---|---|
| `no-overlap` | distinct label vectors of the database | vectors that share a label with the picture | SAAT (TIFS 2023); default |
| `other` | vectors of more than 9 database items | the picture's own vector only | DHTA's code (ECCV 2020) |
| `frequent` | vectors of more than 9 database items | nothing | DHTA in ProS-GAN's code (CVPR 2021) |
| `distinct` | distinct label vectors of the database | nothing | ProS-GAN and THA (SIGIR 2021) |

Each is uniform over vectors, so a rare combination of labels is as likely as a common one, as published. The empty
vector is never a target (ProS-GAN's code draws it on FLICKR-25K, where nothing can then be relevant). Where overlap is allowed, a
clean picture may score high already: the row of the clean picture under its target label stands beside every attack.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hamguard.core.checks import check_choice, suggest
from hamguard.core.digests import digest_array
from hamguard.core.errors import MissingFileError, RequestError
from hamguard.core.files import read_sealed, write_sealed
from hamguard.core.seeds import numpy_generator
from hamguard.core.types import Array, Bytes

PROTOCOLS = ("no-overlap", "other", "frequent", "distinct")
VOTERS = 9  # DHTA draws this many pictures with the target label


@dataclass(frozen=True)
class Targets:
    """Target labels of some pictures.

    Attributes:
        labels: `(Q, C)` uint8.
        rule: how they were chosen.
        notes: what a reader of the figures must know.
    """

    labels: Bytes
    rule: str
    notes: tuple[str, ...] = field(default=())

    @property
    def digest(self) -> str:
        """Content hash of the list."""
        return digest_array(self.labels)


def draw_targets(
    rule: str, labels: Bytes, database: Bytes, *, reference: Bytes | None = None, ids: Array, seed: int = 0
) -> Targets:
    """Draw a target label for every picture.

    Args:
        rule: one of `PROTOCOLS`.
        labels: labels of the pictures, `(Q, C)`.
        database: labels of the database, `(N, C)`.
        reference: labels of the reference items, `(M, C)`; a vector that none of them carries is left out, because
            no guide code can be built for it.
        ids: names of the pictures, `(Q,)`; a picture's target depends on its name and the seed only, so that the first 100
            pictures have the same targets as in a run over 1,000.
        seed: seed of the draw.

    Raises:
        RequestError: unknown rule, or no vector is left for a picture.
    """
    check_choice("target rule", rule, PROTOCOLS)
    pool, counts = np.unique(database[database.any(1)], axis=0, return_counts=True)  # (P, C), in a fixed order
    notes = []
    if rule in ("other", "frequent"):
        pool = pool[counts > VOTERS]
    if reference is not None:
        carried = {row.tobytes() for row in np.ascontiguousarray(reference.astype(np.uint8))}
        kept = np.array([row.tobytes() in carried for row in np.ascontiguousarray(pool.astype(np.uint8))], dtype=bool)
        if not kept.all():
            notes.append(
                f"targets: {int((~kept).sum())} of {len(kept)} label combinations of the database are left out, "
                "no reference picture carries them"
            )
        pool = pool[kept]
    out = np.zeros_like(labels, dtype=np.uint8)
    for row, own in enumerate(labels):
        allowed = np.ones(len(pool), dtype=bool)
        if rule == "no-overlap":
            allowed = (pool.astype(np.int64) @ own.astype(np.int64)) == 0
        elif rule == "other":
            allowed = (pool != own).any(1)
        choice = np.flatnonzero(allowed)
        if len(choice) == 0:
            raise RequestError(
                f"no target label is left for picture {ids[row]} under the rule {rule}; try another, or name a label"
            )
        drawn = numpy_generator(seed, "target", rule, str(ids[row])).integers(len(choice))
        out[row] = pool[choice[drawn]]
    return Targets(out, rule, tuple(notes))


def named_target(text: str, count: int, class_names: Sequence[str], database: Bytes) -> Targets:
    """One target for all pictures, written as label names joined by commas.

    Raises:
        RequestError: unknown label, or no database item has it.
    """
    row = np.zeros(len(class_names), np.uint8)
    for word in (part.strip() for part in text.split(",")):
        row[_class_number(word, class_names)] = 1
    _check_in_database(row[None], database, class_names)
    return Targets(np.repeat(row[None], count, axis=0), f"label {text}")


def _class_number(word: str, class_names: Sequence[str]) -> int:
    """Number of a label by its name, with or without what stands before a colon in it."""
    if word in class_names:
        return list(class_names).index(word)
    short = [i for i, name in enumerate(class_names) if name.partition(":")[2].strip() == word]
    if len(short) == 1:
        return short[0]
    listed = ", ".join(class_names[:12]) + (", ..." if len(class_names) > 12 else "")
    raise RequestError(f"unknown label {word!r}; labels: {listed}{suggest(word, class_names)}")


def _check_in_database(labels: Bytes, database: Bytes, class_names: Sequence[str]) -> None:
    present = database.any(0)
    for row in np.unique(labels, axis=0):
        if not (row.astype(bool) & present).any():
            names = ", ".join(class_names[int(c)] for c in np.flatnonzero(row)) or "the empty label"
            raise RequestError(f"no database item has the target label {names}, so nothing could be found with it")


def save_targets(path: Path | str, targets: Targets, ids: Array, class_names: Sequence[str], seed: int) -> None:
    """Write the list, so that another attack, or another program, can use the same one.

    Raises:
        RunError: the file cannot be written.
    """
    listed = {
        str(name): [class_names[int(c)] for c in np.flatnonzero(row)]
        for name, row in zip(ids, targets.labels, strict=True)
    }
    write_sealed(path, {"rule": targets.rule, "seed": seed, "hash": targets.digest, "targets": listed})


def read_targets(path: Path | str, ids: Array, class_names: Sequence[str], database: Bytes) -> Targets:
    """Read a list that `save_targets` wrote, or that another program made: then `targets` is all that it holds.

    Raises:
        RequestError: missing or damaged, a picture without a target, an unknown label, or one that no database item has.
    """
    try:
        content = read_sealed(path, "target list", old=lambda found: set(found) == {"targets"})
    except MissingFileError as error:
        raise RequestError(
            f"no target list at {path}; allowed: {', '.join(PROTOCOLS)}, label:NAME, or a saved list"
        ) from error
    try:
        listed = {str(name): list(words) for name, words in content["targets"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise RequestError(f"{path} is not a target list: it needs an object `targets` of id to label names") from error
    missing = [str(name) for name in ids if str(name) not in listed]
    if missing:
        raise RequestError(f"{path} has no target for {len(missing)} of {len(ids)} pictures, e.g. {missing[0]}")
    labels = np.zeros((len(ids), len(class_names)), np.uint8)
    for row, name in enumerate(ids):
        for word in listed[str(name)]:
            try:
                labels[row, _class_number(str(word), class_names)] = 1
            except RequestError as error:
                raise RequestError(f"{path}: {error}") from error
    try:
        _check_in_database(labels, database, class_names)
    except RequestError as error:
        raise RequestError(f"{path}: {error}") from error
    return Targets(labels, f"list {Path(path).name}")


def choose_targets(
    text: str,
    labels: Bytes,
    database: Bytes,
    *,
    reference: Bytes | None,
    ids: Array,
    class_names: Sequence[str],
    seed: int,
) -> Targets:
    """Targets by their written form: a rule, `label:NAME[,NAME]`, or a saved list.

    Raises:
        RequestError: see the functions that this one calls.
    """
    if text in PROTOCOLS:
        return draw_targets(text, labels, database, reference=reference, ids=ids, seed=seed)
    kind, colon, rest = text.partition(":")
    if kind == "label" and colon:
        return named_target(rest, len(ids), class_names, database)
    if "/" not in text and "." not in text and not Path(text).exists():
        check_choice("target rule", text, (*PROTOCOLS, "label:NAME"))
    return read_targets(text, ids, class_names, database)
