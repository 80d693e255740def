"""The ten lines that end the demo, made of its rows alone, and what its pictures show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hamguard.core.errors import RunError
from hamguard.core.rows import Row, Rows
from hamguard.report.pictures import Picture

SEARCH = "query->database"


def summary(rows: Sequence[Row]) -> list[str]:
    """What the demo found: ten lines, one a stage or finding; every figure is that of a row.

    Args:
        rows: those of `rows.jsonl`.

    Returns:
        Exactly ten lines.

    Raises:
        RunError: a row is missing.
    """
    found = _Demo(row for row in rows if row.value is not None)
    clean, near = (found.the(metric, attack=None, task=SEARCH) for metric in ("map", "precision"))
    floor = found.the("random_map", defended=None, n=clean.n)
    noise, hag, mainstay = (found.the("map", attack=name, task=SEARCH) for name in ("noise", "hag", "mainstay"))
    away, dhta = found.the("bits-moved", attack="hag"), found.the("t-map", attack="dhta", task=SEARCH)
    ideal = found.the("map", attack="ideal-code", guide="mainstay", task=SEARCH)
    target = found.the("t-map", attack=None)
    worst, blind = (found.the("map", attack="audit", labels=labels) for labels in ("aware", "free"))
    start = found.the("map", attack=None, n=worst.n)
    hard = found.the("map", attack="mainstay", task=SEARCH, defended=True)
    kept = found.the("map", attack=None, defended=True)
    after = found.the("map", attack="audit", labels="aware", defended=True)
    checks = [row for row in rows if row.metric == "check" and (row.attack or {}).get("method") == "sanity"]
    passed = sum((row.attack or {}).get("passed") is True for row in checks)
    hidden, mock = (found.the("map", attack=name, train="C", task="C->A") for name in ("ppl", "noise"))
    own = found.the("map", attack="ppl", train="A", task="A->A")
    lost = found.the("left top", attack="protect", task="protected->original", view=None)
    control = found.the("left top", attack="noise", task="noise->original", view=None)
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


def shown_pictures(eps: float, audit_eps: float) -> list[Picture]:
    """The pictures of the demo as its page shows them: sheets, curves, attacks, audit, hardening, protection."""
    hardest = "the last one is the query that the search serves worst"
    return [
        Picture("sheet.png", f"Six queries and their ten nearest; {hardest}", "sheets"),
        Picture(
            "curves.png",
            "Precision over recall and over the first N answers, beside random codes; balls of a radius",
            "curves",
        ),
        Picture(
            "attacked.png", f"The search as it was learned, before and after mainstay within {eps:g} a pixel", "attacks"
        ),
        Picture(
            "audit.png",
            f"The audit within {audit_eps:g} a pixel: worst case after each stage; answers alone",
            "audit",
        ),
        Picture("hardened.png", f"The hardened search under the same attack within {eps:g} a pixel", "defenses"),
        Picture("effect.png", "Files before and after protection, and noise of the same size", "protection"),
    ]


class _Demo(Rows):
    """The rows of the demo, which has one of each kind."""

    def the(self, metric: str, *, defended: bool | None = False, **facts: Any) -> Row:
        """The first row of a metric with these facts.

        Args:
            metric: of the row.
            defended: whether of the hardened model; None for either.
            facts: what `Rows.where` takes.

        Raises:
            RunError: there is none.
        """
        for row in self.where(metric=metric, **facts):
            if defended in (None, bool(row.defense)):
                return row
        raise RunError(f"the rows of the demo lack one of {metric}; give all of rows.jsonl")


def _map(row: Row) -> str:
    return f"{row.value:.3f}"


def _share(row: Row) -> str:
    return f"{row.value:.1%}"


def _eps(row: Row) -> str:
    return f"{(row.threat or {})['eps']:g}"
