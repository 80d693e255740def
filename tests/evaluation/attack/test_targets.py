"""Target labels: each rule leaves out what it says, a picture's target depends on its name, and lists survive saving."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hamguard.core.errors import RequestError
from hamguard.evaluation.attack.targets import (
    PROTOCOLS,
    choose_targets,
    draw_targets,
    named_target,
    read_targets,
    save_targets,
)

NAMES = ("kind: cat", "kind: dog", "color: red", "color: blue")


def world(n: int = 200, q: int = 20, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    database = (rng.random((n, 4)) < 0.35).astype(np.uint8)
    labels = np.eye(4, dtype=np.uint8)[rng.integers(0, 4, q)]
    return labels, database, np.array([f"q{i}" for i in range(q)])


@pytest.mark.parametrize("rule", PROTOCOLS)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_every_rule_keeps_its_promise(rule: str, seed: int) -> None:
    labels, database, ids = world(seed=seed)
    found = draw_targets(rule, labels, database, ids=ids, seed=seed)
    pool, counts = np.unique(database, axis=0, return_counts=True)
    size = {row.tobytes(): int(count) for row, count in zip(pool, counts, strict=True)}
    for own, target in zip(labels, found.labels, strict=True):
        assert target.any() and size[target.tobytes()] >= 1, "a target is a label vector of the database"
        if rule == "no-overlap":
            assert not (own & target).any()
        if rule in ("other", "frequent"):
            assert size[target.tobytes()] > 9
        if rule == "other":
            assert not np.array_equal(own, target)


def test_rules_that_allow_overlap_do_draw_it() -> None:
    labels, database, ids = world(q=200)
    for rule in ("frequent", "distinct"):
        assert (draw_targets(rule, labels, database, ids=ids).labels & labels).any(), rule


def test_vectors_are_drawn_alike_however_common() -> None:
    database = np.repeat(np.eye(3, dtype=np.uint8), [1, 10, 1000], axis=0)
    labels = np.zeros((3000, 3), np.uint8)
    drawn = draw_targets("distinct", labels, database, ids=np.arange(3000)).labels.sum(0)
    assert drawn.min() > 900, drawn


def test_first_pictures_have_the_targets_of_the_whole_run() -> None:
    labels, database, ids = world()
    whole = draw_targets("no-overlap", labels, database, ids=ids, seed=3)
    part = draw_targets("no-overlap", labels[:7], database, ids=ids[:7], seed=3)
    assert np.array_equal(whole.labels[:7], part.labels)
    assert not np.array_equal(whole.labels, draw_targets("no-overlap", labels, database, ids=ids, seed=4).labels)


def test_vectors_without_reference_are_left_out_and_said() -> None:
    labels, database, ids = world()
    reference = np.eye(4, dtype=np.uint8)
    found = draw_targets("no-overlap", labels, database, reference=reference, ids=ids)
    assert (found.labels.sum(1) == 1).all()
    assert "no reference picture carries them" in found.notes[0]


def test_named_targets() -> None:
    _, database, _ = world()
    assert named_target("dog, blue", 2, NAMES, database).labels.tolist() == [[0, 1, 0, 1]] * 2
    assert named_target("kind: dog", 1, NAMES, database).labels.tolist() == [[0, 1, 0, 0]]
    with pytest.raises(RequestError, match="unknown label 'doge'; labels: kind: cat"):
        named_target("doge", 2, NAMES, database)
    database[:, 1] = 0
    with pytest.raises(RequestError, match="no database item has the target label kind: dog"):
        named_target("dog", 2, NAMES, database)


def test_lists_are_saved_and_read(tmp_path: Path) -> None:
    labels, database, ids = world()
    drawn = draw_targets("no-overlap", labels, database, ids=ids, seed=1)
    path = tmp_path / "targets.json"
    save_targets(path, drawn, ids, NAMES, 1)
    rest = {"reference": None, "ids": ids, "class_names": NAMES, "seed": 0}
    again = choose_targets(str(path), labels, database, **rest)
    assert np.array_equal(again.labels, drawn.labels) and again.digest == drawn.digest
    with pytest.raises(RequestError, match=r"has no target for 1 of 21 pictures, e\.g\. new"):
        read_targets(path, np.append(ids, "new"), NAMES, database)
    whole = json.loads(path.read_text())
    changed = dict(reversed(list(zip(whole["targets"], whole["targets"].values(), strict=True))))
    changed[ids[0]], changed[ids[1]] = [NAMES[0]], [NAMES[1]]
    path.write_text(json.dumps(whole | {"targets": changed}))
    with pytest.raises(RequestError, match="is damaged: its content was changed after it was written"):
        read_targets(path, ids, NAMES, database)
    del whole["digest"]
    path.write_text(json.dumps(whole))
    with pytest.raises(RequestError, match="is damaged: it has no digest"):
        read_targets(path, ids, NAMES, database)
    path.write_text(json.dumps({"targets": whole["targets"]}))  # as another program may write it
    assert read_targets(path, ids, NAMES, database).digest == drawn.digest
    path.write_text('{"targets": [1]}')
    with pytest.raises(RequestError, match="is not a target list"):
        read_targets(path, ids, NAMES, database)
    with pytest.raises(RequestError, match="no target list at"):
        read_targets(tmp_path / "none.json", ids, NAMES, database)
    with pytest.raises(RequestError, match="unknown target rule 'no-overlapp'.*did you mean no-overlap"):
        choose_targets("no-overlapp", labels, database, **rest)


def test_a_picture_with_every_label_has_no_target() -> None:
    labels = np.ones((1, 4), np.uint8)
    with pytest.raises(RequestError, match="no target label is left for picture q0 under the rule no-overlap"):
        draw_targets("no-overlap", labels, world()[1], ids=np.array(["q0"]))
