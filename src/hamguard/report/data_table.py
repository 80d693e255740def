"""What data are and hold, as tables: sources, splits, the parts of a split, and labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hamguard.report.table import Table

MOST = 20  # labels that are listed; of more, the largest and the smallest
STRIPES = 40  # of the largest label
FOUND = {True: "found", False: "missing", None: ""}


def source_table(sources: Iterable[Mapping[str, Any]]) -> Table:
    """Data sources, what they are, where they are or which files to put where."""
    lines = [(one["name"], one["about"], FOUND[one["found"]], one["where"]) for one in sources]
    return Table.of("Data sources", ("source", "what it is", "", "where"), lines, names=4)


def split_table(splits: Iterable[tuple[str, Sequence[str], str]]) -> Table:
    """Named splits: name, data sets, what they do."""
    lines = [(name, ", ".join(datasets) or "any", about) for name, datasets, about in splits]
    return Table.of("Splits (--protocol)", ("protocol", "for", "what it does"), lines, names=3)


def part_table(
    counts: Mapping[str, int], unlabeled: Mapping[str, int], without_text: Mapping[str, int] | None
) -> Table:
    """How many pictures a part of a split holds, and how many have no label, or no text."""
    texts = [] if without_text is None else ["without a text"]
    lines = [
        (role, f"{n:,}", f"{unlabeled[role]:,}", *([] if without_text is None else [f"{without_text[role]:,}"]))
        for role, n in counts.items()
    ]
    return Table.of("", ("part", "pictures", "without a label", *texts), lines)


def label_table(counts: Mapping[str, int], a_picture: float) -> Table:
    """Labels by their number of pictures, largest first; of very many both ends.

    Args:
        counts: pictures of each label.
        a_picture: labels of a picture, on average.
    """
    labels = sorted(counts.items(), key=lambda item: -item[1])
    many = len(labels) > MOST
    listed = [*labels[: MOST // 2], *labels[-MOST // 2 :]] if many else labels
    most = max(1, labels[0][1]) if labels else 1
    cut = f", the {MOST // 2} largest and the {MOST // 2} smallest" if many else ""
    lines = [(name, f"{n:,}", "#" * round(STRIPES * n / most)) for name, n in listed]
    title = f"{len(labels)} labels, {a_picture:.2f} a picture{cut}"
    return Table.of(title, ("label", "pictures", ""), lines, names=3)
