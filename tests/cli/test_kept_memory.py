"""Freed memory is kept for the next batch, unless the user's environment says otherwise."""

from __future__ import annotations

import ctypes

import pytest

from hamguard.cli.memory import KEPT, MMAP_THRESHOLD, TRIM_THRESHOLD, keep_freed


class Library:
    def __init__(self) -> None:
        self.told: dict[int, int] = {}

    def mallopt(self, parameter: int, value: int) -> int:
        self.told[parameter] = value
        return 1


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    made = Library()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: made)
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)
    return made


def test_the_library_is_told_to_keep_what_is_freed(library: Library) -> None:
    keep_freed()
    assert library.told == {TRIM_THRESHOLD: KEPT, MMAP_THRESHOLD: KEPT}


def test_words_of_the_user_count(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1")
    keep_freed()
    assert library.told == {}


def test_a_system_without_such_a_call_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refuse(name: object) -> None:
        asked.append(name)
        raise OSError("no such library")

    for word in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"):
        monkeypatch.delenv(word, raising=False)
    monkeypatch.setattr(ctypes, "CDLL", refuse)
    keep_freed()
    assert asked == [None]
