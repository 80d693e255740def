"""Sections on searches and attacks: retrieval of clean models, attacks, transfer, defenses, detectors."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from hamguard.core.rows import Row
from hamguard.report.attack_lines import AttackLine, attack_lines, line_names, model_key
from hamguard.report.cells import Draft, Plot, Pool, Section
from hamguard.report.collect import Entry, brief, by
from hamguard.report.floors import is_random, with_floors
from hamguard.report.heatmap import MOST, HeatMap
from hamguard.report.table import Cell, Table
from hamguard.report.wording import (
    SCORES,
    attack_words,
    budget_words,
    defense_words,
    is_number,
    is_score,
    listed,
    made_on,
    metric_head,
)

SHORT = (
    "gain",
    "t-gain",
    "bits-moved",
    "linf",
    "ssim",
)  # beside the score of an attack; the rest is a table of its own
DETECTORS = ("detected", "evaded-and-broken", "false-alarms")


def data_of(row: Row) -> str:
    """Name of the data, for titles."""
    return row.dataset or "unnamed data"


def name_of(row: Row) -> str:
    """Name of the model, for titles and lines."""
    return row.model or "no model"


def tables(drafts: Iterable[Draft]) -> list[Table]:
    """Those that have a line."""
    return [table for table in (draft.table() for draft in drafts) if table]


def retrieval(pool: Pool) -> Section:
    """Clean models without a defense, with random codes beside them; takes what is neither attacked nor defended."""
    found = pool.take(lambda e: not e.row.attack and not e.row.defense and "->" in (e.row.task or ""))
    drafts = []
    for members in by(found, lambda e: (e.row.dataset, e.row.split)).values():
        draft = Draft(f"Retrieval on {data_of(members[0].row)}", ("model", "bits", "queries"))
        for metric in ("map", "random_map", "t-map", "random_t-map"):
            draft.column(("query->database", metric, None), _head(Row(task="query->database", metric=metric)))
        for entry, beside in with_floors(members):
            row = entry.row
            line = (name_of(row), str(row.bits or ""), f"{row.n:,}" if row.n is not None else "")
            at = None if is_random(row) else row.at
            draft.put(line, (row.task, row.metric, at), entry, _head(row))
            if beside:
                floor = beside[0].row
                draft.put(line, (floor.task, floor.metric, None), beside, _head(floor))
        drafts.append(draft)
    words = [
        "In brackets: bootstrap 95% interval over queries. MAP is expected over ties where a row says no other policy."
    ]
    return Section("Retrieval of clean models", words, tables(drafts))


def _head(row: Row) -> str:
    head = "t-MAP, target labels" if row.metric == "t-map" else metric_head(row)
    if is_random(row):
        head = f"random codes, {(row.metric or '')[7:].replace('map', 'MAP')}"
    if row.task != "query->database":
        head += f", {row.task}"
    if row.ties not in (None, "expected"):
        head += f", ties {row.ties}"
    return head


def attacks(pool: Pool, shown: set[int]) -> Section:
    """Attacks on models without a defense: one line an attack; controls that are `shown` elsewhere get no line of their own."""
    found = pool.take(lambda e: bool(e.row.attack) and not e.row.defense and _is_attacked(e.row))
    drafts: list[Draft] = []
    beside: dict[str, Draft] = {}
    for members in by(found, lambda e: (e.row.dataset, e.row.split, e.row.model)).values():
        lines, controls = attack_lines(members)
        named = line_names(lines)
        first = members[0].row
        title = f"{name_of(first)} on {data_of(first)}"
        used = set(shown)
        for toward in (False, True):
            own = [one for one in named if (one[0].score == "t-map") == toward and one[0].of(one[0].score)]
            if own:
                aim = AIMS[own[0][0].score]
                drafts.append(_attack_draft(f"Attacks on {title}, {aim}", own, used))
        rest = [line for line in controls if any(e.number not in used for e in line.entries)]
        if rest:
            alone = f"Noise and ideal codes on {data_of(first)}, of no attack above"
            beside.setdefault(alone, Draft(alone, ("model", "control", "budget", "queries")))
            _put_controls(beside[alone], rest, used)
        drafts.append(_more_draft(f"More on the attacked pictures of {title}", named))
    return Section("Attacks", ATTACK_WORDS, tables([*drafts, *beside.values()]))


ATTACKED = ("map", "t-map", *SHORT, "rmse", "l2", "changed", "pixels", "reached", "l2-reached", "psnr", "edits", "D")
ATTACK_WORDS = (
    "Scored on pictures as 8-bit files hold them, codes computed again. Noise has the same budget. The ideal code is the code "
    "that the attack follows, scored without a picture; gain is the share of the way to it.",
    "Away from a guide, low MAP is success (without labels, a low share found); toward a target, high t-MAP is. The threat model "
    "of every line stands further below.",
)


AIMS = {
    "map": "away: MAP under the true labels",
    "t-map": "toward targets: t-MAP",
    "found": "away: pictures whose original is among the first answers",
}


def _is_attacked(row: Row) -> bool:
    return row.metric in ATTACKED or is_score(row)


def _attack_draft(title: str, named: Sequence[tuple[AttackLine, str, str]], used: set[int]) -> Draft:
    draft = Draft(title, ("attack", "budget", "queries"))
    scored: dict[tuple[int, str], tuple[Entry, ...]] = {}  # controls that many lines share
    for line, words, budget in named:
        key = (words, budget, "" if line.row.n is None else f"{line.row.n:,}")
        score = line.score
        draft.put(key, "score", line.of(score), SCORES[score])
        for column, head, controls in (("noise", "noise", line.noise), ("ideal", "ideal code", line.ideal)):
            mark = (id(controls), score)
            if mark not in scored:
                scored[mark] = tuple(e for e in controls if e.row.metric == score)
                used |= {e.number for e in scored[mark]}
            draft.put(key, column, scored[mark], head)
        for metric in SHORT:
            draft.put(key, metric.removeprefix("t-"), line.of(metric), metric_head_of(metric))
    return draft


def metric_head_of(metric: str) -> str:
    """Column name of a metric without a cut."""
    return metric_head(Row(metric=metric))


def _put_controls(draft: Draft, lines: Sequence[AttackLine], used: set[int]) -> None:
    for line, words, budget in line_names(lines):
        key = (name_of(line.row), words, budget, "" if line.row.n is None else f"{line.row.n:,}")
        for entry in line.entries:
            if entry.number not in used:
                draft.put(key, entry.row.metric, entry, metric_head(entry.row))


def _more_draft(title: str, named: Sequence[tuple[AttackLine, str, str]]) -> Draft:
    draft = Draft(title, ("attack", "budget", "queries"), folded=True)
    for line, words, budget in named:
        key = (words, budget, "" if line.row.n is None else f"{line.row.n:,}")
        above = (line.score, *SHORT) if line.of(line.score) else ()
        for entry in line.entries:
            if entry.row.metric not in above:
                head = "MAP, own labels" if entry.row.metric == "map" else metric_head(entry.row)
                draft.put(key, entry.row.metric, entry, head)
    return draft


def transfer(pool: Pool, entries: Sequence[Entry]) -> Section:
    """Pictures made on other models: sources in lines, scored models in columns; tables and heat maps."""
    groups = by((e for e in pool.open if made_on(e.row)), lambda e: _variant(e.row))
    wanted = {
        e.number
        for members in groups.values()
        if any(made_on(one.row) != (one.row.model,) for one in members)
        for e in members
    }
    found = pool.take(lambda e: e.number in wanted)
    drafts, plots, more = [], [], []
    shapes = by((e for e in found if is_score(e.row)), lambda e: (_variant(e.row), e.row.metric, e.row.n))
    clean, noise = _beside(entries) if shapes else ({}, {})
    figures: dict[int, Cell] = {}  # of what stands beside many shapes
    for members in shapes.values():
        row = members[0].row
        title = f"{_plain(row)} at {budget_words(row.threat)} on {data_of(row)}, {metric_head(row)}"
        draft = Draft(f"Transfer: {title}", ("made on",), figures=figures)
        for entry in members:
            draft.column(entry.row.model, name_of(entry.row))
        models = by(members, lambda e: e.row.model)
        for name in ("clean", "noise"):
            for model, own in models.items():
                keys = dict.fromkeys(_scored(e.row, row) for e in own)
                if name == "noise":
                    rows = [noise.get((*key, *_radius(row)), ()) for key in keys]
                else:
                    rows = [clean.get(key, ()) for key in keys]
                if any(rows):
                    draft.put(
                        (name,), model, rows[0] if len(rows) == 1 else sorted(sum(rows, ()), key=lambda e: e.number)
                    )
        rule = len(draft.lines)
        for entry in members:
            draft.put((_source(entry.row),), entry.row.model, entry)
        drafts.append(draft)
        plots += _heat(draft, title, rule)
    for members in by((e for e in found if not is_score(e.row)), lambda e: e.row.dataset).values():
        draft = Draft(
            f"Transfer, further figures on {data_of(members[0].row)}",
            ("attack", "budget", "made on", "scored on"),
            folded=True,
        )
        for entry in members:
            row = entry.row
            draft.put(
                (_plain(row), budget_words(row.threat), _source(row), name_of(row)),
                (row.metric, row.at),
                entry,
                metric_head(row),
            )
        more.append(draft)
    words = [
        "Pictures are made on the models of a line and scored on that of a column; a model may be among its own sources."
    ]
    return Section("Transfer", words, tables([*drafts, *more]), plots)


def _variant(row: Row) -> str:
    facts = {
        k: v for k, v in (row.attack or {}).items() if k not in ("made_on", "reference_codes", "combine", "values")
    }
    return repr([row.dataset, row.split, sorted(facts.items(), key=str), sorted((row.threat or {}).items(), key=str)])


def _plain(row: Row) -> str:
    facts = {k: v for k, v in (row.attack or {}).items() if k not in ("made_on", "combine")}
    return attack_words(Row(attack=facts, threat=row.threat))


def _source(row: Row) -> str:
    combine = (row.attack or {}).get("combine")
    return listed(made_on(row)) + (f" ({combine})" if combine else "")


Scores = dict[tuple[object, ...], tuple[Entry, ...]]


def _beside(entries: Sequence[Entry]) -> tuple[Scores, Scores]:
    """Clean scores, and those of noise, by model, metric and queries, and noise by its radius, too."""
    scored = [e for e in entries if is_score(e.row)]
    clean = by((e for e in scored if not e.row.attack), lambda e: _scored(e.row, e.row))
    noisy = (e for e in scored if (e.row.attack or {}).get("method") == "noise")
    noise = by(noisy, lambda e: (*_scored(e.row, e.row), *_radius(e.row)))
    return {k: tuple(v) for k, v in clean.items()}, {k: tuple(v) for k, v in noise.items()}


def _scored(one: Row, row: Row) -> tuple[object, ...]:
    return model_key(one), row.metric, row.n, row.task


def _radius(row: Row) -> tuple[str, ...]:
    facts = row.threat or {}
    return tuple(repr(float(str(one)) if is_number(one) else one) for one in (facts.get("norm"), facts.get("eps")))


def _heat(draft: Draft, title: str, rule: int) -> list[Plot]:
    table = draft.table() if len(draft.lines) <= MOST else None
    if table is None or len(table.columns) < 3 or max(len(table.rows), len(table.columns) - 1) > MOST:
        return []  # one scored model is a list, not a matrix
    values = np.array([[_value(cell.figures) for cell in line[1:]] for line in table.rows])
    if not np.isfinite(values).any():
        return []
    names, columns = [_short(line[0].text) for line in table.rows], [_short(name) for name in table.columns[1:]]
    return [Plot(f"Heat map: {title}", maps=[HeatMap(title, names, columns, values, rule=rule)])]


def _short(text: str, most: int = 30) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _value(figures: Sequence[tuple[float | None, float | None, float | None]]) -> float:
    return figures[0][0] if figures and figures[0][0] is not None else math.nan


def defenses(pool: Pool, entries: Sequence[Entry]) -> Section:
    """Defended models: clean and attacked beside undefended ones of the same files."""
    detected = pool.take(lambda e: (e.row.defense or {}).get("method") == "detect")
    found = pool.take(lambda e: bool(e.row.defense) and (_is_attacked(e.row) or is_random(e.row)))
    drafts, more = [], []
    groups = by((e for e in found if is_score(e.row) or is_random(e.row)), lambda e: (e.row.dataset, e.row.split))
    plain = by(
        (
            e
            for e in entries
            if is_score(e.row) and (not e.row.defense or (e.row.attack or {}).get("method") == "audit")
        ),
        lambda e: (e.row.dataset, e.row.split),
    )
    for data, members in groups.items():
        drafts.append(_defense_draft(members, plain.get(data, [])))
    rest = [e for e in found if not is_score(e.row) and not is_random(e.row)]
    for members in by(rest, lambda e: e.row.dataset).values():
        draft = Draft(
            f"Defenses, more on the attacked pictures of {data_of(members[0].row)}",
            ("model", "defense", "attack", "budget"),
            folded=True,
        )
        for entry in members:
            row = entry.row
            line = (name_of(row), defense_words(row.defense), attack_words(row), budget_words(row.threat))
            draft.put(line, (row.metric, row.at), entry, metric_head(row))
        more.append(draft)
    for members in by(detected, lambda e: (e.row.dataset, e.row.model)).values():
        first = members[0].row
        draft = Draft(f"Detector on {name_of(first)}, {data_of(first)}", ("attack", "budget"))
        for metric in (*DETECTORS, "map"):
            draft.column((metric, None), metric_head_of(metric))
        for entry in members:
            row = entry.row
            draft.put((attack_words(row), budget_words(row.threat)), (row.metric, row.at), entry, metric_head(row))
        more.append(draft)
    words = [
        "Every attack is made anew on the defended model, except where a column says otherwise. Undefended models of the same "
        "files stand beside the defended ones.",
    ]
    return Section("Defenses", words, tables([*drafts, *more]))


def _defense_draft(members: Sequence[Entry], plain: Sequence[Entry]) -> Draft:
    """Scores of one data set: models in lines, attacks in columns; of `plain` those that stand beside them."""
    keys = Counter(_attack_column(e.row) for e in members if not is_random(e.row))
    counts: Counter[object] = Counter()
    for key, count in keys.items():
        counts[key[-1]] += count
    usual = counts.most_common(1)[0][0] if counts else None
    files = {source for e in members for source in e.sources}
    first = members[0].row
    beside = [
        e for e in plain if not e.row.defense and not files.isdisjoint(e.sources) and _attack_column(e.row) in keys
    ]
    audits = [e for e in plain if e.row.defense]
    named: dict[bytes, str] = {}
    for entry in members:
        if not is_random(entry.row):
            named.setdefault(_defended(entry.row), name_of(entry.row))
    draft = Draft(f"Defenses on {data_of(first)}", ("model", "defense"))
    draft.column("random", "random codes")
    shown = sorted([*beside, *members, *audits], key=lambda e: e.number)
    for entry in sorted(shown, key=lambda e: bool(e.row.attack)):  # columns: clean first
        if not is_random(entry.row):
            draft.column(_attack_column(entry.row), _column_head(entry.row, usual))
    for entry in shown:
        row = entry.row
        name = named.get(_defended(row), name_of(row)) if is_random(row) else name_of(row)
        draft.put((name, defense_words(row.defense)), "random" if is_random(row) else _attack_column(row), entry)
    return draft


def _defended(row: Row) -> bytes:
    return brief([row.defense, row.bits])


def _attack_column(row: Row) -> tuple[object, ...]:
    return (
        attack_words(Row(model=row.model, attack=row.attack, defense=row.defense, threat=row.threat)),
        budget_words(row.threat),
        row.metric,
        row.task,
        row.n,
    )


def _column_head(row: Row, usual: object) -> str:
    words = attack_words(row) if row.attack else "clean"
    if row.attack and row.threat:
        words += f", {budget_words(row.threat)}"
    if row.metric == "t-map":
        words += ", t-MAP"
    return words if row.n == usual else f"{words} ({row.n:,} queries)" if row.n is not None else words
