"""What came out, in plain words, a sentence each: the search, its strongest attack, what a defense holds, what else was measured.

Every figure in them is that of a row. A page opens with the first three of the data set with most rows; others follow below.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from hamguard.core.noted import verdict_of
from hamguard.core.rows import Row, eps_words
from hamguard.report.attack_lines import AttackLine, attack_lines
from hamguard.report.cells import SIGNS
from hamguard.report.collect import Entry, by
from hamguard.report.findings import (
    ASKED,
    CONTROL,
    Gained,
    Struck,
    best_defense,
    controls_of,
    strongest,
    struck,
    unattacked,
    value_of,
)
from hamguard.report.floors import is_random
from hamguard.report.sections_search import data_of, name_of
from hamguard.report.wording import attack_words, budget_words, defense_words, is_number

MODELS = 8  # of a chart that compares nothing but models
MOST = 10  # sentences of a page
CHOSEN = 7  # letters of a radius that somebody chose, such as 128/255; longer ones were measured
CLEAN, NOISE, RANDOM = "unchanged", "random noise", "random codes"
SHARES = ("found", "random_found", "left top")
"""Metrics that are shares of pictures or files."""
BOUNDS = {
    "linf": "changes no {value} by more than {size}",
    "l2": "changes {what} by at most {size} in length",
    "l1": "changes {what} by at most {size} in sum",
    "l0": "changes at most {size}",
}


@dataclass(frozen=True)
class Told:
    """A sentence with its figures.

    Attributes:
        text: the sentence.
        bars: whose figure, what it is of, and the row that holds it.
    """

    text: str
    bars: tuple[tuple[str, str, Entry], ...] = ()


def sentences(entries: Sequence[Entry]) -> list[str]:
    """What came out on all data sets, the most important of each first; of very many, how many more there are."""
    groups = sorted(by(entries, lambda e: (e.row.dataset, e.row.split)).values(), key=len, reverse=True)
    found = [
        (place, data, one.text if not data else _named(one.text, members[0].row))
        for data, members in enumerate(groups)
        for place, one in enumerate(told_of(members)[0])
    ]
    kept = [text for _, _, text in sorted(sorted(found)[:MOST], key=lambda one: (one[1], one[0]))]
    left = len(found) - len(kept)
    return [*kept, f"{left:,} more findings stand in the tables."] if left else kept


def _named(text: str, row: Row) -> str:
    """A sentence that says which data it is about, where others stand before it."""
    return text if text.startswith(data_of(row)) else f"{data_of(row)}: {text[:1].lower()}{text[1:]}"


def told_of(members: Sequence[Entry]) -> tuple[list[Told], Struck | None]:
    """Sentences on one data set, the most important first, and the attack that they speak of, where they speak of one."""
    gained = best_defense(members, lambda row: (row.defense or {}).get("method") != CONTROL)
    found = _struck(members, gained)
    return list(_told(members, found, gained)), found


def _struck(members: Sequence[Entry], gained: Gained | None) -> Struck | None:
    """The attack that a page opens with: that under which the defense is compared, else the strongest one."""
    plain, _ = attack_lines(e for e in members if e.row.attack and not e.row.defense)
    if gained:
        line = next(line for line in plain if any(e.number == gained.other.number for e in line.entries))
        return struck(members, line, gained.other)
    defended, _ = attack_lines(e for e in members if e.row.attack and _is_hardened(e.row))
    for elsewhere in (False, True):
        for lines in (plain, defended):
            for score in ("map", "found", "t-map"):
                found = strongest(members, lines, score, elsewhere=elsewhere)
                if found:
                    return found
    return None


def _is_hardened(row: Row) -> bool:
    return bool(row.defense) and (row.defense or {}).get("method") not in ("detect", CONTROL)


def _told(members: Sequence[Entry], found: Struck | None, gained: Gained | None) -> Iterator[Told]:
    """Sentences, the most important first."""
    if found:
        yield from _clean(members, found)
        yield _attacked(found)
        if gained:
            yield _hardened(members, gained)
        lines, _ = attack_lines(
            e for e in members if e.row.attack and bool(e.row.defense) == bool(found.attacked.row.defense)
        )
        yield from _toward(members, lines, found)
        yield from _audited(members, found)
        yield from _protected(members)
    else:
        audited, searched = list(_audited(members, None)), list(_protected(members))
        yield from [*audited, *searched] or _models(members)
    yield from _files(members)
    yield from _checks(members)


def _clean(members: Sequence[Entry], found: Struck) -> Iterator[Told]:
    """The search as it is, beside random codes."""
    row = found.attacked.row
    clean = found.clean[:1] if row.metric != "t-map" else unattacked(members, replace(row, metric="map"))[:1]
    for entry in clean:
        yield _found(members, entry)


def _found(members: Sequence[Entry], entry: Entry, more: str = "") -> Told:
    row = entry.row
    floor = _floor(members, row)
    beside = f"; random codes score {figure_text(floor)}" if floor else ""
    asked = {"image->text": "pictures, for texts", "text->image": "texts, for pictures"}.get(row.task or "", "pictures")
    bars = [(_who(row), CLEAN, entry)] + ([(_who(row), RANDOM, floor)] if floor else [])
    if row.metric == "found":
        beside = f"; random codes find {figure_text(floor)}" if floor else ""
        text = f"{data_of(row)}: {_who(row)} finds {figure_text(entry)} of unchanged pictures among its first {row.at} answers"
        return Told(f"{text}{beside}.", tuple(bars))
    text = (
        f"{data_of(row)}: asked with unchanged {asked}, {_who(row)} scores MAP {figure_text(entry)}, where 1 is a perfect list of "
        f"answers{beside}{more}."
    )
    return Told(text, tuple(bars))


def _floor(members: Sequence[Entry], row: Row) -> Entry | None:
    """Random codes on the same search."""
    wanted = (f"random_{row.metric}", row.bits, row.n, row.task)
    floors = [e for e in members if is_random(e.row) and e.row.value is not None]
    return next((e for e in floors if (e.row.metric, e.row.bits, e.row.n, e.row.task) == wanted), None)


def _attacked(found: Struck) -> Told:
    """What the attack leaves, beside noise of its size."""
    row, clean, noise = found.attacked.row, found.clean[:1], found.noise[:1]
    who, what = _who(row), f"{_attack(row)}, which {_bound(row)}"
    if row.metric == "t-map":
        return _wanted(found)
    lower = bool(clean) and value_of(found.attacked) < value_of(clean[0])
    text = f"{what}, {'lowers that to' if lower else 'leaves'} {figure_text(found.attacked)}{_noise(noise)}."
    return Told(_capital(text), ((who, _short_attack(row), found.attacked), *((who, NOISE, one) for one in noise)))


def _wanted(found: Struck) -> Told:
    """How far the answers go toward what an attacker wants."""
    row, clean, noise = found.attacked.row, found.clean[:1], found.noise[:1]
    who = f"{_who(row)}, the attacker's labels"
    start = f"from {figure_text(clean[0])} " if clean else ""
    text = (
        f"{_attack(row)}, which {_bound(row)}, brings the score of the labels that the attacker wants (t-MAP) {start}to "
        f"{figure_text(found.attacked)}{_noise(noise)}."
    )
    bars = [(who, CLEAN, one) for one in clean] + [(who, _short_attack(row), found.attacked)]
    return Told(_capital(text), (*bars, *((who, NOISE, one) for one in noise)))


def _hardened(members: Sequence[Entry], gained: Gained) -> Told:
    """What a hardened model holds under the same attack, beside the undefended one and its control."""
    row, other = gained.held.row, gained.other.row
    who, attack = _who(row), _short_attack(other)
    controls = controls_of(members, gained.held)
    controls = sorted(controls, key=lambda e: (e.row.seed == row.seed, value_of(e)), reverse=True)[:1]
    held = f"under the same attack {who} scores {figure_text(gained.held)}, {_who(other)} without defense "
    held += figure_text(gained.other)
    for one in controls:
        held += f", and {_who(one.row)}, its control without adversaries, {figure_text(one)}"
    before = [e for e in gained.before if e.row.n == row.n] or list(gained.before)
    clean = [e for e in gained.clean if e.row.n == row.n] or list(gained.clean)
    cost = (
        f"; on unchanged pictures {figure_text(clean[0])} in place of {figure_text(before[0])}"
        if clean and before
        else ""
    )
    bars = [(who, CLEAN, one) for one in clean[:1]] + [(who, attack, gained.held)]
    bars += [(_who(one.row), attack, one) for one in controls]
    return Told(_capital(f"{held}{cost}."), tuple(bars))


def _toward(members: Sequence[Entry], lines: Sequence[AttackLine], found: Struck) -> Iterator[Told]:
    """The strongest attack toward a target on the same model, where the first one goes away."""
    row = found.attacked.row
    own = [
        line
        for line in lines
        if line.row.model == row.model and line.row.hashes.get("model") == row.hashes.get("model")
    ]
    wanted = strongest(members, own, "t-map") if row.metric == "map" else None
    if wanted:
        yield _wanted(wanted)


def _audited(members: Sequence[Entry], found: Struck | None) -> Iterator[Told]:
    """The worst case of an audit: of the model that is spoken of, where one is."""
    own = [e for e in members if _is_audit(e.row) and (found is None or _who(e.row) == _who(found.attacked.row))]
    aware = [e for e in own if (e.row.attack or {}).get("labels") != "free" or e.row.metric == "found"]
    if not aware or (found and _is_audit(found.attacked.row)):
        return
    worst = min(aware, key=value_of)
    row = worst.row
    clean = unattacked(members, row)[:1]
    if found is None:
        yield from (_found(members, one) for one in clean)
    free = [
        e for e in own if e not in aware and (e.row.n, e.row.threat) == (row.n, row.threat) and _who(e.row) == _who(row)
    ]
    count = f"{row.n:,} queries" if row.n is not None else "every query"
    text = f"the worst of an audit's attacks on each of {count}, which {_bound(row)}, leaves {_who(row)} "
    text += figure_text(worst) if row.metric == "found" else f"a score of {figure_text(worst)}"
    text += f" in place of {figure_text(clean[0])}" if clean else ""
    text += f"; attackers who know no label leave {figure_text(free[0])}" if free else ""
    text += f"; its verdict: {said[:1].lower()}{said[1:]}" if (said := verdict_of(row)) else ""
    bars = [(_who(row), "audit", worst), *((_who(row), "audit, no labels", one) for one in free[:1])]
    bars += [(_who(row), CLEAN, one) for one in clean] if found is None else []
    yield Told(_capital(f"{text}."), tuple(bars))


def _is_audit(row: Row) -> bool:
    return (row.attack or {}).get("method") == "audit" and row.metric in ("map", "found") and row.value is not None


def _protected(members: Sequence[Entry]) -> Iterator[Told]:
    """The widest gap between a search for unchanged and for protected pictures, beside noise."""
    parties = by(
        (e for e in members if e.row.task in ("C->C", "C->A") and e.row.metric == "map" and e.row.value is not None),
        lambda e: repr(
            [e.row.model, e.row.hashes.get("model"), e.row.train, e.row.attack, e.row.threat, e.row.n, e.row.seed]
        ),
    )
    pairs = [{e.row.task: e for e in own} for own in parties.values()]
    whole = [pair for pair in pairs if len(pair) == 2]
    made = [pair for pair in whole if not _is_noise(pair["C->C"].row)]
    if not made:
        return
    best = max(made, key=lambda pair: value_of(pair["C->C"]) - value_of(pair["C->A"]))
    row = best["C->A"].row
    noise = [pair["C->A"] for pair in whole if _is_noise(pair["C->A"].row) and _party(pair["C->A"].row) == _party(row)]
    yield Told(
        f"{data_of(row)}: asked with unchanged pictures, {_who(row)} finds unchanged ones with MAP "
        f"{figure_text(best['C->C'])}, where 1 is a perfect list of answers.",
        ((_who(row), CLEAN, best["C->C"]),),
    )
    text = f"pictures protected by {attack_words(row)}, which {_bound(row)}, it finds with "
    text += f"{figure_text(best['C->A'])}{_noise(noise[:1])}."
    bars = [(_who(row), "protected", best["C->A"]), *((_who(row), NOISE, one) for one in noise[:1])]
    yield Told(_capital(text), tuple(bars))


def _party(row: Row) -> str:
    """Who searches what, within which radius."""
    threat = row.threat or {}
    return repr([row.model, row.hashes.get("model"), row.train, threat.get("norm"), threat.get("eps"), row.n, row.seed])


def _is_noise(row: Row) -> bool:
    return (row.attack or {}).get("method") == "noise"


def _models(members: Sequence[Entry]) -> Iterator[Told]:
    """Clean models beside each other."""
    clean = [
        e
        for e in members
        if not e.row.attack and e.row.metric == "map" and e.row.value is not None and e.row.task in ASKED
    ]
    firsts: dict[str, Entry] = {}
    for entry in clean:
        held = firsts.setdefault(_who(entry.row), entry)
        if (entry.row.n or 0) > (held.row.n or 0):
            firsts[_who(entry.row)] = entry
    ranked = sorted(firsts.values(), key=value_of, reverse=True)
    if not ranked:
        return
    if len(ranked) == 1:
        yield _found(members, ranked[0])
        return
    best = _found(members, ranked[0], f"; it is the best of {len(ranked):,} models")
    floor = tuple((CLEAN, what, entry) for _, what, entry in best.bars if what == RANDOM)
    yield Told(best.text, (*((CLEAN, _who(e.row), e) for e in ranked[:MODELS]), *floor))
    yield Told(
        f"The least of these models, {_who(ranked[-1].row)}, scores {figure_text(ranked[-1])}.",
        ((CLEAN, _who(ranked[-1].row), ranked[-1]),),
    )


def _files(members: Sequence[Entry]) -> Iterator[Told]:
    """How many protected files are lost to the search that is hit most, beside noise."""
    left = [
        e
        for e in members
        if e.row.metric == "left top" and e.row.value is not None and not (e.row.attack or {}).get("view")
    ]
    made = [e for e in left if e.row.task == "protected->original"]
    if not made:
        return
    most, least = max(made, key=value_of), min(made, key=value_of)
    for word, entry in (("most", most), ("least", least))[: 1 if most is least else 2]:
        row = entry.row
        noise = [e for e in left if e.row.task == "noise->original" and (e.row.model, e.row.n) == (row.model, row.n)][
            :1
        ]
        beside = f"; of noisy ones {share_text(noise[0])}" if noise else ""
        hit = f", the search that is hit {word} of {len(made):,}," if len(made) > 1 else ""
        text = (
            f"Asked with protected files, {_who(row)}{hit} misses the original among its first {row.at} answers "
            f"for {share_text(entry)} of {row.n or 0:,} files{beside}."
        )
        yield Told(text, ((_who(row), "files lost", entry), *((_who(row), "lost under noise", one) for one in noise)))


def _checks(members: Sequence[Entry]) -> Iterator[Told]:
    """Which checks of an attack's figure failed, or that none did."""
    checks = [e.row for e in members if e.row.metric == "check"]
    failed = [row for row in checks if (row.attack or {}).get("passed") is False]
    if failed:
        names = list(dict.fromkeys(f"{(row.attack or {}).get('check')} ({name_of(row)})" for row in failed))
        listed = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        yield Told(
            f"{len(failed)} of {len(checks)} checks failed, which ask whether attacks are as strong as they can be: {listed}."
        )
    elif checks:
        yield Told(f"All {len(checks)} checks passed, which ask whether attacks are as strong as they can be.")


def figure_text(entry: Entry) -> str:
    """The value of a row as a sentence has it, with its signs: a score, or a share of pictures."""
    if entry.row.metric in SHARES:
        return share_text(entry)
    return f"{value_of(entry):.3f}" + "".join(SIGNS[mark] for mark in entry.marks)


def share_text(entry: Entry) -> str:
    """A share of pictures or files as a sentence has it, with its signs."""
    return f"{value_of(entry):.1%}" + "".join(SIGNS[mark] for mark in entry.marks)


def _noise(noise: Sequence[Entry]) -> str:
    return (
        f"; random noise of the same size leaves {figure_text(noise[0])}"
        if noise
        else "; no noise of that size was measured"
    )


def _who(row: Row) -> str:
    """A model, with its defense."""
    return f"{name_of(row)} ({defense_words(row.defense)})" if row.defense else name_of(row)


def _attack(row: Row) -> str:
    words = attack_words(row)
    return "the worst of an audit's attacks" if _is_audit(row) else f"the attack {words}"


def _short_attack(row: Row) -> str:
    return str((row.attack or {}).get("method", "attack"))


def _bound(row: Row) -> str:
    """What an attack may change, in words."""
    threat = row.threat or {}
    norm, text = str(threat.get("norm")), row.task == "text->image" or (row.attack or {}).get("side") == "text"
    if not is_number(threat.get("eps")):
        return "has no bound that the rows name"
    if norm not in BOUNDS:
        return f"has the budget {budget_words(threat)}" if norm != "words" else f"makes {eps_words(threat)}"
    size = eps_words(threat).partition(" ")[2]
    if norm == "linf" and len(size) > CHOSEN:
        size = f"{threat['eps'] * 255:.1f}/255"
    return BOUNDS[norm].format(size=size, value="value" if text else "pixel", what="a text" if text else "a picture")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
