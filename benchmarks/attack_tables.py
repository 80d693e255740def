"""Attack real models and write rows and tables: what `docs/attacks.md` quotes.

    uv run python benchmarks/attack_tables.py cifar10 --model MODEL
    uv run python benchmarks/attack_tables.py fashion-products --model MODEL
    uv run python benchmarks/attack_tables.py searches --model MODEL [--model MODEL ...]
    uv run python benchmarks/attack_tables.py coco18 --model MODEL [--only mainstay,away] [--only dhta ...]

Each suite is a list of attacks; rows go to `results/attacks_SUITE.jsonl` after each one, and an attack that stands there already
is not run again, so a stopped run goes on where it was. Several processes may write to one file, each with an `--only` of its own.
`seconds` is wall time; run with OMP_NUM_THREADS=1. Beside each attack stand its core-seconds a picture and gradient, and the share
of them that the FLOPs of a gradient take at the speed of a matrix product, measured just before.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from floor import flop_rate, gradient_flops

from hamguard.core.errors import HamguardError, RequestError
from hamguard.core.files import updating, write_text
from hamguard.core.rows import Row, Rows, levels_text, read_rows, write_rows
from hamguard.data.cache import cache_folder
from hamguard.data.opened import Data
from hamguard.data.sources import open_source
from hamguard.evaluation.attack.measure import Measured, measure_attack
from hamguard.evaluation.attack.spec import AttackSpec, describe
from hamguard.evaluation.ground import Ground, Loaded
from hamguard.models.store import load_any
from hamguard.report.plots import Panel, Stroke, draw_panels

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


def coco18() -> list[dict[str, Any]]:
    """20 gradients on photos of 224 pixels, where a gradient is dear: what matters most comes first.

    Half a gray level is tried once, with the strongest: pictures are scored as 8-bit files hold them, which cannot hold that
    change. Five gradients at one level tell attacks apart that are all at the floor with twenty.
    """
    best = {"method": "adaptive", "options": {"loss": "mainstay"}}
    parts: list[tuple[dict[str, Any], tuple[float, ...]]] = [
        ({**best, "guide": "mainstay"}, (1, 2, 4, 8, 0.5)),
        ({"method": "dhta", **NO_OVERLAP}, (8, 2, 1, 4)),
        ({"method": "hag"}, (8, 2, 1, 4)),
        ({**best, "guide": "mainstay", **NO_OVERLAP}, (8, 2, 1, 4)),
        ({"method": "center"}, (2, 8)),
        ({**best, "guide": "own"}, (2, 8)),
        ({"method": "p2p", **NO_OVERLAP}, (2, 8)),
    ]
    plans = [{**one, "eps": eps / 255, "steps": 20} for one, radii in parts for eps in radii]
    few = [one for one, _ in parts if one["method"] not in ("center", "p2p")]
    return plans + [{**one, "eps": 1 / 255, "steps": 5} for one in few]


SUITES = {
    "cifar10": (cifar10, 1000), "fashion-products": (fashion_products, 300), "searches": (searches, 200), "coco18": (coco18, 300),
}  # fmt: skip
GRADIENT, FLOOR = "core-seconds-a-gradient", "core-seconds-floor-share"


def chosen(spec: AttackSpec, only: Sequence[str]) -> bool:
    """Whether an attack has all words of one of `only`: its method, its guide, `away` or `toward`, its radius as in `8/255`."""
    radius = levels_text(spec.threat.eps) if spec.threat else ""
    words = {spec.name, str(spec.attack.guide.name), "toward" if spec.toward else "away", radius}
    return not only or any(words >= set(one.split(",")) for one in only)


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


def run(suite: str, models: list[str], source: str | None, queries: int, path: Path, only: Sequence[str]) -> Rows:
    """The attacks of a suite that are asked for, on every model."""
    asked = [dict(one) for one in SUITES[suite][0]()]
    specs = [(AttackSpec.read(one.pop("method"), **one), one.get("guide")) for one in asked]
    specs = [(spec, guide) for spec, guide in specs if chosen(spec, only)]
    if not specs:
        raise RequestError(f"no attack of {suite} has all words of {' or of '.join(only)}")
    rows = read_rows(path) if path.exists() else Rows()
    for name in models:
        model, card = load_any(name)
        short = Path(name).name
        place = source or (str(card.data["source"]) if card else "")
        dataset, split = open_source(place, protocol=card.data.get("protocol") if card else None)
        ground = Ground.open(Loaded(short, model, card), Data(dataset, split), queries=queries)
        flops = gradient_flops(model)
        for spec, guide in specs:
            if key_of(spec, guide, short) in map(row_key, rows):
                continue
            begun, rate = time.process_time(), flop_rate()
            found = measure_attack(ground, spec, context=ground.context.but(work=cache_folder() / "attacks"))
            rows = added(path, [*found.rows, *cost_rows(found, flops / rate)])
            best = next(row for row in found.rows if row.metric == ("t-map" if spec.toward else "map") and row_key(row))
            print(f"{short} {spec.title} {guide or ''} {spec.rule or 'away'}: {best.value:.4f} "
                  f"({time.process_time() - begun:.0f} core-s)", flush=True)  # fmt: skip
    return rows


def cost_rows(found: Measured, floor: float) -> list[Row]:
    """Core-seconds of a gradient of one picture, and the share of them that `floor`, its least, makes."""
    spent = (found.made.core_seconds or 0.0) / int(found.made.backwards.sum())
    like = replace(found.rows[-1], ci95=None, notes=found.rows[0].notes)
    return [replace(like, metric=GRADIENT, value=spent), replace(like, metric=FLOOR, value=floor / spent)]


def added(path: Path, rows: list[Row]) -> Rows:
    """The rows of a file with more of them; what another process wrote there meanwhile stays. Controls are shared."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with updating(path.parent):
        whole = Rows([*(read_rows(path) if path.exists() else []), *rows]).once()
        write_rows(path, whole)
    return whole


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
    radii = sorted({radius_of(row) for row in attacks})
    lines = {(name, steps, labels): {} for name, steps, labels in map(_line_of, attacks)}
    ceilings: dict[str, Row] = {}
    for row in scored:
        if row.attack and row.attack["method"] == "ideal-code":
            ceilings.setdefault(str(row.attack["guide"]), row)
        elif row_key(row) and row.threat:
            lines[_line_of(row)][radius_of(row)] = row
    clean = next(row for row in scored if row.attack is None)
    noise = {radius_of(r): r for r in scored if r.attack and r.attack["method"] == "noise" and r.threat}
    head = "MAP, away" if metric == "map" else "t-MAP, toward labels without overlap"
    out = [f"### {model} ({clean.dataset}): {head}, {clean.n} queries", ""]
    across = " | ".join(f"{radius:g}/255" for radius in radii)
    out += [f"| attack | gradients | labels | {across} | guide code itself | core-seconds a gradient |"]
    out += ["|---|---|---|" + "---|" * (len(radii) + 2)]
    out += [f"| {'clean' if metric == 'map' else 'original'} | | | {' | '.join(_cell(clean) for _ in radii)} | | |"]
    out += [f"| noise | | | {' | '.join(_cell(noise.get(radius)) for radius in radii)} | | |"]
    for (name, steps, labels), cells in sorted(lines.items(), key=lambda item: (item[0][2] == "aware", item[0][1])):
        guide = next(row.attack["guide"] for row in cells.values() if row.attack)
        values = " | ".join(_cell(cells.get(radius)) for radius in radii)
        cost = _cost(rows, list(cells.values()))
        out.append(f"| {name} | {steps} | {labels} | {values} | {_cell(ceilings.get(guide))} | {cost} |")
    return "\n".join([*out, ""])


def draw(rows: Sequence[Row], model: str, path: Path) -> None:
    """MAP away and t-MAP toward targets of a model over the radius, of attacks at four radii or more; 0 is the clean picture."""
    longest = max(int(row.threat["steps"]) for row in rows if row_key(row) and row.threat)
    panels = []
    for metric, toward, up in (("map", False, "MAP, away"), ("t-map", True, "t-MAP, toward targets")):
        curves: dict[str, dict[float, Row]] = {}
        for row in rows:
            facts = row.attack or {}
            if row.model != model or row.metric != metric or (row.threat or {}).get("steps") not in (None, longest):
                continue
            if row.threat and (facts["method"] == "noise" or facts["toward"] == toward):
                guide = f", {facts['guide']} guide" if facts["method"] == "adaptive" else ""
                curves.setdefault(f"{facts['method']}{guide}", {})[radius_of(row)] = row
        clean = next(row.value for row in rows if (row.model, row.metric, row.attack) == (model, metric, None))
        strokes = []
        for name, points in curves.items():
            if len(points) >= 4:
                x = [0.0, *sorted(points)]
                y = [clean, *(points[at].value for at in x[1:])]
                strokes.append(Stroke(name, np.array(x), np.array(y, float), len(strokes), marker="o"))
        panels.append(Panel(strokes, "eps, of 255", up))
    draw_panels(panels, path)


def _cost(rows: list[Row], cells: list[Row]) -> str:
    """Mean core-seconds of a gradient of one picture over the cells of a line, and the share of the floor in them."""
    ran = [(row.model, row.attack, row.threat) for row in cells]
    each = [
        [r.value or 0.0 for r in rows if r.metric == m and (r.model, r.attack, r.threat) in ran]
        for m in (GRADIENT, FLOOR)
    ]
    return f"{mean(each[0]):.3f} ({mean(each[1]):.0%} the floor)" if all(each) else ""


def radius_of(row: Row) -> float:
    """The radius in gray levels."""
    assert row.threat
    return float(round(row.threat["eps"] * 255, 3))


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


def main() -> int:
    """Run one suite."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", choices=sorted(SUITES))
    parser.add_argument("--model", action="append", required=True, help="model folder; may be repeated")
    parser.add_argument("--data", help="data source; the model's own where not given")
    parser.add_argument("--queries", type=int)
    parser.add_argument(
        "--only", action="append", default=[], metavar="WORDS",
        help="only attacks that have all of these words, as in mainstay,away or dhta,8/255; may be repeated",
    )  # fmt: skip
    parser.add_argument("--out", type=Path)
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the scores of the first model over eps")
    options = parser.parse_args()
    path = options.out or RESULTS / f"attacks_{options.suite}.jsonl"
    try:
        queries = options.queries or SUITES[options.suite][1]
        rows = run(options.suite, options.model, options.data, queries, path, options.only)
        write_text(path.with_suffix(".md"), f"# Attacks: {options.suite}\n\n{tables(rows)}")
        if options.plot:
            draw(rows, Path(options.model[0]).name, options.plot)
    except HamguardError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
