"""Rows of one attack on one model, with the noise and the ideal code that stand beside it."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hamguard.core.rows import Row
from hamguard.report.collect import Entry, brief
from hamguard.report.wording import attack_words, budget_words, is_score

CONTROLS = ("noise", "ideal-code")


@dataclass(frozen=True, slots=True)
class AttackLine:
    """What was measured of one attack on one model.

    Attributes:
        entries: its rows.
        noise: rows of noise of the same budget on the same queries.
        ideal: rows of its guide's code, scored without a picture.
    """

    entries: tuple[Entry, ...]
    noise: tuple[Entry, ...] = ()
    ideal: tuple[Entry, ...] = ()

    @property
    def row(self) -> Row:
        """Its first row, for the facts that all share."""
        return self.entries[0].row

    @property
    def score(self) -> str:
        """The metric that says how well it did: t-MAP toward a target, without labels whether originals are found, else MAP."""
        metrics = {entry.row.metric for entry in self.entries if is_score(entry.row)}
        toward = bool((self.row.attack or {}).get("toward"))
        if "t-map" in metrics and (toward or "map" not in metrics):
            return "t-map"
        return "found" if metrics == {"found"} else "map"

    def of(self, metric: str, task: str | None = None) -> list[Entry]:
        """Its rows of a metric."""
        return [e for e in self.entries if e.row.metric == metric and (task is None or e.row.task == task)]


def model_key(row: Row) -> bytes:
    """The model that was scored, with its weights and defense, and the data."""
    return brief(_model(row))


def _model(row: Row) -> list[object]:
    return [row.dataset, row.split, row.model, row.hashes.get("model"), row.defense, row.version]


def attack_lines(entries: Iterable[Entry]) -> tuple[list[AttackLine], list[AttackLine]]:
    """Attacks, and noise and ideal codes by themselves.

    Args:
        entries: rows with an attack; others are left out.

    Returns:
        Lines of attacks with their controls, and lines of the controls; a control stands in both.
    """
    groups: dict[tuple[bytes, int | None], list[Entry]] = defaultdict(list)
    partial: list[tuple[bytes, Entry]] = []
    for entry in entries:
        row = entry.row
        if not row.attack:
            continue
        key = brief([_model(row), row.train, row.bits, row.attack, row.threat, row.seed])
        if row.metric == "psnr":
            partial.append((key, entry))  # pictures that did not change have no ratio: fewer queries, the same attack
        else:
            groups[key, row.n].append(entry)
    homes: dict[bytes, list[int | None]] = defaultdict(list)
    for key, n in groups if partial else ():
        homes[key].append(n)
    for counts in homes.values():
        counts.sort(key=lambda n: n or 0)
    for key, entry in partial:
        place = bisect_left(homes[key], entry.row.n or 0, key=lambda n: n or 0)
        groups[key, homes[key][place] if place < len(homes[key]) else entry.row.n].append(entry)
    lines = [AttackLine(tuple(members)) for members in groups.values()]
    attacks: list[AttackLine] = []
    controls: list[AttackLine] = []
    for line in lines:
        (controls if (line.row.attack or {}).get("method") in CONTROLS else attacks).append(line)
    return _with_controls(attacks, controls), controls


def _with_controls(lines: Sequence[AttackLine], controls: Sequence[AttackLine]) -> list[AttackLine]:
    noise: dict[bytes, list[Entry]] = defaultdict(list)
    ideal: dict[bytes, list[Entry]] = defaultdict(list)
    for line in controls:
        row = line.row
        if (row.attack or {}).get("method") == "noise":
            noise[_noise_key(row)] += line.entries
        else:
            ideal[_ideal_key(row)] += line.entries
    noises, ideals = (
        {key: tuple(found) for key, found in one.items()} for one in (noise, ideal)
    )  # shared by many lines
    return [
        AttackLine(line.entries, noises.get(_noise_key(line.row), ()), ideals.get(_ideal_key(line.row), ()))
        for line in lines
    ]


def _noise_key(row: Row) -> bytes:
    threat, attack = row.threat or {}, row.attack or {}
    budget = [threat.get("norm"), threat.get("eps"), bool(threat.get("one_sided")), attack.get("side")]
    cell = str(attack.get("cell", "")).removesuffix(": noise")
    return brief([*_model(row), row.n, budget, cell])


def _ideal_key(row: Row) -> bytes:
    return brief([*_model(row), row.n, (row.attack or {}).get("guide")])


def line_names(lines: Iterable[AttackLine]) -> list[tuple[AttackLine, str, str]]:
    """Lines with the words of attack and budget; two that read alike are told apart by a number."""
    seen: dict[tuple[bytes, str, str], int] = {}
    found = []
    for line in lines:
        words, budget = attack_words(line.row), budget_words(line.row.threat)
        key = (model_key(line.row), words, f"{budget} {line.row.n} {line.score}")  # scores stand in tables of their own
        seen[key] = seen.get(key, 0) + 1
        found.append((line, words if seen[key] == 1 else f"{words} ({seen[key]})", budget))
    return found
