"""Success of an attack away from the own code, in its lines."""

from __future__ import annotations

import numpy as np
import pytest

from hamguard.core.rows import Rows
from hamguard.evaluation.measures.registry import Found


def test_rates_and_what_is_left(found: dict[str, Found]) -> None:
    rows, lines = Rows(found["success"].rows), {line.name: line for line in found["success"].lines}
    left = lines["MAP, attacked"]
    assert lines["MAP, clean"].row.attack is None and left.values is not None
    assert left.row.value == pytest.approx(left.values.mean()) and left.row.value < float(
        lines["MAP, clean"].row.value or 0
    )
    moved = lines["bits moved"].values
    assert moved is not None and ((moved >= 0) & (moved <= 8)).all()
    half = lines["asr-code: half of the bits turned"]
    assert half.row.metric == "asr-code" and half.row.at == 4 and half.row.value == pytest.approx((moved >= 4).mean())
    share, turned = found["success"].curves["turned"]
    assert len(share) == len(turned) == 8 and (np.diff(turned) <= 0).all()
    assert {row.at for row in rows.where(metric="asr-code")} == set(range(1, 9))
