"""Train ProS-GAN's generators against a model and compare them with DHTA: ceilings, budgets, ablations, seconds a picture.

    uv run python benchmarks/prosgan.py cifar10 --model MODEL [--queries 300] [--only CELL] [--json]
    uv run python benchmarks/prosgan.py fashion-products --model MODEL
    uv run python benchmarks/prosgan.py coco18 --model MODEL

The model of `coco18` is a head on frozen features at 112 pixels, where a step of the game costs a quarter of one at 224; its
generators take a third of the usual pictures a step, so that there are steps enough in 20 core-minutes (0.055 core-seconds a
picture, 2,500 steps in four epochs), and the one with a soft budget begins with the picture:

    uv run hamguard train --data coco18 --method dpsh --bits 32 --freeze --set size=112 --out MODEL

Cells run one after the other; rows go to `results/prosgan_SUITE.jsonl` after each, and a cell whose rows stand there is not run
again. Generators lie in a work folder of the cache and are used again; `--epochs` trains them longer or shorter than their
defaults. All targets are without overlap and the same for every cell. `seconds` is wall time; run with OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from hamguard.attacks.guides.registry import guide_named
from hamguard.attacks.guides.supervised import PUBLISHED_PROTOTYPE, SupervisedPrototype
from hamguard.attacks.methods.registry import ATTACKS
from hamguard.codes.binary import pack, sign
from hamguard.core.context import Context
from hamguard.core.errors import HamguardError
from hamguard.core.rows import Row, read_rows, write_rows
from hamguard.data.cache import cache_folder
from hamguard.evaluation.attack.equal_rmse import with_equal_rmse
from hamguard.evaluation.attack.generators import placeless, with_generator
from hamguard.evaluation.attack.measure import measure_attack
from hamguard.evaluation.attack.spec import AttackSpec
from hamguard.evaluation.attack.targets import draw_targets
from hamguard.evaluation.ground import Ground, Loaded
from hamguard.models.folding import folded
from hamguard.models.store import Card, load_any
from hamguard.retrieval.intervals import bootstrap_interval
from hamguard.retrieval.metrics import average_precision
from hamguard.trainers.kind import Start
from hamguard.trainers.run import run_job
from hamguard.trainers.words import read_job

RESULTS = Path(__file__).parent.parent / "results"
GENERATORS: dict[str, tuple[str, ...]] = {
    "soft": (),
    "hard 8/255": ("budget=hard", "eps=8/255"),
    "GAN (no Hamming term)": ("hamming=0",),
    "ProS-GAN-1 (real or made only)": ("discriminator=real",),
    "soft, weight 10": ("reconstruction=10",),
    "soft, weight 100": ("reconstruction=100",),
    "soft, weight 300": ("reconstruction=300",),
}
"""Cells of trained generators and the settings in which they differ from the defaults; the default weight is that of `soft`."""
EQUAL = "DHTA at the soft generator's RMSE"
CELLS = ("ceiling", "soft", "hard 8/255", "DHTA 8/255", EQUAL, "speed", *list(GENERATORS)[2:])
TIMED = 100  # training pictures that are timed
KEPT = ("t-map", "t-gain", "rmse", "linf", "ssim", "bits-moved")


@dataclass(frozen=True)
class Suite:
    """What is run on one data set.

    Attributes:
        steps: gradients of DHTA.
        sets: settings of its generators, before those of a cell.
        soft: settings of those with a soft budget.
        hard: settings of those inside a ball.
        cells: what is run; all by default.
    """

    steps: int = 100
    sets: tuple[str, ...] = ()
    soft: tuple[str, ...] = ()
    hard: tuple[str, ...] = ()
    cells: tuple[str, ...] = CELLS

    def last(self, cell: str) -> str:
        """What a cell writes last."""
        return {"ceiling": "ceiling: optimal", "speed": f"speed: DHTA, {self.steps} gradients"}.get(cell, cell)


SUITES = {
    "cifar10": Suite(),
    "fashion-products": Suite(),
    "coco18": Suite(
        steps=50,
        sets=("batch_size=8", "lr=1e-3", "epochs=4", "precision=bfloat16"),
        soft=("start=picture",),
        cells=CELLS[:6],
    ),
}


@dataclass
class Bench:
    """One suite on one model."""

    ground: Ground
    card: Card
    suite: str
    sets: Sequence[str]
    rows: list[Row]
    path: Path

    def generator(self, cell: str) -> Path:
        """Folder of a cell's generator, trained where it is not there yet."""
        sets = GENERATORS[cell]
        suite = SUITES[self.suite]
        own = (*suite.sets, *(suite.hard if "budget=hard" in sets else suite.soft))
        data = {f"data.{key}": self.card.data.get(key) for key in ("source", "size")}
        request = read_job({}, data, [*own, *self.sets, *sets], kind="generator")
        name = f"{self.suite}-{self.ground.model.digest}-{request.digest}"
        folder = cache_folder() / "prosgan" / name
        ground, begun = self.ground, time.process_time()
        victim = Start(ground.name, ground.model, ground.card)
        found = run_job(request, ground.data, folder, start=[victim])
        if found.fresh:
            print(f"trained {cell}: {time.process_time() - begun:.0f} core-s, {found.card.history[-1]}", flush=True)
        return folder

    def add(self, cell: str, rows: Sequence[Row]) -> None:
        """Keep the rows of a cell, written at once."""
        self.rows = [row for row in self.rows if not (row.attack and row.attack["cell"] == cell)]  # of a killed run
        self.rows += [replace(row, attack={**(placeless(row.attack) or {}), "cell": cell}) for row in rows]
        write_rows(self.path, self.rows)
        told = ", ".join(f"{row.metric} {row.value:.4f}" for row in rows if row.value is not None)
        print(f"{cell}: {told}", flush=True)

    def attack(self, cell: str, spec: AttackSpec) -> None:
        """Measure an attack on the queries."""
        found = measure_attack(self.ground, spec)
        wanted = [row for row in found.rows if row.metric in KEPT and row.attack]
        self.add(cell, [row for row in wanted if row.attack and row.attack["method"] == spec.name])
        if spec.generator:
            rows = [row for row in wanted if row.metric == "t-map"]
            self.add(f"{cell}: noise", [row for row in rows if row.attack and row.attack["method"] == "noise"])


def ceilings(bench: Bench) -> None:
    """t-MAP of the guide codes themselves: what an attack that reaches its guide gets."""
    ground = bench.ground
    targets = draw_targets(
        "no-overlap", ground.query.labels, ground.database.labels, reference=ground.reference.labels, ids=ground.query.ids,
        seed=ground.seed,
    )  # fmt: skip
    labels = torch.from_numpy(targets.labels).float()
    base = ground.base

    def row(cell: str, code: torch.Tensor) -> None:
        bank = replace(ground.query, packed=pack(code), labels=targets.labels)
        values = average_precision(bank, ground.database)
        span = bootstrap_interval(values, seed=ground.seed)
        facts = {"method": "ideal-code", "guide": cell, "targets": "no-overlap"}
        found = replace(base, attack=facts, task="query->database", metric="t-map", ties="expected", n=len(values))
        bench.add(f"ceiling: {cell}", [replace(found, value=float(values.mean()), ci95=span)])

    row("clean picture", ground.query.codes)
    short = replace(PUBLISHED_PROTOTYPE, steps=400, rate=2e-3, batch_size=32, codes_per_step=5000)
    for cell, how in (("prototype (ProS-GAN)", SupervisedPrototype()), ("prototype, published loss", short)):
        net = how.fit(ground.reference, ground.seed)
        row(cell, sign(net(labels)))
    for name in ("anchor", "mainstay", "optimal"):
        guide = guide_named(name)
        if hasattr(guide, "toward"):
            guide = replace(guide, toward=True)  # type: ignore[type-var]
        code = guide(ground.query.codes, labels, ground.reference, range(len(labels)), ground.seed)
        row(name, code if isinstance(code, torch.Tensor) else code.vote)


def training_part(bench: Bench) -> tuple[torch.Tensor, torch.Tensor]:
    """Some training pictures, and target labels without overlap."""
    ground = bench.ground
    rows = ground.split.train[:TIMED]
    drawn = draw_targets(
        "no-overlap", ground.dataset.labels[rows], ground.dataset.labels[ground.split.train],
        ids=ground.dataset.ids[rows], seed=ground.seed,
    )  # fmt: skip
    return ground.dataset.images.batch(rows), torch.from_numpy(drawn.labels).float()


def speed(bench: Bench) -> None:
    """Seconds a picture in equal batches: one pass against the gradients of the suite."""
    x, labels = training_part(bench)
    spec = with_generator(AttackSpec.read("prosgan"), str(bench.generator("soft")))
    base = bench.ground.base
    made = spec.attack
    steps = SUITES[bench.suite].steps
    slow = ATTACKS["dhta"](steps=steps)
    slow = replace(slow, search=replace(slow.search, early_stop=False))
    victim = folded(bench.ground.model)
    for cell, attack, rounds in (("ProS-GAN, one pass", made, 5), (f"DHTA, {steps} gradients", slow, 1)):
        attack(victim, x[:10], labels[:10], bench.ground.reference) if rounds > 1 else None
        begun = time.process_time()
        for _ in range(rounds):
            attack(victim, x, labels, bench.ground.reference)
        spent = (time.process_time() - begun) / rounds / len(x)
        facts = {"method": cell, "batch": len(x)}
        bench.add(
            f"speed: {cell}", [replace(base, attack=facts, metric="core-seconds-a-picture", value=spent, n=len(x))]
        )


def run(bench: Bench, only: Sequence[str]) -> None:
    """Every cell that has no rows yet, or those of `only`."""
    done = {str(row.attack["cell"]) for row in bench.rows if row.attack}
    suite = SUITES[bench.suite]
    for cell in only or suite.cells:
        if suite.last(cell) in done:
            continue
        if cell == "ceiling":
            ceilings(bench)
        elif cell == "speed":
            speed(bench)
        elif cell in GENERATORS:
            bench.attack(cell, with_generator(AttackSpec.read("prosgan"), str(bench.generator(cell))))
        elif cell == "DHTA 8/255":
            bench.attack(cell, AttackSpec.read("dhta", steps=suite.steps))
        else:
            dhta = AttackSpec.read("dhta", steps=suite.steps)
            spec, note = with_equal_rmse(bench.ground, dhta, str(bench.generator("soft")))
            print(f"{cell}: {note}", flush=True)
            bench.attack(cell, spec)


def table(rows: Sequence[Row], suite: str) -> str:
    """Rows as Markdown."""
    lines = [
        f"# ProS-GAN on {suite}",
        "",
        "Written by `benchmarks/prosgan.py`; targets without overlap, 8-bit pictures.",
        "",
    ]
    lines += ["| | t-MAP | 95% interval | RMSE x100 | Linf x255 | SSIM | budget |", "|---|---|---|---|---|---|---|"]
    cells = list(dict.fromkeys(str(row.attack["cell"]) for row in rows if row.attack))
    for cell in cells:
        own = {row.metric: row for row in rows if row.attack and row.attack["cell"] == cell}
        if "t-map" not in own:
            continue
        score = own["t-map"]
        words = [f"{own[key].value * scale:.{places}f}" if key in own and own[key].value is not None else ""
                 for key, scale, places in (("rmse", 100, 2), ("linf", 255, 1), ("ssim", 1, 3))]  # fmt: skip
        span = f"{score.ci95[0]:.3f} .. {score.ci95[1]:.3f}" if score.ci95 else ""
        threat = score.threat or {}
        size = (
            "" if not threat else "soft" if threat["eps"] is None else f"{threat['norm']} {threat['eps'] * 255:.1f}/255"
        )
        lines.append(f"| {cell} | {score.value:.4f} | {span} | {' | '.join(words)} | {size} |")
    lines += ["", "DHTA stops where every bit of its guide is right, so it may use less RMSE than its ball allows."]
    timed = [row for row in rows if row.metric == "core-seconds-a-picture"]
    if timed:
        lines += ["", "| | core-seconds a picture |", "|---|---|"]
        lines += [f"| {row.attack['method']} | {row.value:.5f} |" for row in timed if row.attack]
    return "\n".join([*lines, ""])


def main() -> int:
    """One suite on one model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", choices=SUITES)
    parser.add_argument("--model", required=True)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="setting of all generators")
    parser.add_argument("--only", action="append", choices=CELLS, help="one cell; may be repeated")
    parser.add_argument("--out", type=Path, help="folder of rows and table; results/ by default")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON lines at the end")
    options = parser.parse_args()
    path = (options.out or RESULTS) / f"prosgan_{options.suite}.jsonl"
    try:
        model, card = load_any(options.model)
        if card is None:
            raise HamguardError("this benchmark needs a model folder with a card")
        loaded, context = Loaded(Path(options.model).name, model, card), Context(batch_size=100)
        ground = Ground.open(loaded, queries=options.queries, context=context)
        rows = read_rows(path) if path.exists() else []
        own = [] if options.epochs is None else [f"epochs={options.epochs}"]
        bench = Bench(ground, card, options.suite, [*own, *options.set], rows, path)
        run(bench, options.only or ())
    except HamguardError as error:
        print(f"prosgan: {error}", file=sys.stderr)
        return error.exit_code
    path.with_suffix(".md").write_text(table(bench.rows, options.suite), encoding="utf-8")
    if options.json:
        for row in bench.rows:
            print(json.dumps(json.loads(row.json())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
