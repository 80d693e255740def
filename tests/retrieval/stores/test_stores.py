"""What all data bases that keep an index do alike: the answers of a folder, and a change whole or not at all."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hamguard.codes.bank import CodeBank
from hamguard.codes.labeled import ClassNumbers
from hamguard.core.errors import RequestError
from hamguard.retrieval.engines import open_index
from hamguard.retrieval.stores import retry
from hamguard.retrieval.stores.registry import store_of
from tests.retrieval.answers import check_answers, drawn, joined

NUMBER = iter(range(10**6))


@pytest.fixture(params=["postgres", "milvus"])
def place(request):
    """Address of an index that is not there yet."""
    return f"{request.getfixturevalue(request.param)}#s{next(NUMBER)}"


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(retry, "PAUSE", 0.01)


def rng(seed=0):
    return np.random.default_rng(seed)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.integers(1, 70), st.integers(2, 60), st.integers(1, 20))
def test_answers_are_those_of_all_items(place, seed, bits, count, codes):
    chance = rng(seed)
    bank, more, query = (
        drawn(chance, count, bits, codes),
        drawn(chance, 9, bits, codes, "j"),
        drawn(chance, 4, bits, codes),
    )
    store_of(place).write(bank)
    index = open_index(place, model_hash="m1", split_hash="s1")
    check_answers(index, bank, query)
    kept = chance.random(count) < 0.6
    kept[chance.integers(count)] = True
    if not kept.all():
        index.remove(bank.ids[~kept])
    check_answers(index, bank.select(kept), query)
    index.add(more)
    left = joined(bank.select(kept), more)
    check_answers(index, left, query)
    for label in range(3):
        check_answers(index, left, query, label)
    assert (len(index), index.facts.distinct) == (len(left), len(np.unique(left.packed, axis=0)))
    assert open_index(place).facts == index.facts and index.facts.bank_digest == ""


def test_odd_ids_and_labels_are_kept(place):
    odd = ["a\tb", "c\\n", "d\ne", "\\N", "'; drop table x; --", "犬", "", " "]
    numbers = ClassNumbers(np.array([0, -1, 10**6, 3, 3, -1, 0, 7]), 10**6 + 1)
    bank = CodeBank(np.arange(8, dtype=np.uint8)[:, None], 8, numbers, np.array(odd))
    store_of(place).write(bank)
    index = open_index(place)
    assert index.bank().ids.tolist() == odd
    assert index.search(bank, 1).ids[:, 0].tolist() == odd
    assert index.search(bank, 2, label=3).ids[3].tolist() == ["\\N", "'; drop table x; --"]
    index.remove(odd[:4])
    assert index.bank().ids.tolist() == odd[4:]
    for bad in ("a\udc80", *["a\0b"] * place.startswith("postgres")):
        with pytest.raises(RequestError, match="cannot be kept in (PostgreSQL|Milvus)"):
            index.add(CodeBank(bank.packed[:1], 8, numbers[:1], np.array([bad])))


def test_wrong_requests_change_nothing(place):
    bank, query = drawn(rng(), 30, 21, 9), drawn(rng(1), 3, 21, 9)
    with pytest.raises(RequestError, match="no index at .*; build one with `hamguard index build`"):
        open_index(place)
    for use in (lambda s: s.add(bank), lambda s: s.remove(["a"]), lambda s: s.origin(), lambda s: s.bytes()):
        with pytest.raises(RequestError, match="no index at "):
            use(store_of(place))
    with pytest.raises(RequestError, match="the bank is empty"):
        store_of(place).write(bank.select(np.arange(0)))
    with pytest.raises(RequestError, match="compares with every code; leave out engine ivf"):
        store_of(place).write(bank, engine="ivf")
    with pytest.raises(RequestError, match=r"'i\d+' stands in the bank more than once"):
        store_of(place).write(bank.select(np.array([0, 1, 1])))
    store_of(place).write(bank)
    index = open_index(place)
    again = CodeBank(query.packed, 21, query.labels, np.array(["new", str(bank.ids[3]), "newer"]), "m1")
    for use, said in (
        (lambda: index.add(again), f"'{bank.ids[3]}' is already in the index; remove it first"),
        (lambda: index.add(drawn(rng(), 3, 12, 2, "k")), "holds codes of 21 bits, these have 12"),
        (
            lambda: index.add(CodeBank(query.packed, 21, np.zeros((3, 5), np.uint8), np.array(list("abc")))),
            "of 3 classes and of 5",
        ),
        (lambda: index.remove(["y", "x", bank.ids[0]]), "2 ids are not in the index, the first is 'x'"),
        (lambda: index.remove(bank.ids), "these are all 30 items"),
        (lambda: index.search(query, 31), "k must be between 1 and 30, got 31"),
        (lambda: index.within(query, 22), "radius must be between 0 and 21"),
        (lambda: index.search(query, 1, label=3), "label must be between 0 and 2, got 3"),
        (lambda: index.search(np.zeros((1, 2), np.uint8), 1), "must be uint8"),
    ):
        with pytest.raises(RequestError, match=said):
            use()
    check_answers(index, bank, query)
