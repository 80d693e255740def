"""One small thing of every kind that hamguard reads, made once: models, codes, indexes, studies, unfinished runs, data, photos."""

from __future__ import annotations

import csv
import gzip
import json
import lzma
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.cli.helpers import write_arrays, write_picture
from tests.fuzz.shell import Shell, killed_after

Piece = Callable[["World"], None]
PIECES: dict[str, Piece] = {}
TINY = ("--bits", 8, "--batch-size", 20, "--set", "backbone=conv2")
ATTACK = ("--eps", "0.2", "--queries", 6, "--batch-size", 2, "--steps", 1)
AUDIT = (
    "--eps",
    "0.1",
    "--queries",
    6,
    "--steps",
    2,
    "--answers",
    3,
    "--batch-size",
    3,
    "--no-substitute",
    "--check",
    "none",
)
COLORS = {
    "red": (220, 30, 30), "green": (30, 180, 50), "blue": (30, 50, 220), "white": (250, 250, 250), "black": (5, 5, 5),
    "pink": (250, 150, 200),
}  # fmt: skip
GRID = """
study = "grid"
title = "Tiny"
queries = 6
curves = true
[data.toy]
source = "{source}"
[models.dpsh]
bits = 8
backbone = "conv2"
epochs = 1
batch_size = 20
[attacks.pgd]
eps = 0.2
steps = 1
[attacks.mainstay]
eps = 0.2
steps = 1
[defenses.saat]
epochs = 1
set = {{ steps = 1 }}
[audit]
eps = 0.1
steps = 1
queries = 4
checks = false
[protections.noise]
eps = 0.2
[protections.noise.parties]
method = "dpsh"
bits = 8
backbone = "conv2"
epochs = 1
[compare]
attacks = [["pgd", "mainstay"]]
"""
CROSS = """
study = "cross-modal"
title = "Tiny"
seed = 3
queries = 6
[data]
source = "{source}"
[models.dcmh]
bits = 8
epochs = 1
set = {{ words = 20, least = 2, text_width = 16 }}
[attack]
steps = [1, 2]
published_steps = [1]
text_eps = [0.2]
[words]
edits = [1]
[guided]
methods = ["mainstay"]
steps = 1
[defenses]
methods = ["static"]
epochs = 1
set = {{ attack_steps = 1, steps = 1 }}
"""
TRAINING = """
method = "dpsh"
seed = 3
[data]
source = "{source}"
[model]
backbone = "conv2"
bits = 8
[training]
epochs = 2
lr = 0.002
[settings]
eta = 0.1
"""
REPRODUCED = """
study = "grid"
queries = 6
[data.toy]
source = "{source}"
[models.dph]
bits = 16
epochs = 1
backbone = "conv2"
[attacks.hag]
eps = 0.1
steps = 2
[attacks.mainstay]
eps = 0.1
steps = 2
[defenses.saat]
eps = 0.1
epochs = 1
"""


class World:
    """A folder with the pieces that were asked for; each lies below its own name.

    Attributes:
        root: where.
        shell: makes them.
    """

    def __init__(self, root: Path, shell: Shell) -> None:
        self.root, self.shell = root, shell

    def __truediv__(self, name: str) -> Path:
        """Place of a piece, made where it is missing."""
        place = self.root / name
        if not place.exists():
            PIECES[name](self)
        return place

    def run(self, *words: object, code: int = 0) -> str:
        """A command that must end with a code."""
        answer = self.shell(*words)
        assert answer.code == code, (words, answer)
        return answer.out

    @property
    def toy(self) -> str:
        return f"arrays:{self / 'toy.npz'}"

    @property
    def pairs(self) -> str:
        return f"arrays:{self / 'pairs.npz'}"


def piece(function: Piece) -> Piece:
    """Register how a piece is made, under the function's name with `-` for `__` and `.` for `_dot_`."""
    PIECES[function.__name__.replace("_dot_", ".").replace("__", "-")] = function
    return function


# --- data ------------------------------------------------------------------------------------------------------------


@piece
def toy_dot_npz(world: World) -> None:
    write_arrays(world.root / "toy.npz", n=90, classes=3, size=16)


@piece
def pairs_dot_npz(world: World) -> None:
    rng, n, names = np.random.default_rng(0), 90, list(COLORS)
    images = rng.integers(100, 140, (n, 16, 16, 3)).astype(np.uint8)
    labels, texts = np.zeros((n, len(names)), np.uint8), []
    for i in range(n):
        pair = rng.choice(len(names), 2)
        for half, color in enumerate(pair):
            images[i, half * 8 : (half + 1) * 8] = COLORS[names[color]]
            labels[i, color] = 1
        texts.append(f"a {names[pair[0]]} square, a {names[pair[1]]} thing {rng.integers(0, 4)}")
    split = np.repeat([0, 3, 2], [50, 30, 10])
    np.savez(
        world.root / "pairs.npz",
        images=images,
        labels=labels,
        texts=np.array(texts),
        class_names=np.array(names),
        split=split,
    )


@piece
def arrays(world: World) -> None:
    (world.root / "arrays").mkdir()
    shutil.copy(world / "pairs.npz", world.root / "arrays" / "set.npz")


@piece
def features(world: World) -> None:
    (world.root / "features").mkdir()
    with np.load(world / "pairs.npz") as pairs:
        beside = {name: pairs[name] for name in pairs.files if name not in ("images", "data", "offsets")}
    values = np.random.default_rng(0).standard_normal((len(beside["labels"]), 6)).astype(np.float32)
    np.savez(world.root / "features" / "set.npz", features=values, **beside)


def _pictures(place: Path, names: list[str]) -> None:
    for number, name in enumerate(names):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        write_picture(place / name, 12, 12, color=True, seed=number)


@piece
def table(world: World) -> None:
    place, names = world.root / "table" / "set", [f"p{i}.png" for i in range(12)]
    _pictures(place, names)
    with (place / "labels.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(("file", "labels", "text", "split"))
        for i, name in enumerate(names):
            rows.writerow(
                (name, ("cat", "dog", "cat;dog")[i % 3], f'a "{i}", b', ("train", "database", "query")[i // 4])
            )


@piece
def lines(world: World) -> None:
    place, names = world.root / "lines" / "set", [f"p{i}.png" for i in range(12)]
    _pictures(place, names)
    kinds = [["cat"], ["dog"], ["cat", "dog"]]
    told = [json.dumps({"file": name, "labels": kinds[i % 3], "text": f"number {i}"}) for i, name in enumerate(names)]
    (place / "labels.jsonl").write_text("\n".join(told) + "\n")


@piece
def lists(world: World) -> None:
    place, names = world.root / "lists" / "set", [f"p{i}.png" for i in range(12)]
    _pictures(place, names)
    rows = [f"{name} {i % 2} {1 - i % 2}" for i, name in enumerate(names)]
    (place / "train.txt").write_text("\n".join(rows[4:8]) + "\n")
    (place / "test.txt").write_text("\n".join(rows[:4]) + "\n")
    (place / "database.txt").write_text("\n".join(rows[4:]) + "\n")


@piece
def packed__lists(world: World) -> None:
    place, names = world.root / "packed-lists" / "set", [f"p{i}.png" for i in range(12)]
    _pictures(place, names)
    for part, rows in (("train", range(4, 8)), ("test", range(4)), ("database", range(4, 12))):
        for kind, told in (("img", [names[i] for i in rows]), ("label", [f"{i % 2} {1 - i % 2}" for i in rows])):
            (place / f"prosgan_SET_{part}_{kind}.txt.xz").write_bytes(lzma.compress("\n".join(told).encode()))


@piece
def cache(world: World) -> None:
    """What a large set leaves in the cache of users: decoded pictures, mapped into memory, and their hash."""
    place = world.root / "cache"
    place.mkdir()
    _pictures(place / "set", [f"{kind}/{i}.png" for kind in ("cat", "dog") for i in range(5)])
    with cache_at(place / "cache", limit=0):
        world.run("data", "check", f"folder:{place / 'set'}", "--json")


@piece
def kept(world: World) -> None:
    """What a backbone that stays as it is leaves in the cache of users: blocks of features, and which pictures they are of."""
    place = world.root / "kept"
    place.mkdir()
    _pictures(place / "set", [f"{kind}/{i}.png" for kind in ("cat", "dog") for i in range(12)])
    with cache_at(place / "cache", limit=0):
        world.run(*train_kept(world, place))
    shutil.rmtree(place / "m")


def train_kept(world: World, place: Path) -> list[object]:
    """A head that is fitted to features."""
    words = ["--method", "lsh", "--bits", "8", "--backbone", "resnet20", "--json", "--out"]
    return ["train", "--data", f"folder:{place / 'set'}", *words, place / "m"]


@piece
def named(world: World) -> None:
    """Named sets in the layouts that are read: pickles, packed JPEG, IDX, plain and compressed."""
    place, rng = world.root / "named", np.random.default_rng(0)
    pictures = rng.integers(0, 256, (60, 32, 32, 3)).astype(np.uint8)
    (place / "batches" / "cifar-10-batches-py").mkdir(parents=True)
    for number in range(6):
        part = pictures[number * 10 : number * 10 + 10]
        told = {b"data": part.transpose(0, 3, 1, 2).reshape(10, -1), b"labels": list(range(10))}
        name = f"data_batch_{number + 1}" if number < 5 else "test_batch"
        (place / "batches" / "cifar-10-batches-py" / name).write_bytes(pickle.dumps(told, protocol=2))
    (place / "packed" / "cifar10").mkdir(parents=True)
    from hamguard.images.io import encode_bytes

    for name, part in (("train", pictures[:40]), ("test", pictures[40:])):
        streams = [encode_bytes(picture, "jpeg") for picture in part]
        offsets = np.cumsum([0, *map(len, streams)])
        found = {
            "data": np.frombuffer(b"".join(streams), np.uint8),
            "offsets": offsets,
            "labels": np.arange(len(part)) % 10,
        }
        np.savez(place / "packed" / "cifar10" / f"{name}_jpeg.npz", **found)
    raw = place / "raw" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for stem, count in (("train", 40), ("t10k", 20)):
        images, labels = pictures[:count, :28, :28, 0], (np.arange(count) % 10).astype(np.uint8)
        content = b"\0\0\x08\x03" + np.array(images.shape, ">u4").tobytes() + images.tobytes()
        (raw / f"{stem}-images-idx3-ubyte.gz").write_bytes(gzip.compress(content, mtime=0))
        (raw / f"{stem}-labels-idx1-ubyte").write_bytes(
            b"\0\0\x08\x01" + np.array([count], ">u4").tobytes() + labels.tobytes()
        )


@piece
def mirflickr(world: World) -> None:
    from hamguard.data.mirflickr import ANNOTATIONS
    from hamguard.images.io import encode_bytes

    place, rng = world.root / "mirflickr" / "mirflickr", np.random.default_rng(0)
    concepts = place / ANNOTATIONS
    (place / "meta" / "tags").mkdir(parents=True)
    concepts.mkdir(parents=True, exist_ok=True)
    for i in range(1, 31):
        (place / f"im{i}.jpg").write_bytes(encode_bytes(rng.integers(0, 256, (9, 9, 3)).astype(np.uint8), "jpeg"))
        (place / "meta" / "tags" / f"tags{i}.txt").write_text("sky\r\nsea\r\n" if i % 7 else "sky\r\n")
    (concepts / "animals.txt").write_text("".join(f"{i}\r\n" for i in range(1, 31)))
    (concepts / "plant_life.txt").write_text("".join(f"{i}\n" for i in range(1, 31, 3)))


# --- models ----------------------------------------------------------------------------------------------------------


def train(world: World, place: Path, *more: object) -> tuple[object, ...]:
    return ("train", "--data", world.toy, "--method", "dpsh", *TINY, "--epochs", 2, "--json", "--out", place, *more)


def train_cross(world: World, place: Path, method: str = "dcmh") -> tuple[object, ...]:
    """With fewer bits, all texts have one code after so few steps."""
    more = ("text_net=mlp", "features=16", "label_width=32") if method == "ssah" else ()
    settings = ("text_width=32", "lr=0.005", "augment=none", "schedule=constant", *more)
    sets = [word for text in settings for word in ("--set", text)]
    quick = ("--bits", 32, "--batch-size", 10, "--epochs", 2, "--json")
    return ("train", "--method", method, "--data", world.pairs, *quick, *sets, "--out", place)


def harden(world: World, place: Path) -> tuple[object, ...]:
    quick = ("--eps", "0.1", "--epochs", 2, "--batch-size", 20, "--set", "steps=1", "--no-measure", "--json")
    return ("harden", world / "model", "--method", "saat", *quick, "--out", place)


def harden_cross(world: World, place: Path) -> tuple[object, ...]:
    sets = [word for text in ("attack_steps=1", "steps=1") for word in ("--set", text)]
    quick = ("--epochs", 2, "--batch-size", 25, *sets, "--no-measure", "--json")
    return ("harden", world / "cross", "--method", "static", *quick, "--out", place)


def train_generator(world: World, place: Path) -> tuple[object, ...]:
    sets = [word for text in ("width=8", "prototype_steps=2", "eps=0.2") for word in ("--set", text)]
    quick = ("--epochs", 2, "--batch-size", 20, *sets, "--json")
    return ("train", "--method", "prosgan", "--victim", world / "model", *quick, "--out", place)


def train_protector(world: World, place: Path) -> tuple[object, ...]:
    quick = (
        "--surrogate",
        world / "model",
        "--eps",
        "0.3",
        "--epochs",
        2,
        "--batch-size",
        20,
        "--set",
        "warmup=2",
        "--json",
    )
    return ("train", "--method", "ppl", "--data", world.toy, *quick, "--out", place)


def train_comdefend(world: World, place: Path) -> tuple[object, ...]:
    quick = ("--set", "width=0.0625", "--epochs", 2, "--batch-size", 20, "--json")
    return ("train", "--method", "comdefend", "--data", world.toy, *quick, "--out", place)


@piece
def model(world: World) -> None:
    world.run(*train(world, world.root / "model"))


@piece
def adsh(world: World) -> None:
    quick = ("--bits", 8, "--epochs", 1, "--set", "backbone=conv2")
    world.run("train", "--data", world.toy, "--method", "adsh", *quick, "--out", world.root / "adsh")


@piece
def cross(world: World) -> None:
    world.run(*train_cross(world, world.root / "cross"))


@piece
def ssah(world: World) -> None:
    world.run(*train_cross(world, world.root / "ssah", "ssah"))


@piece
def generator(world: World) -> None:
    world.run(*train_generator(world, world.root / "generator"))


@piece
def protector(world: World) -> None:
    world.run(*train_protector(world, world.root / "protector"))


@piece
def photo__protector(world: World) -> None:
    from hamguard.models.protector_store import save_protector
    from tests.privacy.helpers import strong_protector

    save_protector(strong_protector(), world.root / "photo-protector", side=64, surrogates=["abcd"])


@piece
def comdefend(world: World) -> None:
    world.run(*train_comdefend(world, world.root / "comdefend"))


@piece
def exported(world: World) -> None:
    import torch
    from torch import nn

    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(256, 8))
    (world.root / "exported").mkdir()
    dynamic = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(net, (torch.rand(2, 1, 16, 16),), dynamic_shapes=dynamic)
    torch.export.save(program, world.root / "exported" / "net.pt2")


@piece
def unfinished(world: World) -> None:
    """Runs of every kind of training that were killed after their first epoch."""
    place = world.root / "unfinished"
    for name, words in TRAININGS.items():
        asked = words(world, place / name)  # makes what it needs, before anything is killed
        with killed_after("checkpoint.pt"):
            world.run(*asked, code=137)


TRAININGS = {
    "hash": train, "cross": train_cross, "harden": harden, "harden-cross": harden_cross, "generator": train_generator,
    "protector": train_protector, "comdefend": train_comdefend,
}  # fmt: skip


@piece
def finished(world: World) -> None:
    """A hardened model and what its training left."""
    world.run(*harden(world, world.root / "finished"))


# --- codes and indexes -----------------------------------------------------------------------------------------------


@piece
def codes(world: World) -> None:
    world.run("encode", world / "model", "--out", world.root / "codes")


@piece
def bank(world: World) -> None:
    (world.root / "bank").mkdir()
    shutil.copy(world / "codes" / "database.npz", world.root / "bank")


@piece
def foreign(world: World) -> None:
    place, rng = world.root / "foreign", np.random.default_rng(0)
    place.mkdir()
    for name, n in (("query", 8), ("database", 40)):
        np.savez(place / f"{name}.npz", codes=rng.integers(0, 2, (n, 12)).astype(np.uint8), labels=np.arange(n) % 3)


@piece
def index(world: World) -> None:
    world.run("index", "build", world / "model", "--out", world.root / "index" / "ix")
    _query(world, world.root / "index")


@piece
def ivf(world: World) -> None:
    world.run("index", "build", world / "model", "--engine", "ivf", "--out", world.root / "ivf" / "ix")
    _query(world, world.root / "ivf")


@piece
def texts(world: World) -> None:
    world.run("index", "build", world / "cross", "--modality", "text", "--out", world.root / "texts" / "ix")


def _query(world: World, place: Path) -> None:
    Image.fromarray(np.load(world / "toy.npz")["images"][3]).save(place / "query.png")


# --- results ---------------------------------------------------------------------------------------------------------


def attack(world: World, place: Path) -> tuple[object, ...]:
    more = ("--method", "dhta", "--targets", "no-overlap", *ATTACK, "--save-images", place, "--json")
    return ("attack", world / "model", *more)


def audit(world: World, place: Path) -> tuple[object, ...]:
    return ("audit", world / "model", *AUDIT, "--out", place, "--json")


@piece
def rows(world: World) -> None:
    (world.root / "rows").mkdir()
    world.run(
        "attack",
        world / "model",
        "--method",
        "hag",
        "--method",
        "sdha",
        *ATTACK,
        "--out",
        world.root / "rows" / "rows.jsonl",
    )


@piece
def attacked(world: World) -> None:
    world.run(*attack(world, world.root / "attacked"))


@piece
def targets(world: World) -> None:
    (world.root / "targets").mkdir()
    shutil.copy(world / "attacked" / "targets.json", world.root / "targets" / "targets.json")


@piece
def half__attacked(world: World) -> None:
    asked = attack(world, world.root / "half-attacked")
    with killed_after("*.npz", 2):
        world.run(*asked, code=137)


@piece
def audited(world: World) -> None:
    world.run(*audit(world, world.root / "audited"))


@piece
def half__audited(world: World) -> None:
    place = world.root / "half-audited"
    asked = audit(world, place)
    with killed_after("worst.npz"):
        world.run(*asked, code=137)
    (place / "worst.npz").unlink(missing_ok=True)


@piece
def neighbors_dot_npz(world: World) -> None:
    """Codes of the training part, which a detector is read with."""
    from hamguard.data.sources import open_source
    from hamguard.data.split import Part
    from hamguard.models.store import load_any
    from hamguard.training.encode import encode

    dataset, split = open_source(world.toy)
    part = Part("train", split.train)
    encode(load_any(world / "model")[0], dataset, split, part).save(world.root / "neighbors.npz")


@piece
def detector(world: World) -> None:
    quick = ("--eps", "0.1", "--queries", 4, "--steps", 1, "--false-alarms", 0.3, "--neighbors", 5)
    world.run("detect", world / "model", *quick, "--out", world.root / "detector")


def study(world: World, place: Path) -> tuple[object, ...]:
    return ("evaluate", place / "grid.toml", "--out", place / "out", "--json")


@piece
def grid(world: World) -> None:
    place = world.root / "grid"
    place.mkdir()
    (place / "grid.toml").write_text(GRID.format(source=world.toy))
    world.run(*study(world, place))


def cross_study(world: World, place: Path) -> tuple[object, ...]:
    return ("evaluate", place / "cross.toml", "--out", place / "out", "--workers", 1, "--json")


def run_cross(place: Path) -> str:
    """All cells of a cross-modal study in this process, where the command starts others."""
    from hamguard.evaluation.study.cells import Cells
    from hamguard.evaluation.study.model_cells import model_chain
    from hamguard.evaluation.study.recipe import read_study
    from hamguard.evaluation.study.study import Study

    study = Study(read_study(place / "cross.toml"), Cells(place / "out" / "cells"))
    found, _ = model_chain(study, study.plan.models[0])
    return "\n".join(row.json() for row in found)


@piece
def cross__grid(world: World) -> None:
    place = world.root / "cross-grid"
    place.mkdir()
    (place / "cross.toml").write_text(CROSS.format(source=world.pairs))
    world.run(run_cross, place)


@piece
def recipes(world: World) -> None:
    place = world.root / "recipes"
    place.mkdir()
    (place / "grid.toml").write_text(GRID.format(source=world.toy))
    (place / "cross.toml").write_text(CROSS.format(source=world.pairs))
    (place / "reproduced.toml").write_text(REPRODUCED.format(source=world.toy))
    (place / "train.toml").write_text(TRAINING.format(source=world.toy))


# --- photos ----------------------------------------------------------------------------------------------------------


def protect(world: World, place: Path) -> tuple[object, ...]:
    return ("protect", place / "in", place / "out", "--protector", world / "photo-protector", "--check", 0, "--json")


@piece
def photos(world: World) -> None:
    place = world.root / "photos" / "in"
    place.mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    rng = np.random.default_rng(0)
    coarse = rng.integers(30, 226, (6, 5, 3)).astype(np.uint8)
    photo = Image.fromarray(coarse).resize((30, 24), Image.Resampling.NEAREST)
    photo.save(place / "a.jpg", exif=exif)
    photo.save(place / "b.webp", quality=80)
    photo.convert("P", palette=Image.Palette.ADAPTIVE).save(place / "c.png", transparency=3)
    photo.convert("L").save(place / "d.png")
    photo.save(place / "e.bmp")


@piece
def moving(world: World) -> None:
    place, rng = world.root / "moving", np.random.default_rng(0)
    place.mkdir()
    frames = [Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)) for _ in range(3)]
    for name in ("m.webp", "m.png"):
        frames[0].save(place / name, save_all=True, append_images=frames[1:])
    Image.fromarray(rng.integers(0, 65536, (12, 12)).astype(np.uint16)).save(place / "deep.png")
    frames[0].convert("CMYK").save(place / "cmyk.jpg")
    frames[0].save(place / "plain.bmp")


@piece
def protected(world: World) -> None:
    place = world.root / "protected"
    shutil.copytree(world / "photos", place)
    world.run(*protect(world, place))


@piece
def privacy(world: World) -> None:
    world.run(*search_four_ways(world, world.root / "privacy"))


def search_four_ways(world: World, place: Path) -> tuple[object, ...]:
    quick = (
        "--method",
        "dpsh",
        "--bits",
        16,
        "--set",
        "epochs=1",
        "--backbone",
        "conv2",
        "--queries",
        6,
        "--keep-models",
        "--view",
        "jpeg:90",
        "--json",
    )
    return ("privacy", world / "protector", *quick, "--out", place)


def cache_at(place: Path, limit: int | None = None) -> Any:
    """Another cache of the user inside the block, and sets of more bytes than the limit kept in it."""
    import os
    from contextlib import contextmanager

    from hamguard.data import cache as module
    from hamguard.training import features

    @contextmanager
    def changed() -> Any:
        before, kept, least = os.environ.get("HAMGUARD_CACHE"), module.IN_MEMORY, features.LEAST
        os.environ["HAMGUARD_CACHE"] = str(place)
        module.IN_MEMORY = kept if limit is None else limit
        features.LEAST = least if limit is None else limit
        try:
            yield
        finally:
            module.IN_MEMORY, features.LEAST = kept, least
            os.environ.pop("HAMGUARD_CACHE") if before is None else os.environ.__setitem__("HAMGUARD_CACHE", before)

    return changed()
