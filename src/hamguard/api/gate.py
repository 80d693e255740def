"""`hg.gate`: limits that measured figures must keep, for an engineer's own CI."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hamguard.api.arguments import checked
from hamguard.api.results import Rows, read_rows
from hamguard.core.errors import RequestError
from hamguard.core.html import lines_html
from hamguard.core.rows import Row
from hamguard.report.gate import Judged, gate_sentence, gate_table, judge
from hamguard.report.limits import parse_limits, read_limits
from hamguard.report.table import Table, as_html


@dataclass(frozen=True)
class Gate:
    """Limits and what became of them.

    Attributes:
        judged: every row that a limit is about, under every bound of it.
    """

    judged: tuple[Judged, ...]

    @property
    def kept(self) -> bool:
        """Whether all limits are kept."""
        return all(one.kept for one in self.judged)

    @property
    def broken(self) -> tuple[Judged, ...]:
        """What is beyond its limit."""
        return tuple(one for one in self.judged if not one.kept)

    @property
    def sentence(self) -> str:
        """Which limits are broken, and by how much."""
        return gate_sentence(self.judged)

    def table(self) -> Table:
        """A line a row and bound, broken ones first."""
        return gate_table(self.judged)

    def __repr__(self) -> str:
        return f"Gate({self.sentence})"

    def _repr_html_(self) -> str:
        return as_html(self.table()) + lines_html([self.sentence])


@checked
def gate(
    rows: Iterable[Row] | Path | str | Sequence[Path | str],
    limits: Mapping[str, Any] | Path | str,
    *,
    baseline: Iterable[Row] | Path | str | Sequence[Path | str] | None = None,
) -> Gate:
    """Hold measured rows against limits: at least, at most, or how far a figure may fall below, or rise above, a baseline.

    A limit is about all rows that have its facts (metric, model, attack, eps, ...), and each of them must keep it; one that is
    about no row is an error. The figure alone decides, also where the limit lies inside the row's interval, which is said;
    `interval = "whole"` asks that the whole interval keep the limit, and `interval = "part"` breaks it only where the whole
    interval lies beyond it. The baseline counts with its figure. A baseline's row is the one that asked the same (data, task,
    metric, cut, ties, bits, attack, threat, defense) of as many queries of the same split; where several did, that of the same
    model.

    Args:
        rows: rows, or a rows file, or a folder that holds `rows.jsonl`, or several of both.
        limits: TOML file, or its tables: `{"limits": {"clean": {"metric": "map", "attack": "none", "at_least": 0.8}}}`.
        baseline: rows that were measured before; those that the file names where not given.

    Returns:
        What became of every limit.

    Raises:
        RequestError: no row, a missing or damaged file, an unknown key, a limit without a row, a row without the figure or
            the interval that is asked for, or no baseline that asked the same.

    Example:
        >>> import hamguard as hg
        >>> hg.gate("audits/rows.jsonl", "limits.toml").kept  # doctest: +SKIP
    """
    asked = parse_limits(limits, "limits") if isinstance(limits, Mapping) else read_limits(limits)
    before = asked.baseline if baseline is None else baseline
    found = judge(_read(rows, "rows"), asked, None if before is None else _read(before, "baseline"))
    return Gate(tuple(found))


def _read(rows: Iterable[Row] | Path | str | Sequence[Path | str], what: str) -> Rows:
    if isinstance(rows, (str, Path)):
        found, place = read_rows(rows), str(rows)
    else:
        given = list(rows)
        paths = [one for one in given if isinstance(one, (str, Path))]
        if paths and len(paths) != len(given):
            raise RequestError(f"{what} must be rows, or files of rows, got both")
        found = read_rows(*paths) if paths else Rows(one for one in given if isinstance(one, Row))
        place = ", ".join(map(str, paths)) or what
    if not found:
        raise RequestError(f"{place} holds no row")
    return found
