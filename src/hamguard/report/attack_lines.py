"""Rows of one attack on one model, with the noise and the ideal code that stand beside it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hamguard.core.rows import Row
from hamguard.report.collect import Entry
from hamguard.report.wording import attack_words, budget_words

CONTROLS = ("noise", "ideal-code")
SCORES = ("map", "t-map")


@dataclass(frozen=True)
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
        """The metric that says how well it did: t-MAP toward a target, else MAP."""
        metrics = {entry.row.metric for entry in self.entries}
        toward = bool((self.row.attack or {}).get("toward"))
        return "t-map" if "t-map" in metrics and (toward or "map" not in metrics) else "map"

    def of(self, metric: str, task: str | None = None) -> list[Entry]:
        """Its rows of a metric."""
        return [e for e in self.entries if e.row.metric == metric and (task is None or e.row.task == task)]


def model_key(row: Row) -> str:
    """The model that was scored, with its weights and defense, and the data."""
    return _text([row.dataset, row.split, row.model, row.hashes.get("model"), row.defense, row.version])


def _text(facts: object) -> str:
    return json.dumps(facts, sort_keys=True)


def attack_lines(entries: Iterable[Entry]) -> tuple[list[AttackLine], list[AttackLine]]:
    """Attacks, and noise and ideal codes by themselves.

    Args:
        entries: rows with an attack; others are left out.

    Returns:
        Lines of attacks with their controls, and lines of the controls; a control stands in both.
    """
    groups: dict[str, list[Entry]] = defaultdict(list)
    partial: list[tuple[str, Entry]] = []
    for entry in entries:
        row = entry.row
        if not row.attack:
            continue
        key = _text([model_key(row), row.train, row.bits, row.attack, row.threat, row.seed])
        if row.metric == "psnr":
            partial.append((key, entry))  # pictures that did not change have no ratio: fewer queries, the same attack
        else:
            groups[_text([key, row.n])].append(entry)
    homes: dict[str, list[str]] = defaultdict(list)
    for whole in groups:
        homes[json.loads(whole)[0]].append(whole)
    for key, entry in partial:
        fitting = [whole for whole in homes[key] if (json.loads(whole)[1] or 0) >= (entry.row.n or 0)]
        home = min(fitting, key=lambda whole: json.loads(whole)[1] or 0) if fitting else _text([key, entry.row.n])
        groups[home].append(entry)
    lines = [AttackLine(tuple(members)) for members in groups.values()]
    controls = [line for line in lines if (line.row.attack or {}).get("method") in CONTROLS]
    return _with_controls([line for line in lines if line not in controls], controls), controls


def _with_controls(lines: Sequence[AttackLine], controls: Sequence[AttackLine]) -> list[AttackLine]:
    noise: dict[str, list[Entry]] = defaultdict(list)
    ideal: dict[str, list[Entry]] = defaultdict(list)
    for line in controls:
        row = line.row
        if (row.attack or {}).get("method") == "noise":
            noise[_noise_key(row)] += line.entries
        else:
            ideal[_ideal_key(row)] += line.entries
    return [
        AttackLine(line.entries, tuple(noise[_noise_key(line.row)]), tuple(ideal[_ideal_key(line.row)]))
        for line in lines
    ]


def _noise_key(row: Row) -> str:
    threat, attack = row.threat or {}, row.attack or {}
    budget = [threat.get("norm"), threat.get("eps"), bool(threat.get("one_sided")), attack.get("side")]
    cell = str(attack.get("cell", "")).removesuffix(": noise")
    return _text([model_key(row), row.n, budget, cell])


def _ideal_key(row: Row) -> str:
    return _text([model_key(row), row.n, (row.attack or {}).get("guide")])


def line_names(lines: Iterable[AttackLine]) -> list[tuple[AttackLine, str, str]]:
    """Lines with the words of attack and budget; two that read alike are told apart by a number."""
    seen: dict[tuple[str, str, str], int] = {}
    found = []
    for line in lines:
        words, budget = attack_words(line.row), budget_words(line.row.threat)
        key = (model_key(line.row), words, f"{budget} {line.row.n} {line.score}")  # scores stand in tables of their own
        seen[key] = seen.get(key, 0) + 1
        found.append((line, words if seen[key] == 1 else f"{words} ({seen[key]})", budget))
    return found
