"""Sections on the rest: protection, files, audits, searches across modalities, measures, cost, and what fits no table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from hamguard.core.noted import matcher_seen, seen_by_check, verdict_of
from hamguard.core.rows import Row, eps_words
from hamguard.report.attack_lines import AttackLine, attack_lines, line_names
from hamguard.report.cells import Draft, Key, Pool, Section
from hamguard.report.collect import Entry, by
from hamguard.report.floors import is_random, with_floors
from hamguard.report.sections_search import data_of, name_of, tables
from hamguard.report.wording import (
    SCORES,
    attack_words,
    budget_words,
    defense_words,
    goes_toward,
    made_on,
    metric_head,
)

SEARCHES = ("C->C", "C->A", "A->C", "A->A", "C->learned", "A->learned")
ACROSS = ("image->text", "text->image", "image->image", "text->text")
CURVES = {"curve-precision": "precision at N", "curve-precision-at-recall": "precision at recall, percent"}
AUDIT = ("map-of-those-attacked", "map-after-answers", "found-of-those-attacked", "found-after-answers", "single")
MEASURES = ("asr-", "t-asr-", "clever", "flip-", "lipschitz", "loss-sensitivity", "spearman", "min-eps", "bits-flipped")
GAP = "-difference"
MANY = 8  # values of a cut beyond which a measure is a curve, and its table is folded


def protection(pool: Pool) -> Section:
    """The four searches with clean (C) and protected (A) pictures on either side."""
    found = pool.take(lambda e: e.row.task in SEARCHES)
    drafts = []
    for members in by(found, lambda e: (e.row.dataset, e.row.split, e.row.metric, e.row.at)).values():
        first = members[0].row
        title = f"Four searches on {data_of(first)}, {metric_head(first)}"
        draft = Draft(title, ("searching model", "learns from", "protection", "defense", "budget", "queries"))
        for search in SEARCHES:
            draft.column(search)
        for entry in members:
            row = entry.row
            words = attack_words(row)
            protector = (row.attack or {}).get("protector")
            line = (
                name_of(row),
                row.train or "",
                f"{words}, {str(protector)[:8]}" if protector else words,
                defense_words(row.defense),
                eps_words(row.threat),
                f"{row.n:,}" if row.n is not None else "",
            )
            draft.put(line, row.task, entry)
        drafts.append(draft)
    reading = (
        "C is clean, A is protected: C->A asks with clean pictures and searches protected ones. A protection works where the three "
        "searches with A are far below C->C.",
    )
    return Section("Four searches of a protection", reading, tables(drafts))


def differences(pool: Pool) -> Section:
    """Comparisons query by query: one attack against another, a hardened model against its start."""
    found = pool.take(lambda e: (e.row.metric or "").endswith(GAP) and bool((e.row.attack or {}).get("versus")))
    drafts, sure = [], "interval leaves out 0"
    for members in by(found, lambda e: (e.row.dataset, e.row.split)).values():
        draft = Draft(f"Differences on {data_of(members[0].row)}", ("model", "attack", "budget", "against", "queries"))
        said: dict[tuple[str, ...], str] = {}
        alike: Counter[Key] = Counter()
        for entry in members:
            row = entry.row
            head = f"{metric_head(replace(row, metric=(row.metric or '').removesuffix(GAP)))} difference"
            against, count = str((row.attack or {})["versus"]), f"{row.n:,}" if row.n is not None else ""
            line: Key = (name_of(row), attack_words(row), budget_words(row.threat), against, count)
            alike[line] += 1
            if alike[line] > 1:
                line = (line[0], f"{line[1]} ({alike[line]})", *line[2:])
            draft.put(line, head, entry, head)
            said[line] = "not known" if row.ci95 is None else "yes" if row.ci95[0] > 0 or row.ci95[1] < 0 else "no"
        for line, text in said.items():
            draft.say(line, sure, text, sure)
        drafts.append(draft)
    words = (
        "Model and attack minus what they stand against: another attack on the same model, or the same attack on the model that "
        "was hardened. Away from a guide, a negative difference is a stronger attack or a weaker model. The queries are the same; "
        "the interval is that of a paired bootstrap over them.",
    )
    return Section("Differences", words, tables(drafts))


def effect_on_files(pool: Pool) -> Section:
    """Files and their protected, noisy or copied versions, searched by matchers."""
    asked = {_matcher(e.row) for e in pool.open if _is_file_search(e.row)}
    found = pool.take(
        lambda e: (
            _is_file_search(e.row)
            or e.row.task == "files"
            or (e.row.metric == "bits-moved" and _matcher(e.row) in asked and matcher_seen(e.row) is not None)
        )
    )
    drafts = []
    for members in by(found, lambda e: (e.row.dataset, e.row.split)).values():
        first = members[0].row
        draft = Draft(
            f"Effect on files: {data_of(first)}", ("model", "seen by the protector", "kind of file", "budget", "files")
        )
        for entry in members:
            row = entry.row
            seen = matcher_seen(row) or ""
            name = "the files themselves" if row.task == "files" else name_of(row)
            line = (
                name,
                seen,
                _kind(row),
                eps_words(row.threat) if row.threat else "-",
                f"{row.n:,}" if row.n is not None else "",
            )
            draft.put(line, (_side(row), row.metric, row.at), entry, _side_head(row))
        drafts.append(draft)
    words = (
        "Left top is the share of files whose original is no longer among the first answers; found is the share whose original "
        "is among them.",
    )
    return Section("Effect on files", words, tables(drafts))


def _matcher(row: Row) -> tuple[str | None, str | None]:
    return row.model, row.dataset


def _is_file_search(row: Row) -> bool:
    return row.metric in ("left top", "found") and "->" in (row.task or "") and row.task != "query->database"


def _kind(row: Row) -> str:
    facts = row.attack or {}
    if row.attack:
        words = {"protect": "protected"}.get(str(facts.get("method")), str(facts.get("method")))
        return f"{words}, seen through {facts['view']}" if facts.get("view") else words
    asked, _, searched = (row.task or "").partition("->")
    return asked if searched == "original" else "original"


def _side(row: Row) -> str:
    _, _, searched = (row.task or "").partition("->")
    return "" if not searched else "asked" if searched == "original" else "searched"


def _side_head(row: Row) -> str:
    side = {"asked": ", asked with it", "searched": ", in the database"}.get(_side(row), "")
    return metric_head(row) + side


def audits(pool: Pool) -> Section:
    """Audits: worst case, stages, answers, self-checks."""
    found = pool.take(_is_audit)
    drafts = []
    worst = Draft("Audits: worst case of every query", ("model", "data", "defense", "attacker", "budget", "queries"))
    checks = Draft("Self-checks", ("model", "data", "defense", "check"))
    stages: dict[str, Draft] = {}
    line: tuple[str, ...]
    for entry in found:
        row, facts = entry.row, entry.row.attack or {}
        whom = (name_of(row), data_of(row), defense_words(row.defense))
        if row.metric == "check":
            line = (*whom, str(facts.get("check", facts.get("method", "check"))))
            passed = {"True": "✓ passed", "False": "✗ failed"}.get(str(facts.get("passed")), "not said")
            checks.say(line, "passed", passed, "result")
            checks.put(line, "value", entry, "figure")
            checks.say(line, "said", seen_by_check(row), "what was seen")
        elif facts.get("method") == "audit":
            labels = {"free": "without labels", "aware": "with labels"}.get(str(facts.get("labels")), "")
            line = (*whom, labels, budget_words(row.threat), f"{row.n:,}" if row.n is not None else "")
            worst.put(line, (row.metric, row.at), entry, metric_head(row))
            for key, head in (("stages", "stages"), ("held", "held at the end")):
                if facts.get(key) is not None:
                    worst.say(line, key, str(facts[key]), head)
            verdict = verdict_of(row)
            if verdict:
                worst.say(line, "verdict", verdict, "verdict")
        else:
            title = f"Stages of the audit of {name_of(row)} on {data_of(row)}"
            draft = stages.setdefault(title, Draft(title, ("stage", "budget", "queries attacked"), folded=True))
            line = (attack_words(row), budget_words(row.threat), f"{row.n:,}" if row.n is not None else "")
            draft.put(line, (row.metric, row.at), entry, (row.metric or "").replace("map", "MAP").replace("-", " "))
            for metric, word in SCORES.items():
                if isinstance(after := facts.get(f"worst_{metric}_after"), float):
                    draft.say(line, "worst", f"{after:.3f}", f"worst {word} so far")
    drafts += [worst, checks, *stages.values()]
    return Section("Audits and checks", (), tables(drafts))


def _is_audit(entry: Entry) -> bool:
    row, facts = entry.row, entry.row.attack or {}
    return row.metric in ("check", *AUDIT) or facts.get("method") in ("audit", "self-check", "sanity")


def across(pool: Pool) -> Section:
    """Searches within and across modalities, clean and attacked."""
    attacked = {_cross_key(e.row) for e in pool.open if e.row.task in ACROSS and e.row.attack}
    found = pool.take(
        lambda e: (
            e.row.task in (*ACROSS, "image", "text", "pairs")
            or (bool(e.row.attack) and _cross_key(e.row) in attacked and e.row.task == "query")
        )
    )
    drafts: list[Draft] = []
    for members in by(found, lambda e: (e.row.dataset, e.row.split)).values():
        title = data_of(members[0].row)
        clean = Draft(f"Clean searches across modalities on {title}", ("model", "defense", "bits", "queries"))
        for entry, beside in with_floors([e for e in members if not e.row.attack]):
            row = entry.row
            whom = (
                name_of(row),
                defense_words(row.defense),
                str(row.bits or ""),
                f"{row.n:,}" if row.n is not None else "",
            )
            for one in (entry, *beside):
                clean.put(whom, (one.row.task, one.row.metric, one.row.at), one, _task_head(one.row))
        drafts.append(clean)
        lines, controls = attack_lines(members)
        for own in by_model([*controls, *lines]):
            name = name_of(own[0].row)
            draft = Draft(f"Attacks across modalities on {name}, {title}", ("attack", "budget", "queries"))
            more = Draft(
                f"More on the attacks across modalities on {name}, {title}",
                ("attack", "budget", "queries"),
                folded=True,
            )
            for search in ACROSS:
                draft.column((search, "map", None), f"{search} MAP")
            for line, words, budget in line_names(own):
                key = (words, budget, f"{line.row.n:,}" if line.row.n is not None else "")
                for entry in line.entries:
                    row = entry.row
                    main = row.metric in ("map", "D", "bits-moved", "edits")
                    (draft if main else more).put(key, (row.task, row.metric, row.at), entry, _task_head(row))
            drafts += [draft, more]
    reading = ("D is the root mean squared change of an item. image->text asks with pictures and searches texts.",)
    return Section("Searches across modalities", reading, tables(drafts))


def by_model(lines: Sequence[AttackLine]) -> list[list[AttackLine]]:
    """Lines of one model in one list, in the order they come."""
    groups: dict[tuple[object, ...], list[AttackLine]] = {}
    for line in lines:
        groups.setdefault((line.row.model, line.row.dataset, line.row.split), []).append(line)
    return list(groups.values())


def _cross_key(row: Row) -> str:
    return repr([row.dataset, row.model, row.hashes.get("model"), row.attack, row.threat])


def _task_head(row: Row) -> str:
    if row.metric == "agreement":
        return "bits that agree"
    head = "random codes" if is_random(row) else metric_head(row)
    return head if row.task == "query" else f"{row.task} {head}"


def measures(pool: Pool) -> Section:
    """Success rates, estimates of the least change, rank correlations: one line a measure, models in columns."""
    found = pool.take(lambda e: (e.row.metric or "").startswith(MEASURES))
    drafts: dict[str, Draft] = {}
    cuts: dict[tuple[str | None, str], set[int | None]] = {}
    for entry in found:
        cuts.setdefault((entry.row.metric, _asked(entry.row)), set()).add(entry.row.at)
    for entry in found:
        row = entry.row
        kind = "Rank correlations" if (row.metric or "").startswith("spearman") else "Measures"
        many = len(cuts[row.metric, _asked(row)]) > MANY
        title = f"{kind if not many else 'Measures over a cut'} on {data_of(row)}"
        folded = True if many or kind != "Measures" else None
        draft = drafts.setdefault(title, Draft(title, ("measure", "attack", "budget"), folded=folded))
        line = (metric_head(row), attack_words(row) if row.attack else "-", budget_words(row.threat))
        draft.put(line, row.model, entry, name_of(row))
    words = (
        "asr is the share of queries that an attack succeeds on, in the sense that the name says; t-asr the same toward a target.",
    )
    return Section("Measures", words, tables(drafts.values()))


def _asked(row: Row) -> str:
    return repr([row.dataset, row.model, row.attack, row.threat])


def cost(pool: Pool) -> Section:
    """What training and attacks cost in core seconds."""
    found = pool.take(lambda e: e.row.task == "training" or (e.row.metric or "").startswith("core-seconds"))
    draft = Draft("Cost", ("model", "data", "what", "pictures"))
    for entry in found:
        row = entry.row
        what = (
            f"defense: {defense_words(row.defense)}"
            if row.defense
            else attack_words(row)
            if row.attack
            else row.method or "training"
        )
        line = (name_of(row), data_of(row), what, f"{row.n:,}" if row.n is not None else "")
        draft.put(line, (row.metric, row.at), entry, metric_head(row))
        epochs = (row.defense or {}).get("epochs")
        if epochs is not None:
            draft.say(line, "epochs", str(epochs), "epochs")
    return Section("Training cost", (), tables([draft]))


def curve_points(pool: Pool) -> Section:
    """The points of curves, folded; the curves themselves are drawn."""
    found = pool.take(lambda e: e.row.metric in CURVES)
    drafts = []
    for members in by(found, lambda e: (e.row.dataset, e.row.split, e.row.model, e.row.metric, e.row.task)).values():
        row = members[0].row
        kind = CURVES[row.metric or ""]
        title = f"Points of curves of {name_of(row)} on {data_of(row)}, {row.task}: {kind}"
        draft = Draft(title, ("N" if row.metric == "curve-precision" else "recall, %",), folded=True)
        for entry in sorted(members, key=lambda e: e.row.at or 0):
            one = entry.row
            head = curve_name(one)
            draft.put((f"{one.at:,}" if one.at is not None else "",), head, entry, head)
        drafts.append(draft)
    return Section("Points of the curves", (), tables(drafts))


def curve_name(row: Row) -> str:
    """A curve by its attack and budget, and its defense."""
    words = attack_words(row)
    if row.attack and row.threat:
        words += f", {budget_words(row.threat)}"
    if goes_toward(row):
        words += ", target labels"
    return f"{words}, {defense_words(row.defense)}" if row.defense else words


def other(pool: Pool) -> Section:
    """Everything that no table above wants."""
    found = pool.take(lambda e: True)
    draft = Draft("Other measurements", ("model", "data", "defense", "attack", "budget", "task", "metric", "queries"))
    for entry in found:
        row = entry.row
        source = f", made on {len(made_on(row))}" if len(made_on(row)) > 2 else ""
        line = (
            name_of(row),
            data_of(row),
            defense_words(row.defense),
            attack_words(row) + source,
            budget_words(row.threat),
            row.task or "",
            metric_head(row),
            f"{row.n:,}" if row.n is not None else "",
        )
        draft.put(line, "value", entry, "value")
    return Section("Other measurements", (), tables([draft]))
