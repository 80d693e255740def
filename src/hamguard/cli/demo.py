"""`hamguard demo`: the whole tour on pictures that need no download."""

from __future__ import annotations

import shlex
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hamguard.api.running import Bar, choose_device
from hamguard.cli import options as opt
from hamguard.cli.common import print_json_rows, say, tell

if TYPE_CHECKING:
    from hamguard.evaluation.ground import Ground
    from hamguard.retrieval.index import Index

BITS = 32
SHOWN = 6  # queries on the sheet
EPS = 0.2  # of [0, 1]: scans of 16 gray levels take more than photos before a person minds
ATTACKS = ("noise", "hag", "mainstay", "dhta")
AUDIT_EPS, AUDITED = 0.1, 60  # half the budget, where a worst case is not trivial; the first of the queries
STEPS = 20  # gradients a picture; a hundred move the figures in the third digit


OutOption = Annotated[Path, typer.Option("--out", help="Folder for model, index, rows and pictures.")]


def demo(
    out: OutOption = Path("demo"),
    seed: opt.Seed = 0,
    device: opt.Device = "auto",
    as_json: opt.Json = False,
) -> None:
    """Learn hash codes on real scanned digits, search, attack, audit, harden, protect, verify: ten lines and one page. No download.

    [bold]Example[/bold]: hamguard demo --out demo
    """
    from hamguard.api.audit import AuditResult
    from hamguard.api.sheets import draw_attack
    from hamguard.attacks.budget import Budget, Linf
    from hamguard.cli.demo_harden import harden_digits
    from hamguard.cli.demo_page import points, write_page
    from hamguard.cli.demo_protect import protect_digits, verify_digits
    from hamguard.core.context import Context
    from hamguard.core.rows import Rows
    from hamguard.data.opened import Data
    from hamguard.evaluation.attack.measure import measure_attack
    from hamguard.evaluation.attack.run import forget
    from hamguard.evaluation.attack.spec import AttackSpec
    from hamguard.evaluation.audit.audit import run_audit
    from hamguard.evaluation.audit.plan import AuditPlan
    from hamguard.evaluation.ground import Ground, Loaded
    from hamguard.evaluation.search.curves import measure_curves
    from hamguard.evaluation.search.model_rows import model_rows
    from hamguard.evaluation.search.origin import write_origin
    from hamguard.report.demo_summary import summary
    from hamguard.report.pictures import Picture
    from hamguard.report.plots import draw_curves
    from hamguard.retrieval.engines import build_index, open_index
    from hamguard.trainers.run import run_job
    from hamguard.trainers.words import read_job

    started = time.perf_counter()
    chosen = choose_device(device)
    model_folder, index_folder = out / "model", out / "index"

    data = Data.open("digits")
    dataset, split = data.dataset, data.split
    job = read_job({}, {"data.source": "digits", "method": "csq", "model.bits": BITS, "seed": seed})
    result = run_job(job, data, model_folder, context=Context(device=chosen, restart=True, stage=Bar))
    card = result.card
    say(
        f"1. learn: {card.title}, {card.backbone}, {BITS} bits, from {len(split.train):,} of {len(dataset):,} scanned digits "
        f"-> {model_folder}"
    )

    result.model.requires_grad_(False)
    loaded = Loaded(str(model_folder), result.model, card)
    ground = Ground.open(loaded, Data(dataset, split), context=Context(chosen, seed))
    banks = ground.search()
    build_index(banks[1]).save(index_folder)
    write_origin(index_folder, str(model_folder), card, None, None, None, everything=False)
    index = open_index(index_folder, model_hash=result.model.digest)
    _draw_answers(out / "sheet.png", ground, index, f"digits, {card.title}, {BITS} bits")
    rows = model_rows(ground)
    curves = measure_curves(*banks, name=f"csq, {BITS} bits", seed=seed)
    draw_curves(
        curves.precision_recall,
        curves.precision_at,
        out / "curves.png",
        within_radius=curves.within_radius,
        title="digits",
    )
    say(
        f"2. search: {len(banks[0])} queries among {len(index):,} codes, {banks[1].packed.nbytes:,} bytes packed "
        f"-> {index_folder}, {out / 'sheet.png'}, {out / 'curves.png'}"
    )

    found = []
    for method in ATTACKS:
        spec = AttackSpec.read(method, eps=EPS, steps=None if method == "noise" else STEPS)
        with Bar(f"attacking: {method}") as bar:
            found.append(measure_attack(ground, spec, work=out / "work", progress=bar))
    forget(out / "work")
    draw_attack(out / "attacked.png", ground, found[ATTACKS.index("mainstay")])
    say(f"3. attack: {', '.join(ATTACKS)} within {EPS:g} a pixel -> {out / 'attacked.png'}")

    battery = AuditPlan(Budget(Linf(AUDIT_EPS), steps=STEPS, queries=50), sample=24, substitute=False)
    audited = run_audit(replace(ground.first(AUDITED), context=ground.context.but(work=out / "work")), battery)
    forget(out / "work")
    AuditResult.of(audited).draw(out / "audit.png", "digits")
    told = f"{len(audited.stages) - 1} attacks within {AUDIT_EPS:g} a pixel on {AUDITED} queries"
    say(f"4. audit: {told}, {audited.verdict.grade} -> {out / 'audit.png'}")

    attacked = [row for one in found for row in one.rows]
    rows += [*attacked, *points(ground, found), *audited.rows]
    rows += harden_digits(out, ground, found[ATTACKS.index("mainstay")], audited)
    rows += protect_digits(out, ground)
    rows += verify_digits(out, ground)

    pictures = [
        Picture(name, caption, section)
        for name, caption, section in (
            (
                "sheet.png",
                "Six queries and their ten nearest; the last one is the query that the search serves worst",
                "sheets",
            ),
            (
                "curves.png",
                "Precision over recall and over the first N answers, beside random codes; balls of a radius",
                "curves",
            ),
            (
                "attacked.png",
                f"The search as it was learned, before and after mainstay within {EPS:g} a pixel",
                "attacks",
            ),
            (
                "audit.png",
                f"The audit within {AUDIT_EPS:g} a pixel: worst case after each stage; answers alone",
                "audit",
            ),
            ("hardened.png", f"The hardened search under the same attack within {EPS:g} a pixel", "defenses"),
            ("effect.png", "Files before and after protection, and noise of the same size", "protection"),
        )
    ]
    rows = Rows(rows).once()  # clean pictures and noise stand beside every attack
    page = write_page(out, rows, pictures)
    say(f"8. report: {len(rows):,} rows in {out / 'rows.jsonl'}, {time.perf_counter() - started:.0f} seconds in all")
    if as_json:
        print_json_rows(rows)
        return
    say("")
    for line in summary(rows):
        tell(line)
    say("")
    say(f"Everything on one page: {page}")
    say(f"Next: hamguard search {shlex.quote(str(index_folder))} query:0 --sheet answers.png")


def _draw_answers(path: Path, ground: Ground, index: Index, title: str) -> None:
    """Five queries as they come, and the one that the search serves worst: a sheet of successes teaches nothing."""
    from hamguard.evaluation.search.answers import sheet_entry
    from hamguard.report.sheets import Found, SheetRow, draw_sheet
    from hamguard.retrieval.metrics import average_precision

    dataset = ground.dataset
    hardest = int(average_precision(ground.query, ground.database).argmin())
    shown = [*range(SHOWN - 1), hardest]
    distances, ids = index.search(ground.query.packed[shown], 10)
    place = {str(i): row for row, i in enumerate(dataset.ids)}
    lines = []
    for number, query in enumerate(shown):
        row = int(ground.split.query[query])
        asked = sheet_entry(dataset, row, None)
        answers = []
        for item, distance in zip(ids[number], distances[number], strict=True):
            entry = sheet_entry(dataset, place[str(item)], row)
            answers.append(Found(entry.picture, f"{distance} bits", entry.caption, entry.relevant))
        lines.append(
            SheetRow(Found(asked.picture, "hardest query" if query == hardest else "query", asked.caption), answers)
        )
    footer = "query and its ten nearest by Hamming distance; green and tick: same digit, red and cross: another"
    draw_sheet(lines, path, title=title, footer=footer)
