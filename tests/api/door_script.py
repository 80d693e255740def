"""What a person writes in a notebook, with every name of the door: type checkers read it, nothing runs it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import hamguard as hg

print(hg.__version__)


async def site(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI application."""
    await send({"type": "http.response.start", "status": 404, "headers": []})


def door(my_module: nn.Module, x: Tensor, labels: Tensor) -> None:
    data = hg.data("coco18")
    model = hg.train(data, "csq", bits=32, backbone="efficientnet_lite0", out="models/mine", epochs=5)
    known: list[float] = [one.percent for one in hg.models(["efficientnet_lite0"], speed=True)[0].known]
    victim = hg.wrap(my_module, size=(224, 224))
    q, db = hg.encode(model, data.query), hg.encode(model, data.database)
    score: float = hg.metrics.mean_average_precision(q, db).value
    attack = hg.attacks.mainstay(steps=50, threat=hg.Linf(8 / 255))
    adv = attack(victim, x, labels, db)
    moved: Tensor = adv.x_adv - x
    rows = hg.attack(model, data, attack)
    rows.table()
    rows.to_frame()
    page: Path = rows.report("page.html")
    worst = hg.audit(model, data, hg.Budget(hg.Linf(4 / 255), queries=100))
    safe: hg.HashModel = hg.harden(model, data, "saat", threat=hg.Linf(8 / 255), out="models/safe")
    hg.protect("photos", "protected", check=12)
    here: list[str] = [one.name for one in hg.panel() if one.here]
    copy: bytes = hg.protect_image(Path("photo.jpg").read_bytes(), format="webp", quality=90)
    found = hg.verify("photos", "protected", matchers=[model])
    print(
        known,
        here,
        len(copy),
        hg.ProtectImages(site, cache="protected", eps="8/255", failing="pass", workers=2),
        score,
        moved.abs().max(),
        page,
        worst.verdict.grade,
        safe.card.defense,
        found.rows.where(metric="found").table(),
    )


def of_ones_own(images: Tensor, numbers: Tensor) -> hg.Data:
    hg.data(images.numpy(), numbers.numpy(), texts=None, split=None, name="mine")
    data = hg.data(images, numbers, name="mine")
    part: hg.Data = data
    print(part.query.first(4).images.shape, len(part.split.database), part.dataset.class_names)
    return data


def rows_that_are_asked(model: hg.HashModel | hg.ForeignModel, data: hg.Data) -> None:
    attacked = hg.attack(model, data, ["hag", hg.attacks.pgd(steps=3, threat=hg.L2(0.5))], queries=8)
    few = hg.attack(
        model, data, [hg.attacks.jsma(threat=hg.L0(0.02)), hg.attacks.pgd(steps=3, threat=hg.L1(10.0))], queries=8
    )
    few.table()
    first: hg.Attack = attacked.attacks[0].spec.attack
    clean: float | None = attacked.where(attack=None).one("map").value
    sheet: Path = attacked.sheet("attacked.png", shown=2)
    words = hg.attack(model, data, hg.attacks.cmla_words(), modality="text")
    texts = [(text, edited, edits) for text, edited, edits in words.edited]
    print(first, clean, sheet, texts, words.tables(), attacked.save("rows.jsonl"))

    budget = hg.Budget(hg.Threat("linf", 0.1), steps=3, restarts=1)
    context = hg.Context(seed=1, batch_size=32, restart=True)
    worst = hg.audit(model, data, budget, checks=("none",), context=context)
    checked = hg.sanity(model, data, budget, start=model)
    watched = hg.detect(model, data, budget)
    cleaned = hg.purify(model, data, ("jpeg:75",), budget)
    measured = hg.measure({"mine": model}, data, budget, measures=("radius",))
    moved = hg.transfer([model, "shipped:digits"], data, "hag", budget=budget)
    learned = hg.privacy("shipped:protector", out="privacy")
    searched = hg.evaluate(model, data, metrics=("map", "map@100"))
    shown = hg.demo("demo")
    grid = hg.study("recipe.toml", "study")
    again = hg.reproduce("hag", scale="small")
    print(
        worst.table(), worst.lines, checked.lines, watched.alarms, cleaned.table(), measured.tables(), learned.table()
    )
    worst.draw("audit.png")
    rows: list[hg.Rows] = [worst.rows, checked.rows, watched.rows, cleaned.rows, measured.rows, moved, learned.rows]
    rows += [searched, shown.rows, hg.read_rows("rows.jsonl", "study")]
    if grid is not None:
        rows.append(grid)
    if again is not None:
        print(again.lines)
    for some in rows:
        value: float | None = some.where(metric="map", dataset=("digits", "mine")).once().one().value
        print(value, some.first("map"), some.table(), some.tables(), some.to_frame().head())
    everything = hg.Rows(row for some in rows for row in some)
    print(hg.report(everything, "page.html", title="All").path)
    print(hg.gate(everything, {"limits": {"clean": {"metric": "map", "attack": "none", "at_least": 0.0}}}).kept)


def searches(model: hg.HashModel, data: hg.Data) -> None:
    bank: hg.CodeBank = hg.codes(np.ones((4, 8), dtype=np.int8), [0, 1, 0, 1])
    hg.codes(torch.ones(4, 8), torch.zeros(4, 3))
    hg.index(bank, out="index/bank")
    built = hg.index("models/mine", data, out="index/mine")
    answers = hg.search(model, data.query.first(3), data=data, k=6, pictures=True)
    answers.draw("found.png")
    nearest: tuple[int, ...] = answers[0].distances
    written = hg.features(model, data, out="features.npz")
    radius: int | None = hg.threshold(bank, items=1000, false_matches=0.1).radius
    groups: list[list[str]] = list(hg.dedupe("index/bank", radius=radius or 0))
    print(groups, hg.threshold(bank, items=10, model=model, data=data).sentences)
    print(hg.engine_check("hamguard", items=100, queries=10, collapse=[0.9]).sentences)
    print(written.path, written.count, written.features, written.notes)
    print(built, nearest, [answer.ids for answer in answers])
    hg.metrics.precision_at(bank, bank, 2)
    try:
        loaded = hg.load("shipped:digits")
        print(loaded.bits, hg.encode(loaded, data.query).ids)
    except hg.HamguardError as error:
        print(error)


@hg.register_guide("farthest")
@dataclass(frozen=True)
class Farthest:
    """The opposite of the own code."""

    name: str = "farthest"
    needs_labels: bool = False

    def __call__(
        self, own: Tensor, labels: Tensor | None, bank: hg.CodeBank | None, index: Sequence[int], seed: int
    ) -> Tensor:
        return -own


@hg.register_loss("shifted")
def shifted(u: Tensor, target: Tensor, direction: int) -> Tensor:
    return 1 - direction * (u * target).mean(1)


@hg.register_attack("opposite", direction="away")
def opposite(*, steps: int = 3, threat: hg.Threat = hg.Linf(0.2)) -> hg.Attack:
    """Approach the opposite code."""
    return hg.Attack(guide=Farthest(), loss=shifted, search=hg.attacks.SignSteps(steps), threat=threat, toward=True)


class OwnSettings(hg.Settings):
    weight: float = 1.0


@hg.register_objective("agree")
class Agree(hg.Objective):
    """Codes of equal labels agree."""

    name = "agree"
    title = "A method of a cell"
    settings_type = OwnSettings

    def loss(self, logits: Tensor, labels: Tensor, index: Tensor, progress: float) -> Tensor:
        return (logits.tanh() @ logits.tanh().T - labels @ labels.T).square().mean()


class Gentle(hg.DefenseSettings):
    strength: float = 0.5


@hg.register_defense("gentle")
class Gently(hg.Defense):
    """Trains on with what it gets."""

    title = "A defense of a cell"
    settings_type = Gentle

    def step(self, batch: Any) -> Tensor:
        (z,) = self.outputs(self.pictures(batch))
        return self.hash_loss(z, batch)


@hg.register_check("always")
def always(case: Any) -> Any:
    """Nothing is asked."""
    return case.make("more-steps")


@hg.register_measure("brightness", labeled=False)
def brightness(subject: Any, *, power: float = 1.0) -> Any:
    """How bright the images are."""
    return subject.x.mean() ** power


@hg.register_source("squares", "squares of one color", takes_path=True)
def squares(folder: Path, *, size: int | None = None, progress: Any = None) -> Any:
    """A data set of one's own."""
    return hg.data(np.zeros((4, 8, 8)), [0, 1, 0, 1], name=folder.name).dataset


opposite(steps=5, threat=hg.L2(1.0))
hg.add_paper("@misc{mine, title={Mine}, hamguard={attack:opposite}}")
