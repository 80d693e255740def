"""What is known from text is what the import says."""

from __future__ import annotations

import sys

import pytest

from hamguard.api import names


def test_attacks_are_listed_from_text_as_from_their_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = names._attacks_loaded()
    assert names.attacks_listed() == loaded
    monkeypatch.delenv("HAMGUARD_PLUGINS", raising=False)
    monkeypatch.setattr(sys, "modules", {name: module for name, module in sys.modules.items() if name != "torch"})
    assert names.attacks_listed() == loaded
