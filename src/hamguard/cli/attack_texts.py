"""`hamguard attack --method cmla --side text|words`: change the texts that ask, and measure both of their searches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hamguard.cli.common import Bar, context_of, print_json_rows, say
from hamguard.core.errors import RequestError

if TYPE_CHECKING:
    from hamguard.core.rows import Row
    from hamguard.evaluation.attack.run import AttackedSet
    from hamguard.evaluation.ground import Ground
    from hamguard.evaluation.search.score import Convention

SHOWN = 8  # edited texts that are printed


def attack_texts(
    model: str,
    method: Sequence[str],
    side: str,
    *,
    words: int,
    eps: Sequence[str],
    steps: int | None,
    preset: str,
    options: Mapping[str, str],
    data: str | None,
    data_root: Path | None,
    protocol: str | None,
    queries: int | None,
    metrics: Sequence[str],
    convention: Convention,
    out: Path | None,
    seed: int,
    batch_size: int,
    device: str,
    as_json: bool,
    refused: Sequence[str],
) -> None:
    """Attack the query texts; arguments are those of `hamguard attack`.

    Raises:
        RequestError: another method, options that belong to pictures, or a model without a text side.
    """
    if list(method) != ["cmla"]:
        raise RequestError(f"--side {side} belongs to --method cmla, got {', '.join(method)}")
    if refused:
        raise RequestError(f"{', '.join(refused)}: belongs to pictures; leave out with --side {side}")
    from hamguard.core.rows import write_rows
    from hamguard.evaluation.attack.cross_modal import cmla_rows, word_rows
    from hamguard.evaluation.ground import Ground
    from hamguard.evaluation.search.cross_modal import cross_rows

    made = _edits(words, options, eps, steps, preset) if side == "words" else _bags(eps, steps, preset, options)
    ground = Ground.open(
        model,
        data,
        protocol=protocol,
        root=data_root,
        queries=queries,
        texts="needed",
        context=context_of(device, seed, batch_size),
    )
    scores: dict[str, Any] = {"metrics": metrics, "convention": convention}
    rows = cross_rows(ground, **scores, tasks=("text->image", "text->text"))
    if side == "words":
        found, made_rows = word_rows(ground, made, **scores)
    else:
        with Bar("cmla on texts") as bar:
            marks = (made.search.steps,)
            runs, made_rows = cmla_rows(ground, made, "text", marks=marks, noise=True, progress=bar, **scores)
        found = runs[made.search.steps]
    rows += made_rows
    if out:
        write_rows(out, rows)
        say(f"wrote {out}")
    if as_json:
        print_json_rows(rows)
        return
    _print(rows, ground, found)


def _bags(eps: Sequence[str], steps: int | None, preset: str, options: Mapping[str, str]) -> Any:
    from hamguard.attacks.methods.cmla import TEXT_EPS, cmla_text
    from hamguard.attacks.threat import Linf, parse_eps
    from hamguard.evaluation.attack.spec import parsed_options

    if len(eps) > 1:
        raise RequestError(f"--side text takes one --eps, got {len(eps)}")
    size = parse_eps(eps[0]) if eps else TEXT_EPS
    return cmla_text(steps=steps, preset=preset, threat=Linf(size), **parsed_options("cmla", options))  # type: ignore[arg-type]


def _edits(words: int, options: Mapping[str, str], eps: Sequence[str], steps: int | None, preset: str) -> Any:
    from hamguard.attacks.words import WordEdits
    from hamguard.evaluation.attack.spec import parsed_options

    if eps or steps is not None or preset != "default":
        raise RequestError("--side words is bounded by --words; leave out --eps, --steps and --preset")
    given = parsed_options("cmla", options)
    if "norm" in given:
        raise RequestError("--side words has no norm term, --words bounds it; leave out --set norm")
    edits = WordEdits(words)
    return replace(edits, loss=replace(edits.loss, **given))  # type: ignore[type-var]


def _print(rows: Sequence[Row], ground: Ground, found: AttackedSet) -> None:
    from hamguard.report.attack_table import edits_table, text_attack_table
    from hamguard.report.printers import to_terminal
    from hamguard.report.table import note_lines

    title = f"{ground.name}: {ground.dataset.title}, {len(ground.rows):,} query texts, attacked by text"
    shown = [i for i, done in enumerate(found.edits) if done][:SHOWN]
    tables = [text_attack_table(rows, title)]
    if shown:
        tables.append(edits_table([(ground.texts[i], found.texts[i], found.edits[i]) for i in shown]))
    notes = note_lines(note for row in rows for note in row.notes)
    to_terminal(*tables[:-1], replace(tables[-1], notes=tuple(notes)))
