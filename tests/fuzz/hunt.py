"""Break files and judge what the command made of them, in a process of its own: it may hang, fill the memory, or die.

A mutant is named by kind, seed and number; `uv run python -m tests.fuzz --kind KIND --seed S --number N` makes it again.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from hashlib import sha256
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.fuzz.kinds import KINDS, Kind, cache_of
from tests.fuzz.mutations import mutate
from tests.fuzz.shell import Answer, Shell
from tests.fuzz.world import World
from tests.training.processes import SERVER

LIMIT = 30.0
"""Seconds that a command on a broken file may take."""
FINE = ("refused", "equal", "other input")
FAULTS = ("silent", "unexpected", "noisy", "unnamed", "no result", "hang", "crash")
CLOCK = re.compile(r'"(seconds|[a-z_]*per_second|peak_memory[a-z_]*|minutes)": [-+.0-9eE]+|"fresh": (true|false)')
"""What may differ: times, and whether a run was found finished or was made once more."""
NOISE = re.compile(r"Traceback|Warning|site-packages|\.py:\d+|Re-running `torch|^\s+warnings?\.", re.MULTILINE)
BY_NAME = {kind.name: kind for kind in KINDS}


@dataclass(frozen=True)
class Mutant:
    """What became of one broken file.

    Attributes:
        kind: name of its kind.
        seed, number: what it was drawn from.
        file: which file of the place.
        word: what was done to it.
        verdict: one of `FINE` or `FAULTS`.
        told: what the command said, or where its result differs.
    """

    kind: str
    seed: int
    number: int
    file: str
    word: str
    verdict: str
    told: str = ""

    def __str__(self) -> str:
        return f"{self.verdict}: {self.kind}, seed {self.seed}, number {self.number}: {self.file}: {self.word}\n    {self.told}"


# --- in the process that may die -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """What a command gives: its words on standard output, and the files that belong to it."""

    out: str
    files: tuple[tuple[str, str], ...]


class Lab:
    """Makes mutants one after the other.

    Attributes:
        world: where whole files lie.
        work: folder of the broken copies.
    """

    def __init__(self, root: Path) -> None:
        self.shell = Shell()
        (root / "world").mkdir(parents=True, exist_ok=True)
        (root / "work").mkdir(exist_ok=True)
        self.world, self.work = World(root / "world", self.shell), root / "work"
        os.environ["HAMGUARD_CACHE"] = str(root / "cache")
        self.right: dict[str, Result] = {}
        self.places = 0

    def place(self, kind: Kind) -> Path:
        """A fresh copy of what a kind reads."""
        self.places += 1
        place = self.work / f"place-{os.getpid():08d}-{self.places:06d}"
        shutil.copytree(self.world / kind.source, place)
        return place

    def run(self, kind: Kind, place: Path) -> tuple[Answer, Result]:
        """The command of a kind on a copy."""
        words = kind.words(self.world, place)
        with cache_of(kind, place):
            answer = self.shell(*words)
        return answer, self.result(kind, place, answer)

    def result(self, kind: Kind, place: Path, answer: Answer) -> Result:
        """What the command made, without places and times."""
        lines = CLOCK.sub("0", answer.out.replace(str(place), "PLACE").replace(place.name, "PLACE")).splitlines()
        out = "" if kind.several and kind.results else "\n".join(dict.fromkeys(lines))  # rows that differ in time alone
        found = sorted(path for pattern in kind.results for path in place.glob(pattern) if path.is_file())
        return Result(out, tuple((str(path.relative_to(place)), _digest(path)) for path in found))

    def whole(self, kind: Kind) -> Result:
        """The result of the whole file."""
        if kind.name not in self.right:
            place = self.place(kind)
            answer, result = self.run(kind, place)
            assert answer.code == 0, f"{kind.name} fails on whole files: {answer}"
            self.right[kind.name] = result
            self.clear(place)
        return self.right[kind.name]

    def clear(self, place: Path) -> None:
        """Remove a copy and its cache."""
        for one in (place, place.with_name(f"{place.name}-cache")):
            shutil.rmtree(one, ignore_errors=True)

    def prepare(self, kind: Kind, seed: int, number: int) -> tuple[Path, str, str]:
        """Break one file of a fresh copy: the copy, the file, what was done."""
        draw = random.Random(f"{seed}/{kind.name}/{number}")
        place = self.place(kind)
        pattern = draw.choice([one for one in kind.files if any(path.is_file() for path in place.glob(one))])
        path = draw.choice(sorted(path for path in place.glob(pattern) if path.is_file()))
        return place, str(path.relative_to(place)), mutate(draw, path)

    def judge(self, kind: Kind, place: Path, file: str, word: str) -> tuple[str, str]:
        """Run the command and say what became of it: verdict, and what was told."""
        right = self.whole(kind)
        answer, result = self.run(kind, place)
        told = answer.err.replace(str(place), "PLACE").strip()[-700:]
        if NOISE.search(answer.err):
            return ("unexpected" if answer.code == -1 else "noisy"), told
        if "hamguard: unexpected " in answer.err or answer.code not in (0, 1, 2):
            return "unexpected", told
        if answer.code:
            lines = [line for line in answer.err.splitlines() if line.startswith("hamguard: ")]
            if kind.several and answer.code == 1:
                return ("refused", told) if Path(file).stem in answer.err + answer.out else ("unnamed", told)
            if len(lines) != 1 or answer.err.splitlines()[-1] != lines[0]:
                return "noisy", told
            named = (place.name, Path(file).name, *kind.roles)
            return ("refused", told) if any(name in lines[0] for name in named) else ("unnamed", told)
        if result == right:
            return "equal", ""
        if kind.trust == "open":
            return ("other input", "") if _is_sound(answer.out) else ("no result", answer.out[-300:])
        if kind.twins and (word.startswith("a copy of") or word.endswith("have changed names")):
            return "other input", ""
        if any(fnmatch(file, pattern) for pattern in kind.optional) and not (place / file).is_file():
            return "other input", ""
        return "silent", _difference(right, result)


def _digest(path: Path) -> str:
    """Hash of a result's content, without times."""
    content = path.read_bytes()
    if path.suffix in (".json", ".jsonl"):
        content = CLOCK.sub("0", content.decode("utf-8", "replace")).encode()
    return sha256(content).hexdigest()[:16]


def _is_sound(out: str) -> bool:
    """Whether every line is JSON without NaN."""

    def refuse(text: str) -> float:
        raise ValueError(text)

    try:
        return bool([json.loads(line, parse_constant=refuse) for line in out.splitlines()])
    except ValueError:
        return not out.lstrip().startswith(("{", "["))  # readers answer with a repr


def _difference(right: Result, got: Result) -> str:
    """The first place where two results differ."""
    for name, one, other in (("out", right.out, got.out), ("files", repr(right.files), repr(got.files))):
        if one != other:
            at = next(
                (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
            )
            return f"{name} at {at}: {one[max(0, at - 60) : at + 60]!r} became {other[max(0, at - 60) : at + 60]!r}"
    return ""


def work(pipe: Connection, root: str) -> None:
    """The process: gets `(kind, seed, number)`, says what it is about to try, then what became of it."""
    lab = Lab(Path(root))
    while True:
        name, seed, number = pipe.recv()
        kind = BY_NAME[name]
        try:
            lab.whole(kind)
            place, file, word = lab.prepare(kind, seed, number)
        except BaseException as error:
            pipe.send(("broken", f"{type(error).__name__}: {error}"))
            raise
        pipe.send(("begins", file, word))
        try:
            found = lab.judge(kind, place, file, word)
        except (MemoryError, OSError) as error:  # of the judge itself, which shares the limit
            found = ("crash", f"{type(error).__name__}: {error}")
        lab.clear(place)
        pipe.send(("ends", *found, "tired" if lab.shell.is_tired() else ""))


# --- in the process that stays ---------------------------------------------------------------------------------------


class Hunt:
    """Asks a process for mutants, and starts another one where it hangs or dies.

    Attributes:
        root: folder of the world and the broken copies.
        counts: number of mutants by kind and verdict.
        faults: mutants that are none of `FINE`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.counts: dict[str, Counter[str]] = {}
        self.faults: list[Mutant] = []
        self._process: Any = None
        self._pipe: Any = None

    def _ready(self) -> None:
        if self._process is None or not self._process.is_alive():
            self._pipe, other = SERVER.Pipe()
            self._process = SERVER.Process(target=work, args=(other, str(self.root)), daemon=True)
            self._process.start()
            other.close()

    def close(self) -> None:
        """End the process; the next mutant starts another one."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
            self._process = None
        shutil.rmtree(self.root / "work", ignore_errors=True)

    def _answer(self, seconds: float) -> tuple[str, ...]:
        try:
            if not self._pipe.poll(seconds):
                self.close()
                return ("ends", "hang", f"no answer after {seconds:g} s", "")
            got: tuple[str, ...] = self._pipe.recv()
            return got
        except (EOFError, ConnectionError):
            self._process.join(10)
            code = self._process.exitcode
            self.close()
            return ("ends", "crash", f"the process ended with {code}", "")

    def try_one(self, kind: str, seed: int, number: int) -> Mutant:
        """One mutant."""
        self._ready()
        self._pipe.send((kind, seed, number))
        begun = self._answer(300)  # the first of a kind makes what it reads
        if begun[0] != "begins":
            self.close()
            raise RuntimeError(f"{kind}: {begun}")
        _, verdict, told, tired = self._answer(LIMIT)
        if tired:
            self.close()
        found = Mutant(kind, seed, number, begun[1], begun[2], verdict, told)
        self.counts.setdefault(kind, Counter())[verdict] += 1
        if verdict not in FINE:
            self.faults.append(found)
        return found

    def table(self) -> Iterator[str]:
        """Counts by kind, as lines."""
        yield f"{'kind':36}" + "".join(f"{name:>12}" for name in ("mutants", *FINE, *FAULTS))
        total: Counter[str] = sum(self.counts.values(), Counter())
        for kind, count in [*self.counts.items(), ("all", total)]:
            yield f"{kind:36}{count.total():12,}" + "".join(f"{count[name]:12,}" for name in (*FINE, *FAULTS))
