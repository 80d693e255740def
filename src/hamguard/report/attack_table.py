"""Rows of attacks as tables: one line an attack, label-free and label-aware ones apart, with what stands beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hamguard.core.rows import Row, Rows, eps_text
from hamguard.report.table import Table, note_lines

COLUMNS = (
    "95% interval",
    "gain",
    "bits moved",
    "RMSE x100",
    "Linf x255",
    "SSIM",
    "PSNR dB",
    "gradients",
    "seconds",
)
BLOCKS = {"free": "label-free attacks", "aware": "attacks that use labels of the query or of its target"}
GUIDED = ("fgsm", "ifgsm", "pgd", "mifgsm", "adaptive", "universal", "jsma", "cw")
SIZES = {"L2": ("l2", ".2f"), "pixels": ("pixels", ".1f")}
"""Columns more, where the budget is `l0` or `l2`: what is small there."""


def attack_tables(groups: Sequence[Sequence[Row]], name: str = "") -> list[Table]:
    """One table for each budget, direction and kind of attack.

    Args:
        groups: rows of one attack each, as `attack_groups` makes them; the last row is of the attack.
        name: the attacked model; that of the rows where not given.
    """
    blocks: dict[tuple[str, bool, str, str, str], list[Rows]] = {}
    for whole in groups:
        for task, rows in by_task(whole):
            last = rows[-1]
            assert last.attack and last.threat
            key = (
                eps_text(last.threat),
                bool(last.attack["toward"]),
                str(last.attack["labels"]),
                task,
                str(last.model),
            )
            blocks.setdefault(key, []).append(Rows(rows))
    notes = [note for rows in groups for row in rows for note in row.notes]
    made = []
    for number, ((size, toward, labels, task, model), members) in enumerate(blocks.items(), 1):
        subject = name or model
        below = note_lines(notes) if number == len(blocks) else []
        made.append(_block(members, f"{subject}, {task}" if task else subject, size, toward, labels, below))
    return made


def attack_groups(rows: Sequence[Row]) -> list[Rows]:
    """Rows of one attack each, with the clean rows, noise and ideal codes that stand beside all of them."""
    beside = [row for row in rows if not row.attack or row.attack.get("method") in ("noise", "ideal-code")]
    groups: dict[str, Rows] = {}
    for row in rows:
        if row not in beside:
            groups.setdefault(repr((row.model, row.attack, row.threat)), Rows()).append(row)
    if not groups:  # noise alone
        alone = Rows(rows)
        return [alone] if alone and alone[-1].attack and alone[-1].threat else []
    return [Rows([*_beside(beside, own[0]), *own]) for own in groups.values()]


def _beside(rows: Sequence[Row], own: Row) -> list[Row]:
    """What belongs to one attack: its model's, or random codes', of its budget, of its guide."""
    found = []
    for row in rows:
        facts = row.attack or {}
        if row.model not in (own.model, "random codes") or row.n != own.n:
            continue
        if facts.get("method") == "noise" and row.threat and eps_text(row.threat) != eps_text(own.threat or row.threat):
            continue
        if facts.get("method") == "ideal-code" and facts.get("guide") != (own.attack or {}).get("guide"):
            continue
        found.append(row)
    return found


def by_task(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Rows of one attack by search, each with the rows that belong to none (bits moved, distortion); one search has no name."""
    named = list(dict.fromkeys(row.task for row in rows if row.task and row.task.startswith(("image->", "text->"))))
    if not named:
        return [("", list(rows))]
    return [(task, [row for row in rows if row.task == task or row.task not in named]) for task in named]


Score = tuple[str, int | None]
"""A metric and its cut."""


def _block(members: Sequence[Rows], name: str, size: str, toward: bool, labels: str, notes: list[str]) -> Table:
    first = members[0]
    plain = first.where(attack=None)
    scores = _scores(plain, toward)
    sizes = tuple(SIZES) if (first[-1].threat or {}).get("norm") in ("l0", "l2") else ()
    lines = _controls(first, scores, toward, sizes)
    for rows in members:
        lines.append(_line(attack_name(rows[-1]), rows.where(attack=rows[-1].attack), scores, sizes))
        for row in _scored(rows.where(attack="ideal-code"), scores[:1]):
            guide = (row.attack or {})["guide"]
            what = f"  {guide} code itself" if toward else f"  opposite of the {guide} code"
            lines.append(_line(what, rows.where(attack=row.attack), scores, sizes))
    found = [
        f"{attack_name(row)}: the original is among the first {row.at} answers for {row.value:.1%} of the pictures"
        for rows in members
        for row in rows.where(metric="found", attack=rows[-1].attack)
        if row.value is not None
    ]
    found += [sentence for rows in members if (sentence := _reached(rows))]
    kept = plain.first("map") if toward else None
    if kept is not None and kept.value is not None:
        found.append(f"MAP of the clean pictures under their own labels: {kept.value:.4f}")
    aim = "toward targets" if toward else "away"
    at = f" ({first[-1].dataset}, {max(row.n or 0 for row in first):,} queries)"
    title = f"{name}{at}: {BLOCKS[labels]}, {aim}, {size}, 8-bit pictures"
    heads = [_head(*score) for score in scores] or ["score"]
    columns = ("attack", heads[0], COLUMNS[0], *heads[1:], *COLUMNS[1:5], *sizes, *COLUMNS[5:])
    return Table.of(title, columns, lines, notes=[*found, *notes])


def _reached(rows: Rows) -> str:
    """How many pictures of an attack with a goal reached it, and with which change; empty for any other."""
    share, length = rows.first("reached"), rows.first("l2-reached")
    if share is None or share.value is None or length is None:
        return ""
    size = "" if length.value is None else f", with a mean L2 of {length.value:.2f}"
    return f"{attack_name(rows[-1])}: {share.value:.1%} of the pictures have at most {share.at} bits left wrong{size}"


def _scores(plain: Rows, toward: bool) -> list[Score]:
    """What attacks are judged by: metrics toward targets where they go there, else those under the true labels."""
    found = list(
        dict.fromkeys((row.metric, row.at) for row in plain if row.metric and not row.metric.startswith("random"))
    )
    named = [(metric, at) for metric, at in found if metric]
    aimed = [score for score in named if score[0].startswith("t-")]
    return aimed if toward and aimed else named[-1:] if toward else named


def _head(metric: str, at: int | None) -> str:
    return metric.replace("map", "MAP") + ("" if at is None else f"@{at:,}")


def _scored(rows: Rows, scores: Sequence[Score]) -> Rows:
    return Rows(row for row in rows if (row.metric, row.at) in scores)


def _controls(rows: Rows, scores: Sequence[Score], toward: bool, sizes: Sequence[str]) -> list[list[str]]:
    """Lines of the clean picture, of random codes and of noise."""
    if not scores:
        return []
    plain = rows.where(attack=None)
    clean = "original (clean picture, target labels)" if toward else "clean"
    lines = [_line(clean, _scored(plain, scores), scores, sizes)]
    floors = Rows(
        replace(row, metric=(row.metric or "").removeprefix("random_")) for row in plain if row.model == "random codes"
    )
    if _scored(floors, scores[:1]):
        lines.append(_line("random codes", _scored(floors, scores), scores, sizes))
    noise = Rows(row for row in rows.where(attack="noise") if row.threat)
    if noise and rows[-1].attack != noise[0].attack:
        lines.append(_line("noise", noise, scores, sizes))
    return lines


def attack_name(row: Row) -> str:
    """Method with what differs from its defaults, e.g. `pgd, mainstay guide`."""
    facts = row.attack or {}
    words = [str(facts["method"])]
    if facts.get("preset") != "default":
        words.append(f"preset {facts.get('preset')}")
    if facts["method"] in GUIDED:
        words.append(f"{facts['guide']} guide")
    if facts.get("made_on"):
        words.append(
            f"made on {len(facts['made_on'])} other" + (f", {facts['combine']}" if facts.get("combine") else "")
        )
    return ", ".join(words)


def _line(what: str, rows: Rows, scores: Sequence[Score], sizes: Sequence[str] = ()) -> list[str]:
    found = [_scored(rows, [score]).first() for score in scores]
    score = found[0] if found else None

    def value(metric: str, form: str, factor: float = 1.0) -> str:
        row = rows.first(metric)
        return "" if row is None or row.value is None else format(row.value * factor, f"z{form}")

    span = f"{score.ci95[0]:.3f} .. {score.ci95[1]:.3f}" if score and score.ci95 else ""
    shown = score or rows.first("found")
    number = f"{shown.value:.4f}" if shown and shown.value is not None else ""
    more = [f"{row.value:.4f}" if row and row.value is not None else "" for row in found[1:]]
    moved = rows.first("bits-moved")
    spent = f"{moved.backwards:,}" if moved and moved.backwards is not None else ""
    spent_on = moved or shown  # of a guide's code there is a score only
    seconds = f"{spent_on.seconds:,.1f}" if spent_on and spent_on.seconds is not None else ""
    return [
        what,
        number,
        span,
        *more,
        value("gain", ".3f") or value("t-gain", ".3f"),
        value("bits-moved", ".1f"),
        value("rmse", ".2f", 100),
        value("linf", ".1f", 255),
        *(value(*SIZES[name]) for name in sizes),
        value("ssim", ".3f"),
        value("psnr", ".1f"),
        spent,
        seconds,
    ]


def edits_table(texts: Sequence[tuple[str, str, Sequence[str]]]) -> Table:
    """Texts before and after an attack, with their edits."""
    lines = [(clean, edited, " ".join(edits)) for clean, edited, edits in texts]
    return Table.of("", ("text", "edited", "edits"), lines)


def text_attack_table(rows: Sequence[Row], title: str) -> Table:
    """Both searches that texts ask, clean and attacked."""
    lines = []
    for row in rows:
        what = (row.attack or {}).get("method") or ("random codes" if str(row.metric).startswith("random") else "clean")
        interval = f"{row.ci95[0]:.3f} .. {row.ci95[1]:.3f}" if row.ci95 else ""
        lines.append((str(what), row.task or "", row.metric or "", f"{row.value:.4f}", interval, str(row.n)))
    return Table.of(title, ("codes", "search", "metric", "value", "95% interval", "queries"), lines)
