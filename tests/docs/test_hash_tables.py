"""What the page on photos says of heads is made of whatever rows are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from hamguard.core.rows import Row, write_rows

ROOT = Path(__file__).parents[2]
LITE, MOBILE = "efficientnet_lite0", "mobilenet_v2_tf"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "published.csv").write_text(
        "source,table,dataset,method,bits,train,task,metric,steps,value\n"
        "cisip-FIRe repository,x,ImageNet-100,csq,64,,,map@1000,,0.686\n"
    )
    return tmp_path


def row(method: str | None, value: float, seed: int = 0, *, bits: int = 64, network: str = LITE, task: str = "") -> Row:
    metric = "map" if method else "random_map"
    ci95, where = (value - 0.01, value + 0.01), task or "query->database"
    return Row(
        method=method,
        backbone=network,
        bits=bits,
        seed=seed,
        metric=metric,
        value=value,
        ci95=ci95,
        seconds=4.0,
        task=where,
    )


def written(root: Path, *rows: Row) -> str:
    from hash_tables import head_tables

    write_rows(root / "results" / "hash_learning_mine.jsonl", rows)
    return "\n".join(head_tables(root, "mine", network=LITE, bits=64))


def test_methods_stand_by_their_mean_with_labels_first(root: Path) -> None:
    text = written(root, row("itq", 0.9), row("csq", 0.5), row("csq", 0.7, 1), row("dpn", 0.65), row(None, 0.1))
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[0] for line in lines] == ["| method", "| dpn", "| csq", "| itq"]
    assert "| csq | yes | 0.600 (0.590 .. 0.610) | 0.141 | 4.0 | 0.686 |" in text
    assert "| itq | no | 0.900 (0.890 .. 0.910) | | 4.0 | |" in text
    assert "seeds: 1 or 2. Random codes have MAP 0.100." in text and "all networks" not in text


def test_networks_and_lengths_that_are_not_recorded_have_no_column(root: Path) -> None:
    more = [row("csq", 0.4, bits=16), row("csq", 0.8, network=MOBILE), row("adsh", 0.3), row("dpn", 0.5)]
    text = written(root, row(None, 0.1), row("csq", 0.5), *more, row("adsh", 0.9, task="query->learned codes"))
    assert "| method | Lite0, 16 bits | Lite0, 64 bits | MobileNetV2, 64 bits |" in text
    assert "| csq | 0.400 | 0.500 | 0.800 |" in text and "| dpn | | 0.500 | |" in text
    assert "ADSH searched by its own learned codes of the training part: 0.900 (0.890 .. 0.910)." in text


def test_the_benchmarks_methods_are_told_apart_by_what_they_learn_from(root: Path) -> None:
    from hash_tables import takes_labels

    names = ["csq", "orthohash-arc", "bihalf-labels", "bihalf", "cibhash", "itq", "hashing-baseline"]
    assert [takes_labels(name) for name in names] == [True, True, True, False, False, False, False]
