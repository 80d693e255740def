"""The ten lines that end the demo, made of its rows alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from hamguard.core.errors import RunError

if TYPE_CHECKING:
    from hamguard.core.rows import Row

Facts = dict[str, Any]


def summary(rows: Sequence[Row]) -> list[str]:
    """What the demo found: ten lines, one a stage or finding; every figure is that of a row.

    Args:
        rows: those of `rows.jsonl`.

    Returns:
        Exactly ten lines.

    Raises:
        RunError: a row is missing.
    """
    found = _Found(rows)
    clean, near = found.plain("map"), found.plain("precision")
    floor = found.of("random_map", lambda r: r.n == clean.n)
    noise, hag, mainstay, dhta = (found.attacked(name) for name in ("noise", "hag", "mainstay", "dhta"))
    away, ideal = found.of("bits-moved", _method("hag")), found.attacked("ideal-code", guide="mainstay")
    target = found.of("t-map", lambda r: not r.attack and not r.defense)
    worst, blind = found.audit("aware"), found.audit("free")
    start = found.of("map", lambda r: not r.attack and not r.defense and r.n == worst.n)
    hard, kept = found.attacked("mainstay", defended=True), found.of("map", lambda r: bool(r.defense) and not r.attack)
    after = found.audit("aware", defended=True)
    checks = [row for row in rows if row.metric == "check" and (row.attack or {}).get("method") == "sanity"]
    passed = sum((row.attack or {}).get("passed") is True for row in checks)
    hidden, own, mock = found.four("C", "C->A"), found.four("A", "A->A"), found.four("C", "C->A", method="noise")
    lost, control = found.files("protected->original", "protect"), found.files("noise->original", "noise")
    bits, at = clean.bits or 0, _eps(mainstay)
    return [
        f" 1. learn    {bits}-bit codes ({clean.train}) find with MAP {_map(clean)}; random codes {_map(floor)}",
        f" 2. search   {_share(near)} of the first {near.at} answers show the digit that was asked, over {near.n} queries",
        f" 3. attack   noise that moves pixels by up to {_eps(noise)} leaves MAP {_map(noise)}",
        f" 4. attack   HAG, which knows no label, moves {away.value:.1f} of {bits} bits within {at}: MAP {_map(hag)}",
        f" 5. attack   mainstay, which knows labels: MAP {_map(mainstay)}; the least that its code can reach {_map(ideal)}",
        f" 6. attack   DHTA makes the search answer what the attacker chose: t-MAP from {_map(target)} to {_map(dhta)}",
        f" 7. audit    worst case of {worst.n} queries within {_eps(worst)}: MAP from {_map(start)} to {_map(worst)}, "
        f"{_map(blind)} without labels",
        f" 8. harden   MAP under mainstay {_map(mainstay)} to {_map(hard)}, worst case {_map(worst)} to {_map(after)}, clean "
        f"{_map(clean)} to {_map(kept)}; {passed} of {len(checks)} checks passed",
        f" 9. protect  within {_eps(hidden)}: a search finds protected pictures with MAP {_map(hidden)}, noisy ones {_map(mock)}; "
        f"one that learned from such {_map(own)}",
        f"10. verify   {_share(lost)} of {lost.n} protected files miss their original in {lost.at} answers; "
        f"under noise {_share(control)}",
    ]


class _Found:
    """Rows by what they say."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows

    def of(self, metric: str, fits: Callable[[Row], bool]) -> Row:
        """The first row of a metric that fits."""
        for row in self.rows:
            if row.metric == metric and row.value is not None and fits(row):
                return row
        raise RunError(f"the rows of the demo lack one of {metric}; give all of rows.jsonl")

    def plain(self, metric: str) -> Row:
        """Of the model as it was learned, without attack."""
        return self.of(metric, lambda r: not r.attack and not r.defense and r.task == "query->database")

    def attacked(self, method: str, guide: str = "", *, defended: bool = False) -> Row:
        """The score of an attack; toward a target its t-MAP."""

        def fits(row: Row) -> bool:
            facts = row.attack or {}
            return (
                facts.get("method") == method
                and bool(row.defense) is defended
                and row.task == "query->database"
                and (not guide or facts.get("guide") == guide)
            )

        return self.of("t-map" if method == "dhta" else "map", fits)

    def audit(self, labels: str, *, defended: bool = False) -> Row:
        """The worst case of an audit."""
        return self.of("map", lambda r: _method("audit", labels=labels)(r) and bool(r.defense) is defended)

    def four(self, train: str, task: str, method: str = "ppl") -> Row:
        """One of the four searches of a protection."""
        return self.of("map", lambda r: r.train == train and r.task == task and _method(method)(r))

    def files(self, task: str, method: str) -> Row:
        """Files whose original left the first answers, as they were saved."""
        return self.of("left top", lambda r: r.task == task and _method(method)(r) and not (r.attack or {}).get("view"))


def _method(name: str, **facts: str) -> Callable[[Row], bool]:
    wanted: Facts = {"method": name, **facts}
    return lambda row: all((row.attack or {}).get(key) == value for key, value in wanted.items())


def _map(row: Row) -> str:
    return f"{row.value:.3f}"


def _share(row: Row) -> str:
    return f"{row.value:.1%}"


def _eps(row: Row) -> str:
    return f"{(row.threat or {})['eps']:g}"
