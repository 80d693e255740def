"""Success of an attack toward another label, in its lines."""

from __future__ import annotations

import numpy as np

from hamguard.core.rows import Row, Rows
from hamguard.evaluation.measures.registry import Found


def test_the_attack_goes_toward_a_target(found: dict[str, Found]) -> None:
    rows, lines = Rows(found["toward"].rows), {line.name: line for line in found["toward"].lines}
    row: Row = lines["t-MAP, toward"].row
    assert row.metric == "t-map" and row.attack is not None and row.attack["toward"] is True
    before = rows.where(metric="t-map", attack=None).first()
    assert before is not None and row.value is not None and row.value >= float(before.value or 0)
    assert [line.row.metric for line in found["toward"].lines[1:]] == [
        "t-asr-code",
        "t-asr-code",
        "t-asr-top",
        "t-asr-top",
    ]
    near, far = (
        lines["t-asr-code: within 2 bits of the target's code"],
        lines["t-asr-code: within 5 bits of the target's code"],
    )
    assert near.values is not None and far.values is not None
    both = np.isfinite(near.values) & np.isfinite(far.values)
    assert (near.values[both] <= far.values[both]).all()
