"""An index in Milvus: what has no transaction there is whole here, and one clear line for whatever goes wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hamguard.codes.bank import CodeBank
from hamguard.core.errors import DamagedError, RequestError, RunError, StaleError
from hamguard.retrieval.engines import open_index
from hamguard.retrieval.stores import milvus_client, milvus_reader, retry
from hamguard.retrieval.stores.milvus import HEAD, MilvusStore
from hamguard.retrieval.stores.milvus_client import Client
from hamguard.retrieval.stores.registry import store_of
from tests.retrieval.answers import check_answers, drawn, joined


@pytest.fixture
def place(milvus):
    """Address of an index that is not there yet."""
    yield f"{milvus}#mine"
    release(f"{milvus}#mine")


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(retry, "PAUSE", 0.01)


def release(place):
    """Close the file, so that another process can open it."""
    milvus_client.release(store_of(place).client.file)


def rng(seed=0):
    return np.random.default_rng(seed)


def banks():
    return drawn(rng(), 30, 12, 9), drawn(rng(3), 5, 12, 3, "j"), drawn(rng(2), 3, 12, 9)


def collections(place):
    return set(store_of(place).client.inner.list_collections())


def tell(place, **changes):
    """Change what the row of the index says."""
    store = store_of(place)
    row = store._found(store.client) | changes
    content = {"called": store.address.name, "content": json.dumps(row), "age": 0, "none": b"\0"}
    store.client.inner.upsert(HEAD, [content])


def test_another_model_split_or_form_is_refused(place):
    bank, more, query = banks()
    store_of(place).write(bank, origin={"model": "models/x"})
    assert store_of(place).origin() == {"model": "models/x"} and store_of(place).bytes() > 0
    with pytest.raises(StaleError, match="is stale: it belongs to model m1, the model is now m2"):
        open_index(place, model_hash="m2")
    index = open_index(place)
    store_of(place).write(CodeBank(bank.packed, 12, bank.labels, bank.ids, "m3", "s1"))
    with pytest.raises(StaleError, match="is stale: it was built anew, of model m3 with 12 bits, since it was opened"):
        index.search(query.packed, 1)
    tell(place, format=2)
    for use in (open_index, lambda p: store_of(p).add(more), lambda p: store_of(p).remove(["a"])):
        with pytest.raises(RequestError, match="written by another hamguard, in form 2, and this one reads form 1"):
            use(place)
    tell(place, format=1, facts={"bits": 3})
    with pytest.raises(DamagedError, match="does not say what an index is made of"):
        open_index(place)
    store_of(place).write(bank)
    check_answers(open_index(place), bank, query)


def test_a_build_leaves_nothing_of_the_old_one_or_of_a_run_that_died(place):
    bank, more, _ = banks()
    store_of(place).write(bank)
    inner = store_of(place).client.inner
    inner.create_collection(f"{HEAD}_mine_0123abcd_codes", dimension=4)
    inner.create_collection(f"{HEAD}_mine_too_0123abcd_codes", dimension=4)
    store_of(place).write(more)
    left = collections(place)
    assert len(left) == 4 and {HEAD, f"{HEAD}_mine_too_0123abcd_codes"} < left
    assert open_index(place).facts.count == 5


class Dies(Exception):
    """What stops a run in the middle."""


def test_killed_in_the_middle_of_a_load(place, monkeypatch):
    bank, more, query = banks()
    store_of(place).write(bank)
    own = Client.send

    def interrupted(self, name, rows, **rest):
        if name.endswith("_items"):
            raise Dies
        own(self, name, rows, **rest)

    for change in (lambda s: s.write(more), lambda s: s.add(more), lambda s: s.remove(bank.ids[:3])):
        monkeypatch.setattr(Client, "send", interrupted)
        with pytest.raises(Dies):
            change(store_of(place))
        monkeypatch.setattr(Client, "send", own)
        check_answers(open_index(place), bank, query)
        assert len(collections(place)) == 3
    store_of(place).add(more)  # the same command goes on
    check_answers(open_index(place), joined(bank, more), query)
    assert open_index(place).facts.distinct == len(np.unique(joined(bank, more).packed, axis=0))


def test_an_add_that_died_before_it_counted_is_not_seen(place, monkeypatch):
    bank, more, query = banks()
    store_of(place).write(bank)
    monkeypatch.setattr(MilvusStore, "_commit", lambda *words: (_ for _ in ()).throw(Dies))
    with pytest.raises(Dies):
        store_of(place).add(more)
    monkeypatch.undo()
    check_answers(open_index(place), bank, query)
    for label in range(3):
        check_answers(open_index(place), bank, query, label)
    other = drawn(rng(7), 4, 12, 3, "k")
    store_of(place).add(other)
    check_answers(open_index(place), joined(bank, other), query)


@pytest.mark.parametrize("verb", ["write", "add", "remove"])
def test_a_change_whose_answer_is_lost_is_not_made_twice(place, verb, monkeypatch):
    bank, more, query = banks()
    store_of(place).write(bank)
    own, lost = MilvusStore._commit, [1]

    def committed(self, *words):
        own(self, *words)
        if lost:
            lost.pop()
            raise retry.Lost("gone")

    monkeypatch.setattr(MilvusStore, "_commit", committed)
    given = {"write": more, "add": more, "remove": bank.ids[:4]}[verb]
    getattr(store_of(place), verb)(given)
    left = {"write": more, "add": joined(bank, more), "remove": bank.select(np.arange(4, 30))}[verb]
    assert not lost
    check_answers(open_index(place), left, query)


def test_after_many_additions_the_index_is_written_anew(place, monkeypatch):
    from hamguard.retrieval.stores import milvus

    bank, more, query = banks()
    monkeypatch.setattr(milvus, "BATCHES", 2)
    store_of(place).write(bank)
    before = collections(place)
    for turn in range(3):
        store_of(place).add(CodeBank(more.packed, 12, more.labels, np.char.add(more.ids, str(turn)), "m1"))
    assert len(collections(place) - before) == 2
    assert open_index(place).facts.count == 45 and open_index(place).search(query, 45).ids.shape == (3, 45)


def test_another_writer_is_noticed(place, monkeypatch):
    bank, more, query = banks()
    store_of(place).write(bank)
    own, others = MilvusStore._send, []

    def slow(self, *words):
        if not others:
            others.append(1)
            store_of(place).add(drawn(rng(9), 2, 12, 2, "other"))
        return own(self, *words)

    for change in (lambda s: s.write(more), lambda s: s.add(more), lambda s: s.remove(bank.ids[:3])):
        store_of(place).write(bank)
        others.clear()
        monkeypatch.setattr(MilvusStore, "_send", slow)
        with pytest.raises(
            RunError, match="another process has changed .* meanwhile, nothing was changed; run the same command"
        ):
            change(store_of(place))
        monkeypatch.setattr(MilvusStore, "_send", own)
        check_answers(open_index(place), joined(bank, drawn(rng(9), 2, 12, 2, "other")), query)


def test_a_look_beside_a_writer_begins_again(place, monkeypatch):
    bank, more, query = banks()
    store_of(place).write(bank)
    index, own, times = open_index(place), milvus_reader.MilvusReader.items, [1]

    def beside(self, *words):
        if times:
            times.pop()
            store_of(place).write(more)
        return own(self, *words)

    monkeypatch.setattr(milvus_reader.MilvusReader, "items", beside)
    found = index.search(query, 3)
    assert not times and set(found.ids.ravel()) <= set(more.ids)


def test_killed_between_searches_and_in_one(place, monkeypatch):
    """The process that holds the file is killed; a server that restarts looks the same."""
    from milvus_lite.server_manager import server_manager_instance

    bank, _, query = banks()
    store = store_of(place)
    store.write(bank)
    index = store.open()

    def kill():
        server = server_manager_instance._servers[str(os.path.realpath(store.client.file))]
        server._p.kill()
        server._p.wait()

    kill()
    check_answers(index, bank, query)
    own, times = milvus_reader.MilvusReader.items, [1]

    def interrupted(self, *words):
        if times:
            times.pop()
            kill()
        return own(self, *words)

    monkeypatch.setattr(milvus_reader.MilvusReader, "items", interrupted)
    assert index.search(query, 3).ids.shape == (3, 3) and not times


def test_a_file_that_another_process_has_open(place):
    bank, _, query = banks()
    store_of(place).write(bank)
    release(place)
    code = (
        "import sys; from hamguard.retrieval.engines import open_index; kept = open_index(sys.argv[1]); "
        "print(len(kept), flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, place], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline().strip() == "30"
        with pytest.raises(
            RunError,
            match="times in a row, at last with: another process has the file open",
        ):
            open_index(place)
        other.communicate("\n")
    check_answers(open_index(place), bank, query)


def test_answers_that_milvus_would_cut_are_asked_for_in_parts(place, monkeypatch):
    bank, query = drawn(rng(), 60, 10, 50), drawn(rng(2), 3, 10, 9)
    store_of(place).write(bank)
    index = open_index(place)
    asked, own = [], Client._range
    monkeypatch.setattr(Client, "_range", lambda self, *words: (asked.append(words), own(self, *words))[1])
    for module in (milvus_client, milvus_reader):
        monkeypatch.setattr(module, "WHOLE", 4)
    check_answers(index, bank, query)
    assert len(asked) > 60


def test_a_server_that_is_away_and_one_that_is_full(place, monkeypatch):
    import pymilvus

    bank, more, query = banks()
    monkeypatch.setattr(retry, "CONNECT_SECONDS", 0.5)
    with pytest.raises(RunError, match="cannot be reached, 3 times in a row, at last with: ") as error:
        open_index("milvus://me:topsecret@localhost:1/x")
    assert "topsecret" not in str(error.value) and "\n" not in str(error.value)
    monkeypatch.undo()
    store_of(place).write(bank)
    for said, seen in (
        ("write failed: No space left on device", "has no space left, nothing was changed: write failed"),
        ("auth check failure, please check username and password", "refuses the connection: auth check failure"),
        ("DEADLINE_EXCEEDED", "did not answer within 600 s; nothing was changed"),
        ("what is that", "failed: what is that; nothing was changed"),
    ):

        def full(self, *words, said=said, **rest):
            raise pymilvus.exceptions.MilvusException(65535, said)

        with monkeypatch.context() as patch:
            patch.setattr(pymilvus.MilvusClient, "insert", full)
            with pytest.raises((RunError, RequestError), match=seen):
                store_of(place).add(more)
        check_answers(open_index(place), bank, query)


def test_what_is_missing_is_said_with_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(RequestError, match=r"needs pymilvus: pip install 'hamguard\[milvus\]'"):
        open_index("milvus://localhost/x")
    monkeypatch.setitem(sys.modules, "milvus_lite", None)
    with pytest.raises(RequestError, match=r"needs milvus_lite: pip install 'hamguard\[milvus-lite\]'"):
        open_index(f"milvus://{tmp_path}/x.db")


def test_to_look_for_an_index_makes_no_file(milvus):
    with pytest.raises(RequestError, match="no index at"):
        open_index(milvus)
    assert not Path(milvus.removeprefix("milvus://")).exists()


@pytest.mark.parametrize("url", ["milvus://", "milvus:///photos/codes#x"])
def test_an_address_without_server_and_file_is_refused(url):
    pytest.importorskip("pymilvus", reason="no pymilvus here: it is the extra `milvus`")
    with pytest.raises(RequestError, match="names no server and no file of Milvus; give milvus://HOST"):
        store_of(url).open()
