"""The worst of each query, stage by stage."""

from __future__ import annotations

import numpy as np
import pytest

from hamguard.evaluation.audit.worst import REACHED, Worst, spent_by


def made() -> Worst:
    return Worst(np.array([0.9, 0.8, 0.2]), np.array([0.1, 0.1, 0.2 - REACHED / 2]), np.zeros((3, 2, 2), np.uint8))


def note(worst: Worst, kind: str, numbers: list[int], ap: list[float], **facts: object) -> None:
    at, each = np.array(numbers), np.array(ap)
    worst.offer(at, np.full((len(at), 2, 2), 7, np.uint8), each)
    count = np.full(len(at), 2, np.int64)
    worst.note("stage", kind, at, each, (count, count, 1.0), **facts)


def test_only_worse_pictures_are_kept_and_who_made_them_is_known() -> None:
    worst = made()
    assert worst.open.tolist() == [0, 1], "the third is as low as its guide"
    note(worst, "gradient", [0, 1], [0.5, 0.85], guide="own")
    assert worst.ap.tolist() == [0.5, 0.8, 0.2] and worst.by.tolist() == [0, -1, -1]
    assert worst.pixels[0].max() == 7 and worst.pixels[1].max() == 0
    note(worst, "answers", [0, 1], [0.4, 0.7])
    assert worst.by.tolist() == [1, 1, -1] and worst.stages[-1].after == pytest.approx((0.4 + 0.7 + 0.2) / 3)


def test_least_under_a_kind_and_without_labels() -> None:
    worst = made()
    note(worst, "gradient", [0, 1, 2], [0.5, 0.5, 0.5], guide="center")
    note(worst, "transfer", [1], [0.3], guide="center")
    note(worst, "gradient", [0], [0.7], guide="own")
    assert worst.under("gradient").tolist() == [0.5, 0.5, 0.2] and worst.under("transfer").tolist() == [0.9, 0.3, 0.2]
    assert worst.label_free().tolist() == [0.7, 0.8, 0.2]
    forwards, backwards = spent_by(worst.stages, 3)
    assert forwards.tolist() == [4, 4, 2] and backwards.tolist() == [4, 4, 2]
