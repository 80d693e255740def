"""Transfer between hash models: two networks, two lengths, two hash methods; one attack away, one toward targets.

    uv run python benchmarks/transfer.py [--work DIR] [--queries 200] [--steps 50]

Six models on Fashion-MNIST, each trained in one to two core-minutes where `--work` does not have it yet; they stay there. Pictures
are made on each with the mainstay attack (away) and with DHTA (toward labels without overlap), linf 0.1, and asked of all six;
ProS-GAN within the same budget is trained against one of them. Rows go to `results/transfer.jsonl`, tables to
`results/transfer.md`. A stopped run goes on where it was.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from hamguard.core.errors import HamguardError
from hamguard.core.files import write_text
from hamguard.core.rows import read_rows, write_rows
from hamguard.data.dataset import Dataset
from hamguard.data.opened import Data
from hamguard.data.sources import open_source
from hamguard.data.split import Split
from hamguard.evaluation.attack.generators import with_generator
from hamguard.evaluation.attack.spec import AttackSpec
from hamguard.evaluation.attack.transfer import Maker, Transfer, measure_transfer
from hamguard.evaluation.ground import Ground, Loaded
from hamguard.models.store import load_any
from hamguard.trainers.kind import Start
from hamguard.trainers.run import run_job
from hamguard.trainers.words import read_job

RESULTS = Path(__file__).parent.parent / "results"
MODELS = {
    "csq-conv2-16": ("csq", "conv2", 16, 20),
    "csq-conv2-32": ("csq", "conv2", 32, 20),
    "csq-conv8-16": ("csq", "conv8", 16, 5),
    "csq-conv8-32": ("csq", "conv8", 32, 5),
    "dpsh-conv2-32": ("dpsh", "conv2", 32, 20),
    "dpsh-conv8-32": ("dpsh", "conv8", 32, 5),
}
"""Hash method, network, bits, epochs."""

ATTACKS = {"mainstay": {}, "dhta": {"targets": "no-overlap"}, "prosgan": {"targets": "no-overlap"}}
EPS = 0.1
GENERATORS = ("csq-conv2-32",)
GAME = ("budget=hard", f"eps={EPS}", "lr=1e-3", "precision=bfloat16")
GAME_EPOCHS = 8


def trained(name: str, dataset: Dataset, split: Split, work: Path) -> Path:
    """The folder of a model, trained where it is not there yet."""
    method, backbone, bits, epochs = MODELS[name]
    folder = work / name
    if not (folder / "card.json").exists():
        flags = {
            "data.source": "fashion-mnist", "method": method, "model.backbone": backbone, "model.bits": bits,
            "training.epochs": epochs, "seed": 0,
        }  # fmt: skip
        begun = time.process_time()
        run_job(read_job({}, flags), Data(dataset, split), folder)
        print(f"trained {name} in {time.process_time() - begun:.0f} core-seconds", flush=True)
    return folder


def generator_of(ground: Ground, dataset: Dataset, split: Split, work: Path) -> Path:
    """The folder of a generator against a model, trained where it is not there yet."""
    folder = work / f"prosgan-{ground.name}"
    begun = time.process_time()
    flags = {"data.source": "fashion-mnist", "training.epochs": GAME_EPOCHS}
    job, victim = read_job({}, flags, list(GAME), kind="generator"), Start(ground.name, ground.model, ground.card)
    if run_job(job, Data(dataset, split), folder, start=[victim]).fresh:
        print(f"trained {folder.name} in {time.process_time() - begun:.0f} core-seconds", flush=True)
    return folder


def makers_of(spec: AttackSpec, grounds: list[Ground], dataset: Dataset, split: Split, work: Path) -> list[Maker]:
    """What makes pictures: all models, or those that a generator was trained against."""
    if spec.name != "prosgan":
        return [Maker(ground, spec) for ground in grounds]
    return [
        Maker(ground, with_generator(spec, str(generator_of(ground, dataset, split, work))))
        for ground in grounds
        if ground.name in GENERATORS
    ]


def tables(found: Transfer, steps: int) -> str:
    """Markdown: raw figures with clean and noise on top, then scores."""
    matrix, spec = found.matrix, found.spec
    metric = "t-MAP, toward labels without overlap" if matrix.toward else "MAP, away"
    head = [f"| made on | {' | '.join(matrix.victims)} |", "|---|" + "---|" * len(matrix.victims)]

    def line(name: str, values: np.ndarray) -> str:
        return f"| {name} | {' | '.join('' if np.isnan(value) else f'{value:.3f}' for value in values)} |"

    clean, n = ("original" if matrix.toward else "clean"), matrix.clean.shape[1]
    out = [
        f"## {spec.name}: {metric}",
        "",
        f"linf {EPS:g}, {'one pass' if spec.name == 'prosgan' else f'{steps} gradients'}, {n} queries, 8-bit pictures.",
        "",
    ]
    out += [*head, line(clean, matrix.clean_maps), line("noise", found.noise.mean(1))]
    out += [line(name, maps) for name, maps in zip(matrix.sources, matrix.maps, strict=True)]
    out += ["", "Transfer score: 0 no effect, 1 as good as the attack on the asked model itself.", "", *head]
    out += [line(name, scores) for name, scores in zip(matrix.sources, matrix.scores, strict=True)]
    return "\n".join([*out, ""])


def main() -> int:
    """Train what is missing, attack, score, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "transfer_models")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--data-root", type=Path, default=os.environ.get("HAMGUARD_DATA"))
    parser.add_argument("--out", type=Path, default=RESULTS / "transfer.jsonl")
    options = parser.parse_args()
    specs = [
        AttackSpec.read(method, eps=EPS, steps=None if method == "prosgan" else options.steps, **more)
        for method, more in ATTACKS.items()
    ]
    try:
        dataset, split = open_source("fashion-mnist", root=options.data_root)
        grounds = []
        for name in MODELS:
            model, card = load_any(trained(name, dataset, split, options.work))
            grounds.append(Ground.open(Loaded(name, model, card), Data(dataset, split), queries=options.queries))
            print(f"encoded {name}", flush=True)
        rows, pages = [], []
        for spec in specs:
            begun = time.process_time()
            makers = makers_of(spec, grounds, dataset, split, options.work)
            found = measure_transfer(makers, grounds, work=options.work / ".attacked")
            rows += found.rows
            pages.append(tables(found, options.steps))
            print(f"{pages[-1]}\n{spec.name}: {time.process_time() - begun:.0f} core-seconds", flush=True)
        write_rows(options.out, rows)
        assert len(read_rows(options.out)) == len(rows)
        write_text(options.out.with_suffix(".md"), "\n".join(["# Transfer, Fashion-MNIST\n", *pages]))
    except HamguardError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
