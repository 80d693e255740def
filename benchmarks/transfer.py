"""Transfer between hash models: pictures are made on each network and asked of all of them.

    uv run python benchmarks/transfer.py fashion-mnist [--work DIR] [--queries 200] [--steps 50]
    uv run python benchmarks/transfer.py coco18 [--work DIR] [--made-on coco18-dpsh-lite0 ...] [--generator FOLDER]

`fashion-mnist`: two networks, two lengths, two hash methods, each model trained in one to two core-minutes; the mainstay attack
away, DHTA toward labels without overlap, linf 0.1; ProS-GAN within the same budget is trained against one of them. `coco18`: heads
of four ImageNet networks on photos of 224 pixels, each learned in seconds on features that are kept; 8/255, 100 queries.
`--generator` adds a ProS-GAN generator that was trained against one of the models.

Models are trained where `--work` does not have them yet; they stay there. Rows go to `results/transfer.jsonl` or
`results/transfer_SUITE.jsonl`, tables beside them. An attack that stands there is not carried out again, so a stopped run goes on.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hamguard.core.errors import HamguardError, RequestError
from hamguard.core.files import write_text
from hamguard.core.rows import Rows, read_rows, write_rows
from hamguard.data.opened import Data
from hamguard.data.sources import open_source
from hamguard.evaluation.attack.generators import with_generator
from hamguard.evaluation.attack.spec import AttackSpec
from hamguard.evaluation.attack.transfer import Maker, measure_transfer
from hamguard.evaluation.ground import Ground, Loaded
from hamguard.evaluation.search.same_queries import open_grounds
from hamguard.models.generator_store import read_generator_card
from hamguard.report.printers import as_markdown
from hamguard.report.transfer_table import transfer_tables
from hamguard.trainers.kind import Start
from hamguard.trainers.run import run_job
from hamguard.trainers.words import read_job

RESULTS = Path(__file__).parent.parent / "results"
TARGETS = {"targets": "no-overlap"}
BEST: dict[str, Any] = {"method": "adaptive", "guide": "mainstay", "options": {"loss": "mainstay"}}
MOMENTUM: dict[str, Any] = {"method": "mifgsm", "guide": "mainstay", "options": {"deep": True}}
GAME_EPOCHS = 8


@dataclass(frozen=True)
class Suite:
    """What is trained, attacked and asked.

    Attributes:
        models: names and what training is told beside data and seed.
        attacks: what rows call them, and their words.
        eps: radius in pixel units.
        queries: how many are asked.
        steps: gradients of a picture.
        rows: file of the rows.
        trains: the model that a generator is trained against where none is given; empty where none is trained.
        game: what that training is told.
    """

    models: Mapping[str, Mapping[str, Any]]
    attacks: Mapping[str, Mapping[str, Any]]
    eps: float
    queries: int
    steps: int
    rows: str
    trains: str = ""
    game: Sequence[str] = ()


def small(method: str, backbone: str, bits: int, epochs: int) -> dict[str, Any]:
    """A small network learned whole."""
    return {"method": method, "model.backbone": backbone, "model.bits": bits, "training.epochs": epochs}


def head(backbone: str) -> dict[str, Any]:
    """A head on an ImageNet network."""
    own = {"model.backbone": backbone, "model.weights": "pretrained", "training.freeze": True}
    return {"method": "dpsh", "model.bits": 32, **own}


SUITES = {
    "fashion-mnist": Suite(
        {
            "csq-conv2-16": small("csq", "conv2", 16, 20),
            "csq-conv2-32": small("csq", "conv2", 32, 20),
            "csq-conv8-16": small("csq", "conv8", 16, 5),
            "csq-conv8-32": small("csq", "conv8", 32, 5),
            "dpsh-conv2-32": small("dpsh", "conv2", 32, 20),
            "dpsh-conv8-32": small("dpsh", "conv8", 32, 5),
        },
        {"mainstay": {"method": "mainstay"}, "dhta": {"method": "dhta", **TARGETS}},
        eps=0.1, queries=200, steps=50, rows="transfer.jsonl",
        trains="csq-conv2-32", game=("budget=hard", "eps=0.1", "lr=1e-3", "precision=bfloat16"),
    ),
    "coco18": Suite(
        {
            "coco18-dpsh-lite0": head("efficientnet_lite0"),
            "coco18-dpsh-lite1": head("efficientnet_lite1"),
            "coco18-dpsh-mobilenet": head("mobilenet_v2_tf"),
            "coco18-dpsh-squeezenet": head("squeezenet1_0"),
        },
        {
            "adaptive": BEST,
            "adaptive-diverse": {**BEST, "options": {**BEST["options"], "diversity": 0.5}},
            "mifgsm-deep": MOMENTUM,
            "mifgsm-deep-diverse": {**MOMENTUM, "options": {**MOMENTUM["options"], "diversity": 0.5}},
        },
        eps=8 / 255, queries=100, steps=10, rows="transfer_coco18.jsonl",
    ),
}  # fmt: skip


def model_folder(name: str, flags: Mapping[str, Any], source: str, data: Data, work: Path) -> Path:
    """The folder of a model, trained where it is not there yet."""
    folder = work / name
    if not (folder / "card.json").exists():
        begun = time.process_time()
        run_job(read_job({}, {"data.source": source, "seed": 0, **flags}), data, folder)
        print(f"trained {name} in {time.process_time() - begun:.0f} core-seconds", flush=True)
    return folder


def trained_generator(ground: Ground, suite: Suite, source: str, work: Path) -> Path:
    """The folder of a generator against a model, trained where it is not there yet."""
    folder = work / f"prosgan-{ground.name}"
    begun = time.process_time()
    flags = {"data.source": source, "training.epochs": GAME_EPOCHS}
    job, victim = read_job({}, flags, list(suite.game), kind="generator"), Start(ground.name, ground.model, ground.card)
    if run_job(job, ground.data, folder, start=[victim]).fresh:
        print(f"trained {folder.name} in {time.process_time() - begun:.0f} core-seconds", flush=True)
    return folder


def generators_of(
    suite: Suite, source: str, grounds: list[Ground], given: Sequence[Path], work: Path
) -> list[tuple[Ground, Path]]:
    """Generators that are given, or trained where the suite trains one, each with the model that it belongs to.

    Raises:
        RequestError: a generator of another model.
    """
    if suite.trains and not given:
        return [(own, trained_generator(own, suite, source, work)) for own in grounds if own.name == suite.trains]
    victims = {ground.model.digest: ground for ground in grounds}
    cards = [(read_generator_card(folder), folder) for folder in given]
    for card, folder in cards:
        if card.victim not in victims:
            raise RequestError(
                f"{folder} was trained against {card.victim_name or card.victim}, which is not asked here"
            )
    return [(victims[card.victim], folder) for card, folder in cards]


def run(name: str, options: argparse.Namespace) -> Rows:
    """The attacks of a suite that have no rows yet."""
    suite, path = SUITES[name], options.out
    data = Data(*open_source(name, root=options.data_root))
    folders = [(own, model_folder(own, flags, name, data, options.work)) for own, flags in suite.models.items()]
    loaded = [Loaded.open(folder, name=own) for own, folder in folders]
    grounds = open_grounds(loaded, data, queries=options.queries or suite.queries)
    on = [ground for ground in grounds if not options.made_on or ground.name in options.made_on]
    makers: dict[str, list[Maker]] = {}
    for own, words in suite.attacks.items():
        read = AttackSpec.read(**words, eps=suite.eps, steps=options.steps or suite.steps)
        makers[own] = [Maker(ground, replace(read, name=own)) for ground in on]
    prosgan = AttackSpec.read("prosgan", **TARGETS)
    trained = generators_of(suite, name, grounds, options.generator, options.work)
    if trained:
        makers["prosgan"] = [Maker(ground, with_generator(prosgan, str(folder))) for ground, folder in trained]
    rows = read_rows(path) if path.exists() else Rows()
    for own, several in makers.items():
        if rows.where(attack=own):
            continue
        begun = time.process_time()
        found = measure_transfer(several, grounds, work=options.work / ".attacked")
        rows = Rows([*rows, *found.rows]).once()  # attacks share clean and noise
        write_rows(path, rows)
        print(f"{own}: {time.process_time() - begun:.0f} core-seconds", flush=True)
    return rows


def main() -> int:
    """Train what is missing, attack, score, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", choices=sorted(SUITES))
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "transfer_models")
    parser.add_argument("--queries", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--made-on", nargs="+", default=[], help="only these models make pictures; all are asked")
    parser.add_argument("--generator", type=Path, nargs="+", default=[], help="folders of ProS-GAN generators")
    parser.add_argument("--data-root", type=Path, default=os.environ.get("HAMGUARD_DATA"))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    options.out = options.out or RESULTS / SUITES[options.suite].rows
    try:
        tables = transfer_tables(run(options.suite, options))
        lines = [f"# Transfer, {options.suite}"]
        for table in tables:
            lines += [
                "",
                f"## {table.title}",
                "",
                *table.reading,
                *([""] if table.reading else []),
                *as_markdown(table),
            ]
        write_text(options.out.with_suffix(".md"), "\n".join([*lines, ""]))
    except HamguardError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
