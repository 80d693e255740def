from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from tests.cli.helpers import Shell, write_arrays

GENERATOR = [
    word
    for setting in ("width=8", "budget=hard", "eps=0.2", "batch_size=64", "prototype_steps=20")
    for word in ("--set", setting)
]


class World(NamedTuple):
    """A trained model with all that the commands make of it; tests read it and never write to it."""

    root: Path
    data: str
    model: Path
    codes: Path
    index: Path
    picture: Path


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.delenv("HAMGUARD_DATA", raising=False)
    monkeypatch.delenv("HAMGUARD_DEBUG", raising=False)
    return Shell(capsys, monkeypatch)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    from typer.testing import CliRunner

    from hamguard.cli.main import app

    root = tmp_path_factory.mktemp("a world")  # with a space, as people's folders have
    data = f"arrays:{write_arrays(root / 'toy.npz')}"
    made = World(root, data, root / "model", root / "codes", root / "index", root / "picture.png")
    Image.fromarray(np.load(root / "toy.npz")["images"][3]).save(made.picture)
    for words in (
        ["train", "--data", data, "--bits", "12", "--epochs", "2", "--batch-size", "32", "--out", made.model],
        ["encode", made.model, "--out", made.codes],
        ["index", "build", made.codes / "database.npz", "--out", made.index],
    ):
        result = CliRunner().invoke(app, list(map(str, words)))
        assert result.exit_code == 0, (result.output, result.exception)
    return made


@pytest.fixture(scope="session")
def generator(world: World) -> Path:
    """A hardly trained generator against the world's model, at the eps of the small attacks."""
    from typer.testing import CliRunner

    from hamguard.cli.main import app

    folder = world.root / "generator"
    words = ["train", "--method", "prosgan", "--victim", world.model, "--out", folder, "--epochs", "1", *GENERATOR]
    result = CliRunner().invoke(app, list(map(str, words)))
    assert result.exit_code == 0, (result.output, result.exception)
    return folder
