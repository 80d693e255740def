"""`hamguard demo`: the whole tour on pictures that need no download."""

from __future__ import annotations

import shlex
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from hamguard.cli.common import Bar, DeviceOption, JsonOption, SeedOption, choose_device, print_rows, say

if TYPE_CHECKING:
    from hamguard.core.rows import Row
    from hamguard.evaluation.attack_measure import Ground, Measured
    from hamguard.evaluation.audit.audit import Audited
    from hamguard.evaluation.hardening import Line
    from hamguard.evaluation.sanity import Sane

BITS = 32
SHOWN = 6  # queries on the sheet
EPS = 0.2  # of [0, 1]: scans of 16 gray levels take more than photos before a person minds
ATTACKS = ("noise", "hag", "mainstay", "dhta")
AUDIT_EPS, AUDITED = 0.1, 60  # half the budget, where a worst case is not trivial; the first of the queries
STEPS = 20  # gradients a picture; a hundred move the figures in the third digit
HARDENING = (
    "distill",
    5,
    "lr=3e-3",
)  # method, epochs, rate: most MAP held within 20 core-seconds, on validation pictures
CHECKED = 12  # queries of the sanity checks


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for model, index, rows and pictures.")] = Path("demo"),
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Learn hash codes on real scanned digits, search, attack, audit and harden the search, protect pictures from it. No download.

    [bold]Example[/bold]: hamguard demo --out demo
    """
    import numpy as np

    from hamguard.cli.attack_sheet import draw_attack
    from hamguard.cli.attack_table import print_attacks, print_json_rows
    from hamguard.cli.audit import Stages, print_audit
    from hamguard.cli.audit import draw as draw_audited
    from hamguard.cli.demo_protect import print_protected, protect_digits
    from hamguard.cli.harden import print_compared
    from hamguard.cli.index import write_origin
    from hamguard.cli.sanity import print_sanity
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

    hardened = _harden(out, ground, found[ATTACKS.index("mainstay")], audited, seed)

    protected = protect_digits(out, ground, seed)

    attacked = [row for one in found for row in one.rows]
    write_rows(out / "rows.jsonl", [*rows, *attacked, *audited.rows, *hardened.rows, *protected.rows])
    title = f"digits: {len(banks[0])} queries that were not trained on, {len(banks[1]):,} in the database"
    print_rows(rows, title, as_json=as_json)
    print_attacks([one.rows for one in found], "demo", as_json=as_json)
    print_audit(audited, "demo", as_json=as_json)
    if as_json:
        print_json_rows([*hardened.rows, *protected.rows])
    else:
        print_compared(hardened.lines, f"{len(banks[0])} queries, linf {EPS:g}, database encoded again")
        print_sanity(hardened.sane)
        print_protected(protected)
    say(f"done in {time.perf_counter() - started:.0f} seconds")
    if not as_json:
        say(f"Next: hamguard search {shlex.quote(str(index_folder))} query:0 --sheet answers.png")


class _Hardened(NamedTuple):
    rows: list[Row]
    lines: list[Line]
    sane: Sane


def _harden(out: Path, before: Ground, attacked: Measured, audited: Audited, seed: int) -> _Hardened:
    """Harden the model, and measure it as it was measured before."""
    import numpy as np

    from hamguard.cli.audit import Stages
    from hamguard.defenses.harden import harden
    from hamguard.defenses.request import build_harden_request
    from hamguard.evaluation.attack_measure import Ground, measure_attack
    from hamguard.evaluation.attack_run import forget
    from hamguard.evaluation.audit.audit import run_audit
    from hamguard.evaluation.hardening import compare
    from hamguard.evaluation.model_rows import model_banks
    from hamguard.evaluation.sanity import SanityPlan, marked, run_sanity

    method, epochs, *sets = HARDENING
    flags = {"method": method, "eps": EPS, "seed": seed, "data.source": "digits", "training.epochs": epochs}
    request, folder = build_harden_request(flags, [str(word) for word in sets]), out / "hardened"
    with Bar("hardening") as bar:
        done = harden(
            request, out / "model", before.dataset, before.split, folder, device=before.device, restart=True, progress=bar
        )  # fmt: skip
    done.model.requires_grad_(False)
    banks = model_banks(done.model, before.dataset, before.split, device=before.device)
    ground = Ground(
        str(folder), done.model, done.card, before.dataset, before.split, *banks, seed=seed, device=before.device
    )
    with Bar("attacking it") as bar:
        found = measure_attack(ground, attacked.plan, work=out / "work", progress=bar)
    few = replace(ground, query=ground.query.select(np.arange(AUDITED)))
    asked = audited.plan.model_copy(update={"answers": 0, "checks": ("none",)})
    with Stages() as stages:
        worst = run_audit(few, asked, work=out / "work", told=stages.told, progress=stages)
    plan = SanityPlan(eps=EPS, steps=10, sample=CHECKED, answers=30)
    with Stages() as stages:
        sane = run_sanity(ground, plan, start=before.model, work=out / "work", told=stages.told, progress=stages)
    forget(out / "work")
    say(f"7. harden: {done.card.defense['title']}, {done.seconds:.0f} s -> {folder}")
    rows = marked(found.rows, sane)
    lines = compare([*attacked.rows, *audited.rows], [*rows, *worst.rows])
    told = {"worst MAP of the audit": f"worst MAP of the audit at {AUDIT_EPS:g}, {AUDITED} queries"}
    lines = [replace(line, name=told.get(line.name, line.name)) for line in lines]
    return _Hardened([*rows, *marked(worst.rows, sane), *sane.rows], lines, sane)
