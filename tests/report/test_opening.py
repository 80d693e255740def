"""What a page opens with: a picture where there is one, three sentences and a chart, every figure in them that of a row."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hamguard.core.rows import Row, write_rows
from hamguard.report.collect import collect, collect_rows
from hamguard.report.opening import Opening, opening
from hamguard.report.pictures import Picture, add_picture, may_be_listed, read_pictures
from hamguard.report.rows_page import rows_report, write_rows_page
from tests.report.rows_helpers import attacked, row, study

RESULTS = sorted((Path(__file__).parents[2] / "results").glob("*.jsonl"))
HARD: dict[str, Any] = {"model": "models/b", "defense": {"method": "saat"}, "hashes": {"model": "h2", "split": "s1"}}


def opened(rows: list[Row], *pictures: Picture) -> Opening:
    return opening(collect_rows(rows).entries, pictures)


def assert_figures_are_those_of(rows: list[Row], found: Opening) -> None:
    """Every figure of sentences and chart is the value of a row, and every bar is as long as its figure says."""
    values = [r.value for r in rows if r.value is not None]
    known = {f"{value:.3f}" for value in values} | {f"{value:.1%}" for value in values}
    said = [re.sub(r"[†‡≠]", "", text) for text in found.sentences]
    assert {text for one in said for text in re.findall(r"\d\.\d{3}\b|\d+\.\d%", one)} <= known
    for _, bars in found.chart.groups if found.chart else ():
        for bar in bars:
            text = re.sub(r"[†‡≠]", "", bar.text)
            assert text in known and 0 <= bar.low <= bar.size <= bar.high <= 100.001


@pytest.mark.parametrize("path", [*RESULTS, None], ids=lambda p: p.stem if p else "all together")
def test_openings_of_our_results_are_those_of_their_rows(path: Path | None) -> None:
    if not RESULTS:
        pytest.skip("no results here")
    collected = collect([path] if path else RESULTS)
    found = opening(collected.entries)
    assert 1 <= len(found.sentences) <= 3 and all(text[-1] == "." for text in found.sentences)
    assert_figures_are_those_of(collected.rows, found)


def test_clean_then_attacked_then_hardened() -> None:
    found = opened(study())
    assert found.sentences == (
        "digits: asked with unchanged pictures, models/a scores MAP 0.812, where 1 is a perfect list of answers; "
        "random codes score 0.101.",
        "The attack mainstay, which changes no pixel by more than 8/255, lowers that to 0.210; "
        "random noise of the same size leaves 0.793.",
        "Under the same attack models/b (saat) scores 0.550, models/a without defense 0.210; "
        "on unchanged pictures 0.701 in place of 0.812.",
    )
    assert found.chart is not None
    bars = {whose: {bar.what: (bar.text, bar.kind) for bar in bars} for whose, bars in found.chart.groups}
    assert bars == {
        "models/a": {
            "unchanged": ("0.812", "clean"), "random codes": ("0.101", "control"), "mainstay": ("0.210", "attacked"),
            "random noise": ("0.793", "control"),
        },
        "models/b (saat)": {"unchanged": ("0.701", "clean"), "mainstay": ("0.550", "attacked")},
    }  # fmt: skip
    assert_figures_are_those_of(study(), found)


def test_a_changed_row_changes_its_sentence_and_its_bar() -> None:
    rows = [replace(r, value=0.333, ci95=None) if r.value == 0.2101 else r for r in study()]
    found = opened(rows)
    assert "lowers that to 0.333" in found.sentences[1] and found.sentences[0] == opened(study()).sentences[0]
    assert found.chart is not None
    assert [bar.size for _, bars in found.chart.groups for bar in bars if bar.text == "0.333"] == [pytest.approx(33.3)]


def test_a_hardened_model_stands_beside_its_control() -> None:
    control = {**HARD, "model": "models/c", "defense": {"method": "control"}, "hashes": {"model": "h3"}}
    found = opened([*study(), attacked(0.2603, **control), attacked(0.3, seed=1, **{**control, "model": "models/d"})])
    assert (
        "models/a without defense 0.210, and models/c (control), its control without adversaries, 0.260;"
        in found.sentences[2]
    )
    assert found.chart is not None and ("models/c (control)", "0.260") in [
        (w, bars[0].text) for w, bars in found.chart.groups
    ]
    alone = opened([r for r in [*study(), attacked(0.9, **control)] if (r.defense or {}).get("method") != "saat"])
    assert not any("defense" in text for text in alone.sentences), "a control is no defense"


def test_an_attack_that_does_nothing_lowers_nothing() -> None:
    (_, second) = opened([row(0.5), attacked(0.6)]).sentences
    assert (
        second
        == "The attack mainstay, which changes no pixel by more than 8/255, leaves 0.600; no noise of that size was measured."
    )


@pytest.mark.parametrize(
    ("threat", "said"),
    [
        ({"norm": "l2", "eps": 0.5}, "changes a picture by at most 0.5 in length"),
        ({"norm": "l1", "eps": 12}, "changes a picture by at most 12 in sum"),
        ({"norm": "l0", "eps": 0.05}, "changes at most 5% of the pixels"),
        ({"norm": "words", "eps": 2}, "makes at most 2 word edits"),
        ({"norm": "soft", "eps": 2}, "has the budget soft 2"),
        ({"norm": "linf", "eps": "big"}, "has no bound that the rows name"),
        ({}, "has no bound that the rows name"),
    ],
)
def test_bounds_in_words(threat: dict[str, Any], said: str) -> None:
    assert f"which {said}," in opened([row(0.5), attacked(0.1, threat=threat)]).sentences[1]


def test_other_kinds_of_rows_open_in_their_own_words() -> None:
    toward = {"method": "dhta", "toward": True}
    rows = [row(0.8), row(0.11, metric="t-map"), attacked(0.61, metric="t-map", attack=toward)]
    assert "(t-MAP) from 0.110 to 0.610; no noise" in opened(rows).sentences[1]
    audit = {"method": "audit", "labels": "aware"}
    rows = [row(0.8), attacked(0.12, attack=audit), attacked(0.34, attack={**audit, "labels": "free"})]
    assert (
        opened(rows)
        .sentences[1]
        .endswith("models/a a score of 0.120 in place of 0.800; attackers who know no label leave 0.340.")
    )
    small = {"norm": "linf", "eps": 0.1}
    rows = [
        row(value, task=task, train="C", attack={"method": method}, threat=small)
        for method, values in (("ppl", (0.9, 0.21)), ("noise", (0.9, 0.87)))
        for task, value in zip(("C->C", "C->A"), values, strict=True)
    ]
    first, second = opened(rows).sentences
    assert (
        "finds unchanged ones with MAP 0.900" in first
        and "it finds with 0.210; random noise of the same size leaves 0.870." in second
    )
    rows = [
        row(0.6, metric="left top", at=10, task=f"{kind}->original", attack={"method": kind})
        for kind in ("protected", "noise")
    ]
    assert (
        "misses the original among its first 10 answers for 60.0% of 100 files; of noisy ones 60.0%."
        in opened(rows).sentences[0]
    )
    rows = [row(0.5 + n / 10, model=f"models/{n}") for n in range(3)]
    first, second = opened(rows).sentences
    assert (
        "models/2 scores MAP 0.700" in first and "the best of 3 models" in first and "models/0, scores 0.500" in second
    )


@pytest.mark.parametrize(
    "rows", [[Row()], [row(None)], [row(0.3, metric="odd", task="x")], [row(2.5), attacked(-1.0, threat={"eps": True})]]
)
def test_odd_rows_open_a_page(rows: list[Row], tmp_path: Path) -> None:
    found = opened(rows)
    assert found.sentences and "hamguard attack MODEL" in found.how
    write_rows_page(rows_report(collect_rows(rows)), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert found.sentences[0].split(";")[0] in page and "<code>hamguard attack MODEL" in page


def png(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path)
    return path


def test_the_page_opens_with_picture_sentences_and_chart_in_this_order(tmp_path: Path) -> None:
    pictures = [
        Picture(png(tmp_path / f"{n}.png"), caption, section)
        for n, (caption, section) in enumerate(
            [
                ("curves", "curves"),
                ("a sheet", "sheets"),
                ("models/z under hag", "attacks"),
                ("models/a under mainstay", "attacks"),
            ]
        )
    ]
    collected = collect_rows(study(), pictures=pictures)
    report = rows_report(collected)
    assert report.opening.picture is pictures[3] and report.opening.how == ""
    write_rows_page(report, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    places = [
        page.index(text)
        for text in (
            "<h1>",
            "<figcaption>models/a under mainstay",
            'class="words"',
            "asked with unchanged pictures",
            'class="chart"',
            "Retrieval of clean models</h2>",
            "models/z under hag",
        )
    ]
    assert places == sorted(places)
    assert page.count("<figcaption>models/a under mainstay") == 1 and "No picture lies beside these rows" not in page
    assert opened(study(), *pictures[:2]).picture is pictures[1] and opened(study(), pictures[0]).picture is None


def test_a_picture_belongs_to_the_rows_that_it_was_drawn_for(tmp_path: Path) -> None:
    one, other = tmp_path / "one.jsonl", tmp_path / "other.jsonl"
    write_rows(one, study())
    write_rows(other, study()[:3])
    sheet = png(tmp_path / "sub" / "sheet.png")
    assert (
        may_be_listed(one, sheet)
        and not may_be_listed(one, tmp_path / "s.svg")
        and not may_be_listed(one, tmp_path.parent / "s.png")
    )
    for _ in range(2):
        add_picture(one, Picture(sheet, "one", "attacks"))
    assert [picture.caption for picture in read_pictures(tmp_path)] == ["one"], "once, however often it is drawn"
    assert [picture.caption for picture in collect([one]).pictures] == ["one"]
    assert collect([other]).pictures == () and len(collect([one, other]).pictures) == 1
    write_rows(one, study()[:4])
    assert collect([one]).pictures == (), "these rows are others"
