"""HAG's transfer table in small: perturbations from one, two and four models on a model that none of them used.

    uv run python benchmarks/attack_transfer.py [--folder models/transfer] [--queries 200]

The slides on HAG (C. Deng, 2019) make perturbations on DPH with VGG16 and VGG19, 32 and 64 bits, and try their sums on HashNet with
ResNet50. Here: DPH with two small networks, 16 and 32 bits, on Fashion-MNIST, and HashNet with a third network. Models are trained
with the defaults where the folder does not have them. Rows go to `results/attack_transfer.jsonl`; an attack that stands
there is not run again.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from hamguard.core.rows import Row, read_rows, write_rows
from hamguard.data.opened import Data
from hamguard.data.sources import open_source
from hamguard.evaluation.attack.measure import measure_attack
from hamguard.evaluation.attack.spec import AttackSpec
from hamguard.evaluation.ground import Ground, Loaded
from hamguard.trainers.run import run_job
from hamguard.trainers.words import read_job

RESULTS = Path(__file__).parent.parent / "results"
SOURCES = {"dph-conv2-16": ("dph", "conv2", 16), "dph-conv2-32": ("dph", "conv2", 32),
           "dph-dsh-16": ("dph", "dsh", 16), "dph-dsh-32": ("dph", "dsh", 32)}  # fmt: skip
UNSEEN = {"hashnet-conv8-32": ("hashnet", "conv8", 32)}
EPS = 0.1


def ensembles() -> list[tuple[tuple[str, ...], str]]:
    """Sets of source models, and how they are joined."""
    names = list(SOURCES)
    single = [((name,), "joint") for name in names]
    several = [tuple(names[:2]), tuple(names[2:]), tuple(names)]
    return single + [(group, how) for group in several for how in ("sum", "sum-project", "mean", "joint")]


def main() -> int:
    """Train what is missing, attack, score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("models/transfer"))
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--out", type=Path, default=RESULTS / "attack_transfer.jsonl")
    options = parser.parse_args()
    dataset, split = open_source("fashion-mnist")
    models = {}
    for name, (method, backbone, bits) in {**SOURCES, **UNSEEN}.items():
        flags = {
            "data.source": "fashion-mnist",
            "method": method,
            "model.backbone": backbone,
            "model.bits": bits,
            "seed": 0,
        }
        if not (options.folder / name / "card.json").exists():
            run_job(read_job({}, flags), Data(dataset, split), options.folder / name)
            print(f"trained {name}", flush=True)
        models[name] = Loaded.open(options.folder / name, name=name)
    rows: list[Row] = read_rows(options.out) if options.out.exists() else []
    done = {
        (row.model, tuple(row.attack["made_on"]), row.attack["combine"])
        for row in rows
        if row.attack and "made_on" in row.attack
    }
    for scored in (*UNSEEN, "dph-conv2-16"):
        loaded = Loaded.open(options.folder / scored, name=scored)
        ground = Ground.open(loaded, Data(dataset, split), queries=options.queries)
        for group, how in ensembles():
            if (scored, group, how if len(group) > 1 else None) in done:
                continue
            spec = AttackSpec.read("hag", eps=EPS, steps=options.steps)
            spec = replace(spec, sources=tuple(models[name] for name in group), combine=how)
            found = measure_attack(ground, spec)
            rows += found.rows
            write_rows(options.out, list({row.json(): row for row in rows}.values()))
            values = {row.metric: row.value for row in found.rows if row.attack and row.attack["method"] == "hag"}
            print(f"{scored} <- {' + '.join(group)} ({how}): MAP {values['map']:.4f}, Linf {values['linf']:.3f}, "
                  f"RMSE {values['rmse']:.4f}", flush=True)  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
