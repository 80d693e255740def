import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hamguard.core.errors import RequestError
from hamguard.data.dataset import multi_hot
from hamguard.data.protocols import PROTOCOLS, make_split, protocol
from hamguard.data.split import Part, Split, draw_split, fair_order, require_role


def rows(*values):
    return np.array(values, np.int64)


@pytest.fixture
def split():
    return Split(rows(2, 3), rows(4), rows(0, 1), rows(2, 3, 4, 5), "hand", 0)


def test_a_query_split_cannot_select_a_model(split):
    with pytest.raises(RequestError, match=r"^model selection takes the validation split, got the query split$"):
        require_role(split.part("query"), "validation")
    with pytest.raises(RequestError, match="training takes the train or validation split, got the query split"):
        require_role(split.part("query"), ("train", "validation"), "training")
    assert require_role(split.part("validation"), "validation").index.tolist() == [4]


def test_parts_keep_their_role_when_cut(split):
    assert split.part("query").first(1).role == "query"
    assert len(split.part("query").first(1)) == 1
    assert len(split.part("query").first(None)) == 2
    with pytest.raises(RequestError, match="number of rows of the query split must be at least 1, got 0"):
        split.part("query").first(0)
    with pytest.raises(RequestError, match="unknown role 'test'"):
        split.part("test")


def test_parts_are_checked_and_read_only():
    with pytest.raises(RequestError, match="the query split names 1 rows twice"):
        Split(rows(2), rows(), rows(0, 0), rows(2), "hand", 0)
    with pytest.raises(RequestError, match="must be a list of row numbers"):
        Split(rows(-1), rows(), rows(0), rows(2), "hand", 0)
    with pytest.raises(ValueError, match="read-only"):
        Split(rows(2), rows(), rows(0), rows(2), "hand", 0).train[0] = 5


def test_the_digest_depends_on_parts_order_and_data(split):
    same = Split(rows(2, 3), rows(4), rows(0, 1), rows(2, 3, 4, 5), "other name", 7)
    order = Split(rows(2, 3), rows(4), rows(1, 0), rows(2, 3, 4, 5), "hand", 0)
    data = Split(rows(2, 3), rows(4), rows(0, 1), rows(2, 3, 4, 5), "hand", 0, content="x")
    assert same.digest == split.digest
    assert len({split.digest, order.digest, data.digest}) == 3
    assert split.describe() == {
        "protocol": "hand", "seed": 0, "train": 2, "validation": 1, "query": 2, "database": 4, "digest": split.digest,
    }  # fmt: skip


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=80), st.integers(0, 5))
def test_any_prefix_holds_the_classes_in_proportion(numbers, seed):
    labels = multi_hot(np.array(numbers), 5)
    order = fair_order(labels, np.arange(len(numbers)), seed)
    assert sorted(order) == list(range(len(numbers)))
    assert np.array_equal(order, fair_order(labels, np.arange(len(numbers)), seed))
    share = labels.mean(0)
    seen = np.cumsum(labels[order], axis=0)
    expected = np.arange(1, len(numbers) + 1)[:, None] * share
    assert np.abs(seen - expected).max() <= len(share)  # every class is within one of its own pace


def test_equal_classes_give_balanced_prefixes():
    labels = multi_hot(np.repeat(np.arange(4), 25), 4)
    order = fair_order(labels, np.arange(100), 0)
    for m in range(1, 26):
        assert labels[order[: 4 * m]].sum(0).tolist() == [m] * 4


def test_seeds_and_names_change_the_order():
    labels = np.zeros((50, 2), np.uint8)
    orders = [fair_order(labels, np.arange(50), s, n).tolist() for s in (0, 1) for n in ("a", "b")]
    assert len({tuple(o) for o in orders}) == 4


def check_law(dataset, split):
    """What every drawn split keeps."""
    query, database = set(split.query), set(split.database)
    train, validation = set(split.train), set(split.validation)
    assert not query & database
    assert train <= database
    assert validation <= database
    assert not train & validation
    assert split.content == dataset.digest
    assert min(split.counts.values()) > 0


@pytest.mark.parametrize("n", [4, 5, 60, 601])
def test_seeded_keeps_the_law_and_says_its_numbers(make_dataset, n):
    dataset = make_dataset(n)
    split = make_split(dataset, "seeded", 3)
    check_law(dataset, split)
    assert len(split.query) == -(-n // 6)
    assert len(split.query) + len(split.database) == n
    assert "seed 3" in split.notes[0]
    assert split.digest == make_split(dataset, "seeded", 3).digest != make_split(dataset, "seeded", 4).digest


def test_seeded_needs_four_pictures(make_dataset):
    with pytest.raises(RequestError, match="a drawn split needs at least 4 pictures, toy has 3"):
        make_split(make_dataset(3), "seeded")


def test_stored_takes_the_parts_as_they_are(make_dataset):
    native = np.array([0, 1, 2, 3] * 15, np.uint8)
    dataset = make_dataset(native=native)
    split = make_split(dataset, "stored")
    check_law(dataset, split)
    for role, code in (("train", 0), ("validation", 1)):
        assert np.array_equal(getattr(split, role), np.flatnonzero(native == code))
    assert set(split.query) == set(np.flatnonzero(native == 2))
    assert np.array_equal(split.database, np.flatnonzero(native != 2))


def test_stored_without_training_or_validation_rows_says_so(make_dataset):
    dataset = make_dataset(native=np.array([2, 3] * 30, np.uint8))
    split = make_split(dataset, "stored")
    check_law(dataset, split)
    assert any("no training rows" in note for note in split.notes)
    assert any("no validation rows" in note for note in split.notes)
    held_out = make_split(make_dataset(native=np.array([2, 0] * 30, np.uint8)), "stored")
    assert len(held_out.train) + len(held_out.validation) == len(held_out.database) == 30


def test_copies_searches_all_pictures(make_dataset):
    split = make_split(make_dataset(), "copies")
    assert set(split.query) == set(split.database) == set(range(60))
    assert "to be changed" in split.notes[0]


def test_official_and_ppl_protocols_at_a_tenth_of_their_size(make_dataset):
    native = np.repeat(np.array([3, 2], np.uint8), [500, 100])
    cifar = make_dataset(600, 10, native=native, name="cifar10")
    official = make_split(cifar, "official")
    check_law(cifar, official)
    assert official.counts == {"train": 100, "validation": 50, "query": 10, "database": 500}
    assert set(official.query) <= set(np.flatnonzero(native == 2))
    assert cifar.labels[official.query].sum(0).tolist() == [1] * 10
    assert cifar.labels[official.train].sum(0).tolist() == [10] * 10
    assert len(make_split(cifar, "official-10k").query) == 100
    ppl = make_split(cifar, "ppl")
    check_law(cifar, ppl)
    assert (ppl.protocol, len(ppl.query), len(ppl.database)) == ("ppl-cifar10", 10, 590)
    fashion = make_dataset(700, 10, native=np.repeat(np.array([3, 2], np.uint8), [600, 100]), name="fashion-mnist")
    split = make_split(fashion, "ppl")
    check_law(fashion, split)
    assert split.counts == {"train": 100, "validation": 58, "query": 100, "database": 600}
    assert fashion.labels[split.query[:10]].sum(0).tolist() == [1] * 10


def test_imagenet_13_draws_from_thirteen_classes(make_dataset):
    dataset = make_dataset(13 * 1400, 13)
    split = make_split(dataset, "ppl-imagenet-13")
    check_law(dataset, split)
    assert split.counts == {"train": 10_000, "validation": 1000, "query": 1300, "database": 16_900}
    assert dataset.labels[split.query].sum(0).tolist() == [100] * 13
    with pytest.raises(RequestError, match="needs a folder of 13 ImageNet classes with 1,400 pictures each"):
        make_split(make_dataset(), "ppl-imagenet-13")


def test_protocols_explain_themselves(make_dataset):
    with pytest.raises(RequestError, match=r"unknown protocol 'sedeed'.*did you mean seeded"):
        make_split(make_dataset(), "sedeed")
    with pytest.raises(RequestError, match="protocol official is made for cifar10, got toy"):
        make_split(make_dataset(), "official")
    with pytest.raises(RequestError, match="needs a stored split, toy has none; use protocol seeded"):
        make_split(make_dataset(), "stored")
    with pytest.raises(RequestError, match="'seeded' is registered twice"):
        protocol("seeded", "again")(PROTOCOLS["copies"].rule)


def test_a_drawn_split_explains_what_is_too_small(make_dataset):
    dataset = make_dataset()
    with pytest.raises(RequestError, match="leaves the query split of toy empty"):
        draw_split(dataset, query=rows(), database=np.arange(9), n_train=None, protocol="p", seed=0)
    with pytest.raises(RequestError, match="trains on 99 pictures, toy has 9"):
        draw_split(dataset, query=rows(10), database=np.arange(9), n_train=99, protocol="p", seed=0)


def test_part_shows_its_length():
    assert len(Part("train", rows(1, 2, 3))) == 3
