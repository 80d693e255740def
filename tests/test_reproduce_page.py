"""The page of reproduced experiments is made of the recorded comparisons."""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import build_reproduce  # noqa: E402

from hamguard.evaluation.reproduce.experiment import EXPERIMENTS  # noqa: E402


def test_the_page_is_that_of_the_records() -> None:
    written = (ROOT / build_reproduce.PAGE).read_text(encoding="utf-8")
    assert written == build_reproduce.page(), "run: uv run python tools/build_reproduce.py"
    assert set(build_reproduce.recorded()) <= set(EXPERIMENTS)


def test_a_changed_record_changes_the_page(tmp_path: Path) -> None:
    folder = tmp_path / build_reproduce.RECORDED
    folder.mkdir(parents=True)
    line = {"setting": "a figure", "published": 0.5, "ours": 0.625, "difference": 0.125, "ci95": [0.6, 0.65], "n": 9}
    said = {"claim": "a over b", "verdict": "does not hold", "figures": "0.1 <= 0.2"}
    record = {"experiment": "ppl-table1", "lines": [line], "relations": [said]}
    (folder / "ppl-table1.json").write_text(json.dumps(record), encoding="utf-8")
    text = build_reproduce.page(tmp_path)
    assert "| a figure | 0.500 | 0.625 | +0.125 | 0.600 to 0.650 |" in text
    assert "* **does not hold**: a over b (0.1 <= 0.2)." in text and "| 0 of 1 |" in text


def test_the_recorded_times_are_within_the_stated_ones() -> None:
    found = build_reproduce.recorded()
    for name, record in found.items():
        stated = EXPERIMENTS[name].minutes * 60
        assert record["seconds"] <= stated, f"{name} took {record['seconds']} s, stated are {stated} s"
