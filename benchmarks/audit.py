"""The audit beside the best single attacks at its own budget of gradients, on a model as it is and with its outputs scaled by 50.

    uv run python benchmarks/audit.py --model MODEL [MODEL ...] [--eps 8/255] [--queries 1000] [--work DIR] [--out FILE.jsonl]
    uv run python benchmarks/audit.py --suite coco18 --model LITE0 MOBILENET [HARDENED] [--work DIR] [--out FILE.jsonl]

A single attack gets as many gradients for every query as the audit spent on a query in the mean, rounded up, on the model as it is:
the adaptive search with two guides and losses, PGD and HAG. The scaled model has the same codes and the same worst case, and a tanh
without a slope. Rows that stand in the file are not made again. Core-seconds are processor time.

`--suite coco18` is 224-pixel photos, where a gradient costs a twentieth of a second: fewer queries and gradients, no scaled model,
no single attacks, and pictures made on another of the models in the place of those made on a substitute, which would have to learn
from photos first. Everything that follows it may still be said otherwise.
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
from hamguard.evaluation.ground import Ground, Loaded
from hamguard.evaluation.model_data import open_for_model
from hamguard.models.hash_model import HashModel
from hamguard.models.store import load_any
from hamguard.training.features import frozen_features, is_kept

RESULTS = Path(__file__).parent.parent / "results"
SINGLE: dict[str, dict[str, Any]] = {
    "adaptive, center": {"method": "adaptive", "guide": "center"},
    "adaptive, mainstay, masked quadratic": {"method": "adaptive", "guide": "mainstay", "options": {"loss": "mainstay"}},
    "pgd, center": {"method": "pgd", "guide": "center"},
    "hag": {"method": "hag"},
}  # fmt: skip

SUITES: dict[str, dict[str, Any]] = {
    "coco18": {
        "eps": ["1/255"], "queries": 30, "factors": [1.0], "single": [], "steps": 15, "sample": 8, "answers": 100, "batch": 10,
        "others": True,
    }
}  # fmt: skip


def scaled(model: Any, factor: float) -> Any:
    """The model with its head's outputs multiplied."""
    assert isinstance(model, HashModel)
    with torch.no_grad():
        model.head.weight.mul_(factor)
        model.head.bias.mul_(factor)
    return model


def ground_of(name: str, factor: float, queries: int, batch: int) -> Ground:
    """A model on its own data, its outputs multiplied; of a model of photos what its backbone makes of them is kept."""
    model, card = load_any(name, torch.device("cpu"))
    if factor != 1:
        model = scaled(model, factor)
    called = Path(name).name + ("" if factor == 1 else f", outputs x {factor:g}")
    loaded, data = Loaded(called, model, card), open_for_model(card, model)
    seen = np.union1d(data.split.query[:queries], data.split.database)
    if isinstance(model, HashModel) and is_kept(model, data.dataset.images):
        frozen_features(model, data.dataset.images, seen)
    return Ground.open(loaded, data, queries=queries, context=Context(batch_size=batch))


def measured(name: str, factor: float, eps: float, arguments: argparse.Namespace) -> list[Row]:
    """Rows of the audit, then those of the single attacks."""
    ground = ground_of(name, factor, arguments.queries, arguments.batch)
    begun = time.process_time()
    folder = arguments.work / f"{ground.name.replace(', ', '-').replace(' ', '')}-{eps * 255:g}"
    other = next((one for one in arguments.model if one != name), None) if arguments.others else None
    done = run_audit(
        replace(ground, context=ground.context.but(work=arguments.work / "cache")),
        AuditPlan(
            Budget(Linf(eps), steps=arguments.steps, queries=arguments.answers),
            sample=arguments.sample,
            sources=(Path(other).name,) if other else (),
            substitute=not arguments.others,
        ),
        sources=[load_any(other, torch.device("cpu"))[0].requires_grad_(False)] if other else [],
        out=folder,
    )
    spent = round(time.process_time() - begun, 1)
    rows = [replace(row, hashes={**row.hashes}) for row in done.rows]
    worst = next(row for row in rows if (row.attack or {}).get("held") is not None)
    budget = max(1, int(worst.backwards or 1))
    rows[rows.index(worst)] = replace(worst, notes=(*worst.notes, f"core-seconds {spent}", *done.verdict.sentences))
    for what, words in ((name, SINGLE[name]) for name in arguments.single):
        print("  ", what, budget, flush=True)
        rest = {key: value for key, value in words.items() if key != "method"}
        spec = AttackSpec.read(words["method"], eps=eps, steps=budget, **rest)
        found = measure_attack(ground, spec, context=ground.context.but(work=arguments.work / "single"))
        row = next(r for r in found.rows if r.metric == "map" and r.attack and r.attack["method"] == words["method"])
        rows.append(replace(row, metric="single", attack={"method": what, "steps": budget}))
    return rows


def table(rows: list[Row]) -> str:
    """The figures as Markdown."""
    lines = [
        "| model | eps | queries | clean | audit | label-free | floor | best single attack, same gradients | failed checks "
        "| gradients a query | core-s |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, float], list[Row]] = {}
    for row in rows:
        size = float((row.threat or {}).get("eps", -1))
        groups.setdefault((str(row.model), size), []).append(row)
    for (model, eps), members in groups.items():
        worst = next((r for r in members if (r.attack or {}).get("held") is not None), None)
        if worst is None:
            continue
        plain = groups[model, -1.0]
        clean = next(r for r in plain if r.attack is None and r.metric == "map")
        floor = next(r for r in plain if (r.attack or {}).get("guide") == "worst of all")
        free = next(
            r for r in members if r.metric == "map" and (r.attack or {}) == {"method": "audit", "labels": "free"}
        )
        singles = sorted((r for r in members if r.metric == "single"), key=lambda r: r.value or 1.0)
        best = f"{singles[0].value:.4f} {(singles[0].attack or {})['method']}" if singles else "not run"
        failed = [
            r.attack["check"] for r in members if r.metric == "check" and r.attack and r.attack["passed"] is False
        ]
        core = next((note.split()[1] for note in worst.notes if note.startswith("core-seconds")), "not recorded")
        assert worst.ci95
        lines.append(
            f"| {model} | {eps * 255:g}/255 | {worst.n:,} | {clean.value:.4f} "
            f"| {worst.value:.4f} ({worst.ci95[0]:.3f} .. {worst.ci95[1]:.3f}) "
            f"| {free.value:.4f} | {floor.value:.4f} | {best} | {', '.join(failed) or 'none'} "
            f"| {worst.backwards} | {core} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", choices=list(SUITES), help="arguments of a known set")
    parser.add_argument("--model", nargs="+", required=True)
    parser.add_argument("--eps", nargs="+", default=["8/255"])
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--factors", type=float, nargs="+", default=[1.0, 50.0])
    parser.add_argument(
        "--steps", type=int, default=None, help="gradients of each attack of the audit; its own by default"
    )
    parser.add_argument(
        "--answers", type=int, default=None, help="pictures asked for each query; the audit's by default"
    )
    parser.add_argument("--sample", type=int, default=64, help="queries that the checks look at")
    parser.add_argument("--batch", type=int, default=64, help="queries attacked at once: what a stop loses")
    parser.add_argument(
        "--others", action="store_true", help="pictures made on the first other model, not on a substitute"
    )
    parser.add_argument("--single", nargs="*", choices=list(SINGLE), default=list(SINGLE), help="which single attacks")
    parser.add_argument("--work", type=Path, default=Path("audits"))
    parser.add_argument("--out", type=Path, default=RESULTS / "audit.jsonl")
    known, _ = parser.parse_known_args()
    parser.set_defaults(**SUITES.get(known.suite, {}))
    arguments = parser.parse_args()
    keep_freed()
    rows = read_rows(arguments.out) if arguments.out.is_file() else []
    for name in arguments.model:
        for text in arguments.eps:
            for factor in arguments.factors:
                eps = parse_eps(text)
                called = Path(name).name + ("" if factor == 1 else f", outputs x {factor:g}")
                if any(
                    r.model == called and "held" in (r.attack or {}) and r.threat and r.threat["eps"] == eps
                    for r in rows
                ):
                    continue
                print(called, text, flush=True)
                new = measured(name, factor, eps, arguments)
                with updating(arguments.out.parent):  # another process may have added to the file
                    rows = [*(read_rows(arguments.out) if arguments.out.is_file() else []), *new]
                    write_rows(arguments.out, rows)
                    write_text(arguments.out.with_suffix(".md"), table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
