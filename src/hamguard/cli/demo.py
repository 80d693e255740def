"""`hamguard demo`: the whole tour on pictures that need no download."""

from __future__ import annotations

import shlex
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from hamguard.cli.common import Bar, DeviceOption, JsonOption, SeedOption, choose_device, print_rows, say

BITS = 32
SHOWN = 6  # queries on the sheet
EPS = 0.2  # of [0, 1]: scans of 16 gray levels take more than photos before a person minds
ATTACKS = ("noise", "hag", "mainstay", "dhta")
AUDIT_EPS, AUDITED = 0.1, 60  # half the budget, where a worst case is not trivial; the first of the queries
STEPS = 20  # gradients a picture; a hundred move the figures in the third digit


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for model, index, rows and pictures.")] = Path("demo"),
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Learn hash codes on real scanned digits, index them, search, score the search, attack and audit it. No download.

    [bold]Example[/bold]: hamguard demo --out demo
    """
    import numpy as np

    from hamguard.cli.attack_sheet import draw_attack
    from hamguard.cli.attack_table import print_attacks
    from hamguard.cli.audit import Stages, print_audit
    from hamguard.cli.audit import draw as draw_audited
    from hamguard.cli.index import write_origin
    from hamguard.core.rows import write_rows
    from hamguard.data.sources import open_source
    from hamguard.evaluation.answers import sheet_entry
    from hamguard.evaluation.attack_measure import Ground, measure_attack
    from hamguard.evaluation.attack_plan import AttackPlan
    from hamguard.evaluation.attack_run import forget
    from hamguard.evaluation.audit.audit import run_audit
    from hamguard.evaluation.audit.plan import AuditPlan
    from hamguard.evaluation.curves import measure_curves
    from hamguard.evaluation.model_rows import model_banks, model_rows
    from hamguard.report.plots import draw_curves
    from hamguard.report.sheets import Found, SheetRow, draw_sheet
    from hamguard.retrieval.index import build_index, open_index
    from hamguard.retrieval.metrics import average_precision
    from hamguard.training.request import build_request
    from hamguard.training.train import train

    started = time.perf_counter()
    chosen = choose_device(device)
    model_folder, index_folder = out / "model", out / "index"

    dataset, split = open_source("digits")
    say(f"1. data: {len(dataset):,} scanned digits; {len(split.query)} queries, {len(split.database):,} in the database, "
        f"{len(split.train):,} of them to learn from")  # fmt: skip
    request = build_request({}, {"data.source": "digits", "method": "csq", "model.bits": BITS, "seed": seed})
    with Bar("learning") as bar:
        result = train(request, dataset, split, model_folder, device=chosen, restart=True, progress=bar)
    card = result.card
    say(f"2. model: {card.title}, {card.backbone}, {BITS} bits -> {model_folder}")

    banks = model_banks(result.model, dataset, split, device=chosen)
    build_index(banks[1]).save(index_folder)
    write_origin(index_folder, str(model_folder), card, None, None, None, everything=False)
    index = open_index(index_folder, model_hash=result.model.digest)
    say(f"3. index: {len(index):,} codes, {banks[1].packed.nbytes:,} bytes packed -> {index_folder}")

    # five queries as they come, and the one that the search serves worst: a sheet of successes teaches nothing
    hardest = int(average_precision(*banks).argmin())
    shown = [*range(SHOWN - 1), hardest]
    distances, ids = index.search(banks[0].packed[shown], 10)
    place = {str(i): row for row, i in enumerate(dataset.ids)}
    lines = []
    for number, query in enumerate(shown):
        row = int(split.query[query])
        asked = sheet_entry(dataset, row, None)
        answers = []
        for item, distance in zip(ids[number], distances[number], strict=True):
            entry = sheet_entry(dataset, place[str(item)], row)
            answers.append(Found(entry.picture, f"{distance} bits", entry.caption, entry.relevant))
        lines.append(
            SheetRow(Found(asked.picture, "hardest query" if query == hardest else "query", asked.caption), answers)
        )
    footer = "query and its ten nearest by Hamming distance; green and tick: same digit, red and cross: another"
    draw_sheet(lines, out / "sheet.png", title=f"digits, {card.title}, {BITS} bits", footer=footer)

    rows = model_rows(str(model_folder), result.model, card, dataset, split, banks, seed=seed)
    curves = measure_curves(*banks, name=f"csq, {BITS} bits", seed=seed)
    draw_curves(
        curves.precision_recall, curves.precision_at, out / "curves.png",
        within_radius=curves.within_radius, title="digits",
    )  # fmt: skip
    say(f"4. search: {out / 'sheet.png'}, {out / 'curves.png'}")

    result.model.requires_grad_(False)
    ground = Ground(str(model_folder), result.model, card, dataset, split, *banks, seed=seed, device=chosen)
    found = []
    for method in ATTACKS:
        plan = AttackPlan(method=method, eps=EPS, steps=None if method == "noise" else STEPS)
        with Bar(f"attacking: {method}") as bar:
            found.append(measure_attack(ground, plan, work=out / "work", progress=bar))
    forget(out / "work")
    draw_attack(out / "attacked.png", ground, found[ATTACKS.index("mainstay")])
    say(f"5. attack: {', '.join(ATTACKS)} within {EPS:g} a pixel -> {out / 'attacked.png'}, {out / 'rows.jsonl'}")

    battery = AuditPlan(eps=AUDIT_EPS, steps=STEPS, answers=50, sample=24, substitute=False)
    few = replace(ground, query=ground.query.select(np.arange(AUDITED)))
    with Stages() as stages:
        audited = run_audit(few, battery, work=out / "work", told=stages.told, progress=stages)
    forget(out / "work")
    draw_audited(audited, out / "audit.png", "demo")
    told = f"{len(audited.stages) - 1} attacks within {AUDIT_EPS:g} a pixel on {AUDITED} queries"
    say(f"6. audit: {told}, {audited.verdict.grade} -> {out / 'audit.png'}")

    attacked = [row for one in found for row in one.rows]
    write_rows(out / "rows.jsonl", [*rows, *attacked, *audited.rows])
    title = f"digits: {len(banks[0])} queries that were not trained on, {len(banks[1]):,} in the database"
    print_rows(rows, title, as_json=as_json)
    print_attacks([one.rows for one in found], "demo", as_json=as_json)
    print_audit(audited, "demo", as_json=as_json)
    say(f"done in {time.perf_counter() - started:.0f} seconds")
    if not as_json:
        say(f"Next: hamguard search {shlex.quote(str(index_folder))} query:0 --sheet answers.png")
