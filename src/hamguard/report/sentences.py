"""What came out, in about ten sentences; every figure in them is that of a row."""

from __future__ import annotations

from collections.abc import Sequence

from hamguard.core.noted import verdict_of
from hamguard.core.rows import Row, eps_words
from hamguard.report.attack_lines import AttackLine, attack_lines, model_key
from hamguard.report.cells import SIGNS
from hamguard.report.collect import Entry, by
from hamguard.report.findings import ASKED, best_defense, strongest, value_of
from hamguard.report.floors import is_random
from hamguard.report.sections_search import data_of, name_of
from hamguard.report.wording import attack_words, budget_words, defense_words

MOST = 10


def sentences(entries: Sequence[Entry]) -> list[str]:
    """The most important findings: retrieval, attacks, defenses, protection, audits; one of each kind before a second one."""
    groups = sorted(by(entries, lambda e: (e.row.dataset, e.row.split)).values(), key=len, reverse=True)
    found: list[
        tuple[int, int, int, str]
    ] = []  # place in its kind, data set, kind: the first of each come before the second
    for data, members in enumerate(groups):
        lines, _ = attack_lines(e for e in members if e.row.attack and not e.row.defense)
        kinds = (
            _clean(members),
            _attack(members, lines, "map"),
            _attack(members, lines, "t-map"),
            _defense(members),
            _protection(members),
            _files(members),
            _audits(members),
        )
        for kind, texts in enumerate(kinds):
            found += [(place, data, kind, text) for place, text in enumerate(texts)]
    chosen = sorted(sorted(found)[:MOST], key=lambda one: (one[2], one[1], one[0]))
    kept = [text for *_, text in chosen]
    left = len(found) - len(kept)
    if left:
        kept.append(f"{left:,} more findings of these kinds stand in the tables.")
    return kept


def _figure(entry: Entry, digits: int = 3, span: bool = True) -> str:
    row = entry.row
    assert row.value is not None
    signs = "".join(SIGNS[mark] for mark in entry.marks)
    text = f"{row.value:.{digits}f}{signs}"
    if span and row.ci95:
        text += f" [{row.ci95[0]:.{digits}f}, {row.ci95[1]:.{digits}f}]"
    return text


def _known(entries: Sequence[Entry], metric: str) -> list[Entry]:
    return [e for e in entries if e.row.metric == metric and e.row.value is not None]


def _clean(members: Sequence[Entry]) -> list[str]:
    found = []
    for task, own in by((e for e in members if not e.row.attack and not e.row.defense), lambda e: e.row.task).items():
        clean = _known(own, "map")
        if not clean or task not in ASKED:
            continue
        what = "MAP" if task == "query->database" else f"MAP of {task}"
        largest: dict[str | None, int] = {}
        for e in clean:
            largest[e.row.model] = max(e.row.n or 0, largest.get(e.row.model, 0))
        clean = [e for e in clean if (e.row.n or 0) == largest[e.row.model]]  # a part of the queries says less
        models = list(largest)
        best, least = max(clean, key=value_of), min(clean, key=value_of)
        floor = [e for e in own if is_random(e.row) and e.row.metric == "random_map" and e.row.bits == best.row.bits]
        floor = [e for e in floor if e.row.n == best.row.n and e.row.value is not None]
        beside = f"; random codes {_figure(floor[0], span=False)}" if floor else ""
        if len(models) == 1:
            found.append(f"{data_of(best.row)}: {name_of(best.row)} finds with {what} {_figure(best)}{beside}.")
        elif len(models) <= 3:
            firsts = {e.row.model: e for e in reversed(clean)}
            each = ", ".join(f"{_figure(firsts[model])} ({model or 'no model'})" for model in models)
            found.append(f"{data_of(best.row)}: {what} {each}{beside}.")
        else:
            found.append(
                f"{data_of(best.row)}: {what} from {_figure(least)} ({name_of(least.row)}) to {_figure(best)} "
                f"({name_of(best.row)}), {len(models)} models{beside}."
            )
    return found


def _attack(members: Sequence[Entry], lines: Sequence[AttackLine], score: str) -> list[str]:
    found = strongest(members, lines, score)
    if found is None:
        return []
    row, noise, clean = found.attacked.row, found.noise, found.clean
    beside = (
        [f"noise of that budget {_figure(noise[0], span=False)}"] if noise else ["no noise was measured at that budget"]
    )
    beside += [f"clean {_figure(clean[0], span=False)}"] if clean else []
    aim, word = ("away", "lowest MAP") if score == "map" else ("toward a target", "highest t-MAP")
    where = "" if row.task == "query->database" else f" of {row.task}"
    return [
        f"{data_of(row)}: the strongest attack {aim} is {attack_words(row)} at {budget_words(row.threat)} on {name_of(row)}: "
        f"{word}{where} {_figure(found.attacked)}; {', '.join(beside)}."
    ]


def _defense(members: Sequence[Entry]) -> list[str]:
    """The defense that gains most under the attack that hurts the undefended model of the same files most."""
    found = best_defense(members)
    if found is None:
        return []
    row, clean, before = found.held.row, found.clean, found.before
    cost = ""
    if clean and before:
        cost = f", and clean MAP goes from {_figure(before[0], span=False)} to {_figure(clean[0], span=False)}"
    return [
        f"{data_of(row)}: of all defenses, {defense_words(row.defense)} ({name_of(row)}) gains most under one attack: "
        f"{attack_words(row)} "
        f"at {budget_words(row.threat)} leaves MAP {_figure(found.held)}, without defense {_figure(found.other)} "
        f"({name_of(found.other.row)}){cost}."
    ]


def _protection(members: Sequence[Entry]) -> list[str]:
    parties: dict[str, dict[str, Entry]] = {}
    for entry in _known(members, "map"):
        row = entry.row
        if row.task in ("C->C", "C->A", "A->C", "A->A"):
            key = repr([model_key(row), row.train, row.attack, row.threat, row.n, row.seed])
            parties.setdefault(key, {})[row.task] = entry
    complete = [party for party in parties.values() if {"C->C", "C->A", "A->C", "A->A"} <= set(party)]
    whole = [party for party in complete if not _is_noise(party["C->C"].row)]
    if not whole:
        return []
    best = max(whole, key=lambda party: value_of(party["C->C"]) - value_of(party["C->A"]))
    row = best["C->C"].row
    said = ", ".join(f"{task} {_figure(best[task], span=False)}" for task in ("C->C", "C->A", "A->C", "A->A"))
    noise = [
        party["C->A"] for party in complete if _is_noise(party["C->C"].row) and _party(party["C->C"].row) == _party(row)
    ]
    beside = f"; under noise of that budget C->A {_figure(noise[0], span=False)}" if noise else ""
    several = f"the widest gap of {len(whole)} measured parties: " if len(whole) > 1 else ""
    return [
        f"{data_of(row)}: protection by {attack_words(row)} at {eps_words(row.threat)}, {several}{name_of(row)}, which learned "
        f"from {row.train or 'unknown pictures'} (C clean, A protected), MAP of {said}{beside}."
    ]


def _is_noise(row: Row) -> bool:
    """Whether a row belongs to the control of a protection, which is none itself."""
    return (row.attack or {}).get("method") == "noise"


def _party(row: Row) -> str:
    """Who searches what, whatever stands between."""
    return repr(
        [model_key(row), row.train, (row.threat or {}).get("norm"), (row.threat or {}).get("eps"), row.n, row.seed]
    )


def _files(members: Sequence[Entry]) -> list[str]:
    """How many protected files are no longer found, by the matcher that is hit most and least."""
    left = [e for e in _known(members, "left top") if (e.row.task or "") == "protected->original"]
    left = [e for e in left if not (e.row.attack or {}).get("view")]
    if not left:
        return []
    said = []
    for entry in (max(left, key=value_of), min(left, key=value_of))[: len(left)]:
        row = entry.row
        noise = [
            e
            for e in _known(members, "left top")
            if e.row.task == "noise->original" and e.row.n == row.n and model_key(e.row) == model_key(row)
        ]
        beside = f", under noise {_figure(noise[0], span=False)}" if noise else ""
        said.append(f"{_figure(entry)} by {name_of(row)} ({row.n or 0:,} files{beside})")
    several = f"; {len(left)} searches, the most and the least hit" if len(left) > 1 else ""
    return [
        f"{data_of(left[0].row)}: share of protected files whose original left the first {left[0].row.at} answers: "
        f"{', '.join(said)}{several}."
    ]


def _audits(members: Sequence[Entry]) -> list[str]:
    audits = [e for e in _known(members, "map") if (e.row.attack or {}).get("method") == "audit"]
    audits = [e for e in audits if (e.row.attack or {}).get("labels") != "free"]
    checks = [e.row for e in members if e.row.metric == "check"]
    failed = [row for row in checks if (row.attack or {}).get("passed") is False]
    found = []
    if audits:
        worst = min(audits, key=value_of)
        row = worst.row
        several = f"the worst of {len(audits)} audits, " if len(audits) > 1 else "the audit of "
        clean = [
            e
            for e in _known(members, "map")
            if not e.row.attack and e.row.n == row.n and model_key(e.row) == model_key(row)
        ]
        beside = f" of a clean {_figure(clean[0], span=False)}" if clean else ""
        verdict = verdict_of(row)
        found.append(
            f"{data_of(row)}: {several}{name_of(row)} at {budget_words(row.threat)}, leaves MAP {_figure(worst)}{beside} over the "
            f"worst case of every query{f'; its verdict: {verdict[0].lower()}{verdict[1:]}' if verdict else ''}."
        )
    if failed:
        names = list(dict.fromkeys(f"{(row.attack or {}).get('check')} ({name_of(row)})" for row in failed))
        listed = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        found.append(f"{data_of(failed[0])}: {len(failed)} of {len(checks)} self-checks failed: {listed}.")
    elif checks:
        found.append(f"{data_of(checks[0])}: all {len(checks)} self-checks passed.")
    return found
