"""Run the command line in this process, as a shell would see it."""

from __future__ import annotations

import functools
import json
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import typer.main
from PIL import Image

from hamguard.cli import main
from hamguard.data.arrays import read_arrays
from hamguard.data.dataset import Dataset
from hamguard.data.registry import SOURCES, Source
from hamguard.evaluation.study import run as study_run

typer.main.get_command = functools.cache(
    typer.main.get_command
)  # a shell builds it once a process, which takes longer than most tests


class Answer(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Standard output as JSON rows; anything else there is an error of the test."""
        return [json.loads(line, parse_constant=_no_constant) for line in self.out.splitlines()]


def _no_constant(text: str) -> float:
    raise AssertionError(f"{text} is no JSON")


class Shell:
    """`shell("evaluate", folder, "--json")` runs a command; `shell.fails(2, ...)` returns its one line."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.capsys, self.monkeypatch = capsys, monkeypatch
        monkeypatch.setattr("hamguard.api.sheets.ANSWERS", 3)  # of 10; most of the time of a sheet goes into its cells

    def __call__(self, *words: object) -> Answer:
        self.monkeypatch.setattr(sys, "argv", ["hamguard", *map(str, words)])
        self.monkeypatch.setattr(sys, "path", list(sys.path))
        self.capsys.readouterr()
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # a person would see it as noise among the answers
            with pytest.raises(SystemExit) as caught:
                main.run()
        out, err = self.capsys.readouterr()
        return Answer(int(caught.value.code or 0), out, err)

    def done(self, *words: object) -> Answer:
        answer = self(*words)
        assert answer.code == 0, answer.err
        return answer

    def fails(self, code: int, *words: object) -> str:
        answer = self(*words)
        assert answer.code == code, (answer.out, answer.err)
        line = answer.err.removesuffix("\n")
        assert line.startswith("hamguard: ") and "\n" not in line and "Traceback" not in line, answer.err
        assert answer.out == "", answer.out
        return line


def write_arrays(path: Path, n: int = 300, classes: int = 5, size: int = 16, seed: int = 0, **more: Any) -> Path:
    """An `arrays:` file of noisy gray prototypes, one a class, that a small net learns in an epoch or two."""
    kinds = np.random.default_rng(99).integers(0, 256, (classes, size, size))
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    images = np.clip(kinds[labels] + rng.normal(0, 40, (n, size, size)), 0, 255).astype(np.uint8)
    np.savez(path, **{"images": images, "labels": labels, **more})
    return path


def write_picture(path: Path, height: int = 16, width: int = 16, color: bool = False, seed: int = 0) -> Path:
    shape = (height, width, 3) if color else (height, width)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)).save(path)
    return path


def write_pictures(folder: Path, n: int = 80, size: int = 16) -> Path:
    """A folder of gray pictures that nobody labeled."""
    folder.mkdir()
    for number in range(n):
        write_picture(folder / f"{number:03d}.png", size, size, seed=number)
    return folder


def few_photos(place: Path) -> Source:
    """`coco18` with 90 drawn pictures of 96 pixels in the place of its 8,000 photos, which are not everywhere."""
    draw = np.random.default_rng(0)
    images = np.kron(draw.integers(0, 256, (90, 6, 6, 3), np.uint8), np.ones((1, 16, 16, 1), np.uint8))
    texts = np.array([f"a {('dog', 'boat', 'pizza')[i % 3]} number {i % 5}" for i in range(90)])
    labels = np.eye(3, dtype=np.uint8)[np.arange(90) % 3]
    np.savez(place, images=images, labels=labels, texts=texts, split=np.arange(90) // 3 % 4)

    def read(folder: Path, **more: Any) -> Dataset:
        return replace(read_arrays(place, **more), name="coco18")

    return replace(SOURCES["coco18"], read=read, found=lambda folder: True)


class InThisProcess:
    """A pool that runs a study's chains where it stands; `test_processes_give_the_same_rows` starts the processes."""

    def __init__(self, count: int, context: Any, begin: Any, queue_and_parent: tuple[Any, int]) -> None:
        study_run._QUEUE = queue_and_parent[0]

    def __enter__(self) -> InThisProcess:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def submit(self, chain: Callable[..., Any], *given: Any) -> Any:
        *asked, _parent = given  # a process without a parent watches over none
        done: Future[Any] = Future()
        done.set_result(chain(*asked, 0))
        return done
