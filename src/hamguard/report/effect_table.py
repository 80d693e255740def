"""What a protection does to files, as a table: one line a kind of copy, for one matcher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from hamguard.report.table import Table

GAP = "\N{NO-BREAK SPACE}"
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
