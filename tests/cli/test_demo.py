"""The demo: its ten lines are those of its rows, and a small run of it leaves a page with every stage."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hamguard.api import demo
from hamguard.api.data import data
from hamguard.core.context import Context
from hamguard.core.errors import RunError
from hamguard.core.rows import Row, Rows, read_rows
from hamguard.hashing.csq import CSQ
from hamguard.report.demo_summary import summary
from tests.cli.helpers import Shell


def facts(value: float, metric: str = "map", *, hard: bool = False, task: str = "query->database", **more: Any) -> Row:
    defense = {"method": "distill"} if hard else None
    whole: dict[str, Any] = {
        "value": value,
        "metric": metric,
        "task": task,
        "defense": defense,
        "n": 300,
        "bits": 32,
        **more,
    }
    return Row(**whole)


def attack(value: float, method: str, metric: str = "map", **more: Any) -> Row:
    named: dict[str, Any] = {
        "method": method,
        **{key: more.pop(key) for key in ("labels", "guide", "view", "passed") if key in more},
    }
    more.setdefault("threat", {"norm": "linf", "eps": 0.2})
    return facts(value, metric, attack=named, **more)


def few() -> list[Row]:
    """The rows that the lines are made of, each with a figure of its own, and some that resemble them."""
    half: dict[str, Any] = {"n": 60, "threat": {"norm": "linf", "eps": 0.1}}
    protected: dict[str, Any] = {"threat": {"norm": "linf", "eps": 0.3}}
    return [
        facts(0.901, train="digits, 1,347 pictures"),
        facts(0.902, "precision", at=100),
        facts(0.103, "random_map", n=60),
        facts(0.104, "random_map"),
        attack(0.805, "noise"),
        attack(0.106, "hag"),
        attack(21.7, "hag", "bits-moved", task="query"),
        attack(0.107, "mainstay", guide="mainstay"),
        attack(0.051, "ideal-code", guide="own"),
        attack(0.052, "ideal-code", guide="mainstay"),
        facts(0.108, "t-map"),
        attack(0.609, "dhta", "t-map"),
        attack(0.333, "dhta"),
        facts(0.910, n=60),
        attack(0.211, "audit", labels="aware", **half),
        attack(0.212, "audit", labels="free", **half),
        facts(0.813, hard=True),
        attack(0.414, "mainstay", guide="mainstay", hard=True),
        attack(0.515, "audit", labels="aware", hard=True, **half),
        attack(0.0, "sanity", "check", passed=True, task="sanity", hard=True),
        attack(0.0, "sanity", "check", passed=False, task="sanity", hard=True),
        attack(0.716, "noise", task="C->A", train="C", **protected),
        attack(0.117, "ppl", task="C->A", train="C", **protected),
        attack(0.818, "ppl", task="A->A", train="A", **protected),
        attack(0.0, "protect", "left top", task="protected->original", view="jpeg:85", at=10, n=40, **protected),
        attack(0.619, "protect", "left top", task="protected->original", at=10, n=40, **protected),
        attack(0.021, "noise", "left top", task="noise->original", at=10, n=40),
    ]


def assert_figures_are_those_of(rows: list[Row], lines: list[str]) -> None:
    values = [row.value for row in rows if row.value is not None]
    written = {f"{value:.3f}" for value in values} | {f"{value:.1%}" for value in values}
    written |= {f"{value:.1f}" for value in values}
    written |= {str(number) for row in rows for number in (row.n, row.at, row.bits) if number is not None}
    written |= {f"{row.threat['eps']:g}" for row in rows if row.threat and row.threat.get("eps")}
    written |= {text for row in rows for text in re.findall(r"[\d,]*\d", row.train or "")}
    checks = [row for row in rows if row.metric == "check" and row.attack and row.attack["method"] == "sanity"]
    written |= {str(len(checks)), str(sum(bool(row.attack and row.attack["passed"]) for row in checks))}
    for line in lines:
        for figure in re.findall(r"(?<![\w])\d[\d,]*(?:\.\d+)?%?", line[3:]):
            assert figure in written, (figure, line)


def test_ten_lines_of_rows() -> None:
    lines = summary(few())
    assert len(lines) == 10 and all(len(line) <= 132 and "\n" not in line for line in lines)
    assert [line.split()[1] for line in lines] == [
        "learn", "search", "attack", "attack", "attack", "attack", "audit", "harden", "protect", "verify",
    ]  # fmt: skip
    assert_figures_are_those_of(few(), lines)
    wanted = [
        ("32", "0.901", "0.104"), ("90.2%", "100", "300"), ("0.2", "0.805"), ("21.7", "0.106"), ("0.107", "0.052"),
        ("0.108", "0.609"), ("60", "0.1", "0.910", "0.211", "0.212"),
        ("0.107", "0.414", "0.211", "0.515", "0.901", "0.813", "1 of 2"),
        ("0.3", "0.117", "0.716", "0.818"), ("61.9%", "40", "2.1%"),
    ]  # fmt: skip
    for line, figures in zip(lines, wanted, strict=True):
        assert all(figure in line for figure in figures), (line, figures)


def test_a_changed_row_changes_its_line() -> None:
    rows = few()
    rows[14] = replace(rows[14], value=0.246)
    changed = [new for new, old in zip(summary(rows), summary(few()), strict=True) if new != old]
    assert len(changed) == 2 and all("0.246" in line for line in changed)  # the audit, and what hardening makes of it


def test_a_missing_row_is_said() -> None:
    with pytest.raises(RunError, match="lack one of t-map"):
        summary([row for row in few() if row.metric != "t-map"])


SMALL = {  # of the demo's constants: what it shows holds after less training and fewer gradients
    "AUDITED": 10, "STEPS": 6, "SHOWN": 3, "HARDENING": {"method": "distill", "epochs": 6, "lr": 3e-3},
    "GAME": {"warmup": 50, "batch_size": 32, "epochs": 2},
}  # fmt: skip


def make_demo_small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SMALL.items():
        monkeypatch.setattr(demo, name, value)  # which fails where the demo has no such number any more
    monkeypatch.setattr(CSQ, "training", {**CSQ.training, "epochs": 8})
    monkeypatch.setattr("hamguard.data.digits.SIZE", 16)  # of 28


@pytest.mark.slow
def test_the_demo_ends_in_ten_lines_and_a_page(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of the demo with smaller numbers; the checks of every change run it as it is."""
    make_demo_small(monkeypatch)
    out = tmp_path / "a demo"
    answer = shell.done("demo", "--out", out)
    rows = read_rows(out / "rows.jsonl")
    assert answer.out.splitlines() == summary(rows)
    assert_figures_are_those_of(rows, summary(rows))
    assert Rows(rows).once() == rows
    assert_page_has_every_stage(out, answer.err, rows)
    assert_it_shows_what_it_says(out, rows)
    assert len(shell.done("search", out / "index", "query:0", "--json").rows) == 10
    assert_it_goes_on(out)


def assert_it_goes_on(out: Path) -> None:
    """What is trained is read; a folder of another tour, or a damaged one, is trained over."""
    weights = out / "model" / "model.safetensors"
    content, written = weights.read_bytes(), weights.stat().st_mtime_ns
    tour = demo._Tour(out, data("digits"), Context())
    assert tour.learn().place == str(out / "model") and weights.stat().st_mtime_ns == written
    weights.write_bytes(content[:-9])
    tour.learn()
    assert weights.read_bytes() == content
    replace(tour, context=Context(seed=1)).learn()
    assert weights.read_bytes() != content


def assert_page_has_every_stage(out: Path, told: str, rows: list[Row]) -> None:
    assert str(out / "report.html") in told and (out / "effect" / "report.html").is_file()
    assert "https://" not in (out / "effect" / "report.html").read_text(encoding="utf-8")
    stages = [line.split(":")[0] for line in told.splitlines() if re.match(r"\d\. ", line)]
    assert stages == [
        "1. learn", "2. search", "3. attack", "4. audit", "5. harden", "6. protect", "7. verify", "8. report",
    ]  # fmt: skip
    page = (out / "report.html").read_text(encoding="utf-8")
    for heading in (
        "Retrieval of clean models", "Attacks", "Defenses", "Four searches of a protection", "Effect on files", "Audits and checks",
        "Curves", "Retrieval sheets", "Further curves", "Protection", "Settings",
    ):  # fmt: skip
        assert re.search(rf"<h2[^>]*>{heading}</h2>", page), heading
    assert not re.search(r"""(?:src|href)=["'](?!#|data:)""", page)
    assert re.search(r'<h1>.*?<img src="data:image/png[^>]*mainstay', page, re.DOTALL), (
        "it opens with queries before and after"
    )
    assert page.count('src="data:image/png') >= 8  # six pictures, and curves of both models
    said = re.search(r"protected by (\w+)", page)
    assert said and said[1] == "ppl"
    assert {row.model for row in rows if row.metric == "curve-precision"} == {str(out / "model"), str(out / "hardened")}


def assert_it_shows_what_it_says(out: Path, rows: list[Row]) -> None:
    """What it is to show, with room for what other processors round: search, attack, hardening, checks, protection."""
    assert rows[0].metric == "map" and (rows[0].value or 0) >= 0.9
    with Image.open(out / "sheet.png") as picture:
        assert picture.format == "PNG" and np.asarray(picture.convert("RGB")).std() > 10
    before, after = (
        {
            (row.attack or {}).get("method"): row.value or 0
            for row in rows
            if row.metric == "map" and row.model == str(out / name) and row.task != "sanity"
        }
        for name in ("model", "hardened")
    )
    assert after["mainstay"] >= before["mainstay"] + 0.15 and after[None] >= before[None] - 0.03
    checks = [row.attack for row in rows if row.metric == "check" and row.attack and row.attack["method"] == "sanity"]
    assert [check["passed"] for check in checks] == [True] * 7
    trained = {name: {row.task: row.value or 0 for row in rows if row.train == name} for name in "CA"}
    assert trained["C"]["C->C"] > max(trained["C"]["C->A"], trained["C"]["A->C"]) + 0.45
    assert trained["A"]["A->A"] > max(trained["A"][task] for task in ("C->C", "C->A", "A->C")) + 0.25
    assert len(list((out / "protected").glob("*.png"))) == 40
