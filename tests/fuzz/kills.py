"""SIGKILL at any moment, and the same command again: every command that writes, in real processes.

A kill comes at a drawn time, or in a drawn write: between the last byte of a temporary file and its new name.
"""

from __future__ import annotations

import io
import os
import random
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tests.fuzz import world as made
from tests.fuzz.shell import Shell
from tests.fuzz.world import World
from tests.training.processes import SERVER

LONG = 600.0
"""Seconds after which a run that nobody kills counts as hanging."""
TEMPORARY = re.compile(r"^\.hamguard-|\.tmp$|\.part$|^tmp")
CLOCK = re.compile(r'("[a-z_ ]*(seconds|minutes|per_second|memory)[a-z_ ]*": )[-+.0-9eE]+')
WORDS = re.compile(r"[0-9][0-9,.]* ?(s|seconds|minutes|ms)\b")
Words = Callable[[World, Path], Sequence[object]]


@dataclass(frozen=True)
class Verb:
    """A command that writes.

    Attributes:
        name: what people call it.
        words: the command, from the world and a folder to write to.
        needs: piece of the world that is copied into the folder first.
        again: what the same command may say where the kill came after all was written.
        cheap: takes about a second; tried in every run of the tests.
    """

    name: str
    words: Words
    needs: str = ""
    again: str = ""
    cheap: bool = False


def _sheet(world: World, place: Path) -> Sequence[object]:
    return (
        "search",
        world / "index" / "ix",
        world / "index" / "query.png",
        "--data",
        world.toy,
        "--sheet",
        place / "sheet.png",
    )


def _add(world: World, place: Path) -> Sequence[object]:
    return ("index", "add", place / "ix", world / "codes" / "query.npz")


def _remove(world: World, place: Path) -> Sequence[object]:
    with np.load(world / "codes" / "database.npz") as bank:
        return ("index", "remove", place / "ix", *bank["ids"][:3].tolist())


def _sanity(world: World, place: Path) -> Sequence[object]:
    quick = ("--eps", "0.1", "--steps", 2, "--sample", 4, "--answers", 3)
    return ("sanity", world / "model", *quick, "--out", place / "rows.jsonl")


def _attack(world: World, place: Path) -> Sequence[object]:
    return (*made.attack(world, place / "made"), "--out", place / "rows.jsonl", "--sheet", place / "sheet.png")


def _harden(world: World, place: Path) -> Sequence[object]:
    words = [word for word in made.harden(world, place / "m") if word != "--no-measure"]
    return (*words, "--queries", 6, "--steps", 2, "--sanity", 0, "--audit", 4, "--out-rows", place / "rows.jsonl")


def _defense(method: str) -> Words:
    def words(world: World, place: Path) -> Sequence[object]:
        return [method if word == "saat" else word for word in made.harden(world, place / "m")]

    return words


def _detect(world: World, place: Path) -> Sequence[object]:
    quick = ("--eps", "0.1", "--queries", 4, "--steps", 1, "--false-alarms", 0.3, "--neighbors", 5)
    return ("detect", world / "model", *quick, "--out", place / "d")


def _purify(world: World, place: Path) -> Sequence[object]:
    quick = ("--with", "jpeg:75", "--eps", "0.1", "--queries", 4, "--steps", 2)
    return ("purify", world / "model", *quick, "--out", place / "rows.jsonl")


def _measure(world: World, place: Path) -> Sequence[object]:
    quick = ("--queries", 4, "--steps", 2, "--clever", "2x2")
    return ("measure", world / "model", *quick, "--out", place / "rows.jsonl", "--curves", place / "c.png")


def _transfer(world: World, place: Path) -> Sequence[object]:
    out = ("--out", place / "rows.jsonl", "--picture", place / "p.png")
    return ("transfer", world / "model", world / "adsh", *made.ATTACK, *out)


def _evaluate(world: World, place: Path) -> Sequence[object]:
    return ("evaluate", world / "model", "--out", place / "rows.jsonl", "--curves", place / "c.png")


def _audit(world: World, place: Path) -> Sequence[object]:
    return (*made.audit(world, place / "a"), "--picture", place / "a.png")


def _refine(world: World, place: Path) -> Sequence[object]:
    return (*made.protect(world, place), "--refine", 2, "--matcher", "shipped:digits")


def _verify(world: World, place: Path) -> Sequence[object]:
    return ("verify", place / "in", place / "out", "--matcher", "shipped:digits", "--cards", 2, "--out", place / "v")


def reproduce(recipe: Path, out: Path, *more: str) -> None:
    """`hamguard reproduce saat-table2` with a small recipe in the place of its own."""
    from hamguard.cli import main
    from hamguard.evaluation.reproduce import run

    run.recipe_of = lambda experiment, scale: recipe
    sys.argv = ["hamguard", "reproduce", "saat-table2", "--out", str(out), *more]
    main.run()


def small_demo(out: Path, *more: str) -> None:
    """`hamguard demo` with every stage and least numbers."""
    from hamguard.api import demo, sheets
    from hamguard.cli import main
    from hamguard.data.dataset import Dataset, ImageStore
    from hamguard.data.registry import SOURCES

    read = SOURCES["digits"].read

    def every_sixth(folder: Path, **asked: Any) -> Dataset:
        found = read(folder, **asked)  # type: ignore[misc]
        images = ImageStore(found.images.array[::6])
        return replace(found, images=images, labels=found.labels[::6], ids=found.ids[::6])

    SOURCES.enter("digits", replace(SOURCES["digits"], read=every_sixth), read)
    demo.STEPS, demo.AUDITED, demo.SHOWN, demo.CHECKED, demo.FILES, sheets.ANSWERS = 1, 6, 2, 4, 5, 2
    demo.HARDENING = {"method": "distill", "epochs": 1, "steps": 1}
    demo.GAME = {"warmup": 1, "batch_size": 32, "epochs": 1}
    sys.argv = ["hamguard", "demo", "--out", str(out), *more]
    main.run()


VERBS: tuple[Verb, ...] = (
    Verb("train dpsh", lambda w, p: made.train(w, p / "m"), cheap=True),
    Verb(
        "train adsh",
        lambda w, p: ("train", "--data", w.toy, "--method", "adsh", "--bits", 8, "--epochs", 2, "--out", p / "m"),
    ),
    Verb("train itq", lambda w, p: ("train", "--data", w.toy, "--method", "itq", "--bits", 8, "--out", p / "m")),
    Verb("train dcmh", lambda w, p: made.train_cross(w, p / "m")),
    Verb("train ssah", lambda w, p: made.train_cross(w, p / "m", "ssah")),
    Verb("train prosgan", lambda w, p: made.train_generator(w, p / "m")),
    Verb("train ppl", lambda w, p: made.train_protector(w, p / "m")),
    Verb("train comdefend", lambda w, p: made.train_comdefend(w, p / "m")),
    Verb("encode", lambda w, p: ("encode", w / "model", "--out", p / "codes")),
    Verb("index build", lambda w, p: ("index", "build", w / "model", "--out", p / "ix"), cheap=True),
    Verb("index build, ivf", lambda w, p: ("index", "build", w / "model", "--engine", "ivf", "--out", p / "ix")),
    Verb("index add", _add, needs="index", again="is already in the index"),
    Verb("index remove", _remove, needs="index", again="not in the index"),
    Verb("attack", _attack, cheap=True),
    Verb("audit", _audit),
    Verb("harden and measure", _harden),
    Verb("harden, cgat", _defense("cgat")),
    Verb("harden, distill", _defense("distill")),
    Verb("harden, trades", _defense("trades")),
    Verb("harden, cross-modal", lambda w, p: made.harden_cross(w, p / "m")),
    Verb("detect", _detect),
    Verb("purify", _purify),
    Verb("measure", _measure),
    Verb("transfer", _transfer),
    Verb("evaluate", _evaluate),
    Verb("evaluate a grid", made.study, needs="recipes"),
    Verb("evaluate a cross-modal study", made.cross_study, needs="recipes"),
    Verb("reproduce", lambda w, p: (reproduce, p / "reproduced.toml", p / "out"), needs="recipes"),
    Verb("privacy", lambda w, p: made.search_four_ways(w, p / "out")),
    Verb("protect", made.protect, needs="photos", cheap=True),
    Verb("protect and refine", _refine, needs="photos"),
    Verb("verify", _verify, needs="protected"),
    Verb("report", lambda w, p: ("report", w / "rows", w / "audited", "--out", p / "r.html", "--tables", p / "tables")),
    Verb("data check", lambda w, p: ("data", "check", w.toy, "--out", p / "check.json")),
    Verb("search with a sheet", _sheet),
    Verb("sanity", _sanity),
    Verb("demo", lambda w, p: (small_demo, p / "demo")),
)


@dataclass(frozen=True)
class Kill:
    """What came of one kill.

    Attributes:
        verb: name of the command.
        seed, number: what the moment was drawn from.
        moment: when it came, in words.
        hit: whether the command was still running.
        verdict: equal, differs, left behind, or failed.
        told: what differs or what was said.
    """

    verb: str
    seed: int
    number: int
    moment: str
    hit: bool
    verdict: Literal["equal", "differs", "left behind", "failed"]
    told: str = ""

    def __str__(self) -> str:
        return f"{self.verdict}: {self.verb}, seed {self.seed}, number {self.number}, killed {self.moment}: {self.told}"


def make(root: str, name: str) -> None:
    """Make a piece of the world."""
    os.environ["HAMGUARD_CACHE"] = str(Path(root) / "cache-of-world")
    assert World(Path(root), Shell()) / name


# --- in the process that is killed -----------------------------------------------------------------------------------


def _run(words: Sequence[object], cache: str, log: str, die_at: int) -> None:
    """What `python -m hamguard` does; with `die_at`, SIGKILL in the middle of that write."""
    import torch

    from hamguard.cli import main

    for name in ("RANK", "WORLD_SIZE", "HAMGUARD_DATA"):
        os.environ.pop(name, None)
    os.environ["HAMGUARD_CACHE"] = cache
    torch.set_num_threads(1)
    with Path(log).open("a", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    rename, seen = Path.replace, []

    def counted(self: Path, target: Path | str) -> Path:
        seen.append(target)
        if len(seen) == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        Path(log).with_suffix(".writes").write_text(str(len(seen)))
        return rename(self, target)

    Path.replace = counted  # type: ignore[method-assign, assignment]
    if callable(words[0]):
        words[0](*words[1:])
    else:
        sys.argv = ["hamguard", *map(str, words)]
        main.run()


# --- in the process that kills ---------------------------------------------------------------------------------------


class Elsewhere(World):
    """A world whose pieces are made in a process of their own, because a shell takes the streams of its process."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root

    def __truediv__(self, name: str) -> Path:
        place = self.root / name
        if not place.exists():
            process = SERVER.Process(target=make, args=(str(self.root), name))
            process.start()
            process.join()
            assert process.exitcode == 0, f"{name} could not be made"
        return place


class Killer:
    """Runs commands, kills them, runs them again, and compares.

    Attributes:
        root: folder of the world and of what is written.
        world: where whole things lie.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.world = root, Elsewhere(root / "world")
        self.right: dict[str, tuple[dict[str, str], float, int]] = {}

    @property
    def place(self) -> Path:
        """The folder that every command writes to, so that its name is the same in every result."""
        return self.root / "place"

    def fresh(self, verb: Verb) -> Sequence[object]:
        """Empty the folder and the cache; the command."""
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.rmtree(self.root / "cache", ignore_errors=True)
        if verb.needs:
            shutil.copytree(self.world / verb.needs, self.place)
        self.place.mkdir(exist_ok=True)
        return verb.words(self.world, self.place)

    def start(self, words: Sequence[object], die_at: int = 0) -> Any:
        """The process of a command."""
        (self.root / "log").unlink(missing_ok=True)
        (self.root / "log.writes").unlink(missing_ok=True)
        asked = [word if callable(word) else str(word) for word in words]
        process = SERVER.Process(target=_run, args=(asked, str(self.root / "cache"), str(self.root / "log"), die_at))
        process.start()
        return process

    def finish(self, words: Sequence[object]) -> str:
        """Run to the end; what went wrong, empty for nothing."""
        process = self.start(words)
        process.join(LONG)
        if process.is_alive():
            process.kill()
            process.join()
            return f"no end after {LONG:g} s"
        return "" if process.exitcode == 0 else f"exit {process.exitcode}: {(self.root / 'log').read_text()[-500:]}"

    def whole(self, verb: Verb) -> tuple[dict[str, str], float, int]:
        """Content of all files after a run that nobody killed, its seconds, and how many files it wrote."""
        if verb.name not in self.right:
            words, begun = self.fresh(verb), time.monotonic()
            wrong = self.finish(words)
            assert not wrong, f"{verb.name} fails: {wrong}"
            writes = self.root / "log.writes"
            count = int(writes.read_text()) if writes.is_file() else 0
            self.right[verb.name] = contents(self.place), time.monotonic() - begun, count
        return self.right[verb.name]

    def kill(self, verb: Verb, seed: int, number: int) -> Kill:
        """Run, kill, run again, compare."""
        draw = random.Random(f"{seed}/{verb.name}/{number}")
        right, seconds, writes = self.whole(verb)
        words = self.fresh(verb)
        if writes and number % 2 == 0:
            die_at = (
                1 if number == 0 else 1 + draw.randrange(writes)
            )  # a folder with nothing but a temporary file is a case
            moment, process = f"in write {die_at} of {writes}", self.start(words, die_at)
            process.join(LONG)
        else:
            after = seconds * draw.uniform(0.05, 1.0)
            moment, process = f"after {after:.2f} of {seconds:.2f} s", self.start(words)
            process.join(after)
        hit = process.is_alive() or process.exitcode == -signal.SIGKILL
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
        process.join()
        wrong = self.finish(words)
        if wrong and not (verb.again and verb.again in wrong):
            return Kill(verb.name, seed, number, moment, hit, "failed", wrong)
        left = [str(path.relative_to(self.root)) for top in (self.place, self.root / "cache") for path in top.rglob("*")
                if TEMPORARY.search(path.name)]  # fmt: skip
        if left:
            return Kill(verb.name, seed, number, moment, hit, "left behind", ", ".join(left))
        got = contents(self.place)
        changed = sorted(name for name in got.keys() | right.keys() if got.get(name) != right.get(name))
        return Kill(verb.name, seed, number, moment, hit, "differs" if changed else "equal", ", ".join(changed))


def contents(place: Path) -> dict[str, str]:
    """Hash of every file below a folder, without what a clock decides."""
    return {str(path.relative_to(place)): _hash(path) for path in sorted(place.rglob("*")) if path.is_file()}


def _hash(path: Path) -> str:
    content = path.read_bytes()
    if path.suffix == ".npz":
        with np.load(io.BytesIO(content)) as arrays:
            parts = [f"{name}{arrays[name].dtype}{arrays[name].shape}".encode() + arrays[name].tobytes()
                     for name in sorted(arrays.files) if name not in ("seconds", "digest")]  # fmt: skip
        content = b"".join(parts)
    elif path.suffix in (".json", ".jsonl"):
        text = re.sub(r'"(digest|rows|rows\.jsonl)": "[0-9a-f]{16}"', "", CLOCK.sub(r"\g<1>0", content.decode()))
        content = "\n".join(
            sorted(set(text.splitlines()))
        ).encode()  # a log in any order, lines that differ in time alone
    elif path.suffix in (".html", ".csv", ".tex", ".txt"):
        content = WORDS.sub("", content.decode()).encode()
    return sha256(content).hexdigest()[:16]
