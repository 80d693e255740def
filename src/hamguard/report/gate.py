"""Rows held against limits: which limit is kept or broken, by how much, and what moved since a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hamguard.core.checks import suggest
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row, Rows
from hamguard.report.collect import OUTCOMES, brief
from hamguard.report.limits import Limit, Limits
from hamguard.report.table import Table
from hamguard.report.wording import attack_words, budget_words, defense_words, metric_head

FUZZ = 1e-9
"""A figure that is beyond a limit by less is on it: .8 - .1 is not .7 in binary."""
NEAR = 2e-6  # rows round eps to six digits
SIGNS = {
    "at_least": "at least",
    "at_most": "at most",
    "fall": "fall at most",
    "rise": "rise at most",
    "passes": "passes",
}
ASKED = ("dataset", "protocol", "task", "metric", "at", "ties", "bits", "defense", "threat")
"""What a row and its baseline have in common, beside the facts of the attack."""


@dataclass(frozen=True)
class Judged:
    """A row under one bound of a limit.

    Attributes:
        limit: name of the limit.
        row: the row.
        bound: `at_least`, `at_most`, `fall`, `rise` or `passes`.
        asked: figure of the bound.
        margin: how far the judged figure is on the right side of the bound; below 0 by how far it is broken.
        inside: whether the bound lies inside the row's 95% interval, so that another draw of queries may say otherwise.
        interval: how the limit takes intervals: `ignore`, `whole` or `part`.
        before: the baseline's row; None where the limit needs none.
    """

    limit: str
    row: Row
    bound: str
    asked: float
    margin: float
    inside: bool
    interval: str
    before: Row | None = None

    @property
    def kept(self) -> bool:
        """Whether the limit is kept; a figure on the bound keeps it."""
        return self.margin >= -FUZZ

    @property
    def moved(self) -> float | None:
        """How far the figure moved from the baseline."""
        if self.before is None or self.before.value is None or self.row.value is None:
            return None
        return self.row.value - self.before.value

    @property
    def facts(self) -> dict[str, Any]:
        """The same as values of JSON."""
        row = self.row
        return {
            "limit": self.limit, "kept": self.kept, "bound": self.bound, "asked": self.asked, "value": row.value,
            "ci95": None if row.ci95 is None else list(row.ci95), "margin": self.margin, "inside": self.inside,
            "interval": self.interval, "baseline": None if self.before is None else self.before.value, "moved": self.moved,
            "metric": row.metric, "at": row.at, "model": row.model, "dataset": row.dataset, "task": row.task,
            "attack": row.attack and attack_words(row), "defense": row.defense and defense_words(row.defense),
            "threat": row.threat, "n": row.n,
        }  # fmt: skip


def judge(rows: Rows, limits: Limits, baseline: Rows | None = None) -> list[Judged]:
    """Every row that a limit is about, under every bound of it.

    Args:
        rows: what was measured.
        limits: what it must keep.
        baseline: what was measured before; needed by `fall` and `rise`.

    Raises:
        RequestError: a limit without a row, a row without a figure (or without an interval where the limit asks for one), a
            check that does not say whether it passed, no baseline, or none that asked the same of as many queries.
    """
    rows, found = rows.once(), []
    for name, limit in limits.limits.items():
        for row in chosen(rows, limit, name):
            before = None
            if limit.fall is not None or limit.rise is not None:
                if baseline is None:
                    raise RequestError(f"limit {name}: fall and rise need a baseline; none is given")
                before = _before(row, baseline, name)
            found += [_judged(name, limit, row, bound, asked, before) for bound, asked in limit.bounds.items()]
    return found


def chosen(rows: Rows, limit: Limit, name: str) -> Rows:
    """The rows that a limit is about.

    Raises:
        RequestError: there is none; the message names the first fact that no row has, and what rows have.
    """
    left, facts = rows, limit.facts
    for key in ("metric", *(key for key in facts if key != "metric")):
        want = facts[key]
        if key == "eps":
            want = tuple({eps for eps in map(_eps, left) if eps is not None and abs(eps - limit.facts["eps"]) < NEAR})
        here = left.where(**{key: want})
        if not here:
            what = "no metric" if key == "metric" and not left else f"{key} {_text(facts[key])}"
            held = sorted({_text(value) for value in (_held(row, key) for row in left)})
            near = suggest(_text(facts[key]), held) or f"; they have {', '.join(held[:8])}{', ...' * (len(held) > 8)}"
            where = "no row" if key == "metric" else f"none of its {len(left)} rows"
            raise RequestError(f"limit {name}: {where} has {what}{near}")
        left = here
    return left


def _eps(row: Row) -> float | None:
    eps = (row.threat or {}).get("eps")
    return eps if isinstance(eps, (int, float)) else None


def _held(row: Row, key: str) -> Any:
    if key in ("eps", "norm", "steps"):
        return (row.threat or {}).get(key)
    if key in ("attack", "defense"):
        held = getattr(row, key)
        return held.get("method") if held else None
    return getattr(row, key) if hasattr(row, key) else (row.attack or {}).get(key)


def _text(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _before(row: Row, baseline: Rows, name: str) -> Row:
    """The baseline's row that asked the same, of the same model where several did.

    Raises:
        RequestError: there is none, or several, or it has no figure, or it asked other queries.
    """
    same = [one for one in baseline.once() if _question(one) == _question(row)]
    same = [one for one in same if one.model == row.model] or same
    same = [one for one in same if one.seed == row.seed] or same
    what = f"{metric_head(row)} of {row.model or 'no model'}, {_asked_words(row)}"
    if len(same) != 1:
        count = f"{len(same)} rows" if same else "no row"
        raise RequestError(f"limit {name}: the baseline has {count} to compare with {what}")
    (before,) = same
    if before.value is None:
        raise RequestError(f"limit {name}: the baseline's {what} has no figure")
    if (before.n, before.split) != (row.n, row.split):
        other = f"{before.n} queries, here {row.n}" if before.n != row.n else "another split of the data"
        raise RequestError(f"limit {name}: the baseline asked {other}: {what} cannot be compared")
    return before


def _question(row: Row) -> bytes:
    facts = {key: value for key, value in (row.attack or {}).items() if key not in (*OUTCOMES, "stages")}
    return brief([[getattr(row, key) for key in ASKED], facts])


def _judged(name: str, limit: Limit, row: Row, bound: str, asked: float, before: Row | None) -> Judged:
    what = f"{metric_head(row)} of {row.model or 'no model'}, {_asked_words(row)}"
    if bound == "passes":
        passed = (row.attack or {}).get("passed")
        if not isinstance(passed, bool):
            raise RequestError(f"limit {name}: {what} is no check that passes or fails")
        return Judged(name, row, bound, asked, 0.0 if passed else -1.0, False, limit.interval)
    if row.value is None:
        raise RequestError(f"limit {name}: {what} has no figure")
    low = bound in ("at_least", "fall")  # the figure must stay above
    base = 0.0 if bound.startswith("at_") or before is None or before.value is None else before.value
    edge = base - asked if bound == "fall" else base + asked
    figure = row.value
    if limit.interval != "ignore":
        if row.ci95 is None:
            raise RequestError(f'limit {name}: {what} has no interval; judge it by interval = "ignore"')
        figure = row.ci95[0 if low == (limit.interval == "whole") else 1]
    inside = row.ci95 is not None and row.ci95[0] < edge < row.ci95[1]
    return Judged(name, row, bound, asked, figure - edge if low else edge - figure, inside, limit.interval, before)


def _asked_words(row: Row) -> str:
    facts, words = row.attack or {}, [attack_words(row)]
    if facts.get("method") == "audit" and facts.get("labels"):  # it has two results
        words.append(f"labels {facts['labels']}")
    if row.threat:
        words.append(budget_words(row.threat))
    if row.defense:
        words.append(defense_words(row.defense))
    return ", ".join(words)


def gate_table(judged: Sequence[Judged]) -> Table:
    """What is held against what, broken limits first."""
    lines = [
        (
            one.limit,
            one.row.model or "no model",
            _asked_words(one.row),
            metric_head(one.row),
            "" if one.row.value is None else f"{one.row.value:.4f}",
            "" if one.row.ci95 is None else f"{one.row.ci95[0]:.4f} .. {one.row.ci95[1]:.4f}",
            SIGNS[one.bound] + ("" if one.bound == "passes" else f" {one.asked:g}"),
            "" if one.before is None else f"{one.before.value:.4f}",
            "" if one.moved is None else f"{one.moved:+.4f}",
            _result(one),
        )
        for one in sorted(judged, key=lambda one: one.kept)
    ]
    columns = (
        "limit",
        "model",
        "asked with",
        "metric",
        "value",
        "95% interval",
        "limit of it",
        "baseline",
        "moved",
        "result",
    )
    return Table.of("Limits", columns, lines, names=4, notes=_notes(judged))


def _result(one: Judged) -> str:
    if one.bound == "passes":
        return "kept" if one.kept else "BROKEN"
    return f"kept by {max(one.margin, 0):.4f}" if one.kept else f"BROKEN by {-one.margin:.4f}"


def _notes(judged: Sequence[Judged]) -> list[str]:
    notes = []
    for name in dict.fromkeys(one.limit for one in judged):
        own = [one for one in judged if one.limit == name]
        rows = {id(one.row) for one in own}
        if len(rows) > 1:
            notes.append(f"{name} is about {len(rows)} rows: each of them must keep it.")
        if any(one.inside for one in own):
            notes.append(f"{name}: the limit lies inside the interval, {INSIDE[own[0].interval]}.")
    return notes


INSIDE = {
    "ignore": "and the figure alone decides; other queries may decide otherwise",
    "whole": "which breaks it, because the whole interval must keep it",
    "part": "which keeps it, because only an interval wholly beyond it breaks it",
}
"""What happens to a limit inside the interval, by how it takes intervals."""


def gate_sentence(judged: Sequence[Judged]) -> str:
    """Which limits are broken, and by how much the worst row of each."""
    names = list(dict.fromkeys(one.limit for one in judged))
    broken = list(dict.fromkeys(one.limit for one in judged if not one.kept))
    if not broken:
        return f"All {len(names)} limits are kept." if len(names) > 1 else "The limit is kept."
    told = []
    for name in broken:
        worst = min((one for one in judged if one.limit == name), key=lambda one: one.margin)
        told.append(name if worst.bound == "passes" else f"{name} by {-worst.margin:.4f}")
    return f"{len(broken)} of {len(names)} limits broken: {', '.join(told)}."
