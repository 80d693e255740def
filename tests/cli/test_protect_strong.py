"""`hamguard protect --strong` with a network of the panel that ships."""

from __future__ import annotations

from pathlib import Path

import pytest

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
    assert "2 gradient steps against panel:resnet56-itq" in said
    assert "--strong worked without some of its networks; pip install it brings them" in said
