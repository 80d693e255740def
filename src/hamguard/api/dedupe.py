"""What codes hold twice, nearly: groups of items within a radius of each other."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hamguard.api.arguments import checked
from hamguard.api.results import Rows
from hamguard.core.context import Context
from hamguard.core.errors import RequestError
from hamguard.core.files import replacing
from hamguard.core.html import lines_html
from hamguard.core.rows import Row
from hamguard.core.types import Array
from hamguard.evaluation.search.held_codes import held_codes
from hamguard.retrieval.near_groups import NearGroups, near_groups

if TYPE_CHECKING:
    from hamguard.codes.bank import CodeBank

__all__ = ["Duplicates", "dedupe"]

FORMS = (".jsonl", ".csv", ".txt")
"""Endings of files that groups are written to: a group a line, an item a line, or the ids of all but the oldest of each group."""


@dataclass(frozen=True)
class Duplicates:
    """Groups of items within a radius of each other; iterating gives the ids of each, oldest first.

    Attributes:
        found: the groups.
        ids: one name an item, `(N,)`.
        facts: model and hashes of the codes, code length, and the time that it took.
    """

    found: NearGroups
    ids: Array
    facts: Row = field(repr=False)

    def __len__(self) -> int:
        return int(np.count_nonzero(self.found.sizes > 1))

    def __iter__(self) -> Iterator[list[str]]:
        for rows in self.found.members():
            yield [str(name) for name in self.ids[rows]]

    @property
    def extra(self) -> int:
        """Items beyond the oldest of each group."""
        return len(self.ids) - len(self.found.sizes)

    @property
    def rows(self) -> Rows:
        """Groups of two and more, items in them, items beyond the oldest of each, the largest group, and different codes."""
        sizes = self.found.sizes
        counts = {
            "groups": len(self),
            "items-in-groups": int(sizes[sizes > 1].sum()),
            "items-beyond-the-oldest": self.extra,
            "largest-group": int(sizes.max()),
            "different-codes": self.found.codes,
        }
        base = replace(self.facts, at=self.found.radius, n=len(self.ids))
        return Rows(replace(base, metric=name, value=value) for name, value in counts.items())

    @property
    def lines(self) -> list[str]:
        """What came out, as lines."""
        sizes, radius = self.found.sizes, self.found.radius
        if not len(self):
            return [f"no two of {len(self.ids):,} items lie within radius {radius} of each other"]
        inside = int(sizes[sizes > 1].sum())
        groups = "1 group" if len(self) == 1 else f"{len(self):,} groups"
        held = f"{groups} within radius {radius}: {inside:,} of {len(self.ids):,} items"
        return [
            f"{held}; without {self.extra:,} of them one of each group is left",
            f"the largest group has {int(sizes.max()):,} items; {self.found.codes:,} different codes, "
            f"{self.found.compared:,} pairs of them compared",
        ]

    def save(self, path: Path | str) -> Path:
        """Write the groups in the form that the name ends in.

        Args:
            path: `.jsonl`, one `{"size": 2, "ids": [...]}` a line; `.csv`, one `group,id` a line; `.txt`, the ids of all but the
                oldest of each group, one a line, as `hamguard index remove INDEX @FILE` reads them.

        Raises:
            RequestError: another ending, or for `.txt` an id of several lines.
            RunError: the file cannot be written.
        """
        path = Path(path)
        check_form(path)
        with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
            if path.suffix == ".csv":
                import csv

                writer = csv.writer(stream, lineterminator="\n")
                writer.writerow(("group", "id"))
                writer.writerows((number, name) for number, names in enumerate(self) for name in names)
                return path
            for names in self:
                if path.suffix == ".jsonl":
                    stream.write(json.dumps({"size": len(names), "ids": names}) + "\n")
                    continue
                for name in names[1:]:
                    if name.splitlines() != [name]:
                        raise RequestError(f"id {name!r} does not stand in one line; write .jsonl or .csv")
                    stream.write(name + "\n")
        return path

    def __repr__(self) -> str:
        return f"Duplicates({self.lines[0]})"

    def _repr_html_(self) -> str:
        return lines_html(self.lines)


def check_form(path: Path) -> None:
    """Check the ending of a file of groups before the work that fills it.

    Raises:
        RequestError: no form has it.
    """
    if path.suffix not in FORMS:
        raise RequestError(f"groups are written as {', '.join(FORMS)}, got {path.name}")


@checked
def dedupe(
    codes: CodeBank | Path | str,
    *,
    radius: int,
    context: Context | None = None,
) -> Duplicates:
    """Find groups of items whose codes lie within a radius of each other: `hg.dedupe("index", radius=4).save("groups.jsonl")`.

    Two items belong to one group where a chain of items, each within the radius of the next, leads from one to the other; chains of
    a generous radius join much. `hg.threshold` says which radius keeps false matches rare. Groups are exact.

    Args:
        codes: a bank; a file of codes (.npz); or an index, a folder or an address.
        radius: in bits, 0 to the length of a code; 0 joins equal codes.
        context: how progress is shown.

    Raises:
        RequestError: no such codes, none at all, or a radius out of range.
    """
    bank, name, hashes, notes = held_codes(codes)
    from hamguard.api.running import Bar

    begun = time.perf_counter()
    with (context or Context(stage=Bar)).stage("comparing codes") as progress:
        found = near_groups(bank.packed, bank.bits, radius, progress)
    facts = Row(model=name, bits=bank.bits, hashes=hashes, notes=notes)
    facts = replace(facts, seconds=round(time.perf_counter() - begun, 3))
    return Duplicates(found, bank.ids, facts)
