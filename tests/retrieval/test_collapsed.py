"""Laws of an index that keeps each code once: whatever repeats, answers are those of all items one by one."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import hamming
from hamguard.codes.labeled import ClassNumbers
from hamguard.core.errors import RequestError
from hamguard.core.files import write_sealed
from hamguard.retrieval import items as items_file
from hamguard.retrieval.engines import build_index, open_index
from hamguard.retrieval.index_file import FACTS
from tests.retrieval.answers import check_answers, drawn, joined

ENGINES = st.sampled_from(["flat", "ivf"])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), ENGINES, st.integers(1, 40), st.integers(1, 90), st.integers(1, 30))
def test_answers_are_those_of_all_items(seed, engine, bits, count, codes):
    rng = np.random.default_rng(seed)
    bank, query = drawn(rng, count, bits, codes), drawn(rng, 4, bits, codes)
    index = build_index(bank, engine=engine, probes=10**6)
    check_answers(index, bank, query)
    for label in range(3):
        check_answers(index, bank, query, label)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), ENGINES, st.integers(2, 24), st.integers(2, 60), st.integers(1, 12))
def test_after_add_and_remove_and_in_a_folder(tmp_path_factory, seed, engine, bits, count, codes):
    rng = np.random.default_rng(seed)
    bank, more, query = drawn(rng, count, bits, codes), drawn(rng, 9, bits, codes, "j"), drawn(rng, 4, bits, codes)
    index = build_index(bank, engine=engine, probes=10**6)
    kept = rng.random(count) < 0.6
    kept[rng.integers(count)] = True
    index.remove(bank.ids[~kept])
    check_answers(index, bank.select(kept), query)
    index.add(more)
    left = joined(bank.select(kept), more)
    check_answers(index, left, query)
    check_answers(index, left, query, 1)
    folder = tmp_path_factory.mktemp("index")
    index.save(folder)
    again = open_index(folder)
    check_answers(again, left, query)
    again.remove(left.ids[:3])
    check_answers(again, left.select(np.arange(3, len(left))), query)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), ENGINES, st.integers(1, 40), st.integers(1, 60), st.integers(1, 12), st.integers(1, 30))
def test_equal_queries_have_equal_answers(seed, engine, bits, count, codes, asked):
    rng = np.random.default_rng(seed)
    bank, pool = drawn(rng, count, bits, codes), drawn(rng, 6, bits, codes)
    index = build_index(bank, engine=engine, probes=10**6)
    query = pool.select(rng.integers(0, rng.integers(1, 7), asked))  # all differ, some do, or none does
    check_answers(index, bank, query)
    check_answers(index, bank, query, 1)


def test_equal_queries_are_asked_once(monkeypatch):
    rng = np.random.default_rng(0)
    index, query = build_index(drawn(rng, 200, 24, 60)), drawn(rng, 8, 24, 10**6)
    asked, own = [], index._near
    monkeypatch.setattr(index, "_near", lambda packed, count: asked.append(len(packed)) or own(packed, count))
    index.search(query.select(np.arange(24) % 8), 3)
    index.search(query.select(np.array([0, 1, 2, 3, 4, 5, 6, 7, 0, 1])), 3)
    assert asked == [8, 8]


@given(st.integers(0, 10**6), st.integers(0, 9))
def test_a_ball_of_some_queries(seed, chosen):
    rng = np.random.default_rng(seed)
    ball = build_index(drawn(rng, 30, 10, 9)).within(drawn(rng, 5, 10, 9), 3)
    queries = rng.integers(0, 5, chosen)
    some = ball.select(queries)
    assert some.limits[0] == 0 and len(some.limits) == chosen + 1 and some.limits[-1] == len(some.ids)
    for place, number in enumerate(queries):
        for kept, whole in ((some.ids, ball.ids), (some.distances, ball.distances)):
            own = kept[some.limits[place] : some.limits[place + 1]]
            assert np.array_equal(own, whole[ball.limits[number] : ball.limits[number + 1]])


@pytest.mark.parametrize("engine", ["flat", "ivf"])
def test_few_codes_are_fetched_and_more_where_they_are_not_enough(engine, monkeypatch):
    """A thousand items on each near code and none on the far ones, and the other way round."""
    rng = np.random.default_rng(0)
    code = rng.integers(0, 256, (400, 4), dtype=np.uint8)
    query = CodeBank(code[:3] ^ np.array([0, 0, 0, 1], np.uint8), 32, np.ones((3, 1), np.uint8))
    near = hamming(code[:1], code)[0].argsort()
    for crowd in (near[:20], near[-20:]):
        packed = code[np.concatenate([np.arange(400), np.repeat(crowd, 200)])]
        bank = CodeBank(packed, 32, np.ones((len(packed), 3), np.uint8))
        index = build_index(bank, engine=engine, probes=10**6)
        fetched, own = [], index._near

        def counted(packed, count, own=own, fetched=fetched):
            fetched.append(count)
            return own(packed, count)

        monkeypatch.setattr(index, "_near", counted)
        check_answers(index, bank, query)
        fetched.clear()
        index.search(query, 350)
        assert fetched[0] < 100 and (len(fetched) > 1) == (crowd[0] != near[0])


def test_blocks_of_queries_do_not_change_answers(monkeypatch):
    rng = np.random.default_rng(0)
    bank, query = drawn(rng, 200, 12, 20), drawn(rng, 50, 12, 20)
    index = build_index(bank)
    for block, rows in ((1, 1 << 14), (100, 3), (1 << 20, 7)):
        monkeypatch.setattr(items_file, "BLOCK", block)
        monkeypatch.setattr(items_file, "ROWS", rows)
        check_answers(index, bank, query)


def test_a_collapsed_index_is_small(tmp_path):
    rng = np.random.default_rng(0)
    bank = drawn(rng, 5000, 64, 300)
    build_index(bank).save(tmp_path)
    facts = json.loads((tmp_path / FACTS).read_text())
    assert (tmp_path / facts["file"]).stat().st_size < bank.packed.nbytes * 0.6 and facts["distinct"] < 300


def test_class_numbers_and_missing_labels_are_kept(tmp_path):
    rng = np.random.default_rng(0)
    bank = drawn(rng, 40, 12, 9)
    many = CodeBank(bank.packed, 12, ClassNumbers(rng.integers(-1, 5000, 40), 10**6), bank.ids)
    none = CodeBank(bank.packed, 12, np.zeros((40, 0), np.uint8), np.char.add("n", bank.ids))
    index = build_index(many)
    index.add(none)
    index.save(tmp_path)
    found = open_index(tmp_path).bank().labels
    assert isinstance(found, ClassNumbers) and found.classes == 10**6
    assert list(found.numbers) == [*many.labels.numbers, *[-1] * 40]
    unlabeled = build_index(none)
    assert unlabeled.bank().labels.shape == (40, 0)
    unlabeled.add(bank)
    assert np.array_equal(unlabeled.bank().labels, [*np.zeros((40, 3)), *bank.labels])
    with pytest.raises(RequestError, match="labels of 1000000 classes and of 3 do not go together"):
        build_index(many).add(CodeBank(bank.packed, 12, bank.labels, np.char.add("o", bank.ids)))


def test_an_index_of_an_older_form_is_refused_with_what_to_do(tmp_path):
    build_index(drawn(np.random.default_rng(0), 5, 12, 2)).save(tmp_path)
    facts = json.loads((tmp_path / FACTS).read_text())
    write_sealed(tmp_path / FACTS, {k: v for k, v in facts.items() if k not in ("distinct", "classes", "digest")})
    with pytest.raises(
        RequestError, match=r"was written by an older hamguard.*build it again with `hamguard index build`"
    ):
        open_index(tmp_path)
    (tmp_path / "codes-0123.faiss").write_bytes(b"old")
    build_index(drawn(np.random.default_rng(0), 5, 12, 2)).save(tmp_path)
    assert len(open_index(tmp_path)) == 5 and not list(tmp_path.glob("*.faiss"))
