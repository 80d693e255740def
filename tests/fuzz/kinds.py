"""Every kind of file that hamguard reads: where one lies, the command that reads it, and what may come of a broken one."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.fuzz import world as made
from tests.fuzz.world import World, cache_at

Words = Callable[[World, Path], Sequence[object]]
Trust = Literal["sealed", "work", "open"]


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: what people call it.
        source: piece of the world that is copied for each mutant.
        files: patterns of the files that are broken, one of them a mutant.
        words: command that reads them, from the world and the place of the copy.
        trust: `sealed`: what hamguard wrote for itself; the result is the same or refused. `work`: what it can make again;
            the result is the same or refused. `open`: what people write; another value is another input.
        optional: patterns of files without which the folder means something else.
        results: patterns of files that belong to the result.
        roles: words that name the file where the command got two of them, or got it as one of many sources.
        twins: each file is whole in itself, and another whole one in its place is another input.
        several: the command goes on without a broken file, names it, and ends with 1.
        share: how many mutants of this kind, against 1 of the others.
        cached: folder inside the place that is the cache of the user, with every set kept in it.
    """

    name: str
    source: str
    files: tuple[str, ...]
    words: Words
    trust: Trust
    optional: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    twins: bool = False
    several: bool = False
    share: float = 1.0
    cached: str | None = None


def ask(line: str) -> Words:
    """A command written out, with `{place}` for the copy and `{piece}` for a whole piece of the world."""

    def words(world: World, place: Path) -> Sequence[object]:
        return [
            re.sub(r"\{(.*?)\}", lambda found: str(place if found[1] == "place" else world / found[1]), word)
            for word in line.split()
        ]

    return words


def reads(reader: Callable[..., str], *names: str) -> Words:
    """A reader of the library on files of the copy, or on `{piece}` of the world."""
    return lambda world, place: (reader, *(world / name[1:-1] if name[0] == "{" else place / name for name in names))


def _unfinished(name: str) -> Words:
    return lambda world, place: made.TRAININGS[name](world, place / name)


def read_detector(path: Path, codes: Path) -> str:
    """The facts of a detector."""
    from hamguard.codes.bank import CodeBank
    from hamguard.defenses.detect import Detector

    found = Detector.load(path, CodeBank.load(codes))
    return repr(
        (found.k, found.rate, found.threshold, found.level, found.seed, found.clean.tolist(), found.bounds.tolist())
    )


def read_grid(path: Path) -> str:
    """A recipe of a grid as it is understood."""
    from hamguard.evaluation.study.recipe import read_study

    return read_study(path).model_dump_json()


def read_cross(path: Path) -> str:
    """A recipe of a cross-modal study as it is understood."""
    from hamguard.evaluation.study.plan import expand
    from hamguard.evaluation.study.recipe import read_study

    found = read_study(path)
    expand(found)
    return repr(found)


def read_training(path: Path) -> str:
    """A recipe of `train` as it is understood."""
    from hamguard.trainers.words import read_job, read_recipe

    return read_job(read_recipe(path)).model_dump_json()


def read_weights(path: Path) -> str:
    """Hash of first weights."""
    from hamguard.core.digests import digest_state
    from hamguard.models.weight_files import read_safetensors

    return digest_state(read_safetensors(path))


EVALUATE = ask("evaluate {place} --queries 6 --json")
SEARCH = ask("search {place}/ix {place}/query.png --top 5 --json")
FOREIGN = ask(
    "evaluate --query-codes {place}/query.npz --database-codes {place}/database.npz --metric map --metric precision@3 --json"
)
TEXTS = ask("search {texts}/ix --model {place} --text red --json")
LEARNED = ask("evaluate {place} --queries 6 --learned --json")
GENERATE = ask("attack {model} --method prosgan --generator {place} --queries 4 --json")
PROTECT = ask("protect {photos}/in {place}/out --protector {place} --json")
PURIFY = ask("purify {model} --with comdefend:{place} --eps 0.1 --queries 4 --steps 1 --draws 1 --json")
EXPORTED = ask("evaluate {place}/net.pt2 --data arrays:{toy.npz} --queries 4 --json")
BUILD = ask("index build {place}/database.npz --out {place}/ix --json")
REPORT = ask("report {place}/rows.jsonl --out {place}/r.html --json")
TARGETS = ask(
    "attack {model} --method dhta --targets {place}/targets.json --eps 0.2 --queries 6 --batch-size 2 --steps 1 --json"
)
MEASURE = ask("measure {model} --measure radius --queries 6 --audit {place} --json")
FOLDER = ask("data check folder:{place}/set --json")
LISTS = ask("data check lists:{place}/set --json")
MOVING = ask(
    "search {index}/ix {place}/m.webp {place}/m.png {place}/deep.png {place}/cmyk.jpg {place}/plain.bmp --top 3 --json"
)
VERIFY = ask("verify {place}/in {place}/out --matcher shipped:digits --cards 1 --out {place}/v --json")
CARDS = ("*card.json", "model.safetensors")

KINDS: tuple[Kind, ...] = (
    Kind("model folder", "model", CARDS, EVALUATE, "sealed", share=2),
    Kind("finished training", "model", ("run.json", *CARDS), made.train, "sealed"),
    Kind("cross-modal model", "cross", ("text.*", *CARDS), EVALUATE, "sealed", optional=("text.json",), share=2),
    Kind("texts that ask", "cross", ("text.*",), TEXTS, "sealed", optional=("text.json",)),
    Kind("hardened model", "finished", ("harden-run.json", "history.jsonl", *CARDS), made.harden, "sealed"),
    Kind("parts of ssah", "ssah", ("parts.safetensors",), reads(read_weights, "parts.safetensors"), "open", share=0.5),
    Kind("learned codes", "adsh", ("learned_codes.npz",), LEARNED, "sealed"),
    Kind("generator", "generator", ("*.safetensors", "generator.json"), GENERATE, "sealed"),
    Kind("protector", "photo-protector", ("*",), PROTECT, "sealed", results=("out/*.png",)),
    Kind("comdefend", "comdefend", ("comdefend.*",), PURIFY, "sealed"),
    Kind("exported model", "exported", ("net.pt2",), EXPORTED, "open", share=0.5),
    *(
        Kind(f"unfinished {name}", "unfinished", (f"{name}/checkpoint.pt", f"{name}/*.json*", f"{name}/*.npz"),
             _unfinished(name), "sealed", share=0.7)
        for name in made.TRAININGS
    ),
    Kind("code bank", "codes", ("*.npz",), FOREIGN, "sealed", twins=True),
    Kind("code bank into an index", "bank", ("database.npz",), BUILD, "sealed", results=("ix/*",)),
    Kind("foreign codes", "foreign", ("*.npz",), FOREIGN, "open", roles=("query", "database"), share=2),
    Kind("index, flat", "index", ("ix/*",), SEARCH, "sealed", share=2),
    Kind("index, ivf", "ivf", ("ix/*",), SEARCH, "sealed", share=2),
    Kind("rows", "rows", ("rows.jsonl",), REPORT, "open"),
    Kind("recipe of a grid", "recipes", ("grid.toml",), reads(read_grid, "grid.toml"), "open", share=2),
    Kind("recipe of a cross-modal study", "recipes", ("cross.toml",), reads(read_cross, "cross.toml"), "open"),
    Kind("recipe of a training", "recipes", ("train.toml",), reads(read_training, "train.toml"), "open", roles=("",)),
    Kind("target list", "targets", ("targets.json",), TARGETS, "sealed"),
    Kind("attacked pictures", "attacked", ("*",), made.attack, "work", results=("*.png", "targets.json")),
    Kind("unfinished attack", "half-attacked", (".work/**/*.npz",), made.attack, "work", results=("*.png", "targets.json")),
    Kind("audit", "audited", ("audit.json", "rows.jsonl", "worst.npz"), made.audit, "sealed"),
    Kind("unfinished audit", "half-audited", (".work/**/*",), made.audit, "work", share=0.5),
    Kind("audit beside measures", "audited", ("audit.json", "worst.npz"), MEASURE, "sealed"),
    Kind("cells of a grid", "grid", ("cells/*.*",), made.study, "work", share=0.7),
    Kind("models of a grid", "grid", ("cells/**/models/*/*",), made.study, "work", share=0.7),
    Kind("figures of queries of a grid", "grid", ("cells/values/*",), made.study, "work", share=0.5),
    Kind("cells of a cross-modal study", "cross-grid", ("out/cells/*.*", "out/cells/models/*/*"), reads(made.run_cross, "."),
         "work", share=0.7),
    Kind("figures of queries of a cross-modal study", "cross-grid", ("out/cells/values/*",), reads(made.run_cross, "."),
         "work", share=0.5),
    Kind("privacy folder", "privacy", ("**/*.*",), made.search_four_ways, "work", share=0.5),
    Kind("detector", "detector", ("detector.json",), reads(read_detector, "detector.json", "{neighbors.npz}"), "sealed"),
    Kind("arrays", "arrays", ("set.npz",), ask("data check arrays:{place}/set.npz --json"), "open", share=2),
    Kind("features", "features", ("set.npz",), ask("data check features:{place}/set.npz --json"), "open", share=2),
    Kind("table of a folder", "table", ("set/labels.csv", "set/labels.csv", "set/p3.png"), FOLDER, "open", several=True, share=2),
    Kind("lines of a folder", "lines", ("set/labels.jsonl",), FOLDER, "open", several=True, share=2),
    Kind("lists", "lists", ("set/*.txt",), LISTS, "open", roles=("the lists of",), share=2),
    Kind("compressed lists", "packed-lists", ("set/*.xz",), LISTS, "open", roles=("the lists of",)),
    Kind("decoded pictures in the cache", "cache", ("cache/images/*",), FOLDER, "work", cached="cache"),
    Kind("features in the cache", "kept", ("cache/features/*/*",), made.train_kept, "work", cached="cache"),
    Kind("CIFAR-10, pickles", "named", ("batches/*/*",), ask("data check cifar10 --data-root {place}/batches --json"), "open",
         share=2),
    Kind("CIFAR-10, packed", "named", ("packed/*/*",), ask("data check cifar10 --data-root {place}/packed --json"), "open",
         roles=("cifar10 picture",)),
    Kind("Fashion-MNIST", "named", ("raw/*/*/*",), ask("data check fashion-mnist --data-root {place}/raw --json"), "open",
         share=2),
    Kind("MIRFLICKR", "mirflickr", ("mirflickr/im3.jpg", "mirflickr/**/*.txt"),
         ask("data check mirflickr --data-root {place} --json"), "open"),
    Kind("photos to protect", "photos", ("in/*",), made.protect, "open", several=True, share=3),
    Kind("moving and deep pictures to search", "moving", ("*",), MOVING, "open", share=2),
    Kind("protected folder", "protected", ("out/*",), made.protect, "work", results=("out/*.png",), several=True, share=2),
    Kind("protected folder to verify", "protected", ("out/*", "in/*"), VERIFY, "open", several=True),
)  # fmt: skip


def cache_of(kind: Kind, place: Path) -> object:
    """The cache of the user that a kind is read with: its own, or a fresh one beside it."""
    return cache_at(place / kind.cached, limit=0) if kind.cached else cache_at(place.with_name(f"{place.name}-cache"))
