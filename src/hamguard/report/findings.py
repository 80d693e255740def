"""Which rows a page speaks of first: the strongest attack with what stands beside it, the defense that gains most, its control."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from hamguard.core.rows import Row
from hamguard.report.attack_lines import AttackLine, model_key
from hamguard.report.collect import Entry, brief
from hamguard.report.wording import attack_words, made_on

ASKED = ("query->database", "image->text", "text->image")
"""Searches that a page speaks of."""
GENERATED = ("ppl", "features", "protect", "audit", "self-check", "sanity", "query-only", "transfer")
"""Methods that are spoken of elsewhere, or not at all."""
CONTROL = "control"
"""Defense that learns on as the others do, without adversaries."""


@dataclass(frozen=True)
class Struck:
    """An attack on a search.

    Attributes:
        line: all rows of the attack.
        attacked: its score.
        clean: scores of the same model on the same queries as they were.
        noise: scores under noise of the same budget.
    """

    line: AttackLine
    attacked: Entry
    clean: tuple[Entry, ...]
    noise: tuple[Entry, ...]


@dataclass(frozen=True)
class Gained:
    """A defended model beside one that is not, under one attack.

    Attributes:
        held: score of the defended model.
        other: score of the model without a defense.
        clean: scores of the defended model without an attack.
        before: those of the other model.
    """

    held: Entry
    other: Entry
    clean: tuple[Entry, ...]
    before: tuple[Entry, ...]


def value_of(entry: Entry) -> float:
    """The value of a row that has one."""
    return entry.row.value if entry.row.value is not None else 0.0


def strongest(
    members: Sequence[Entry], lines: Sequence[AttackLine], score: str, *, elsewhere: bool = False
) -> Struck | None:
    """The attack that moves a score most: MAP and the share found down, t-MAP up; one with a control where some have one.

    Args:
        members: rows of one data set, for the clean scores.
        lines: attacks among them.
        score: `map`, `found` or `t-map`.
        elsewhere: whether attacks count that were made on another model.
    """
    if any(line.noise for line in lines):
        lines = [line for line in lines if line.noise]
    best: tuple[float, AttackLine, Entry] | None = None
    for line in lines:
        row, facts = line.row, line.row.attack or {}
        if line.score != score or facts.get("method") in GENERATED:
            continue
        if (score != "t-map" and facts.get("toward")) or (
            not elsewhere and any(one != row.model for one in made_on(row))
        ):
            continue
        for entry in line.of(score):
            if entry.row.value is None or entry.row.task not in ASKED:
                continue
            rank = -entry.row.value if score == "t-map" else entry.row.value
            if best is None or rank < best[0]:
                best = (rank, line, entry)
    return None if best is None else struck(members, best[1], best[2])


def struck(members: Iterable[Entry], line: AttackLine, attacked: Entry) -> Struck:
    """A score of an attack with the clean ones and those of noise."""
    row = attacked.row
    noise = [e for e in line.noise if e.row.metric == row.metric and e.row.task == row.task and e.row.value is not None]
    return Struck(line, attacked, tuple(unattacked(members, row)), tuple(noise))


def unattacked(members: Iterable[Entry], row: Row) -> list[Entry]:
    """Scores of the same model on the same queries without an attack."""
    return [
        e
        for e in members
        if not e.row.attack
        and e.row.metric == row.metric
        and e.row.task == row.task
        and e.row.n == row.n
        and model_key(e.row) == model_key(row)
        and e.row.value is not None
    ]


def best_defense(members: Sequence[Entry], wanted: Callable[[Row], bool] = lambda row: True) -> Gained | None:
    """The defense that gains most under the attack that hurts the undefended model of the same files most.

    Args:
        members: rows of one data set.
        wanted: which defended rows count.
    """
    defended = [e for e in members if e.row.defense and e.row.task == "query->database" and e.row.value is not None]
    best: tuple[float, Entry, Entry] | None = None
    plain = [e for e in members if not e.row.defense and e.row.metric == "map" and e.row.value is not None]
    least: dict[tuple[bytes, str, str], Entry] = {}  # of an attack in a file: the undefended model that it hurts most
    for entry in plain if defended else ():
        if entry.row.attack:
            for key in _keys(entry):
                if key not in least or value_of(entry) < value_of(least[key]):
                    least[key] = entry
    for entry in defended:
        others = [least[key] for key in _keys(entry) if key in least] if wanted(entry.row) and _tells(entry.row) else []
        if others:
            other = min(others, key=lambda e: (value_of(e), e.number))
            gain = value_of(entry) - value_of(other)
            if best is None or gain > best[0]:
                best = (gain, entry, other)
    if best is None:
        return None
    _, held, other = best
    clean = [
        e for e in defended if not e.row.attack and e.row.metric == "map" and model_key(e.row) == model_key(held.row)
    ]
    before = [
        e
        for e in plain
        if not e.row.attack and model_key(e.row) == model_key(other.row) and e.row.task == held.row.task
    ]
    return Gained(held, other, tuple(clean), tuple(before))


def controls_of(members: Iterable[Entry], held: Entry) -> list[Entry]:
    """Scores under the same attack of models that learned on without adversaries, those of the same files."""
    row, keys = held.row, set(_keys(held))
    return [
        e
        for e in members
        if (e.row.defense or {}).get("method") == CONTROL
        and e.row.metric == row.metric
        and e.row.value is not None
        and e.row.attack
        and not keys.isdisjoint(_keys(e))
    ]


def _tells(row: Row) -> bool:
    """Whether a score of a defended model says what the defense is worth."""
    facts = row.attack or {}
    if row.metric != "map" or not facts or facts.get("method") in ("noise", "ideal-code", "sanity", "self-check"):
        return False
    if facts.get("method") == "audit" and facts.get("labels") == "free":
        return False  # the worst case is that of the attacker who knows labels
    return not (facts.get("toward") or facts.get("adaptive") is False or made_on(row))  # not adaptive: says nothing


def _keys(entry: Entry) -> list[tuple[bytes, str, str]]:
    """What was asked of a model, in each file that says so."""
    row = entry.row
    asked = brief([row.threat, row.n, row.task, row.bits, (row.attack or {}).get("labels")])
    return [(asked, attack_words(row), source) for source in entry.sources]
