"""The robust bench is made of the recorded rows, and a new row file finds its place in it."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hamguard.core.rows import Row, write_rows

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import build_bench  # noqa: E402

pytestmark = pytest.mark.xdist_group("figures")

CLEAN = Row(
    dataset="shop", split="s", model="plain", method="dpsh", backbone="conv8", bits=32, task="query->database",
    metric="map", value=0.8, ci95=(0.7, 0.9), n=100, hashes={"model": "h1"},
)  # fmt: skip
HAG = {"method": "hag", "guide": "own", "toward": False}


def attacked(value: float, *, steps: int = 100, **fields: object) -> Row:
    threat = {"norm": "linf", "eps": 8 / 255, "steps": steps, "grid": "8 bit"}
    return replace(CLEAN, value=value, ci95=None, threat=threat, **{"attack": HAG, **fields})


def bench(root: Path, *rows: Row) -> str:
    write_rows(root / "results" / "rows.jsonl", rows)
    return build_bench.page(root)


def lines(page: str) -> list[list[str]]:
    body = page.split("## What the tables do not show", maxsplit=1)[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in body.splitlines() if line.startswith("| dpsh")
    ]


def test_the_page_is_that_of_the_rows() -> None:
    page = (ROOT / "docs" / "bench.md").read_text(encoding="utf-8")
    assert page == build_bench.page(), "run: uv run python tools/build_bench.py"
    assert page.count("\n### ") > 10


def test_a_model_no_better_than_random_codes_has_no_line(tmp_path: Path) -> None:
    chance = replace(CLEAN, model="random codes", metric="random_map", value=0.3, ci95=(0.2, 0.71), hashes={})
    assert len(lines(bench(tmp_path, CLEAN, attacked(0.2)))) == 1
    page = bench(tmp_path, chance, CLEAN, attacked(0.2))
    assert not lines(page) and "1 attacked rows, the model's codes are no better than random ones" in page


def test_every_file_of_results_has_a_line() -> None:
    named = set(re.findall(r"`([\w-]+\.(?:jsonl|md))`", (ROOT / "results" / "README.md").read_text(encoding="utf-8")))
    there = {path.name for path in (ROOT / "results").iterdir() if path.suffix in (".jsonl", ".md")} - {"README.md"}
    assert named == there


def test_the_bench_needs_no_torch() -> None:
    code = "import sys; sys.path.insert(0, 'tools'); import build_bench; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_real_photos_stand_first_and_budgets_in_their_order(tmp_path: Path) -> None:
    rows = [CLEAN, attacked(0.4)]
    photos = {"dataset": "coco18", "model": "lite0", "backbone": "efficientnet_lite0", "hashes": {"model": "p"}}
    rows += [replace(CLEAN, **photos)]
    for levels in (8, 0.5, 2):
        threat = {"norm": "linf", "eps": round(levels / 255, 6), "steps": 100, "grid": "8 bit"}
        rows.append(replace(attacked(0.3, **photos), threat=threat))
    audit = {"method": "audit", "labels": "aware", "stages": 13, "held": 2}
    rows.append(replace(rows[-1], attack=audit, value=0.25, n=50, threat={**rows[-1].threat, "steps": None}))
    page = bench(tmp_path, *rows)
    assert re.findall(r"^### (.*)", page, flags=re.M) == [
        "coco18, query->database, linf 0.5/255",
        "coco18, query->database, linf 2/255",
        "coco18, query->database, linf 8/255",
        "shop, query->database, linf 8/255",
    ]
    photo = [cells for cells in lines(page) if "lite0" in cells[0]][1]
    assert photo[0] == "dpsh, 32 bits, efficientnet_lite0 (lite0)" and photo[6] == "0.250, 50 queries"


def test_the_strongest_attack_counts_and_the_most_robust_model_stands_first(tmp_path: Path) -> None:
    defended = {"model": "hard", "hashes": {"model": "h2"}, "defense": {"method": "saat"}}
    training = Row(model="hard", task="training", metric="core-seconds", value=1234.0)
    check = replace(
        attacked(0.5, **defended), task="sanity", metric="check", attack={"check": "transfer", "passed": False}
    )
    page = bench(
        tmp_path, CLEAN, attacked(0.3), attacked(0.2, attack={**HAG, "method": "center", "guide": "center"}),
        replace(CLEAN, value=0.7, **defended), attacked(0.5, **defended), training, check,
    )  # fmt: skip
    first, second = lines(page)
    assert first[:2] == ["dpsh, 32 bits, conv8 (hard)", "saat"]
    assert (first[2], first[4], first[8], first[9]) == ("0.700 (0.700 .. 0.900)", "0.500", "transfer", "1,234")
    assert (second[2], second[4], second[5]) == ("0.800 (0.700 .. 0.900)", "0.200", "center, 100")
    assert "center 0.200, hag, own 0.300" in page


def test_lines_that_must_not_be_compared_have_a_sign(tmp_path: Path) -> None:
    others = [attacked(0.4, model=name, hashes={"model": name}) for name in ("a", "b")]
    few = attacked(0.6, steps=10, model="c", hashes={"model": "c"})
    small = attacked(0.5, n=20, model="d", hashes={"model": "d"})
    signs = {cells[0]: cells[-1] for cells in lines(bench(tmp_path, *others, few, small))}
    assert signs == {
        "dpsh, 32 bits, conv8 (a)": "",
        "dpsh, 32 bits, conv8 (b)": "",
        "dpsh, 32 bits, conv8 (c)": build_bench.FEWER,
        "dpsh, 32 bits, conv8 (d)": build_bench.OTHER_QUERIES,
    }


def test_results_of_others_and_attacks_that_know_nothing_are_named(tmp_path: Path) -> None:
    other = attacked(0.1, notes=("external: A. Body, code at example.org",), attack={**HAG, "adaptive": False})
    assert (
        lines(bench(tmp_path, CLEAN, other))[0][5]
        == "hag, own, not adaptive, external: A. Body, code at example.org, 100"
    )


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (attacked(0.1, hashes={}), "lacks hashes.model"),
        (attacked(0.1, n=None, split=None), "lacks split, n"),
        (attacked(0.1, attack={**HAG, "combine": "sum"}), "leaves the ball"),
        (attacked(0.1, defense={"method": "detect"}), "a detector may refuse"),
    ],
)
def test_what_cannot_stand_beside_others_is_left_out_and_said(tmp_path: Path, row: Row, why: str) -> None:
    page = bench(tmp_path, CLEAN, attacked(0.4), row)
    assert [cells[4] for cells in lines(page)] == ["0.400"]
    assert "`results/rows.jsonl`: 1 attacked rows" in page
    assert why in page


def test_an_attack_toward_a_label_is_no_attack_away(tmp_path: Path) -> None:
    toward = replace(attacked(0.9, attack={"method": "dhta", "guide": "anchor", "toward": True}), metric="t-map")
    cells = lines(bench(tmp_path, CLEAN, attacked(0.4), toward))[0]
    assert (cells[4], cells[7]) == ("0.400", "0.900 dhta, anchor, 100")
