"""Defenses at equal training cost, under attacks that know each of them.

    uv run python benchmarks/defenses.py MODEL --eps 0.1 --passes 54 [--at 0.1 ...] [--only NAME ...] [--set KEY=VALUE ...]
        [--queries 200] [--seeds 3] [--best 3] [--work DIR] [--out FILE.jsonl]
    uv run python benchmarks/defenses.py MODEL --suite coco18 [--only NAME ...] --work DIR --out FILE.jsonl

Every defense begins from MODEL and may spend the same number of passes (forward and back) on each training picture; what differs
is how many epochs that buys. All are trained with seed 0; the best ones by MAP under mainstay on validation pictures, SAAT and the
control get the other seeds, too, where several are asked for. Then the queries: clean MAP, HAG, SDHA, mainstay, the audit's worst
case, t-MAP under DHTA, and the seven sanity checks; audit and checks at the first radius. Trained folders, finished batches and
finished rows are kept, so the same command goes on where it was stopped, and several processes may write to one file, each with an
`--only` of its own. Core-seconds are processor time of the training process.

`--suite coco18` is 224-pixel photos: everything that follows it may still be said otherwise. A model of photos is not encoded anew
for every question: what its backbone makes of queries and database is kept.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hamguard.attacks.budget import Budget, Linf
from hamguard.cli.memory import keep_freed
from hamguard.core.checks import parse_eps
from hamguard.core.context import Context
from hamguard.core.files import updating, write_text
from hamguard.core.rows import Row, read_rows, write_rows
from hamguard.evaluation.attack.measure import measure_attack
from hamguard.evaluation.attack.spec import AttackSpec
from hamguard.evaluation.audit.audit import run_audit
from hamguard.evaluation.audit.plan import AuditPlan
from hamguard.evaluation.audit.sanity import run_sanity
from hamguard.evaluation.ground import Ground, Loaded
from hamguard.evaluation.model_data import open_for_model
from hamguard.models.hash_model import HashModel
from hamguard.models.store import load_any, load_folder, read_card
from hamguard.trainers.hardened import epoch_cost
from hamguard.trainers.job import Job
from hamguard.trainers.kind import Start
from hamguard.trainers.run import run_job
from hamguard.trainers.words import read_job
from hamguard.training.checkpoint import NAME as CHECKPOINT
from hamguard.training.features import frozen_features, is_kept

RESULTS = Path(__file__).parent.parent / "results"
DEFENSES: dict[str, tuple[str, tuple[str, ...]]] = {
    "control": ("control", ()),
    "static": ("static", ()),
    "ATRDH": ("atrdh", ()),
    "CgAT": ("cgat", ("lam=1",)),
    "SAAT": ("saat", ("lam=1",)),
    "TRADES-like": ("trades", ()),
    "consistency": ("consistency", ()),
    "distillation": ("distill", ()),
    "CRDAT-like": ("distill", ("guide=own", "clean=0")),
    "fast SAAT": ("saat", ("lam=1", "fast=true")),
    "fast distillation": ("distill", ("fast=true",)),
    "head only": ("distill", ("freeze=true",)),
    "wide distillation": ("distill", ()),
}
USUAL = tuple(name for name in DEFENSES if name not in ("head only", "wide distillation"))
"""The others are for photos."""
BATCH = 25
"""Queries attacked at once: what a stop loses."""
BATTERY = ("hag", "sdha", "mainstay", "dhta")
ALWAYS = ("SAAT", "control")
INNER = ("inner_eps=1.25/255",)
SUITES: dict[str, dict[str, Any]] = {
    "coco18": {
        "eps": "1/255",
        "at": ["1/255", "2/255"],
        "steps": [100, 20],
        "battery": ["mainstay"],
        "only": ["none", "control", "SAAT", "distillation", "fast distillation", "head only"],
        "passes": 2.0,
        "batch_size": 16,
        "set": ["pictures=250", "lr=2e-4", "schedule=one-cycle"],
        "words": {
            "SAAT": ("lam=1", *INNER, "steps=2", "step_size=0.8/255"),
            "distillation": ("clean=1", *INNER, "steps=2", "step_size=0.8/255"),
            "wide distillation": ("clean=1", "inner_eps=2/255", "steps=2", "step_size=1.25/255"),
            "fast distillation": ("clean=1", *INNER, "fast=true"),
            "head only": ("clean=1", *INNER, "steps=2", "step_size=0.8/255", "freeze=true", "lr=1e-3"),
        },
        "queries": 64,
        "audited": 16,
        "audit_steps": 10,
        "sanity": 0,
        "seeds": 1,
    }
}
"""Arguments that are not usual: everything costs seconds a photo there."""


def requested(name: str, seed: int, items: int, arguments: argparse.Namespace) -> Job:
    """The request of a defense on so many training pictures, its epochs such that the passes are spent."""
    method, usual = DEFENSES[name]
    own = arguments.words.get(name, usual)
    card = read_card(arguments.model)
    keys = ("protocol", "split_seed", "size", "drop_duplicates")
    data = {f"data.{key}": card.data.get(key) for key in ("source", *keys)}
    flags = {"method": method, "seed": seed, "eps": arguments.eps, "training.batch_size": arguments.batch_size, **data}
    sets = [*arguments.set, *own]
    once = read_job({}, flags, sets, kind="hardened")
    share = min(1.0, once.parsed.pictures / items or 1.0)  # of the training pictures, in an epoch
    epochs = max(1, round(arguments.passes / share / epoch_cost(method, once.parsed)))
    return read_job({}, {**flags, "training.epochs": epochs}, sets, kind="hardened")


def trained(name: str, seed: int, arguments: argparse.Namespace) -> tuple[Path, list[Row]]:
    """The model folder of a defense and a row of what it cost."""
    model, card = load_folder(arguments.model)
    data = open_for_model(card, model)
    items = len(data.split.train)
    request = requested(name, seed, items, arguments)
    folder = arguments.work / f"{name.replace(' ', '-')}-{seed}"
    resumed = (folder / CHECKPOINT).is_file()
    begun, wall = time.process_time(), time.perf_counter()
    start = Start(str(arguments.model), model, card, Path(arguments.model))
    done = run_job(request, data, folder, start=[start])
    core, passed = time.process_time() - begun, time.perf_counter() - wall
    share = min(1.0, request.parsed.pictures / items or 1.0)
    passes = request.training.epochs * epoch_cost(request.method, request.parsed) * share
    notes = [f"overfitted epochs: {done.overfitted}"] * bool(done.overfitted)
    notes += ["core-seconds are those after a stop"] * resumed
    cost = Row(
        model=f"{name}, seed {seed}", defense={**done.card.defense, "epochs": request.training.epochs}, task="training",
        metric="core-seconds", value=round(core, 1), seconds=round(passed, 1), backwards=round(passes),
        n=items, seed=seed, notes=(f"{passes:.2f} passes a training picture", *notes),
    )  # fmt: skip
    return folder, [cost] if done.fresh else []


def ground_of(folder: Path, name: str, part: str, count: int) -> Ground:
    """A model on its queries, or on validation pictures."""
    model, card = load_any(str(folder), torch.device("cpu"))
    model.requires_grad_(False)
    data = open_for_model(card, model)
    if part == "validation":
        data = replace(data, split=replace(data.split, query=data.split.validation))
    images, seen = data.dataset.images, np.union1d(data.split.query[:count], data.split.database)
    if isinstance(model, HashModel) and is_kept(model, images):
        frozen_features(model, images, seen)
    return Ground.open(Loaded(name, model, card), data, queries=count, context=Context(batch_size=BATCH))


def chosen_by(folder: Path, arguments: argparse.Namespace) -> float:
    """MAP under mainstay on validation pictures."""
    ground = ground_of(folder, str(folder), "validation", 200)
    plan = AttackSpec.read("mainstay", eps=arguments.at[0], steps=30)
    rows = measure_attack(ground, plan, context=ground.context.but(work=arguments.work / "cache")).rows
    return float(next(r.value or 0 for r in rows if r.metric == "map" and (r.attack or {}).get("method") == "mainstay"))


def measured(folder: Path, name: str, seed: int, at: list[float], arguments: argparse.Namespace) -> list[Row]:
    """All rows of one model at some radii."""
    called = f"{name}, seed {seed}"
    ground = ground_of(folder, called, "query", arguments.queries)
    ground = replace(ground, context=ground.context.but(work=arguments.work / "cache"))
    rows: list[Row] = []
    for eps in at:
        steps = dict(zip(arguments.at, arguments.steps, strict=True))[eps]
        for method in arguments.battery:
            print("  ", called, method, eps, flush=True)
            plan = AttackSpec.read(method, eps=eps, steps=steps)
            found = measure_attack(ground, plan, context=ground.context.but(work=arguments.work / "cache")).rows
            rows += found if not rows else [row for row in found if row.attack or row.metric == "t-map"]
        if arguments.audited and eps == arguments.at[0]:
            print("  ", called, "audit", eps, flush=True)
            asks, many = arguments.answers > 0, arguments.audit_steps
            budget = Budget(Linf(eps), steps=many, queries=arguments.answers or None)
            audit = AuditPlan(budget, answers=asks, checks=("none",), substitute=False)
            rows += [r for r in run_audit(ground.first(arguments.audited), audit).rows if r.attack]
    if arguments.sanity and arguments.at[0] in at:
        print("  ", called, "sanity", flush=True)
        start = load_any(str(arguments.model), torch.device("cpu"))[0].requires_grad_(False)
        begun = None if name == "none" else start
        few = Budget(Linf(arguments.at[0]), steps=arguments.audit_steps)
        rows += run_sanity(ground, few, sample=arguments.sanity, start=begun).rows
    return [row for row in rows if recorded(row)]


def recorded(row: Row) -> bool:
    """Whether a row belongs into the record: scores and checks, not distortions, ceilings and figures behind a check."""
    method = (row.attack or {}).get("method")
    return row.metric == "check" or (
        row.metric in ("map", "t-map", "random_map") and method not in ("ideal-code", "sanity")
    )


def figure(rows: list[Row], method: str | None, metric: str, eps: float | None = None) -> Row | None:
    """The row of an attack at a radius; of an audit, that of the attacker who knows labels."""
    for row in rows:
        facts = row.attack or {}
        if facts.get("method") != method or row.metric != metric or (eps and (row.threat or {}).get("eps") != eps):
            continue
        if not (method == "audit" and facts.get("labels") == "free"):
            return row
    return None


def table(rows: list[Row], at: list[float]) -> str:
    """The figures as Markdown, a line a model and radius."""
    words_of = "defense,seed,epochs,passes a picture,core-s,eps,clean,HAG,SDHA,mainstay,audit,t-MAP clean,t-MAP DHTA,sanity fails"
    heads = words_of.split(",")
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    names = list(dict.fromkeys(str(row.model) for row in rows if row.metric == "map" and "seed" in str(row.model)))
    for called in names:
        own = [row for row in rows if row.model == called]
        name, _, seed = called.rpartition(", seed ")
        cost = next((row for row in own if row.metric == "core-seconds"), None)
        spent = (
            (str((cost.defense or {})["epochs"]), str(cost.backwards), f"{cost.value:.0f}") if cost else ("", "", "")
        )
        failed = [
            (r.attack or {})["check"] for r in own if r.metric == "check" and (r.attack or {}).get("passed") is False
        ]
        clean = figure(own, None, "map")
        for eps in at:
            found = [figure(own, method, "map", eps) for method in ("hag", "sdha", "mainstay", "audit")]
            target = figure(own, "dhta", "t-map", eps)
            if not any(found):
                continue
            before = figure(own, None, "t-map")
            cells = [_cell(row) for row in (clean, *found, before, target)]
            checked = ", ".join(failed) or ("none" if any(r.metric == "check" for r in own) else "not run")
            words = [name, seed, *spent, f"{eps:.3g}" if eps >= 0.05 else f"{eps * 255:.3g}/255", *cells, checked]
            lines.append("| " + " | ".join(words) + " |")
    return "\n".join(lines) + "\n"


def _cell(row: Row | None) -> str:
    if row is None or row.value is None:
        return "not run"
    ends = f" ({row.ci95[0]:.3f} .. {row.ci95[1]:.3f})" if row.ci95 and (row.attack or {}).get("method") else ""
    return f"{row.value:.3f}{ends}"


def spread(rows: list[Row], at: list[float]) -> str:
    """Mean and standard deviation over seeds, where there are several."""
    lines = ["| defense | eps | seeds | clean | mainstay | audit | t-MAP DHTA |", "|---|---|---|---|---|---|---|"]
    names = dict.fromkeys(str(row.model).rpartition(", seed ")[0] for row in rows if "seed" in str(row.model))
    for name in names:
        models = list(
            dict.fromkeys(r.model for r in rows if str(r.model).startswith(f"{name}, seed ") and r.metric == "map")
        )
        if len(models) < 2:
            continue
        for eps in at:
            cells = []
            for method, metric in ((None, "map"), ("mainstay", "map"), ("audit", "map"), ("dhta", "t-map")):
                found = [
                    figure([r for r in rows if r.model == m], method, metric, eps if method else None) for m in models
                ]
                values = [row.value for row in found if row is not None and row.value is not None]
                cells.append(f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else "not run")
            lines.append(f"| {name} | {eps:.3g} | {len(models)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def written(new: list[Row], out: Path) -> list[Row]:
    """All rows of the file with some new ones, which another process may have added to; and its table."""
    with updating(out.parent):
        rows = list(read_rows(out)) if out.is_file() else []
        replaced = {r.model for r in new if r.metric == "core-seconds"}
        rows = [r for r in rows if r.model not in replaced]
        rows += [r for r in new if r.json() not in {one.json() for one in rows}]
        write_rows(out, rows)
        shown = sorted({r.threat["eps"] for r in rows if r.threat and r.metric == "map" and r.task != "sanity"})
        text = table(rows, shown) + "\n" + spread(rows, shown)
        write_text(out.with_suffix(".md"), f"# Defenses\n\nWritten by `benchmarks/defenses.py`.\n\n{text}")
    return rows


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--suite", choices=list(SUITES), help="arguments of a known set; what else is said goes before")
    parser.add_argument("--eps", default="8/255", help="radius of the training")
    parser.add_argument("--at", nargs="+", default=None, help="radii of the attacks; that of the training by default")
    parser.add_argument("--passes", type=float, default=54, help="passes on each training picture")
    parser.add_argument("--only", nargs="+", choices=[*DEFENSES, "none"], default=["none", *USUAL])
    parser.add_argument("--set", nargs="+", default=[], help="settings for all")
    parser.add_argument("--batch-size", type=int, default=None)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--audited", type=int, default=100, help="queries of the audit; 0: none")
    parser.add_argument("--answers", type=int, default=0, help="pictures that the audit's query-only attack asks")
    parser.add_argument("--battery", nargs="+", default=list(BATTERY))
    parser.add_argument("--steps", type=int, nargs="+", default=[100], help="gradients at each radius, or at all")
    parser.add_argument(
        "--audit-steps", type=int, default=None, help="gradients of audit and checks; theirs by default"
    )
    parser.add_argument("--sanity", type=int, default=24, help="queries of the sanity checks; 0: none")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--best", type=int, default=3, help="how many get all seeds, besides SAAT and the control")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    known, _ = parser.parse_known_args()
    parser.set_defaults(words={})
    parser.set_defaults(**SUITES.get(known.suite, {}))
    arguments = parser.parse_args()
    arguments.eps = parse_eps(arguments.eps)
    arguments.at = [parse_eps(text) for text in arguments.at or [str(arguments.eps)]]
    arguments.steps = arguments.steps * (len(arguments.at) if len(arguments.steps) == 1 else 1)
    keep_freed()
    rows = read_rows(arguments.out) if arguments.out.is_file() else []
    jobs = [(name, 0) for name in arguments.only]
    scores: dict[str, float] = {}
    for name, seed in jobs:  # grows once all have been trained with the first seed
        folder, cost = (arguments.model, []) if name == "none" else trained(name, seed, arguments)
        if cost:
            print(name, seed, f"{cost[0].value:.0f} core-s", flush=True)
            rows = written(cost, arguments.out)
        if seed == 0 and name != "none" and arguments.seeds > 1:
            scores[name] = chosen_by(folder, arguments)
            print(f"   validation: {scores[name]:.4f}", flush=True)
        own = [r for r in rows if r.model == f"{name}, seed {seed}" and (r.metric, r.n) == ("map", arguments.queries)]
        for eps in arguments.at:
            if not any(r.threat and r.threat["eps"] == eps for r in own):
                rows = written(measured(folder, name, seed, [eps], arguments), arguments.out)
        if (name, seed) == (arguments.only[-1], 0):
            best = sorted(scores, key=lambda one: -scores[one])[: arguments.best]
            more = list(dict.fromkeys([*best, *(one for one in ALWAYS if one in scores)]))
            jobs += [(one, s) for s in range(1, arguments.seeds) for one in more]
    print(table(rows, arguments.at) + "\n" + spread(rows, arguments.at))


if __name__ == "__main__":
    main()
