"""The page of reproduced experiments is made of the recorded comparisons."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import build_reproduce  # noqa: E402
import record_reproduce  # noqa: E402

from hamguard.core.errors import RequestError  # noqa: E402
from hamguard.core.rows import Row, read_rows, write_rows  # noqa: E402
from hamguard.evaluation.reproduce.experiment import EXPERIMENTS  # noqa: E402


def test_the_page_is_that_of_the_records() -> None:
    written = (ROOT / build_reproduce.PAGE).read_text(encoding="utf-8")
    assert written == build_reproduce.page(), "run: uv run python tools/build_reproduce.py"
    found = build_reproduce.recorded()
    assert set(found) <= set(EXPERIMENTS)
    assert all(one.name.startswith(name) for name, several in found.items() for one in several)


LINE = {"setting": "a figure", "published": 0.5, "ours": 0.625, "difference": 0.125, "ci95": [0.6, 0.65], "n": 9}
SAID = {"claim": "a over b", "verdict": "does not hold", "figures": "0.100 < 0.200", "kind": "claim", "printed": ""}


def kept(
    root: Path, name: str, experiment: str, lines: list[dict[str, Any]], relations: list[dict[str, Any]], **more: Any
) -> None:
    folder = root / build_reproduce.RECORDED
    folder.mkdir(parents=True, exist_ok=True)
    record = {"experiment": experiment, "scale": "small", "seconds": 1, "lines": lines, "relations": relations, **more}
    (folder / f"{name}.json").write_text(json.dumps(record), encoding="utf-8")


def test_a_changed_record_changes_the_page(tmp_path: Path) -> None:
    kept(tmp_path, "ppl-table1", "ppl-table1", [LINE], [SAID])
    text = build_reproduce.page(tmp_path)
    assert "| a figure | 0.500 | 0.625 | +0.125 | 0.600 to 0.650 |" in text
    assert "* **does not hold**: a over b\n    * 0.100 < 0.200\n" in text
    assert "**0 hold, 0 are within the intervals, 1 do not hold, 0 cannot be tested.**" in text
    assert "| PPL | 1 | 0 | 0 | 1 | 0 |" in text and "before intervals" not in text
    assert all(f"## {name}\n" in text for name in EXPERIMENTS)  # other pages lead to sections, recorded or not
    assert text.count("Not recorded yet.") == len(EXPERIMENTS) - 1


def test_claims_are_counted_and_what_is_none_is_not(tmp_path: Path) -> None:
    verdicts = ("holds", "within the intervals", "not testable", "holds")
    relations = [{**SAID, "claim": f"claim {place}", "verdict": verdict} for place, verdict in enumerate(verdicts)]
    relations += [{**SAID, "claim": "our question", "kind": "ours"}]
    relations += [{**SAID, "claim": "not theirs", "kind": "contradicted", "printed": "in 8 of 12 cells not"}]
    kept(tmp_path, "hag-ablation", "hag-ablation", [], relations)
    kept(tmp_path, "hag-ablation-paper", "hag-ablation", [], relations[:1], scale="paper")
    kept(tmp_path, "hag-ablation-photos", "hag-ablation", [LINE], relations[:1], scale="photos")
    (tmp_path / build_reproduce.RECORDED / "hag-ablation.jsonl").write_text("")
    text = build_reproduce.page(tmp_path)
    assert "| HAG | 6 | 4 | 1 | 0 | 1 |" in text and "| all | 6 | 4 | 1 | 0 | 1 |" in text
    places = [text.index(f"### hag-ablation, {scale}\n") for scale in ("small scale", "photos", "paper scale")]
    assert places == sorted(places)
    assert "\nPhotos: 8,000 MS-COCO photos of 112 pixels" in text
    assert (
        "| claim 0 | holds | [hag-ablation](#hag-ablation), small scale | [rows](../results/reproduce/hag-ablation.jsonl) |"
        in text
    )
    assert "[hag-ablation](#hag-ablation), paper scale | [rows](../results/reproduce/hag-ablation-paper.json) |" in text
    assert "### hag-ablation, paper scale" in text and "## hag-ablation\n" in text
    assert "* **does not hold**: *we ask*: our question" in text
    assert "*not the paper's*: not theirs\n    * 0.100 < 0.200\n    * printed: in 8 of 12 cells not\n" in text


def test_a_control_has_a_line_of_its_own(tmp_path: Path) -> None:
    figures = "0.600 > 0.500 (+0.100); beside fine-tuning without adversaries: 0.600 < 0.700 (-0.100)"
    kept(tmp_path, "saat-table2", "saat-table2", [], [{**SAID, "figures": figures}])
    text = build_reproduce.page(tmp_path)
    assert (
        "    * 0.600 > 0.500 (+0.100)\n    * beside fine-tuning without adversaries: 0.600 < 0.700 (-0.100)\n" in text
    )


def test_blocks_and_reasons_stand_on_the_page(tmp_path: Path) -> None:
    lines = [
        {**LINE, "block": "published rule", "seeds": 3},
        {**LINE, "block": "no overlap", "why": "fewer pictures", "digits": 2},
    ]
    kept(tmp_path, "saat-table1-part", "saat-table1", lines, [], why="A small net.", part="a third",
         block_why={"no overlap": "Targets share no label."})  # fmt: skip
    text = build_reproduce.page(tmp_path)
    assert "Why ours differ: A small net." in text and "**Published rule.**\n" in text
    assert "**No overlap.** Targets share no label." in text
    assert "| a figure | 0.500 | 0.625 (3 seeds) | +0.125 | 0.600 to 0.650 |" in text
    assert "| a figure | 0.50 | 0.62 | +0.12 | 0.60 to 0.65 | fewer pictures |" in text
    assert "small scale, a third" in text


def test_older_records_can_still_be_read_and_say_so(tmp_path: Path) -> None:
    old = [{"claim": "Ours: it does", "verdict": "holds", "figures": "0.2 > 0.1"}]
    old += [{"claim": "dph: falls", "verdict": "not testable at this scale", "figures": "no figures"}]
    kept(tmp_path, "hag-bits", "hag-bits", [LINE], old)
    text = build_reproduce.page(tmp_path)
    assert "* **holds**: *we ask*: it does\n    * 0.2 > 0.1" in text and "* **not testable**: dph: falls\n" in text
    assert "Recorded before verdicts took intervals into account" in text and "| HAG | 1 | 0 | 0 | 0 | 1 |" in text


def run_folder(folder: Path, **more: Any) -> Path:
    folder.mkdir()
    content = {"experiment": "hag-bits", "scale": "paper", "lines": [], "relations": [], **more}
    (folder / "comparison.json").write_text(json.dumps(content), encoding="utf-8")
    write_rows(
        folder / "rows.jsonl",
        [Row(value=1.0, attack={"generator": "/a/b/prosgan-1"}, hashes={"values": "abc", "model": "def"})],
    )
    return folder


def test_a_run_is_recorded_with_its_rows(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run")
    assert record_reproduce.record(run, root=tmp_path) == "hag-bits-paper"
    assert record_reproduce.record(run, "hag-bits-32", "32 bits", root=tmp_path) == "hag-bits-32"
    folder = tmp_path / record_reproduce.RECORDED
    assert read_rows(folder / "hag-bits-32.jsonl")[0].attack == {"generator": "prosgan-1"}  # no path of the machine
    assert read_rows(folder / "hag-bits-32.jsonl")[0].hashes == {
        "model": "def"
    }  # values of single queries stay with the run
    found = build_reproduce.recorded(tmp_path)["hag-bits"]
    assert [(one.name, one.heading, one.rows) for one in found] == [
        ("hag-bits-32", "paper scale, 32 bits", True), ("hag-bits-paper", "paper scale", True)
    ]  # fmt: skip
    with pytest.raises(RequestError, match="called after it"):
        record_reproduce.record(run, "bits", root=tmp_path)
    with pytest.raises(RequestError, match="no experiment"):
        record_reproduce.record(run_folder(tmp_path / "other", experiment="hag-alfa"), root=tmp_path)


def test_a_sheet_is_kept_and_shown(tmp_path: Path) -> None:
    run, sheet = run_folder(tmp_path / "run"), tmp_path / "cell.png"
    sheet.write_bytes(b"picture")
    record_reproduce.record(run, root=tmp_path, pictures={"before and after": sheet})
    assert (tmp_path / record_reproduce.PICTURES / "hag-bits-paper-1.png").read_bytes() == b"picture"
    text = build_reproduce.page(tmp_path)
    assert "![before and after](images/reproduce/hag-bits-paper-1.png)\n\nbefore and after.\n" in text


def test_the_recorded_times_are_within_the_stated_ones() -> None:
    """On two cores; where a machine was shared, the seconds of its cores say what was spent."""
    every = [one for several in build_reproduce.recorded().values() for one in several]
    for one in (one for one in every if one.scale != "paper" and "core_seconds" in one.content):
        stated = EXPERIMENTS[one.experiment].minutes_at(one.scale) * 60
        spent = one.content["core_seconds"] / 2
        assert spent <= stated, f"{one.name} took {spent:.0f} s on two cores, stated are {stated} s"


def test_everything_is_recorded_and_judged_by_intervals() -> None:
    text = (ROOT / build_reproduce.PAGE).read_text(encoding="utf-8")
    for words in ("Not recorded yet", "Recorded before verdicts took intervals into account"):
        assert words not in text


@pytest.mark.parametrize("name", list(EXPERIMENTS))
def test_every_experiment_has_its_rows(name: str) -> None:
    folder = ROOT / build_reproduce.RECORDED
    assert any((folder / f"{name}{end}.jsonl").is_file() for end in ("", "-paper"))
    assert "photos" not in EXPERIMENTS[name].scales or (folder / f"{name}-photos.jsonl").is_file()
