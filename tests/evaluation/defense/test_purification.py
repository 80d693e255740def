"""What purifiers are worth: attacked by who does not know them, and through them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hamguard.attacks.budget import Budget, Linf
from hamguard.core.context import Context
from hamguard.core.errors import RequestError
from hamguard.data.dataset import Dataset
from hamguard.data.opened import Data
from hamguard.data.split import Split
from hamguard.defenses.purify import parse_purifier
from hamguard.evaluation.defense.purification import NOT_ADAPTIVE, PurifierLine, measure_purifiers
from hamguard.evaluation.ground import Ground, Loaded
from hamguard.models.hash_model import HashModel
from tests.defenses.conftest import make_dataset, make_model
from tests.defenses.test_purify import folder, make_ground  # noqa: F401 - a fixture


@pytest.fixture(scope="module")
def lines(
    folder: Path,  # noqa: F811 - the fixture
    tmp_path_factory: pytest.TempPathFactory,
) -> list[PurifierLine]:
    words = ("jpeg:75", "resize:0.5", f"comdefend:{folder}")
    chains = [parse_purifier(word) for word in words]
    ground = replace(make_ground(), context=Context(work=tmp_path_factory.mktemp("w")))
    return list(measure_purifiers(ground, chains, Budget(Linf(0.1), steps=6), draws=2).lines)


def test_who_knows_the_purifier_is_at_least_as_strong(lines: list[PurifierLine]) -> None:
    assert [line.purifier.partition(":")[0] for line in lines] == ["none", "jpeg", "resize", "comdefend"]
    for line in lines:
        assert line.metric == "map" and line.clean is not None
        assert line.unaware >= line.adaptive - 0.05, line.purifier
        assert line.clean > line.adaptive or line.purifier.startswith("comdefend"), line.purifier
    resized = lines[2]
    assert resized.unaware > resized.adaptive, "a gradient that is right gains over one of another model"


def test_rows_say_who_knew_what(lines: list[PurifierLine]) -> None:
    assert all(row.defense is None for row in lines[0].rows)
    for line, draws in zip(lines[1:], (1, 1, 2), strict=True):
        rows = [row for row in line.rows if row.model != "random codes"]
        assert all(row.defense and row.defense["method"] == "purify" for row in rows)
        assert all(row.defense and row.defense["with"] == line.purifier for row in rows)
        attacked = [row for row in rows if row.attack and row.attack["method"] == "mainstay"]
        worst = [row for row in attacked if row.attack and "worst_of" in row.attack]
        assert len(worst) == 1 and worst[0].value == line.worst <= min(line.unaware, line.adaptive)
        attacked = [row for row in attacked if row not in worst]
        aware = [row for row in attacked if row.attack and row.attack["adaptive"]]
        others = [row for row in attacked if row not in aware]
        assert len(aware) == len(others) > 3
        assert all(row.attack and row.attack["draws"] == draws and NOT_ADAPTIVE not in row.notes for row in aware)
        assert all(NOT_ADAPTIVE in row.notes and row.attack and row.attack["made_on"] == ["plain"] for row in others)
        assert len([row for row in rows if row.metric == "map" and row.attack is None]) == 1
        assert any(f"over {draws} draws" in note for row in aware for note in row.notes) == (draws > 1)
    assert len({row.hashes["model"] for line in lines for row in line.rows if row.hashes}) == 4


def test_without_labels_bits_are_counted(tmp_path: Path) -> None:
    dataset, split = make_dataset()
    bare = Dataset("bare", dataset.images, np.zeros((96, 0), np.uint8), (), dataset.ids)
    parts = Split(
        train=split.train, validation=split.validation, query=split.query, database=split.database, protocol="test",
        seed=0, content=bare.digest,
    )  # fmt: skip
    model: HashModel = make_model(dataset).requires_grad_(False)
    ground = Ground.open(Loaded("plain", model), Data(bare, parts), context=Context(work=tmp_path))
    found = measure_purifiers(ground, [parse_purifier("resize:0.5")], Budget(Linf(0.1), steps=3)).lines
    assert [line.metric for line in found] == ["bits-moved"] * 2 and found[1].clean is None
    assert found[1].worst >= max(found[1].adaptive, found[1].unaware) > 0 and found[0].worst == found[0].adaptive


def test_a_purifier_is_named_once() -> None:
    twice = [parse_purifier("jpeg:75"), parse_purifier("jpeg:75")]
    with pytest.raises(RequestError, match="purifier jpeg:75 is named twice"):
        measure_purifiers(make_ground(), twice)
