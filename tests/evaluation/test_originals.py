"""Without labels everything is searched, and a picture is found where it stands among the first ten answers."""

from __future__ import annotations

import numpy as np
import pytest

from hamguard.codes.bank import CodeBank
from hamguard.core.rows import Row
from hamguard.data.opened import Data
from hamguard.evaluation.originals import note_of, places_of, scored_as, scores, searched_part, word_of


def bank(codes: list[list[int]], ids: list[str], labels: int = 0) -> CodeBank:
    return CodeBank.of(np.array(codes), np.zeros((len(codes), labels), np.uint8), ids=np.array(ids))


def data(labels: np.ndarray) -> Data:
    return Data.of(np.zeros((24, 8, 8), np.uint8), labels)


def test_without_labels_all_pictures_are_searched() -> None:
    bare, named = data(np.zeros((24, 2), np.uint8)), data(np.eye(2, dtype=np.uint8)[np.arange(24) % 2])
    assert searched_part(bare).index.tolist() == list(range(24))
    assert searched_part(named).index.tolist() == named.split.database.tolist()
    assert note_of(named) == () and "all 24 pictures are searched" in note_of(bare)[0]


def test_a_score_is_the_chance_that_the_original_is_among_the_first_ten() -> None:
    codes = [[1, 1, 1, 1]] + [[1, 1, 1, 0]] * 12  # twelve that are equally near, but one
    held = bank(codes, [str(i) for i in range(13)])
    asked = bank([[1, 1, 1, 1], [0, 0, 0, 0], [1, 1, 1, 0]], ["0", "0", "5"])
    places = places_of(asked, held)
    assert places is not None and places.tolist() == [0, 0, 5]
    assert scores(asked, held) == pytest.approx([1.0, 0.0, 10 / 12])
    assert places_of(bank([[1, 1, 1, 1]], ["elsewhere"]), held) is None


def test_rows_say_which_score_they_hold() -> None:
    bare, named = bank([[1, 1]], ["a"]), CodeBank.of(np.array([[1, 1]]), np.ones((1, 1), np.uint8))
    assert scored_as(Row(), named) == Row(task="query->database", metric="map", ties="expected")
    assert scored_as(Row(), bare) == Row(task="query->database", metric="found", at=10, ties="expected")
    assert (word_of(named), word_of(bare)) == ("MAP", "share found")
