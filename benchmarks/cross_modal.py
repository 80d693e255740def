"""Cross-modal methods: the four searches of each over seeds, and on photos texts with words that no training text has, and attacks.

    uv run python benchmarks/cross_modal.py fashion-products
    uv run python benchmarks/cross_modal.py coco18

Every part is a cell: what stands in the rows file already is not run again, so a stopped run goes on where it was. On `coco18` a
frozen EfficientNet-Lite0 gives the features of pictures, and texts are read as bags of words and by a sentence encoder (extra
`text`). Rows carry the process time of training in `seconds`; with OMP_NUM_THREADS=1 these are core-seconds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from hamguard.attacks.methods.cmla import cmla, cmla_words
from hamguard.attacks.methods.mainstay import mainstay
from hamguard.attacks.threat import Linf
from hamguard.codes.bank import CodeBank
from hamguard.core.context import Context
from hamguard.core.rows import Row, read_rows, write_rows
from hamguard.data.opened import Data
from hamguard.data.texts import texts_of
from hamguard.evaluation.attack.measure import measure_attack
from hamguard.evaluation.attack.spec import AttackSpec
from hamguard.evaluation.ground import Ground, Loaded
from hamguard.evaluation.search.cross_modal import agreement_row, cross_rows, task_row
from hamguard.evaluation.search.score import score_rows
from hamguard.models.vocabulary import phrases
from hamguard.trainers.run import run_job
from hamguard.trainers.words import read_job
from hamguard.training.encode import text_codes

RESULTS = Path(__file__).parent.parent / "results"
NEW, ALONE, NAMES = "captions with a new word->image", "new words alone->image", "names of labels->image"
STRUCK = "names struck"
"""Part of the names of models that learned from captions without the names of labels."""


@dataclass(frozen=True)
class Suite:
    """What is measured on one source.

    Attributes:
        encoders: of texts.
        sets: settings of every training.
        backbone: network of pictures; by their size where not given.
        attacked: method and text encoder of the models that are attacked, of seed 0.
        steps: gradients of the attacks on pictures.
        queries: that are attacked.
        new_words: whether words that no training text has are asked with.
        struck: methods that learn from training texts without the names of labels, too.
    """

    methods: tuple[str, ...] = ("dcmh", "ssah")
    encoders: tuple[str, ...] = ("words",)
    sets: tuple[str, ...] = ()
    backbone: str | None = None
    attacked: tuple[tuple[str, str], ...] = ()
    steps: int = 20
    queries: int = 100
    new_words: bool = False
    struck: tuple[str, ...] = ()


PHOTOS = Suite(
    methods=("dcmh", "ssah", "dsph"),
    encoders=("words", "minilm"),
    sets=("freeze=true",),
    backbone="efficientnet_lite0",
    attacked=(("dcmh", "words"), ("ssah", "words"), ("dsph", "words"), ("dsph", "minilm")),
    new_words=True,
    struck=("dsph",),
)
SUITES = {"coco18": PHOTOS}


@dataclass
class Recorded:
    """The rows file, cell by cell; a cell's rows carry its name as `model`.

    Attributes:
        path: of the file.
        queries: of the whole query part; clean rows of fewer stand beside attacks.
        rows: so far.
    """

    path: Path
    queries: int
    rows: list[Row] = field(default_factory=list)

    def cell(self, name: str, part: str, work: Callable[[], list[Row]]) -> None:
        """Run a cell whose rows are not there yet."""
        if any(row.model == name and self.part_of(row) == part for row in self.rows):
            return
        begun = time.monotonic()
        found = [replace(row, model=name if row.model != "random codes" else row.model) for row in work()]
        self.rows += found
        write_rows(self.path, self.rows)
        shown = "  ".join(f"{row.task} {row.value:.3f}" for row in found if row.metric == "map")
        print(f"{name}, {part}: {shown}  ({time.monotonic() - begun:.0f} s)", flush=True)

    def part_of(self, row: Row) -> str:
        """What a row is of: `clean`, `new`, `before` (clean, of the queries that are attacked), or the attack."""
        if row.attack:
            return str(row.attack["method"])
        if row.task in (NEW, ALONE):
            return "new"
        if row.task == NAMES:
            return "names"
        return "clean" if row.n == self.queries else "before"


def new_words(data: Data) -> dict[int, str]:
    """Queries whose text holds words that no training text has: number of the query to these words."""
    texts = texts_of(data.dataset)

    def words(row: int) -> list[str]:
        return [word for part in phrases(texts[row]) for word in part]

    known = {word for row in data.split.train for word in words(row)}
    found = {
        number: " ".join(word for word in words(row) if word not in known)
        for number, row in enumerate(data.split.query)
    }
    return {number: text for number, text in found.items() if text}


def new_rows(ground: Ground, data: Data) -> list[Row]:
    """Text to image where texts hold words that no training text has: whole texts, and these words alone."""
    found = new_words(data)
    numbers = np.array(list(found))
    whole, both = ground.text_query.select(numbers), ground.both
    alone = replace(whole, packed=text_codes(both.text, both.encoder.bag(list(found.values()))))
    base = task_row(ground, "text->image")
    notes = tuple(note for note in base.notes if "no known word" not in note)
    rows = []
    for task, bank in ((NEW, whole), (ALONE, alone)):
        facts = replace(base, task=task, notes=notes)
        rows += score_rows(bank, ground.database, metrics=("map",), facts=facts, seed=ground.seed)
    return rows


def without_names(data: Data) -> Data:
    """The same data with the words of the names of all labels, one and many, struck out of the texts that are learned from."""
    dataset = data.dataset
    stems = {word for name in dataset.class_names for word in name.split()}
    struck = {f"{word}{ending}" for word in stems for ending in ("", "s", "es")}
    texts = list(texts_of(dataset))
    for row in data.split.train:
        texts[row] = " ".join(word for part in phrases(texts[row]) for word in part if word not in struck)
    return Data(replace(dataset, texts=tuple(texts)), data.split)


def name_rows(ground: Ground, data: Data) -> list[Row]:
    """Text to image, asked with the name of each label; found is what carries the label."""
    names, both = np.array(data.dataset.class_names), ground.both
    packed = text_codes(both.text, both.encoder.bag(list(names)))
    asked = CodeBank(packed, both.bits, np.eye(len(names), dtype=np.uint8), names, both.text.digest, data.split.digest)
    base = task_row(ground, "text->image")
    facts = replace(base, task=NAMES, notes=tuple(note for note in base.notes if "no known word" not in note))
    return score_rows(asked, ground.database, metrics=("map",), facts=facts, seed=ground.seed)


def attack_rows(ground: Ground, which: str, suite: Suite) -> list[Row]:
    """The rows of one attack; noise of the same size stands beside the first on pictures."""
    eps = Linf(8 / 255)
    made = {
        "cmla": lambda: cmla(steps=suite.steps, threat=eps),
        "mainstay": lambda: mainstay(steps=suite.steps, threat=eps),
        "cmla-words": lambda: cmla_words(most=2),
    }[which]()
    return list(measure_attack(ground, AttackSpec(made, across=True, control=which == "cmla")).rows)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("source")
    words.add_argument("--methods", nargs="+")
    words.add_argument("--encoders", nargs="+", help="how texts are read: words, minilm")
    words.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    words.add_argument("--bits", type=int, default=32)
    words.add_argument("--queries", type=int, help="queries that are attacked")
    words.add_argument("--only", choices=["search", "attack"], help="one half of the work")
    words.add_argument("--models", type=Path, default=Path("models/cross_modal"), help="where the models go")
    words.add_argument("--out", type=Path, help="rows file; default results/cross_modal_SOURCE.jsonl")
    words.add_argument("--set", nargs="*", default=[], dest="sets")
    ask = words.parse_args()
    suite = SUITES.get(ask.source, Suite())
    if ask.queries:
        suite = replace(suite, queries=ask.queries)
    out = ask.out or RESULTS / f"cross_modal_{ask.source}.jsonl"
    data = Data.open(ask.source)
    recorded = Recorded(out, len(data.split.query), read_rows(out) if out.exists() else [])
    for seed in ask.seeds:
        for method in ask.methods or suite.methods:
            for encoder in ask.encoders or suite.encoders:
                run(ask, suite, recorded, data, method, encoder, seed)
                if method in suite.struck and ask.only != "attack":
                    run(ask, suite, recorded, without_names(data), method, encoder, seed, struck=True)


def run(
    ask: argparse.Namespace,
    suite: Suite,
    recorded: Recorded,
    data: Data,
    method: str,
    encoder: str,
    seed: int,
    *,
    struck: bool = False,
) -> None:
    """One model: train it where it is not there, then the cells that are missing."""
    name = f"{method}, {encoder}, {f'{STRUCK}, ' if struck else ''}seed {seed}"
    folder = ask.models / f"{ask.source}-{method}-{encoder}{'-struck' if struck else ''}-{seed}"
    flags = {"method": method, "data.source": ask.source, "model.bits": ask.bits, "seed": seed}
    flags["model.backbone"] = suite.backbone
    flags |= {"settings.text_encoder": encoder} if encoder != "words" else {}
    more = ["without_text=drop"] if struck else []  # a caption may have had nothing else
    job = read_job({}, flags, [*suite.sets, *more, *ask.sets], kind="pair")
    begun = time.process_time()
    trained = run_job(job, data, folder)
    spent = round(time.process_time() - begun, 1) if trained.fresh else None
    loaded = Loaded.open(trained.model, name=name, card=trained.card)
    ground = Ground.open(loaded, data, texts="needed", context=Context(seed=seed))

    def clean() -> list[Row]:
        rows = [replace(row, seed=seed, seconds=spent) for row in cross_rows(ground)]
        return [*rows, replace(agreement_row(ground), seed=seed)]

    if ask.only != "attack":
        recorded.cell(name, "clean", clean)
        if suite.new_words and not struck:
            recorded.cell(name, "new", lambda: [replace(row, seed=seed) for row in new_rows(ground, data)])
        if suite.struck:
            recorded.cell(name, "names", lambda: [replace(row, seed=seed) for row in name_rows(ground, data)])
    if ask.only != "search" and seed == 0 and (method, encoder) in suite.attacked:
        few = ground.first(suite.queries)
        recorded.cell(name, "before", lambda: cross_rows(few))
        for which in ("cmla", "mainstay", "cmla-words"):
            recorded.cell(name, which, lambda which=which: attack_rows(few, which, suite))


if __name__ == "__main__":
    main()
