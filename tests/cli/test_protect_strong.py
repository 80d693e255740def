"""`hamguard protect --strong` with a network of the panel that ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hamguard.models.panel import PanelEntry
from hamguard.privacy import strong
from tests.cli.helpers import Shell
from tests.privacy.helpers import write


def test_strong_needs_no_model_of_ones_own(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And it names what is not here."""
    monkeypatch.setattr(strong, "ENSEMBLE", ("resnet56-itq", "lite2-itq"))
    absent = property(lambda self: "pip install it" if self.name == "lite2-itq" else "")
    monkeypatch.setattr(PanelEntry, "missing", absent)
    write(tmp_path / "in" / "one.png", 48, 48)
    said = shell.done("protect", tmp_path / "in", tmp_path / "out", "--strong", "--refine", "2", "--check", "0").out
    assert "2 gradient steps against panel:resnet56-itq" in said and "(10/255, png" in said
    assert "--strong worked without some of its networks; pip install it brings them" in said


def test_even_grounds_stay_nearly_as_they_are(shell: Shell, tmp_path: Path) -> None:
    """One pass of what ships: a sky moves by two levels at most, the texture below it by eight."""
    picture = np.full((200, 240, 3), 170, np.uint8)
    picture[100:] = np.random.default_rng(0).integers(60, 200, (100, 240, 1))
    Image.fromarray(picture).save(tmp_path / "sky.png")
    shell.done("protect", tmp_path / "sky.png", tmp_path / "out.png", "--check", "0")
    moved = np.abs(np.asarray(Image.open(tmp_path / "out.png")).astype(int) - picture)
    assert moved[:80].max() <= 2 and moved[100:].max() == 8
