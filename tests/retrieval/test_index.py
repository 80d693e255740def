import json
import os

import numpy as np
import pytest

from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import hamming
from hamguard.core.errors import RequestError, StaleError
from hamguard.core.files import write_sealed
from hamguard.retrieval import index_file
from hamguard.retrieval.engines import build_index, open_index
from hamguard.retrieval.index_file import FACTS

ALL = 10**6  # probes: every cell, which makes the inexact engine exact


def bank(n, seed, bits=21, model="m1", prefix="i"):
    """Codes with few distinct bits, so that most distances are shared; ids in no order."""
    rng = np.random.default_rng(seed)
    code = rng.random((n, bits)) < 0.5
    code[:, 9:] = False
    ids = np.array([f"{prefix}{j}" for j in rng.permutation(n)])
    return CodeBank(np.packbits(code, axis=1, bitorder="little"), bits, np.ones((n, 1), np.uint8), ids, model, "s1")


def nearest(query, items):
    dist = hamming(query.packed, items.packed)
    order = np.argsort(dist, axis=1, kind="stable")
    return np.take_along_axis(dist, order, axis=1), items.ids[order]


@pytest.mark.parametrize("engine", ["flat", "ivf"])
@pytest.mark.parametrize("bits", [12, 21, 64, 130])
def test_ties_go_by_age_in_order_and_at_the_cut(engine, bits):
    items, query = bank(700, 1, bits), bank(9, 2, bits)
    index = build_index(items, engine=engine, probes=ALL)
    dist, ids = nearest(query, items)
    for k in (1, 2, 10, 300, 700):
        found = index.search(query, k)
        assert np.array_equal(found.ids, ids[:, :k])
        assert np.array_equal(found.distances, dist[:, :k])
    assert np.array_equal(index.search(query.packed, 5).ids, ids[:, :5])


@pytest.mark.parametrize("engine", ["flat", "ivf"])
def test_radius_search_includes_the_radius(engine):
    items, query = bank(300, 1), bank(9, 2)
    dist, ids = nearest(query, items)
    index = build_index(items, engine=engine, probes=ALL)
    for radius in (0, 2, 21):
        ball = index.within(query, radius)
        for i in range(9):
            part, count = slice(ball.limits[i], ball.limits[i + 1]), int((dist[i] <= radius).sum())
            assert list(ball.ids[part]) == list(ids[i, :count])
            assert list(ball.distances[part]) == list(dist[i, :count])


@pytest.mark.parametrize("engine", ["flat", "ivf"])
def test_add_and_remove_keep_the_order_of_age(engine, tmp_path):
    items, more, query = bank(300, 1), bank(50, 3, prefix="j"), bank(9, 2)
    index = build_index(items, engine=engine, probes=ALL)
    gone = items.ids[::3]
    index.remove(gone)
    index.add(more)
    index.add(items.select(np.arange(300) % 3 == 0))  # back again, now the youngest
    kept = items.select(np.arange(300) % 3 != 0)
    left = CodeBank(
        np.concatenate([kept.packed, more.packed, items.packed[::3]]), 21, np.ones((350, 1), np.uint8),
        np.concatenate([kept.ids, more.ids, gone]),
    )  # fmt: skip
    index.save(tmp_path)
    for each in (index, open_index(tmp_path)):
        assert len(each) == 350
        assert list(each.ids) == list(left.ids)
        assert np.array_equal(each.search(query, 40).ids, nearest(query, left)[1][:, :40])


@pytest.mark.parametrize("engine", ["flat", "ivf"])
def test_a_saved_index_answers_alike(engine, tmp_path):
    items, query = bank(300, 1), bank(9, 2)
    index = build_index(items, engine=engine, probes=2)
    index.save(tmp_path / "index")
    again = open_index(tmp_path / "index", model_hash="m1", split_hash="s1")
    assert (again.engine, again.bits, len(again)) == (engine, 21, 300)
    assert np.array_equal(again.search(query, 20).ids, index.search(query, 20).ids)
    facts = json.loads((tmp_path / "index" / FACTS).read_text())
    assert (facts["count"], facts["model_hash"], facts["split_hash"]) == (300, "m1", "s1")
    assert (facts["distinct"], facts["classes"]) == (len(np.unique(items.packed, axis=0)), 1)
    assert facts["bank_digest"] == items.digest
    assert facts["ids"] == list(items.ids)
    assert sorted(p.name for p in (tmp_path / "index").iterdir()) == sorted([FACTS, facts["file"]])


def test_saving_over_an_index_leaves_one(tmp_path):
    index = build_index(bank(30, 1))
    index.save(tmp_path)
    index.remove([index.ids[0]])
    index.save(tmp_path)
    assert len(open_index(tmp_path)) == 29
    assert len(list(tmp_path.iterdir())) == 2
    assert json.loads((tmp_path / FACTS).read_text())["bank_digest"] == ""


def test_cells_that_hold_too_few_say_so():
    items, query = bank(60, 1), bank(9, 2)
    index = build_index(items, engine="ivf", cells=30, probes=1)
    found = index.search(query, 60)
    missing = found.distances < 0
    assert missing.any()
    assert set(found.ids[missing]) == {""}
    assert "" not in set(found.ids[~missing])
    assert set(found.distances[missing]) == {-1}
    index.probes = 30
    assert np.array_equal(index.search(query, 60).ids, nearest(query, items)[1])


def test_wrong_requests_are_refused():
    items = bank(30, 1)
    index = build_index(items)
    with pytest.raises(RequestError, match=r"unknown engine 'hnsw'; allowed: flat, ivf"):
        build_index(items, engine="hnsw")
    with pytest.raises(RequestError, match="the bank is empty"):
        build_index(items.select(np.arange(0)))
    with pytest.raises(RequestError, match="cells must be between 1 and 30, got 31"):
        build_index(items, engine="ivf", cells=31)
    with pytest.raises(RequestError, match="probes must be at least 1"):
        build_index(items, engine="ivf", probes=0)
    with pytest.raises(RequestError, match="only an ivf index has probes"):
        index.probes = 3
    with pytest.raises(RequestError, match=r"'i\d+' stands in the bank more than once"):
        build_index(items.select(np.array([0, 1, 1])))
    with pytest.raises(RequestError, match=r"is already in the index; remove it first"):
        index.add(items)
    with pytest.raises(RequestError, match="2 ids are not in the index, the first is 'x'"):
        index.remove(["y", "x", items.ids[0]])
    assert len(index) == 30
    with pytest.raises(RequestError, match="holds codes of 21 bits, these have 12"):
        index.search(bank(2, 2, bits=12), 1)
    with pytest.raises(RequestError, match="holds codes of 21 bits, these have 12"):
        index.add(bank(2, 2, bits=12, prefix="k"))
    with pytest.raises(RequestError, match=r"query codes of 21 bits must be uint8 \(N, 3\)"):
        index.search(np.zeros((1, 2), np.uint8), 1)
    for k in (0, 31):
        with pytest.raises(RequestError, match=f"k must be between 1 and 30, got {k}"):
            index.search(items, k)
    for radius in (-1, 22):
        with pytest.raises(RequestError, match=f"radius must be between 0 and 21, got {radius}"):
            index.within(items, radius)


def test_another_model_is_stale(tmp_path):
    index = build_index(bank(30, 1))
    for use in (lambda b: index.search(b, 1), lambda b: index.within(b, 1), index.add):
        with pytest.raises(StaleError, match="index belongs to model m1, these codes to model m2"):
            use(bank(3, 2, model="m2", prefix="k"))
    assert index.search(bank(3, 2, model=""), 1).ids.shape == (3, 1)  # foreign codes carry no hash
    index.save(tmp_path)
    with pytest.raises(StaleError, match="stale: it belongs to model m1, the model is now m2"):
        open_index(tmp_path, model_hash="m2")
    with pytest.raises(StaleError, match="stale: it belongs to split s1, the split is now s2"):
        open_index(tmp_path, split_hash="s2")


def test_damaged_folders_are_refused(tmp_path):
    with pytest.raises(RequestError, match=r"no index at .*build one with `hamguard index build`"):
        open_index(tmp_path / "nothing")
    build_index(bank(30, 1)).save(tmp_path)
    path = tmp_path / FACTS
    good = json.loads(path.read_text())
    engine = tmp_path / good["file"]
    content = engine.read_bytes()
    build_index(bank(30, 3)).save(tmp_path / "other")
    engine.write_bytes(next((tmp_path / "other").glob("codes-*")).read_bytes())
    with pytest.raises(RequestError, match=r"is damaged: codes-.*npz is not the file that index.json names"):
        open_index(tmp_path)
    engine.unlink()
    with pytest.raises(RequestError, match=r"is damaged: codes-.*npz is missing; build it again"):
        open_index(tmp_path)
    engine.write_bytes(content)
    for change, message in [
        ({"count": 29}, "damaged: file name, bits, or the count"),
        ({"bits": 0}, "damaged: file name, bits"),
        ({"file": "../codes.faiss"}, "damaged: file name, bits"),
        (
            {"count": 29, "ids": good["ids"][:29]},
            f"says flat, 29 items on {good['distinct']} codes of 21 bits, and .* does not fit",
        ),
        ({"bits": 32}, "codes of 32 bits, and codes-.* does not fit it; build it again"),
        ({"distinct": 30}, "30 items on 30 codes of 21 bits, and"),
        ({"classes": 20}, "does not fit it"),
        ({"engine": "ivf"}, "says ivf, 30 items on .* does not fit it"),
        ({"engine": "hnsw"}, "unknown engine in .* 'hnsw'"),
        ({"ids": [good["ids"][0]] * 30}, "an id stands in it twice"),
        ({"ids": list(range(30))}, "ids has the wrong type"),
        ({"bits": "21"}, "bits has the wrong type"),
        ({"more": 1}, "it must have the keys engine, bits"),
    ]:
        write_sealed(path, {key: value for key, value in good.items() if key != "digest"} | change)
        with pytest.raises(RequestError, match=message):
            open_index(tmp_path)
    path.write_text(json.dumps(good)[:-9])
    with pytest.raises(RequestError, match=r"index.json is damaged: it is not JSON"):
        open_index(tmp_path)
    for change in ({"ids": good["ids"][::-1]}, {"bank_digest": "0" * 16}, {"model_hash": "another"}, {"count": 29}):
        path.write_text(json.dumps(good | change))
        with pytest.raises(RequestError, match=r"index.json is damaged: its content was changed after it was written"):
            open_index(tmp_path)
    path.write_text(json.dumps({key: value for key, value in good.items() if key != "digest"}))
    with pytest.raises(RequestError, match=r"index.json is damaged: it has no digest, or an older hamguard wrote it"):
        open_index(tmp_path)


def test_only_ordinary_files_of_a_fitting_size_are_read(tmp_path):
    build_index(bank(30, 1)).save(tmp_path)
    engine = tmp_path / json.loads((tmp_path / FACTS).read_text())["file"]
    whole = engine.read_bytes()
    engine.unlink()
    os.mkfifo(engine)
    with pytest.raises(RequestError, match=r"npz is not an ordinary file, no codes of an index"):
        open_index(tmp_path)
    engine.unlink()
    with engine.open("wb") as stream:
        stream.truncate(40 << 30)
    with pytest.raises(RequestError, match=r"npz is not a readable .npz file"):
        open_index(tmp_path)
    engine.write_bytes(whole)
    (tmp_path / FACTS).unlink()
    os.mkfifo(tmp_path / FACTS)
    with pytest.raises(RequestError, match=r"index.json is not an ordinary file, no index"):
        open_index(tmp_path)


def test_a_reader_beside_a_writer_sees_the_old_or_the_new_index(tmp_path, monkeypatch):
    """The writer takes the engine's file away after the reader has seen `index.json`, as often as a fast writer could."""
    index = build_index(bank(30, 1))
    index.save(tmp_path)
    extra = bank(40, 2)
    extra = CodeBank(extra.packed, extra.bits, extra.labels, np.array([f"w{i}" for i in range(40)]), extra.model_hash)
    read, turns = index_file.read_npz, []

    def late(path, what):
        if len(turns) < 5:
            turns.append(path)
            index.add(extra.select(np.array([len(turns)])))
            index.save(tmp_path)
        return read(path, what)

    monkeypatch.setattr(index_file, "read_npz", late)
    assert len(open_index(tmp_path)) == 35 and len(set(turns)) == 5
