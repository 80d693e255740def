"""Training a ProS-GAN generator into a folder: resume, refusals, and its rows as an attack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hamguard.attacks.threat import Linf
from hamguard.core.context import Context
from hamguard.core.errors import RequestError, StaleError
from hamguard.core.files import read_sealed, write_sealed
from hamguard.core.seeds import torch_generator
from hamguard.data.dataset import Dataset, ImageStore, multi_hot
from hamguard.data.opened import Data
from hamguard.data.split import Split
from hamguard.evaluation.attack.generators import noise_like, with_generator
from hamguard.evaluation.attack.measure import measure_attack
from hamguard.evaluation.attack.spec import AttackSpec
from hamguard.evaluation.ground import Ground, Loaded
from hamguard.models.generator_store import CARD, WEIGHTS, load_generator
from hamguard.models.hash_model import HashModel
from hamguard.trainers.job import Job
from hamguard.trainers.kind import Start
from hamguard.trainers.words import read_job
from tests.trainers.runs import train

Place = tuple[HashModel, Dataset, Split]
FAST = ("width=8", "epochs=2", "batch_size=16", "prototype_steps=3", "checkpoint_seconds=0.000001")


def make_place(side: int = 16, classes: int = 3, seed: int = 4) -> Place:
    """Gray pictures with a bright corner a class, and a small net with spread codes."""
    rng = np.random.default_rng(0)
    kinds = np.arange(96) % classes
    pixels = rng.integers(0, 90, (96, side, side))
    for i, kind in enumerate(kinds):
        y, x = divmod(int(kind), 2)
        pixels[i, 8 * y : 8 * y + 8, 8 * x : 8 * x + 8] += 120
    names = tuple(f"corner {c}" for c in range(classes))
    ids = np.array([f"blob{i}" for i in range(96)])
    dataset = Dataset("blobs", ImageStore(pixels.astype(np.uint8)), multi_hot(kinds, classes), names, ids)
    rows = np.arange(96)
    split = Split(
        train=rows[:48], validation=rows[48:60], query=rows[60:72], database=rows[:60], protocol="test", seed=0,
        content=dataset.digest,
    )  # fmt: skip
    model = HashModel(
        "conv2", 8, channels=1, size=(side, side), mean=[0.5], std=[0.25], generator=torch_generator(seed)
    ).eval()
    model.requires_grad_(False)
    z = model.logits(dataset.images.batch(rows))
    model.head.bias.data.sub_(z.mean(0))
    model.head.weight.data.div_(z.std())
    model.head.bias.data.div_(z.std())
    return model, dataset, split


@pytest.fixture(scope="module")
def place() -> Place:
    return make_place()


def words(flags: dict[str, Any], sets: Sequence[str] = ()) -> Job:
    return read_job({}, flags, sets, kind="generator")


def ask(*sets: str, **flags: Any) -> Job:
    return words({"data.source": "blobs", **flags}, [*FAST, *sets])


@pytest.fixture(scope="module")
def folders(place: Place, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("generators")
    hard = ("budget=hard", "eps=20/255", "discriminator=none")
    for name, sets in (("soft", ()), ("hard", hard)):
        train(ask(*sets), *place[1:], root / name, start=[Start("victims/a", place[0])])
    return {"soft": root / "soft", "hard": root / "hard"}


class Killed(Exception):
    """Stands for SIGKILL inside one process."""


def test_resume_is_exact_wherever_it_stopped(place: Place, folders: dict[str, Path], tmp_path: Path) -> None:
    for after in (1, 3, 5):
        seen: list[float] = []

        def kill(share: float, text: str, seen: list[float] = seen, after: int = after) -> None:
            seen.append(share)
            if len(seen) == after:
                raise Killed

        folder = tmp_path / f"cut{after}"
        with pytest.raises(Killed):
            train(ask(), *place[1:], folder, start=[Start("victims/a", place[0])], progress=kill)
        assert not (folder / CARD).exists()
        found = train(ask(), *place[1:], folder, start=[Start("victims/a", place[0])])
        assert found.fresh and not (folder / "checkpoint.pt").exists()
        assert (folder / WEIGHTS).read_bytes() == (folders["soft"] / WEIGHTS).read_bytes()


def test_the_card_says_what_was_made(place: Place, folders: dict[str, Path]) -> None:
    model, dataset, split = place
    generator, prototype, card = load_generator(folders["hard"])
    assert card.victim == model.digest and card.victim_name == "victims/a" and card.bits == 8
    assert (card.budget, card.norm, card.eps) == ("hard", "linf", pytest.approx(20 / 255))
    assert card.class_names == list(dataset.class_names) and card.data["split"] == split.digest
    assert card.width == 8 == generator.width and card.recipe["batch_size"] == 16 and len(card.history) == 2
    assert {"loss", "right_bits", "rmse", "seconds"} <= set(card.history[0]) and "discriminator" not in card.history[0]
    soft = load_generator(folders["soft"])[2]
    assert (soft.budget, soft.norm, soft.eps) == ("soft", None, None) and "discriminator" in soft.history[0]
    assert soft.prototypes == card.prototypes, "the same seed, the same prototype"
    assert not generator.training and not any(
        p.requires_grad for p in [*generator.parameters(), *prototype.parameters()]
    )
    names = sorted(p.name for p in folders["soft"].iterdir())
    assert names == ["generator-run.json", "generator.json", "generator.safetensors", "history.jsonl"]


def test_a_folder_of_another_run_is_refused(place: Place, folders: dict[str, Path], tmp_path: Path) -> None:
    model, dataset, split = place
    assert not train(ask(), dataset, split, folders["soft"], start=[Start("victims/a", model)]).fresh
    with pytest.raises(StaleError, match="holds another run, or one against another model.*`restart`"):
        train(ask("reconstruction=9"), dataset, split, folders["soft"], start=[Start("victims/a", model)])
    with pytest.raises(StaleError, match="against another model"):
        train(ask(), dataset, split, folders["soft"], start=[Start("victims/b", make_place(seed=5)[0])])
    again = tmp_path / "again"
    train(ask("epochs=1"), dataset, split, again, start=[Start("victims/a", model)])
    found = train(ask("epochs=1", seed=1), dataset, split, again, start=[Start("victims/a", model)], restart=True)
    assert found.fresh and found.card.seed == 1
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    for restart in (False, True):
        with pytest.raises(RequestError, match="holds other files"):
            train(ask(), dataset, split, tmp_path / "full", start=[Start("victims/a", model)], restart=restart)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "run.json").write_text("{}")  # of a hash model: nothing of it may go
    with pytest.raises(RequestError, match="holds other files"):
        train(ask(), dataset, split, tmp_path / "model", start=[Start("victims/a", model)], restart=True)
    with pytest.raises(RequestError, match="is a file; `out` must be a folder"):
        train(ask(), dataset, split, tmp_path / "full" / "letter.txt", start=[Start("victims/a", model)])


def test_requests_that_do_not_fit_the_data(place: Place, tmp_path: Path) -> None:
    model, dataset, split = place
    with pytest.raises(RequestError, match="the model takes pictures of 16x16 pixels, the data have 24x24"):
        train(ask(), *make_place(24)[1:], tmp_path / "a", start=[Start("a", model)])
    bare = Dataset("bare", dataset.images, np.zeros((96, 0), np.uint8), (), dataset.ids)
    with pytest.raises(RequestError, match="bare has no labels; prosgan needs them"):
        train(ask(), bare, split, tmp_path / "b", start=[Start("a", model)])
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["widht=8"], "unknown key widht; did you mean width"),
        (["augment=flip"], "unknown key augment"),
        (["width=12"], "settings.width: .*multiple of 8, got 12"),
        (["budget=hard", "eps=8"], r"eps must be in \(0, 1\], got 8; did you mean 8 / 255"),
        (["eps=8/x"], "eps must be a number such as 0.03 or 8/255, got '8/x'"),
        (["discriminator=clases"], "settings.discriminator: .*got 'clases'"),
        (["reconstruction=-1"], "settings.reconstruction: .*got -1"),
        (["epochs=0"], "training.epochs: .*got 0"),
        (["width"], "--set width: must be key=value"),
        (["start=picture", "budget=hard"], "start=picture is of a soft budget"),
    ],
)
def test_wrong_settings_are_named(sets: list[str], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        words({"data.source": "blobs"}, sets)


def test_a_start_with_the_picture_moves_it_less_in_the_first_epoch(place: Place, tmp_path: Path) -> None:
    moved = {}
    for start in ("random", "picture"):
        given = ask(f"start={start}", "epochs=1")
        assert ("start" in given.settings) == (start == "picture"), "folders of before keep their names"
        found = train(given, *place[1:], tmp_path / start, start=[Start("a", place[0])])
        moved[start] = found.card.history[0]["rmse"]
    assert moved["picture"] < 0.7 * moved["random"]


def test_presets_and_what_wins_over_them() -> None:
    paper = words({"data.source": "x", "preset": "paper", "training.epochs": 2}, ["lr=1e-3"])
    assert (paper.parsed.width, paper.training.epochs, paper.training.lr, paper.training.batch_size) == (
        64,
        2,
        1e-3,
        24,
    )
    assert paper.parsed.targets == "distinct" and paper.parsed.prototype_codes is None
    rules = paper.parsed.rules
    assert (rules.hamming, rules.reconstruction, rules.adversarial, rules.overlap) == (5.0, 50.0, 1.0, True)
    assert paper.parsed.prototype.steps == 30_000 and not paper.parsed.prototype.balance
    hard = words({"data.source": "x"}, ["budget=hard", "eps=0.1"])
    assert hard.parsed.rules.threat == Linf(0.1) and hard.parsed.discriminator == "none"
    assert words({"data.source": "x"}, []).parsed.rules.threat is None
    with pytest.raises(RequestError, match="unknown preset of prosgan 'papr'; .*did you mean paper"):
        words({"data.source": "x", "preset": "papr"})


def ground_of(place: Place) -> Ground:
    model, dataset, split = place
    return Ground.open(Loaded("victim", model), Data(dataset, split), context=Context(batch_size=5))


def spec_of(folder: Path, sources: tuple[Loaded, ...] = (), norm: Any = "linf", **more: Any) -> AttackSpec:
    spec = with_generator(AttackSpec.read("prosgan", norm=norm, **more), str(folder), norm)
    return replace(spec, sources=sources)


def test_rows_of_a_generator(place: Place, folders: dict[str, Path], tmp_path: Path) -> None:
    ground = ground_of(place)
    soft = measure_attack(ground, spec_of(folders["soft"]), context=Context(work=tmp_path))
    ours = {row.metric: row for row in soft.rows if row.attack and row.attack["method"] == "prosgan"}
    assert ours["t-map"].threat == {"norm": "soft", "eps": None, "steps": 0, "restarts": 1, "grid": "8 bit"}
    assert (ours["t-map"].forwards, ours["t-map"].backwards) == (1, 0) and ours["t-map"].attack is not None
    assert ours["t-map"].attack["generator"] == str(folders["soft"]) and ours["t-map"].attack["toward"]
    noise = next(row for row in soft.rows if row.attack and row.attack["method"] == "noise" and row.metric == "t-map")
    assert noise.threat is not None and noise.threat["norm"] == "linf" and noise.notes[-1].startswith("noise: uniform")
    assert noise.threat["eps"] == pytest.approx(min(1.0, 3**0.5 * float(ours["rmse"].value or 0)))
    ideal = next(row for row in soft.rows if row.attack and row.attack["method"] == "ideal-code")
    _, prototype, _ = load_generator(folders["soft"])
    assert soft.targets is not None and ideal.attack is not None and ideal.attack["guide"] == "prototype"
    want = torch.where(prototype(torch.from_numpy(soft.targets.labels).float()) < 0, -1.0, 1.0)
    assert np.array_equal(soft.sides.ideal.codes.numpy(), want.numpy())
    hard = measure_attack(ground, spec_of(folders["hard"]), context=Context(work=tmp_path))
    last = hard.rows[-1]
    assert last.threat is not None and last.threat["eps"] == pytest.approx(20 / 255) and last.threat["norm"] == "linf"
    assert hard.distortion is not None and float(hard.distortion.linf.max()) <= 20 / 255 + 1e-9
    same = measure_attack(ground, spec_of(folders["hard"], eps=20 / 255), context=Context(work=tmp_path))
    assert np.array_equal(same.made.pixels, hard.made.pixels)


def test_a_generator_of_another_victim_is_measured_as_transfer_only(
    place: Place, folders: dict[str, Path], tmp_path: Path
) -> None:
    model, dataset, split = place
    other = make_place(seed=5)[0]
    ground = ground_of((other, dataset, split))
    with pytest.raises(StaleError, match="was trained against victims/a .*give `source_models` victims/a"):
        measure_attack(ground, spec_of(folders["hard"]), context=Context(work=tmp_path))
    found = measure_attack(ground, spec_of(folders["hard"], (Loaded("a", model),)), context=Context(work=tmp_path))
    white = measure_attack(ground_of(place), spec_of(folders["hard"]), context=Context(work=tmp_path))
    assert np.array_equal(found.made.pixels, white.made.pixels), "the same pictures"
    assert found.sides.ideal.digest != white.sides.ideal.digest, "but the scored model's own prototype code"
    with pytest.raises(StaleError, match="not against this model"):
        measure_attack(ground, spec_of(folders["hard"], (Loaded("b", other),)), context=Context(work=tmp_path))
    with pytest.raises(RequestError, match="a generator is trained against one model; give one `source_models`, got 2"):
        measure_attack(
            ground, spec_of(folders["hard"], (Loaded("a", model), Loaded("b", other))), context=Context(work=tmp_path)
        )


def test_generators_that_do_not_belong_here(place: Place, folders: dict[str, Path], tmp_path: Path) -> None:
    model, dataset, split = place

    def refused(spec: Callable[[], AttackSpec], message: str, ground: Ground | None = None) -> None:
        with pytest.raises(RequestError, match=message):
            measure_attack(ground or ground_of(place), spec(), context=Context(work=tmp_path))

    refused(
        lambda: spec_of(tmp_path / "none"), "no generator at .*train one with hamguard train --method prosgan --victim"
    )
    refused(lambda: AttackSpec.read("prosgan"), r"prosgan needs a trained generator \(`generator=FOLDER`\)")
    refused(lambda: with_generator(AttackSpec.read("hag"), "g"), "hag takes no generator")
    refused(
        lambda: spec_of(folders["hard"], eps=8 / 255), "trained for linf 0.0784314, got linf 0.0313725; leave `eps`"
    )
    refused(lambda: spec_of(folders["soft"], eps=0.1), "trained for a soft budget, which has no eps, got linf 0.1")
    refused(lambda: spec_of(folders["soft"], norm="l2"), "was not trained for l2; leave out `threat`")
    refused(
        lambda: spec_of(folders["soft"]),
        "was trained for pictures of 16x16 .*the data have 24x24",
        ground_of(make_place(24)),
    )
    refused(
        lambda: spec_of(folders["soft"]), "was trained for 3 labels, the data have 4", ground_of(make_place(classes=4))
    )
    renamed = Dataset("blobs", dataset.images, dataset.labels, ("corner 0", "left", "corner 2"), dataset.ids)
    message = "other labels: number 1 is corner 1, here left"
    refused(lambda: spec_of(folders["soft"]), message, ground_of((model, renamed, split)))


def test_damaged_folders_are_one_line(folders: dict[str, Path], tmp_path: Path) -> None:
    def copy(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for file in (CARD, WEIGHTS):
            (folder / file).write_bytes((folders["soft"] / file).read_bytes())
        return folder

    torn = copy("torn")
    (torn / WEIGHTS).write_bytes((torn / WEIGHTS).read_bytes()[:5000])
    with pytest.raises(RequestError, match="is not a readable safetensors file"):
        load_generator(torn)
    (torn / CARD).write_text("{")
    with pytest.raises(RequestError, match="generator.json is damaged"):
        load_generator(torn)
    other = copy("other")
    card = read_sealed(other / CARD, "card")
    write_sealed(other / CARD, {**card, "weights_hash": "0" * 16})
    with pytest.raises(StaleError, match="the card was written for 0000000000000000"):
        load_generator(other)
    write_sealed(other / CARD, {**card, "width": 16})
    with pytest.raises(RequestError, match="weights and card do not fit"):
        load_generator(other)
    write_sealed(other / CARD, {**card, "width": 10**9})
    with pytest.raises(RequestError, match="is damaged"):
        load_generator(other)


def test_noise_of_equal_rmse() -> None:
    ball = noise_like(np.array([0.02, 0.04]))
    x = torch.full((1, 1, 200, 200), 0.5)
    noise = ball.start(x, [0], 0) - x
    assert float(noise.square().mean().sqrt()) == pytest.approx(0.03, rel=0.02)
    assert noise_like(np.array([0.9])).eps == 1.0 and noise_like(np.zeros(2)).eps == pytest.approx(1 / 255)
