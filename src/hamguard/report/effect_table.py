"""What a protection does to files, as a table: one line a kind of copy, for one matcher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from hamguard.report.table import Cell, Table

GAP = "\N{NO-BREAK SPACE}"
SHORT = {"as saved": "as saved", "noise": "only noise"}
COPIES = {"original": "the original itself", "as saved": "protected, as saved", "noise": "noise of the same size"}


Share = tuple[float, float, float]
"""A share of files, and the ends of its interval."""


class Copy(NamedTuple):
    """What was measured of one kind of copy: originals and copies that are lost, mean of the bits moved, median rank."""

    kind: str
    left: Share
    missed: Share
    moved: float
    rank: float


def effect_table(copies: Sequence[Copy], title: str, *, tag: str, bits: int, top: int) -> Table:
    """One line a kind of copy; the copies as they were saved stand out.

    Args:
        copies: what was measured.
        title: the matcher.
        tag: whether the protector has seen it.
        bits: length of its codes.
        top: answers that a file must be among.
    """
    columns = ("copy", f"original lost (top {top})", f"copy lost (top {top})", f"bits moved of {bits}", "median rank")
    lines = [
        (copy_name(one.kind), share_text(one.left), share_text(one.missed), f"{one.moved:.1f}", f"{one.rank:g}")
        for one in copies
    ]
    saved = next((number for number, one in enumerate(copies) if one.kind == "as saved"), None)
    return Table.of(title, columns, lines, tag=tag, strong=saved)


class Search(NamedTuple):
    """What a search loses: its name, whether the protector has seen it, and the share of each kind of copy."""

    name: str
    tag: str
    left: dict[str, Share]


def searches_table(searches: Sequence[Search], means: Sequence[Search], *, top: int) -> Table:
    """One line a search, after those of means; a column a kind of copy, with an interval for the copies as they were saved.

    Args:
        searches: in the order in which they stand.
        means: lines over several searches; the first stands out.
        top: answers that an original must be among.
    """
    kinds = [kind for kind in dict.fromkeys(kind for one in searches for kind in one.left) if kind != "original"]
    lines = [
        (one.name, one.tag, *(_lost(one.left[kind], kind) if kind in one.left else "" for kind in kinds))
        for one in (*means, *searches)
    ]
    columns = ("search", "to the protector", *(SHORT.get(kind, f"after {kind}") for kind in kinds))
    title = f"Originals lost (top {top})"
    return Table.of(title, columns, lines, names=2, strong=0 if means else None)


def _lost(share: Share, kind: str) -> Cell | str:
    if kind != "as saved":
        return f"{100 * share[0]:.0f}%"
    return Cell(f"{100 * share[0]:.0f}%", f"({100 * share[1]:.0f}{GAP}to{GAP}{100 * share[2]:.0f})")


def copy_name(kind: str) -> str:
    """A kind of copy in words."""
    return COPIES.get(kind, f"protected, after {kind}")


def share_text(share: Share) -> str:
    """A share of pictures with its interval."""
    value, low, high = share
    return f"{100 * value:.1f}% ({100 * low:.0f} to {100 * high:.0f})"


def tied(table: Table) -> Table:
    """The same with intervals and cuts that are not broken over lines of a narrow page."""
    rows = tuple(
        tuple(replace(cell, text=cell.text.replace(" to ", f"{GAP}to{GAP}")) for cell in row) for row in table.rows
    )
    return replace(table, columns=tuple(name.replace("(top ", f"(top{GAP}") for name in table.columns), rows=rows)
