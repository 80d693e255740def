"""What is known from text is what the import says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hamguard.api import names
from hamguard.attacks.methods.registry import ATTACKS
from hamguard.core.registry import Registry
from hamguard.evaluation.measures.registry import MEASURES


@pytest.mark.parametrize(
    ("registry", "listed"),
    [(ATTACKS, names.attacks_listed), (MEASURES, names.measures_listed)],
    ids=lambda one: getattr(one, "kind", ""),
)
def test_entries_are_listed_from_text_as_from_their_functions(
    registry: Registry[Any], listed: Callable[[], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HAMGUARD_PLUGINS", raising=False)
    known = registry.names()
    assert not registry.written()  # of entries that are there, the entries are asked
    loaded = listed()
    monkeypatch.setattr(registry, "_entries", {})
    assert [one.name for one in registry.written()] == known
    assert listed() == loaded
    monkeypatch.setenv("HAMGUARD_PLUGINS", "my_plugin")
    assert not registry.written()  # a plugin may add some
