"""Rows of attacks as tables that people read: one line an attack, label-free and label-aware ones in separate blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hamguard.cli.common import print_json, print_table, tell
from hamguard.core.rows import eps_text

if TYPE_CHECKING:
    from hamguard.core.rows import Row

COLUMNS = (
    "attack",
    "{metric}",
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


def print_attacks(groups: Sequence[Sequence[Row]], name: str, *, as_json: bool) -> None:
    """Rows as JSON lines, or as tables.

    Args:
        groups: rows of one attack each.
        name: the attacked model.
        as_json: one JSON row a line and nothing else; what attacks share (clean, random codes, noise) stands once.
    """
    if as_json:
        print_json_rows([row for rows in groups for row in rows])
        return
    blocks: dict[tuple[str, bool, str, str], list[Sequence[Row]]] = {}
    for whole in groups:
        for task, rows in by_task(whole):
            last = rows[-1]
            assert last.attack and last.threat
            key = (eps_text(last.threat), bool(last.attack["toward"]), str(last.attack["labels"]), task)
            blocks.setdefault(key, []).append(rows)
    for (size, toward, labels, task), members in blocks.items():
        _print_block(members, f"{name}, {task}" if task else name, size, toward, labels)
    for note in dict.fromkeys(note for rows in groups for row in rows for note in row.notes):
        tell(f"Note: {note}")


def by_task(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Rows of one attack by search, each with the rows that belong to none (bits moved, distortion); one search has no name."""
    named = list(dict.fromkeys(row.task for row in rows if row.task and row.task.startswith(("image->", "text->"))))
    if not named:
        return [("", list(rows))]
    return [(task, [row for row in rows if row.task == task or row.task not in named]) for task in named]


def print_json_rows(rows: Sequence[Row]) -> None:
    """Rows as JSON lines, equal ones once."""
    for line in dict.fromkeys(row.json() for row in rows):
        tell(line)


def _print_block(members: Sequence[Sequence[Row]], name: str, size: str, toward: bool, labels: str) -> None:
    first = members[0]
    scored = [row for row in first if row.attack is None and row.metric and not row.metric.startswith("random")]
    metric = scored[-1].metric if toward and scored else scored[0].metric if scored else None
    lines: list[list[str]] = []
    if metric:
        for row in first:
            if row.metric == metric and row.attack is None:
                lines.append(
                    _line("original (clean picture, target labels)" if toward else "clean", {metric: row}, metric)
                )
            if row.metric == f"random_{metric}":
                lines.append(_line("random codes", {metric: row}, metric))
        noise = {str(row.metric): row for row in first if row.attack and row.attack["method"] == "noise" and row.threat}
        if noise and first[-1].attack != next(iter(noise.values())).attack:
            lines.append(_line("noise", noise, metric))
    for rows in members:
        own = {str(row.metric): row for row in rows if row.attack == rows[-1].attack}
        lines.append(_line(attack_name(rows[-1]), own, metric))
        ideal = [row for row in rows if row.attack and row.attack["method"] == "ideal-code" and row.metric == metric]
        for row in ideal:
            assert row.attack
            what = f"  {row.attack['guide']} code itself" if toward else f"  opposite of the {row.attack['guide']} code"
            lines.append(_line(what, {str(metric): row}, metric))
    last = first[-1]
    heads = tuple(column.format(metric=_head(metric)) for column in COLUMNS)
    aim = "toward targets" if toward else "away"
    count = max(row.n or 0 for row in first)
    at = f" ({last.dataset}, {count:,} queries)"
    print_table(f"{name}{at}: {BLOCKS[labels]}, {aim}, {size}, 8-bit pictures", heads, lines)
    for rows in members:
        for row in rows:
            if row.metric == "found" and row.value is not None:
                tell(
                    f"{attack_name(row)}: the original is among the first {row.at} answers for {row.value:.1%} of the pictures"
                )
    kept = [row for row in first if row.attack is None and row.metric == "map"] if toward else []
    if kept and kept[0].value is not None:
        tell(f"MAP of the clean pictures under their own labels: {kept[0].value:.4f}")


def _head(metric: str | None) -> str:
    if metric is None:
        return "score"
    return metric.replace("map", "MAP")


def attack_name(row: Row) -> str:
    """Method with what differs from its defaults, e.g. `pgd, mainstay guide`."""
    facts = row.attack or {}
    words = [str(facts["method"])]
    if facts.get("preset") != "default":
        words.append(f"preset {facts['preset']}")
    if facts["method"] in ("fgsm", "ifgsm", "pgd", "mifgsm", "adaptive", "universal"):
        words.append(f"{facts['guide']} guide")
    if facts.get("made_on"):
        words.append(
            f"made on {len(facts['made_on'])} other" + (f", {facts['combine']}" if facts.get("combine") else "")
        )
    return ", ".join(words)


def _line(what: str, rows: dict[str, Row], metric: str | None) -> list[str]:
    score = rows.get(str(metric))
    gain = rows.get("gain") or rows.get("t-gain")

    def value(key: str, form: str, factor: float = 1.0) -> str:
        row = rows.get(key)
        return "" if row is None or row.value is None else format(row.value * factor, form)

    span = f"{score.ci95[0]:.3f} .. {score.ci95[1]:.3f}" if score and score.ci95 else ""
    if score is None and "found" in rows:
        score = rows["found"]
    number = f"{score.value:.4f}" if score and score.value is not None else ""
    moved = rows.get("bits-moved")
    spent = f"{moved.backwards:,}" if moved and moved.backwards is not None else ""
    spent_on = moved or score  # of a guide's code there is a score only
    seconds = f"{spent_on.seconds:,.1f}" if spent_on and spent_on.seconds is not None else ""
    return [
        what,
        number,
        span,
        f"{gain.value:.3f}" if gain and gain.value is not None else "",
        value("bits-moved", ".1f"),
        value("rmse", ".2f", 100),
        value("linf", ".1f", 255),
        value("ssim", ".3f"),
        value("psnr", ".1f"),
        spent,
        seconds,
    ]


def print_methods(*, as_json: bool) -> None:
    """Every method: what it is, its direction, its presets and options."""
    from hamguard.attacks.methods.registry import ATTACKS, method_facts
    from hamguard.evaluation.attack.plan import open_options

    facts = [method_facts(name) for name in ATTACKS]
    if as_json:
        print_json(
            {
                "method": one.name,
                "title": one.title,
                "direction": one.direction,
                "presets": list(one.presets),
                "options": open_options(one.name),
            }
            for one in facts
        )
        return
    print_table(
        "",
        ("method", "direction", "presets", "options", "what it is"),
        [
            (one.name, one.direction, ", ".join(one.presets), ", ".join(open_options(one.name)), one.title)
            for one in facts
        ],
    )
