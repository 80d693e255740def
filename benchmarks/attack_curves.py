"""MAP or t-MAP against the number of gradients, for each published search on the same guide.

    uv run python benchmarks/attack_curves.py --model MODEL [--queries 100] [--out results/attack_curves.jsonl] [--plot FILE.png]

The published searches run to their 2,000 gradients once and are measured on the way, from the picture that they hold then, rounded
to 8 bits and encoded again (they keep the last iterate). Sign steps run to 100. The adaptive search adapts to the number of
gradients it is given, so each of its points is a run of its own. A curve that stands in the rows already is not run again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hamguard.attacks.methods.registry import ATTACKS
from hamguard.attacks.problem import Problem
from hamguard.attacks.threat import Linf
from hamguard.core.rows import Row, read_rows, write_rows
from hamguard.data.opened import Data
from hamguard.data.sources import open_source
from hamguard.evaluation.attack.spec import describe
from hamguard.evaluation.attack.targets import draw_targets
from hamguard.evaluation.ground import Ground, Loaded
from hamguard.images.quantize import as_pixels
from hamguard.models.folding import folded
from hamguard.models.store import load_any
from hamguard.retrieval.intervals import bootstrap_interval
from hamguard.retrieval.metrics import average_precision

RESULTS = Path(__file__).parent.parent / "results"
POINTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 1500, 2000)


@dataclass
class Traced(Problem):
    """A problem that keeps the pictures a search holds after given numbers of gradients."""

    points: Sequence[int] = ()
    kept: dict[int, torch.Tensor] = field(default_factory=dict)
    count: int = 0

    def gradient(self, x_adv: torch.Tensor, rows: torch.Tensor, alpha: float, **more: Any) -> Any:
        """As the problem's; the picture at the call is what the gradients before it made."""
        if self.count == 0:
            self.now = self.x.clone()
        self.now[rows] = x_adv.detach()
        if self.count in self.points:
            self.kept[self.count] = self.now.clone()
        self.count += 1
        return super().gradient(x_adv, rows, alpha, **more)


def curves(eps: float) -> dict[str, tuple[Any, tuple[int, ...]]]:
    """Name of a curve to its attack and its points."""
    threat = Linf(eps)
    hag = ATTACKS["hag"]
    dhta = ATTACKS["dhta"]
    literal = hag(preset="paper", threat=threat)
    no_stop: dict[str, Any] = {"early_stop": False, "keep": "last"}
    signs = dhta(threat=threat)
    hag_signs = hag(threat=threat)
    found: dict[str, tuple[Any, tuple[int, ...]]] = {
        "DHTA, 2,000 normalized steps": (dhta(preset="paper", threat=threat), POINTS),
        "DHTA, 2,000 raw steps": (dhta(preset="code", threat=threat), POINTS),
        "DHTA, sign steps": (replace(signs, search=replace(signs.search, **no_stop)), POINTS[:7]),
        "HAG, 2,000 raw steps": (literal, POINTS),
        "HAG*, the same without slope schedule": (
            replace(literal, search=replace(literal.search, alpha="constant")), POINTS
        ),
        "HAG, 2,000 SGD steps": (hag(preset="code", threat=threat), POINTS),
        "HAG, sign steps": (replace(hag_signs, search=replace(hag_signs.search, **no_stop)), POINTS[:7]),
    }  # fmt: skip
    for steps in POINTS[2:7]:
        search = ATTACKS["adaptive"](steps=steps, threat=threat).search
        found[f"DHTA guide, adaptive ({steps})"] = (replace(signs, search=search), (steps,))
        found[f"HAG guide, adaptive ({steps})"] = (
            replace(ATTACKS["adaptive"](steps=steps, threat=threat)),
            (steps,),
        )
    return found


def measure(ground: Ground, name: str, attack: Any, points: tuple[int, ...]) -> list[Row]:
    """Rows of one curve."""
    toward = attack.toward
    drawn = draw_targets(
        "no-overlap", ground.query.labels, ground.database.labels, reference=ground.reference.labels,
        ids=ground.query.ids, seed=ground.seed,
    )  # fmt: skip
    labels = drawn.labels if toward else ground.query.labels
    x = ground.dataset.images.batch(ground.rows)
    victim = folded(ground.model)
    held: dict[int, list[np.ndarray]] = {point: [] for point in points}
    for start in range(0, len(x), 100):
        part = slice(start, start + 100)
        numbers = range(start, min(start + 100, len(x)))
        marks = torch.from_numpy(labels[part]).float()
        plain = attack.problem(victim, x[part], marks, ground.reference, index=numbers, seed=ground.seed)
        given = {one.name: getattr(plain, one.name) for one in fields(plain) if one.init}
        problem = Traced(**given, points=points)
        last = attack.search(problem).detach()
        problem.kept[max(points)] = last
        for point in points:
            held[point].append(as_pixels(attack.threat.on_grid(problem.kept[point], x[part])))
    base = ground.base
    rows = []
    for point in points:
        bank = replace(ground.codes_of(np.concatenate(held[point])), labels=labels)
        values = average_precision(bank, ground.database)
        threat = {"norm": attack.threat.norm, "eps": attack.threat.eps, "steps": point, "restarts": 1, "grid": "8 bit"}
        rows.append(
            replace(
                base, attack={"method": name, "toward": toward, "guide": attack.guide.name, "values": describe(attack)},
                threat=threat, task="query->database", metric="t-map" if toward else "map", ties="expected",
                value=float(values.mean()), ci95=bootstrap_interval(values, seed=ground.seed), n=len(values), backwards=point,
            )
        )  # fmt: skip
    return rows


def draw(rows: list[Row], path: Path) -> None:
    """Two panels: toward the anchor, away from the own code."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), dpi=130, facecolor="white")
    FigureCanvasAgg(figure)
    for place, metric, title in (
        (0, "t-map", "toward DHTA's anchor: t-MAP"),
        (1, "map", "away from the own code (HAG): MAP"),
    ):
        axes = figure.add_subplot(1, 2, place + 1)
        lines: dict[str, list[tuple[int, float]]] = {}
        for row in rows:
            if row.metric == metric and row.attack:
                name = str(row.attack["method"]).split(" (")[0]
                lines.setdefault(name, []).append((row.backwards or 0, row.value or 0.0))
        for name, points in lines.items():
            points.sort()
            bold = "adaptive" in name
            axes.plot(
                *zip(*points, strict=True),
                marker="o",
                markersize=4 if bold else 3,
                linewidth=2.4 if bold else 1.2,
                label=name,
            )
        axes.set_xscale("log")
        axes.set_ylim(0, 1)
        axes.set_xlabel("gradients a picture")
        axes.set_title(title, fontsize=10)
        axes.grid(alpha=0.25)
        axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path)


def main() -> int:
    """All curves of one model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--eps", type=float, default=8 / 255)
    parser.add_argument("--out", type=Path, default=RESULTS / "attack_curves.jsonl")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--only", default="", help="curves whose name holds this text")
    options = parser.parse_args()
    rows = read_rows(options.out) if options.out.exists() else []
    model, card = load_any(options.model)
    assert card is not None
    dataset, split = open_source(str(card.data["source"]), protocol=card.data.get("protocol"))
    loaded = Loaded(Path(options.model).name, model, card)
    ground = Ground.open(loaded, Data(dataset, split), queries=options.queries)
    done = {str(row.attack["method"]) for row in rows if row.attack}
    for name, (attack, points) in sorted(curves(options.eps).items(), key=lambda item: max(item[1][1])):
        if name in done or options.only not in name:
            continue
        rows += measure(ground, name, attack, points)
        write_rows(options.out, rows)
        print(name, [(row.backwards, round(row.value or 0, 4)) for row in rows[-len(points) :]], flush=True)
    if options.plot:
        draw(rows, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
