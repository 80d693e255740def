"""Rows, encoding, picture fitting, and the rule that queries never select a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import pack
from hamguard.core.errors import ImageError, RequestError, RunError
from hamguard.core.rows import Row
from hamguard.data.dataset import ImageStore
from hamguard.data.opened import Data
from hamguard.evaluation.ground import Ground
from hamguard.evaluation.search.curves import measure_curves
from hamguard.evaluation.search.pictures import read_picture
from hamguard.evaluation.search.score import Convention, check_defined, parse_metric, score_rows
from hamguard.models.encode import codes_of
from hamguard.models.hash_model import HashModel
from hamguard.trainers.validation import validation_map
from hamguard.training.encode import encode, packed_codes
from tests.training.conftest import make_blobs, make_split


def bank(n: int, K: int = 16, seed: int = 0, classes: int = 4) -> CodeBank:
    rng = np.random.default_rng(seed)
    kinds = np.arange(n) % classes
    centers = np.random.default_rng(7).integers(0, 2, (classes, K))
    bits = centers[kinds] ^ (rng.random((n, K)) < 0.15)
    return CodeBank(pack(bits), K, np.eye(classes, dtype=np.uint8)[kinds])


def small_model(bits: int = 8) -> HashModel:
    return HashModel("conv2", bits, channels=1, size=(16, 16)).eval()


def test_rows_carry_facts_and_the_floor_stands_last() -> None:
    facts = Row(dataset="toy", model="m", method="csq", hashes={"model": "1"}, notes=("known defect",))
    rows = score_rows(bank(20), bank(80, seed=1), metrics=("map", "recall@10"), facts=facts, seed=3)
    assert [(row.model, row.metric, row.at) for row in rows] == [
        ("m", "map", None), ("m", "recall", 10), ("random codes", "random_map", None),
    ]  # fmt: skip
    assert all(row.dataset == "toy" and row.bits == 16 and row.n == 20 and "known defect" in row.notes for row in rows)
    floor = rows[-1]
    assert floor.method is None and floor.hashes == {} and abs(float(floor.value or 0) - 0.25) < 0.1
    for row in rows:
        assert row.ci95 is not None and row.ci95[0] <= float(row.value or 0) <= row.ci95[1]
    assert [row.value for row in score_rows(bank(20), bank(80, seed=1), metrics=("map",), seed=3)][1] == floor.value
    assert len(score_rows(bank(20), bank(80), metrics=("map",), reference=False)) == 1


def test_rows_say_what_they_left_out() -> None:
    query, database = bank(20), bank(80, seed=1)
    labels = query.labels.copy()
    labels[:3] = 0
    wide = np.zeros((20, 5), np.uint8)
    wide[:, :4] = labels
    wide[4] = (0, 0, 0, 0, 1)  # a label that no database item has
    query = CodeBank(query.packed, 16, wide)
    database = CodeBank(database.packed, 16, np.pad(database.labels, ((0, 0), (0, 1))))
    row = score_rows(query, database, metrics=("map",))[0]
    assert row.notes == (
        "3 of 20 queries carry no label; they count as 0",
        "1 labeled queries have nothing relevant in the database",
    )
    row = score_rows(query, database, metrics=("map",), convention=Convention(empty="skip"))[0]
    assert row.n == 16 and row.metric == "map[empty=skip]"
    assert "3 of 20 queries carry no label; they are left out" in row.notes
    assert "4 queries without a hit are left out of the mean (empty=skip)" in row.notes


def test_a_cut_beyond_the_database_is_said() -> None:
    row = score_rows(bank(10), bank(40), metrics=("precision@100",))[0]
    assert row.at == 40 and "precision@100 is measured over all 40 items, the database has no more" in row.notes
    assert score_rows(bank(10), bank(40), metrics=("precision@40",))[0].notes == ()


def test_metric_words() -> None:
    assert parse_metric("ndcg@7") == ("ndcg", 7)
    for text in ("map@", "map@-1", "map@1.5", "map@٣"):
        with pytest.raises(
            RequestError, match="the cut-off after @ must be a number from 1" if "@" in text[:-1] else "."
        ):
            parse_metric(text)
    with pytest.raises(RequestError, match="unknown metric 'mpa'; .*did you mean map"):
        parse_metric("mpa")
    with pytest.raises(RequestError, match="use norm 'relevant' or 'min', or ties"):
        check_defined("map@5", Convention(norm="hits"), 80)
    check_defined("map@80", Convention(norm="hits"), 80)  # no cut at all
    check_defined("recall@5", Convention(norm="hits"), 80)  # norm belongs to map


def test_encode_is_sign_of_logits_whatever_the_batch() -> None:
    dataset, model = make_blobs(50), small_model()
    split = make_split(dataset)
    one = encode(model, dataset, split, split.part("query"), batch_size=7)
    assert np.array_equal(one.packed, encode(model, dataset, split, split.part("query")).packed)
    logits = model.logits(dataset.images.batch(split.query))
    assert np.array_equal(one.codes.numpy() > 0, (logits >= 0).numpy())
    assert one.ids.tolist() == dataset.ids[split.query].tolist() and np.array_equal(
        one.labels, dataset.labels[split.query]
    )
    assert (one.model_hash, one.split_hash) == (model.digest, split.digest)
    query, database = Ground.open(model, Data(dataset, split), queries=3).search()
    assert len(query) == 3 and len(database) == len(split.database) and np.array_equal(query.packed, one.packed[:3])


def test_encode_tells_how_far_it_is_and_refuses_what_does_not_fit() -> None:
    dataset, model, seen = make_blobs(40), small_model(), []
    packed_codes(
        model, dataset.images, np.arange(40), batch_size=16, progress=lambda share, text: seen.append((share, text))
    )
    assert seen == [(0.4, "16 of 40 pictures"), (0.8, "32 of 40 pictures"), (1.0, "40 of 40 pictures")]
    other = ImageStore(np.zeros((4, 20, 16), np.uint8))
    with pytest.raises(RequestError, match="the model takes pictures of 16x16 pixels, the data have 20x16"):
        packed_codes(model, other, np.arange(4))
    with torch.no_grad():
        model.head.bias[0] = float("nan")
    with pytest.raises(RunError, match="returns NaN or infinite numbers"):
        packed_codes(model, dataset.images, np.arange(4))


def test_validation_map_scores_as_rows_do() -> None:
    dataset, model = make_blobs(), small_model()
    split = make_split(dataset)
    score = validation_map(model.train(), Data(dataset, split))
    value = score()
    assert 0 < value <= 1 and model.training
    rest = {"metrics": ("map",), "reference": False}
    sides = [encode(model.eval(), dataset, split, split.part(role)) for role in ("validation", "train")]
    assert value == pytest.approx(score_rows(*sides, **rest)[0].value, abs=1e-12)


def test_read_picture_gives_what_the_model_takes(tmp_path: Path) -> None:
    model = small_model()
    color = np.random.default_rng(0).integers(0, 256, (30, 50, 3)).astype(np.uint8)
    Image.fromarray(color).save(tmp_path / "c.png")
    assert read_picture(tmp_path / "c.png", model, None).shape == (16, 16)
    dataset = make_blobs(3)
    Image.fromarray(dataset.images.array[1]).save(tmp_path / "g.png")
    exact = read_picture(tmp_path / "g.png", model, None)
    assert np.array_equal(exact, dataset.images.array[1])
    assert np.array_equal(codes_of(exact[None], model), packed_codes(model, dataset.images, np.array([1])))
    with pytest.raises(ImageError, match="does not exist"):
        read_picture(tmp_path / "none.png", model, None)


def test_curves_stand_above_random_codes() -> None:
    query, database = bank(20), bank(80, seed=1)
    curves = measure_curves(query, database, name="ours")
    assert set(curves.precision_recall) == set(curves.precision_at) == {"ours", "random codes"}
    for recall, precision in curves.precision_recall.values():
        assert recall[-1] == pytest.approx(1) and (np.diff(recall) >= 0).all()
        assert ((precision >= 0) & (precision <= 1)).all()
    assert curves.precision_recall["ours"][1].mean() > 0.2 + curves.precision_recall["random codes"][1].mean()
    N, ours = curves.precision_at["ours"]
    assert N[-1] == 80 and ours[-1] == pytest.approx(0.25)  # all items: the share of a class
    assert ours[0] > 0.6 > curves.precision_at["random codes"][1][0]


def test_radius_and_graded_metrics_equal_their_definitions() -> None:
    rng = np.random.default_rng(5)
    q, d = (CodeBank.of(rng.choice([-1, 1], (n, 6)), rng.integers(0, 2, (n, 3))) for n in (7, 40))
    rows = score_rows(q, d, metrics=["radius-precision@2", "radius-recall@2", "ndcg-shared@10"], reference=False)
    dist = (6 - q.codes.numpy() @ d.codes.numpy().T) / 2
    relevant = (q.labels.astype(int) @ d.labels.astype(int).T) > 0
    ball = dist <= 2
    precision = [(relevant[i] & ball[i]).sum() / max(1, ball[i].sum()) for i in range(7)]
    recall = [(relevant[i] & ball[i]).sum() / max(1, relevant[i].sum()) for i in range(7)]
    assert [row.value for row in rows[:2]] == [pytest.approx(np.mean(precision)), pytest.approx(np.mean(recall))]
    assert [row.at for row in rows] == [2, 2, 10] and 0 < (rows[2].value or 0) <= 1
    assert parse_metric("radius-recall@0") == ("radius-recall", 0)
    for text, message in (
        ("radius-recall", "needs a radius"),
        ("radius-recall@x", "radius after @ must be a number from 0"),
    ):
        with pytest.raises(RequestError, match=message):
            parse_metric(text)
