"""Make the hash models that ship inside the package, and measure them.

    uv run python benchmarks/shipped_models.py [--work DIR] [--measure-only]

`digits` is what `hamguard train --data digits --method csq --bits 32` learns. `digits-hard` is the best of `CANDIDATES`, each begun
from it: the one with the highest MAP under mainstay on validation pictures among those that keep at least `KEPT` of the clean MAP
there. Both go to `src/hamguard/shipped/`, the rows of their 300 queries to `results/shipped.jsonl`, under the names by which they
are loaded. The queries are looked at only once the choice is made. Trained folders are kept in DIR, so the same command goes on
where it was stopped.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

from hamguard.attacks.budget import Budget, Linf
from hamguard.core.context import Context
from hamguard.core.rows import Row, write_rows
from hamguard.data.opened import Data
from hamguard.data.sources import open_source
from hamguard.evaluation.attack.measure import measure_attack
from hamguard.evaluation.attack.spec import AttackSpec
from hamguard.evaluation.audit.audit import run_audit
from hamguard.evaluation.audit.plan import AuditPlan
from hamguard.evaluation.audit.sanity import run_sanity
from hamguard.evaluation.ground import Ground, Loaded
from hamguard.models.store import load_any
from hamguard.trainers.kind import Start
from hamguard.trainers.run import run_job
from hamguard.trainers.words import read_job

ROOT = Path(__file__).parent.parent
SHIPPED, RESULTS = ROOT / "src" / "hamguard" / "shipped", ROOT / "results" / "shipped.jsonl"
EPS = 0.2  # radius that the defenses are for
RADII = (0.1, 0.2)  # of the attacks that are recorded
KEPT = 0.98
CANDIDATES = {
    "distill-5": ("distill", 5, ("lr=3e-3",)),
    "distill-20": ("distill", 20, ("lr=3e-3",)),
    "cgat-20": ("cgat", 20, ("lam=1",)),
}
"""Folder to method, epochs, settings; as `hamguard harden MODEL --method distill --eps 0.2 --epochs 5 --set lr=3e-3`."""
FILES = ("model.safetensors", "card.json", "history.jsonl")


def ground_of(name: str, validation: bool = False) -> Ground:
    """A model on the queries against the database, or on validation pictures against those learned from."""
    model, card = load_any(name)
    dataset, split = open_source("digits")
    if validation:  # the database holds the validation pictures, too
        split = replace(split, query=split.validation, database=split.train)
    return Ground.open(Loaded(name, model, card), Data(dataset, split))


def under_mainstay(folder: Path, work: Path) -> tuple[float, float]:
    """Clean MAP and MAP under mainstay on validation pictures."""
    rows = measure_attack(
        ground_of(str(folder), validation=True),
        AttackSpec.read("mainstay", eps=EPS, steps=30),
        context=Context(work=work),
    ).rows
    scores = {(row.attack or {}).get("method"): row.value or 0.0 for row in rows if row.metric == "map"}
    return scores[None], scores["mainstay"]


def made(work: Path) -> Path:
    """Train both models and copy them into the package; returns the folder of the hardened one."""
    data = Data.open("digits")
    job = read_job({}, {"data.source": "digits", "method": "csq", "model.bits": 32, "seed": 0})
    begun = run_job(job, data, work / "digits")
    start = Start("digits", begun.model, begun.card, work / "digits")
    clean, _ = under_mainstay(work / "digits", work / "cache")
    scores = {}
    for name, (method, epochs, sets) in CANDIDATES.items():
        flags = {"method": method, "eps": EPS, "seed": 0, "data.source": "digits", "training.epochs": epochs}
        run_job(read_job({}, flags, sets, kind="hardened"), data, work / name, start=[start])
        after, held = under_mainstay(work / name, work / "cache")
        scores[name] = held if after >= KEPT * clean else 0.0
        print(f"{name}: validation MAP clean {after:.4f} (before {clean:.4f}), under mainstay {held:.4f}", flush=True)
    best = max(scores, key=lambda name: scores[name])
    print(f"chosen: {best}", flush=True)
    for source, name in ((work / "digits", "digits"), (work / best, "digits-hard")):
        for file in FILES:
            (SHIPPED / name).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / file, SHIPPED / name / file)
    return work / best


def measured(name: str, work: Path, start: str = "") -> list[Row]:
    """Rows of one model: clean, attacks at both radii, the worst case of an audit, and checks of its defense."""
    ground = ground_of(name)
    rows: list[Row] = []
    for eps in RADII:
        for method in ("hag", "mainstay", "dhta"):
            print("  ", name, method, eps, flush=True)
            rows += measure_attack(
                ground, AttackSpec.read(method, eps=eps, steps=100), context=ground.context.but(work=work)
            ).rows
    ground = replace(ground, context=ground.context.but(work=work))
    print("  ", name, "audit", flush=True)
    plan = AuditPlan(Budget(Linf(RADII[0])), checks=("none",), substitute=False, answers=False)
    rows += [row for row in run_audit(ground.first(100), plan).rows if row.attack]
    if start:
        print("  ", name, "sanity", flush=True)
        rows += run_sanity(ground, Budget(Linf(EPS)), sample=24, start=load_any(start)[0]).rows
    kept = [row for row in rows if recorded(row)]
    return list({replace(row, seconds=None).json(): row for row in kept}.values())  # clean rows come with every attack


def recorded(row: Row) -> bool:
    """Whether a row belongs into the record: scores and checks, not distortions, ceilings and figures behind a check."""
    method = (row.attack or {}).get("method")
    return row.metric == "check" or (
        row.metric in ("map", "t-map", "random_map") and method not in ("ideal-code", "sanity")
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "shipped")
    parser.add_argument("--measure-only", action="store_true", help="measure what ships already")
    arguments = parser.parse_args()
    if not arguments.measure_only:
        made(arguments.work)
    rows = measured("shipped:digits", arguments.work / "cache")
    rows += measured("shipped:digits-hard", arguments.work / "cache", start="shipped:digits")
    write_rows(RESULTS, rows)
    for row in rows:
        if row.metric in ("map", "t-map"):
            facts, threat = row.attack or {}, row.threat or {}
            print(
                row.model,
                row.metric,
                facts.get("method", "clean"),
                facts.get("labels", ""),
                threat.get("eps", ""),
                f"{row.value:.4f}",
            )


if __name__ == "__main__":
    main()
