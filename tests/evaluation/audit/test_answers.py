"""The search that is asked: padded answers, and searches of other people."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest

from hamguard.core.errors import RequestError
from hamguard.evaluation.audit.answers import ForeignSearch, padded


def test_answers_have_as_many_places_as_were_asked_for() -> None:
    found = padded(np.array([[3, 1]]), np.array([[0, 4]]), 4)
    assert found.ids.tolist() == [[3, 1, -1, -1]] and found.distances is not None
    assert found.distances.tolist() == [[0, 4, 4, 4]]
    assert padded(np.array([[3, 1]]), None, 2).ids.tolist() == [[3, 1]]


def test_names_of_items_become_numbers_and_distances_may_be_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    place = ModuleType("searches_of_others")
    place.search = lambda: lambda pixels, k: ([["b", "a"], ["a", "c"]], [[1, 2], [1, 3]])  # type: ignore[attr-defined]
    place.odd = lambda: 3  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, place.__name__, place)
    ask = ForeignSearch("searches_of_others:search", True)
    assert ask(np.zeros((2, 2, 2), np.uint8), 2).ids.tolist() == [[0, 1], [1, 2]] and ask.told
    shy = ForeignSearch("searches_of_others:search", False)
    assert shy(np.zeros((2, 2, 2), np.uint8), 2).distances is None and not shy.told
    with pytest.raises(RequestError, match="must return a function of \\(pixels, k\\), got int"):
        ForeignSearch("searches_of_others:odd", True)
    with pytest.raises(RequestError, match="`endpoint` must be package.module:factory"):
        ForeignSearch("searches_of_others:none", True)
