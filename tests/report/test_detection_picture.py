"""The picture of a detector: written in full, or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hamguard.core.errors import RequestError
from hamguard.report.detection import draw_detection

GROUPS = [("clean $queries$", np.linspace(0, 1, 21), 0.05), ("attacked", np.ones(5), 1.0)]


@pytest.mark.parametrize("threshold", [0.0, 0.95, 1.0])
def test_it_is_drawn_at_any_threshold(threshold: float, tmp_path: Path) -> None:
    draw_detection(GROUPS, threshold, 20, tmp_path / "d.png", title="model_of_mine")
    with Image.open(tmp_path / "d.png") as picture:
        colors = {tuple(one) for one in np.asarray(picture.convert("RGB")).reshape(-1, 3)}
    assert (0x44, 0x77, 0xAA) in colors or threshold == 0.0


def test_other_file_types_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"written as \.png, \.svg, \.pdf, got d\.txt"):
        draw_detection(GROUPS, 0.9, 20, tmp_path / "d.txt")
    assert not list(tmp_path.iterdir())
