"""What a page opens with: three sentences in plain words, one chart of their figures, and the picture that goes with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hamguard.report.collect import Entry, by
from hamguard.report.findings import Struck, value_of
from hamguard.report.pictures import Picture
from hamguard.report.plain_words import CLEAN, NOISE, RANDOM, Told, figure_text, told_of
from hamguard.report.sections_search import name_of

MOST = 3  # sentences
SHOWN = ("attacks", "sheets", "defenses", "protection")  # sections whose pictures may open a page, the best first
HOW = (
    "No picture lies beside these rows. `hamguard attack MODEL --method {method} --sheet FOLDER/sheet.png --out FOLDER/rows.jsonl` "
    "draws one, queries before and after with their answers, and a report of FOLDER opens with it."
)


@dataclass(frozen=True)
class ChartBar:
    """A bar of the chart.

    Attributes:
        what: what it is of.
        kind: what it is beside the others, a word of the style sheet.
        text: its figure.
        size, low, high: where it and its interval end, in percent of the room.
    """

    what: str
    kind: str
    text: str
    size: float
    low: float
    high: float


@dataclass(frozen=True)
class Chart:
    """Bars by whose figures they are, and how they are to be read."""

    groups: tuple[tuple[str, tuple[ChartBar, ...]], ...]
    caption: str


@dataclass(frozen=True)
class Opening:
    """What stands first on a page.

    Attributes:
        sentences: at most three, every figure in them that of a row.
        chart: these figures as bars; None where no sentence has any.
        picture: queries, attacked queries, answers before and after; None where none lies beside the rows.
        how: how such a picture is had; empty where there is one.
    """

    sentences: tuple[str, ...]
    chart: Chart | None
    picture: Picture | None
    how: str


def opening(entries: Sequence[Entry], pictures: Sequence[Picture] = ()) -> Opening:
    """Choose what a page opens with: of the data set with most rows the search, its strongest attack, and what a defense holds.

    Args:
        entries: all rows.
        pictures: those that lie beside them.
    """
    found: Struck | None = None
    told: list[Told] = []
    for members in sorted(by(entries, lambda e: (e.row.dataset, e.row.split)).values(), key=len, reverse=True):
        if not told:
            told, found = told_of(members)
    told = told[:MOST]
    method = str((found.attacked.row.attack or {}).get("method", "")) if found else ""
    picture = _picture(pictures, name_of(found.attacked.row) if found else "", method)
    texts = tuple(one.text for one in told)
    how = "" if picture else HOW.format(method=method if method.isidentifier() and method != "audit" else "mainstay")
    return Opening(texts or (_nothing(entries),), _chart(told), picture, how)


def _nothing(entries: Sequence[Entry]) -> str:
    return f"None of these {len(entries):,} rows holds the score of a search; the tables have their figures."


def _picture(pictures: Sequence[Picture], model: str, method: str) -> Picture | None:
    """Of the first section that has any, the picture whose caption names model and attack, else the first."""
    for section in SHOWN:
        own = [one for one in pictures if one.section == section]
        if own:
            return next((one for one in own if model in one.caption and method in one.caption), own[0])
    return None


def _chart(told: Sequence[Told]) -> Chart | None:
    """The figures of the sentences as bars with their intervals, each once."""
    entries = {(whose, what): entry for one in reversed(told) for whose, what, entry in reversed(one.bars)}
    if not entries:
        return None
    ends = [end for e in entries.values() for end in (value_of(e), *(e.row.ci95 or ()))]
    top = max(1.0, *ends)
    groups: dict[str, list[ChartBar]] = {}
    for whose, what in dict.fromkeys((whose, what) for one in told for whose, what, _ in one.bars):
        entry = entries[whose, what]
        low, high = (100 * max(0.0, end) / top for end in entry.row.ci95 or (value_of(entry),) * 2)
        text = figure_text(entry)
        groups.setdefault(whose, []).append(
            ChartBar(what, _kind(whose, what), text, 100 * max(0.0, value_of(entry)) / top, low, high)
        )
    kinds = {"left top": "share of the files", "t-map": "t-MAP", "found": "share found"}
    scores = {kinds.get((e.row.metric or "").removeprefix("random_"), "MAP") for e in entries.values()}
    caption = f"{', '.join(sorted(scores))}: bars go from 0 to {top:g}; thin lines are 95% intervals over queries."
    return Chart(tuple((whose, tuple(bars)) for whose, bars in groups.items()), caption)


def _kind(whose: str, what: str) -> str:
    if what in (NOISE, RANDOM):
        return "control"
    return "clean" if CLEAN in (whose, what) else "attacked"
