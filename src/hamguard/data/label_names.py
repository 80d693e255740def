"""Names of labels: one Unicode form, one column a name, and what a reader must be told about names that look alike."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from hamguard.core.errors import RequestError
from hamguard.core.shown import shown
from hamguard.core.types import Bytes

MOST_CLASSES = 100_000  # labels are kept as a table of N rows and C columns
MISSING = ("nan", "none", "null", "na", "n/a", "<na>")
"""What programs write where a value is missing; as the name of a label it is worth a finding."""


def readable(text: object) -> str:
    r"""A name as text that can be written anywhere: bytes that were no UTF-8 (halves of surrogate pairs) as `\xe9`."""
    name = str(text)
    return shown(name) if any("\ud800" <= letter <= "\udfff" for letter in name) else name


def plain_name(text: object) -> str:
    """A name of a label as it is compared: composed Unicode (NFC), without space around it, every letter writable.

    >>> plain_name(" cafe\u0301 ") == "caf\u00e9"
    True
    """
    return unicodedata.normalize("NFC", readable(text)).strip()


def joined_forms(spellings: Iterable[str]) -> tuple[str, ...]:
    """The note where labels that differ only in their Unicode form are read as one; none where none do.

    Args:
        spellings: labels as they were written.
    """
    count = Counter(plain_name(text) for text in {str(text).strip() for text in spellings})
    joined = sorted(name for name, n in count.items() if n > 1)
    if not joined:
        return ()
    return (f"labels written in two Unicode forms are read as one: {', '.join(map(shown, joined[:3]))}",)


def mark(names_of: Sequence[Sequence[str]]) -> tuple[Bytes, tuple[str, ...], tuple[str, ...]]:
    """Multi-hot labels of items whose labels are names.

    Args:
        names_of: names of each of N items.

    Returns:
        Labels `(N, C)` uint8, the C names in order, and notes.
    """
    plain = [[plain_name(name) for name in names] for names in names_of]
    class_names = tuple(sorted({name for names in plain for name in names}))
    column = {name: c for c, name in enumerate(class_names)}
    labels = np.zeros((len(plain), len(class_names)), np.uint8)
    for i, names in enumerate(plain):
        for name in names:
            labels[i, column[name]] = 1
    return labels, class_names, joined_forms(name for names in names_of for name in names)


def merge_columns(labels: Bytes, names: Sequence[str]) -> tuple[Bytes, tuple[str, ...], tuple[str, ...]]:
    """Join the columns of names that differ only in their Unicode form.

    Args:
        labels: multi-hot, `(N, C)`.
        names: C names.

    Returns:
        Labels, names in their first order, and notes.

    Raises:
        RequestError: another number of names than columns, or a name that stands twice as it is.
    """
    if len(names) != labels.shape[1]:
        raise RequestError(f"{labels.shape[1]} labels need as many names, got {len(names)}")
    written = [str(name).strip() for name in names]
    if twice := [name for name, n in Counter(written).items() if n > 1]:
        raise RequestError(f"class names must differ, got {shown(twice[0])!r} {written.count(twice[0])} times")
    plain = [plain_name(name) for name in names]
    kept = list(dict.fromkeys(plain))
    if len(kept) == len(plain):
        return labels, tuple(plain), ()
    merged = np.zeros((len(labels), len(kept)), np.uint8)
    for c, name in enumerate(plain):
        merged[:, kept.index(name)] |= labels[:, c]
    return merged, tuple(kept), joined_forms(names)


def name_findings(names: Sequence[str], counts: Sequence[int]) -> list[str]:
    """Sentences about names that may be spelling variants of one label, or stand for a missing value.

    Args:
        names: names of labels.
        counts: pictures of each.
    """
    held = [name for name, n in zip(names, counts, strict=True) if n]
    groups: dict[str, list[str]] = {}
    for name in held:
        key = "".join(unicodedata.normalize("NFKC", name).casefold().split())
        groups.setdefault(key, []).append(name)
    alike = [group for group in groups.values() if len(group) > 1]
    said = []
    if alike:
        shown_groups = "; ".join(" and ".join(repr(shown(name)) for name in group) for group in alike[:3])
        more = ", ..." if len(alike) > 3 else ""
        said.append(f"labels differ only in case, space or form of their letters: {shown_groups}{more}")
    for name, n in zip(names, counts, strict=True):
        if n and name.casefold() in MISSING:
            said.append(f"{n:,} pictures carry the label {name!r}, which programs write where a value is missing")
    if empty := len(names) - len(held):
        said.append(f"{empty:,} of {len(names):,} labels have no picture")
    return said
