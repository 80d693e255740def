"""What a paper says of its figures, judged on ours: it holds, it does not, it is within the intervals, or it cannot be tested.

Two figures over the same queries are compared query by query (paired bootstrap; over seeds and queries where there are several
seeds). Intervals are joint over all pairs that a relation speaks of (Bonferroni): where it is said to hold, all of its pairs stand
in the printed order together. Two figures with an interval but without values of the same queries are apart where their
intervals are; figures without an interval (seconds) where one is twice the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

import numpy as np

from hamguard.core.rows import Row
from hamguard.core.types import Floats
from hamguard.evaluation.reproduce.figures import SEED, Figure
from hamguard.retrieval.intervals import enough_resamples, paired_differences

Verdict = Literal["holds", "within the intervals", "does not hold", "not testable"]
Kind = Literal["claim", "ours", "contradicted"]
"""A claim of the paper; a question of ours; a sentence that is ascribed to the paper and that its own printed cells contradict."""
By = Literal["queries", "intervals", "margin"]
"""How two figures are compared."""

Pair: TypeAlias = tuple[Figure | None, Figure | None]
MARGIN = 2.0  # factor between figures without queries
FAULTS = 0.05  # probability that any interval of a relation misses
SHOWN = 4  # so many pairs are spelled out; of more, the nearest
CONTROL = "fine-tuning without adversaries"


@dataclass(frozen=True)
class Relation:
    """What a paper says, judged.

    Attributes:
        claim: the sentence.
        verdict: whether it holds here.
        figures: the numbers that it rests on.
        kind: whose sentence it is.
        printed: how the paper's own cells contradict it.
    """

    claim: str
    verdict: Verdict
    figures: str
    kind: Kind = "claim"
    printed: str = ""

    @classmethod
    def said(cls, claim: str, verdict: Verdict, figures: str, *, ours: bool = False, printed: str = "") -> Relation:
        """A relation of the kind that follows from who says it."""
        return cls(claim, verdict, figures, "ours" if ours else "contradicted" if printed else "claim", printed)


@dataclass(frozen=True)
class Gap:
    """First minus second of a pair.

    Attributes:
        first: the figure that is said to be larger.
        second: the other one.
        low: lower end of the joint interval of the difference.
        high: upper end.
        by: how they were compared; by a margin, `low` is above 0 where the first is more than twice the second, `high` below 0
            where it is less than half.
    """

    first: Figure
    second: Figure
    low: float
    high: float
    by: By

    @property
    def value(self) -> float:
        """The difference."""
        return self.first.value - self.second.value


def gaps_of(pairs: Sequence[tuple[Figure, Figure]], count: int) -> list[Gap]:
    """The difference of each pair, with an interval that is joint over `count` comparisons."""
    level = 1 - FAULTS / count
    both = [_paired(first, second) for first, second in pairs]
    known = [values for values in both if values is not None]
    found = iter(paired_differences(known, seed=SEED, level=level, resamples=enough_resamples(level)))
    gaps = []
    for (first, second), values in zip(pairs, both, strict=True):
        if values is None:
            gaps.append(_unpaired(first, second))
        else:
            gap = next(found)
            gaps.append(Gap(first, second, gap.low, gap.high, "queries"))
    return gaps


def _unpaired(first: Figure, second: Figure) -> Gap:
    if first.ci95 and second.ci95:
        return Gap(first, second, first.ci95[0] - second.ci95[1], first.ci95[1] - second.ci95[0], "intervals")
    a, b = first.value, second.value
    return Gap(first, second, a - MARGIN * b, MARGIN * a - b, "margin")


def _paired(first: Figure, second: Figure) -> tuple[Floats, Floats] | None:
    """Values of the same seeds and queries, `(S, Q)` each; None where there are none."""
    if (first.row.dataset, first.row.split) != (second.row.dataset, second.row.split):
        return None
    if first.seeds != second.seeds:
        shared = [seed for seed in first.seeds if seed in second.seeds]
        if not shared:
            return None
        first, second = first.of_seeds(shared), second.of_seeds(shared)
    a, b = first.values, second.values
    if a is None or b is None or a.shape != b.shape:
        return None
    whole = np.isfinite(a).all(axis=0) & np.isfinite(b).all(axis=0)
    return (a[:, whole], b[:, whole]) if whole.any() else None


def judge_above(pairs: Sequence[Pair], control: Sequence[Pair] | None, names: str) -> tuple[Verdict, str]:
    """Whether the first of each pair is larger, and where a control is given, larger than that, too."""
    asked = [*pairs, *(control or ())]
    known = [(a, b) for a, b in asked if a is not None and b is not None]
    gaps = gaps_of(known, max(len(asked), 1))
    own = sum(a is not None and b is not None for a, b in pairs)
    missing = len(asked) - len(known) + (control is not None and not control)
    verdict = _verdict([gap.low > 0 for gap in gaps], [gap.high < 0 for gap in gaps], missing)
    parts = [_counted(gaps[:own], names)]
    if control is not None:
        parts.append(f"beside {CONTROL}: {_counted(gaps[own:], '')}")
    return verdict, "; ".join([*parts, *_not_run(missing)])


def judge_near(pairs: Sequence[Pair], most: float, names: str) -> tuple[Verdict, str]:
    """Whether the two of each pair are apart by at most `most`: an interval within says so, one outside denies it."""
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    gaps = gaps_of(known, max(len(pairs), 1))
    gaps = [Gap(gap.first, gap.second, gap.value, gap.value, "margin") if gap.by == "margin" else gap for gap in gaps]
    missing = len(pairs) - len(known)
    inside = [-most <= gap.low and gap.high <= most for gap in gaps]
    verdict = _verdict(inside, [gap.low > most or gap.high < -most for gap in gaps], missing)
    said = _counted(gaps, names, near=most)
    return verdict, "; ".join([f"allowed {most:g}; {said}", *_not_run(missing)])


def judge_falling(figures: Sequence[Figure | None], slack: float, names: str) -> tuple[Verdict, str]:
    """Whether figures fall from each to the next, a rise of at most `slack` being none, and from the first to the last."""
    if len(figures) < 2:
        return "not testable", "fewer than two figures"
    steps: list[Pair] = list(pairwise(figures))
    whole: list[Pair] = [(figures[0], figures[-1])] if len(figures) > 2 or slack else []
    known = [(a, b) for a, b in (*steps, *whole) if a is not None and b is not None]
    ends = sum(a is not None and b is not None for a, b in whole)
    gaps = gaps_of(known, len(steps) + len(whole))
    inner, outer = gaps[: len(gaps) - ends], gaps[len(gaps) - ends :]
    good = [gap.low > 0 if not slack else gap.low >= -slack for gap in inner] + [gap.low > 0 for gap in outer]
    bad = [gap.high < (-slack if gap.by != "margin" else 0) for gap in inner] + [gap.high < 0 for gap in outer]
    missing = sum(figure is None for figure in figures)
    said = ", ".join("not run" if figure is None else f"{figure.value:.3f}" for figure in figures)
    steps_said = f"{sum(good[: len(inner)])} of {len(inner)} steps " + (
        f"rise by less than {slack:g}" if slack else "fall beyond their interval"
    )
    parts = [f"{names}: {said}" if names else said, steps_said, *(f"first to last {_ends(gap)}" for gap in outer)]
    return _verdict(good, bad, missing), "; ".join([*parts, *_how(gaps), *_not_run(missing)])


def _verdict(good: Sequence[bool], bad: Sequence[bool], missing: int) -> Verdict:
    if any(bad):
        return "does not hold"
    if missing or not good:
        return "not testable"
    return "holds" if all(good) else "within the intervals"


def _not_run(missing: int) -> Iterator[str]:
    if missing:
        yield f"{missing} {'figure or pair' if missing == 1 else 'figures or pairs'} not run"


def _counted(gaps: Sequence[Gap], names: str, near: float | None = None) -> str:
    """How many pairs stand in order, and each of them, or of many the nearest."""
    if not gaps:
        return "no figures"
    if near is None:
        right, wrong = sum(gap.low > 0 for gap in gaps), sum(gap.high < 0 for gap in gaps)
        shown = sorted(gaps, key=lambda gap: gap.low / (gap.high - gap.low + 1e-12))
        words = ("in order", "the other way", "least sure")
    else:
        right = sum(-near <= gap.low and gap.high <= near for gap in gaps)
        wrong = sum(gap.low > near or gap.high < -near for gap in gaps)
        shown = sorted(gaps, key=lambda gap: -abs(gap.value))
        words = ("alike", "apart", "furthest apart")
    many = len(gaps) > SHOWN
    labels = _labels(gaps)
    listed = shown[:3] if many else gaps
    said = ", ".join(_pair_text(gap, labels.get(id(gap), "") if len(gaps) > 1 else "") for gap in listed)
    if len(gaps) > 1:
        undecided = len(gaps) - right - wrong
        count = [f"{right} of {len(gaps)} pairs {words[0]}"]
        count += [f"{wrong} {words[1]}"] if wrong else []
        count += [f"{undecided} undecided"] if undecided else []
        said = f"{', '.join(count)}; {words[2] + ': ' if many else ''}{said}"
    return "; ".join([f"{names}: {said}" if names else said, *_how(gaps)])


def _pair_text(gap: Gap, label: str) -> str:
    a, b = gap.first.value, gap.second.value
    sign = ">" if a > b else "<" if a < b else "="
    place = max((_places(x) for x in (a, b) if x), default=3)
    said = f"{a:.{place}f} {sign} {b:.{place}f}"
    told = f"factor {max(a, b) / max(min(a, b), 1e-12):.3g}" if gap.by == "margin" and a != b else _ends(gap)
    return f"{label + ' ' if label else ''}{said} ({told})"


def _ends(gap: Gap) -> str:
    if gap.by == "margin":
        return f"{gap.value:+.3f}"
    return f"{gap.value:+.3f}, {gap.low:+.3f} to {gap.high:+.3f}"


def _places(value: float) -> int:
    """Digits that show a small figure."""
    return 3 if abs(value) >= 0.01 else 5


def _how(gaps: Sequence[Gap]) -> Iterator[str]:
    """What was not compared query by query."""
    counts = {by: sum(gap.by == by for gap in gaps) for by in ("intervals", "margin")}
    if counts["intervals"]:
        yield "no values a query: by both intervals"
    if counts["margin"]:
        yield f"no queries: by a factor of {MARGIN:g}"


def _labels(gaps: Sequence[Gap]) -> dict[int, str]:
    """Names of pairs: the facts of their figures that tell them apart, no more than that takes."""
    columns = list(zip(*(_facts(gap.first.row) + _facts(gap.second.row) for gap in gaps), strict=True))
    names: list[tuple[str, ...]] = [()] * len(gaps)
    for column in columns:
        longer = [(*name, word) for name, word in zip(names, column, strict=True)]
        if len(set(longer)) > len(set(names)):
            names = longer
    return {id(gap): " ".join(filter(None, name)) for gap, name in zip(gaps, names, strict=True)}


def _facts(row: Row) -> list[str]:
    attack, threat = row.attack or {}, row.threat or {}
    said = [row.method, row.bits and f"{row.bits} bits", row.train, row.backbone, attack.get("method")]
    said += ["+".join(map(str, attack.get("made_on") or ())), row.task, row.metric, row.at, attack.get("side")]
    said += [threat.get(key) and f"{key} {threat[key]:.4g}" for key in ("eps", "steps")]
    return ["" if one is None else str(one) for one in (*said, row.dataset, row.model)]
