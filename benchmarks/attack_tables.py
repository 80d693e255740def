"""Attack real models and write rows and tables: what `docs/attacks.md` quotes.

    uv run python benchmarks/attack_tables.py cifar10 --model MODEL
    uv run python benchmarks/attack_tables.py fashion-products --model MODEL
    uv run python benchmarks/attack_tables.py searches --model MODEL [--model MODEL ...]

Each suite is a list of attacks; rows go to `results/attacks_SUITE.jsonl` after each one, and an attack that stands there already
is not run again, so a stopped run goes on where it was. `seconds` is wall time; run with OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from hamguard.core.errors import HamguardError
from hamguard.core.rows import Row, read_rows, write_rows
from hamguard.data.cache import cache_folder
from hamguard.data.opened import Data
from hamguard.data.sources import open_source
from hamguard.evaluation.attack.measure import measure_attack
from hamguard.evaluation.attack.spec import AttackSpec, describe
from hamguard.evaluation.ground import Ground, Loaded
from hamguard.models.store import load_any

RESULTS = Path(__file__).parent.parent / "results"
NO_OVERLAP = {"targets": "no-overlap"}


def cifar10() -> list[dict[str, Any]]:
    """100 gradients on every guide, at 8, 4 and 2/255."""
    away = [
        {"method": "fgsm"},
        {"method": "fgsm", "guide": "center"},
        {"method": "hag"},
        {"method": "center"},
        {"method": "mainstay"},
    ]
    toward = [{"method": "p2p"}, {"method": "dhta"}, {"method": "mainstay", **NO_OVERLAP}]
    return [{**one, "eps": eps / 255} for eps in (8, 4, 2) for one in away + toward]


def fashion_products() -> list[dict[str, Any]]:
    """One search and loss on every guide, 30 gradients, at 8, 4, 2 and 1/255; 100 at 8/255; SDHA with its own search."""
    best = {"method": "adaptive", "options": {"loss": "mainstay"}}
    away = [{**best, "guide": guide} for guide in ("own", "center", "mainstay")]
    toward = [{**best, "guide": guide, **NO_OVERLAP} for guide in ("p2p", "anchor", "prototype", "center", "mainstay")]
    plans = [{**one, "eps": eps / 255, "steps": 30} for eps in (8, 4, 2, 1) for one in away + toward]
    plans += [{**one, "eps": 8 / 255, "steps": 100} for one in away + toward]
    plans += [{"method": "sdha", "eps": eps / 255, "steps": 100} for eps in (8, 4, 2, 1)]
    return plans


def searches() -> list[dict[str, Any]]:
    """The adaptive search beside 100 steps of PGD on the same guide and loss."""
    pgd = {"method": "pgd", "guide": "center", "steps": 100}
    short = [{"method": "adaptive", "guide": "center", "steps": steps} for steps in (5, 10, 20, 30)]
    return [{**one, "eps": eps / 255} for eps in (8, 2) for one in (pgd, *short)]


SUITES = {"cifar10": (cifar10, 1000), "fashion-products": (fashion_products, 300), "searches": (searches, 200)}


def key_of(spec: AttackSpec, guide: str | None, model: str) -> str:
    """What makes a row's attack this one, stable over runs."""
    eps = spec.threat.eps if spec.threat else None
    return json.dumps([model, spec.name, guide, spec.rule, eps, describe(spec.attack)], sort_keys=True)


def row_key(row: Row) -> str | None:
    """The same of a row; None for controls."""
    if not row.attack or "values" not in row.attack or not row.threat:
        return None
    facts = row.attack
    guide = facts["guide"] if facts["method"] in ("fgsm", "adaptive", "pgd") else None
    guide = None if facts["method"] == "fgsm" and guide == "own" else guide
    return json.dumps(
        [row.model, facts["method"], guide, facts["targets"], row.threat["eps"], facts["values"]], sort_keys=True
    )


def run(suite: str, models: list[str], source: str | None, queries: int, path: Path) -> list[Row]:
    """Every attack of a suite on every model."""
    asked = [dict(one) for one in SUITES[suite][0]()]
    specs = [(AttackSpec.read(one.pop("method"), **one), one.get("guide")) for one in asked]
    rows = read_rows(path) if path.exists() else []
    done = {row_key(row) for row in rows}
    for name in models:
        model, card = load_any(name)
        short = Path(name).name
        place = source or (str(card.data["source"]) if card else "")
        dataset, split = open_source(place, protocol=card.data.get("protocol") if card else None)
        ground = Ground.open(Loaded(short, model, card), Data(dataset, split), queries=queries)
        for spec, guide in specs:
            if key_of(spec, guide, short) in done:
                continue
            begun = time.process_time()
            found = measure_attack(ground, spec, context=ground.context.but(work=cache_folder() / "attacks"))
            rows += found.rows
            write_rows(path, _once(rows))
            best = next(row for row in found.rows if row.metric == ("t-map" if spec.toward else "map") and row_key(row))
            print(f"{short} {spec.title} {guide or ''} {spec.rule or 'away'}: {best.value:.4f} "
                  f"({time.process_time() - begun:.0f} core-s)", flush=True)  # fmt: skip
    return rows


def tables(rows: list[Row]) -> str:
    """Rows as Markdown: a table for each model and direction, attacks down, radii across."""
    models = dict.fromkeys(row.model for row in rows if row_key(row))
    return "\n".join(_table(rows, str(model), metric) for model in models for metric in ("map", "t-map"))


def _table(rows: list[Row], model: str, metric: str) -> str:
    scored = [row for row in rows if row.model == model and row.metric == metric]
    if metric == "map":
        scored = [row for row in scored if not (row.attack and row.attack["toward"])]
    attacks = [row for row in scored if row_key(row)]
    if not attacks:
        return ""
    radii = sorted({round(row.threat["eps"] * 255) for row in attacks if row.threat})
    lines = {(name, steps, labels): {} for name, steps, labels in map(_line_of, attacks)}
    ceilings: dict[str, Row] = {}
    for row in scored:
        if row.attack and row.attack["method"] == "ideal-code":
            ceilings.setdefault(str(row.attack["guide"]), row)
        elif row_key(row) and row.threat:
            lines[_line_of(row)][round(row.threat["eps"] * 255)] = row
    clean = next(row for row in scored if row.attack is None)
    noise = {round(r.threat["eps"] * 255): r for r in scored if r.attack and r.attack["method"] == "noise" and r.threat}
    head = "MAP, away" if metric == "map" else "t-MAP, toward labels without overlap"
    out = [f"### {model} ({clean.dataset}): {head}, {clean.n} queries", ""]
    out += [f"| attack | gradients | labels | {' | '.join(f'{radius}/255' for radius in radii)} | guide code itself |"]
    out += ["|---|---|---|" + "---|" * (len(radii) + 1)]
    out += [f"| {'clean' if metric == 'map' else 'original'} | | | {' | '.join(_cell(clean) for _ in radii)} | |"]
    out += [f"| noise | | | {' | '.join(_cell(noise.get(radius)) for radius in radii)} | |"]
    for (name, steps, labels), cells in sorted(lines.items(), key=lambda item: (item[0][2] == "aware", item[0][1])):
        guide = next(row.attack["guide"] for row in cells.values() if row.attack)
        values = " | ".join(_cell(cells.get(radius)) for radius in radii)
        out.append(f"| {name} | {steps} | {labels} | {values} | {_cell(ceilings.get(guide))} |")
    return "\n".join([*out, ""])


def _line_of(row: Row) -> tuple[str, int, str]:
    assert row.attack and row.threat
    facts = row.attack
    name = str(facts["method"])
    if name in ("fgsm", "pgd", "adaptive"):
        name += f", {facts['guide']}"
    return name, int(row.threat["steps"]), str(facts["labels"])


def _cell(row: Row | None) -> str:
    if row is None or row.value is None:
        return ""
    return f"{row.value:.3f}" + (f" ({row.ci95[0]:.3f} .. {row.ci95[1]:.3f})" if row.ci95 else "")


def _once(rows: list[Row]) -> list[Row]:
    kept = {row.json(): row for row in rows}  # controls are shared
    return list(kept.values())


def main() -> int:
    """Run one suite."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", choices=sorted(SUITES))
    parser.add_argument("--model", action="append", required=True, help="model folder; may be repeated")
    parser.add_argument("--data", help="data source; the model's own where not given")
    parser.add_argument("--queries", type=int)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    path = options.out or RESULTS / f"attacks_{options.suite}.jsonl"
    try:
        rows = run(options.suite, options.model, options.data, options.queries or SUITES[options.suite][1], path)
        path.with_suffix(".md").write_text(f"# Attacks: {options.suite}\n\n{tables(rows)}", encoding="utf-8")
    except HamguardError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
