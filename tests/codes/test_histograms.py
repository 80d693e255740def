import ast
import dataclasses
import importlib.util
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from hamguard.codes import histograms as module
from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import pack
from hamguard.codes.gains import shared_labels
from hamguard.codes.histograms import DistanceHistograms, distance_histograms, leave_out, stable_sums
from hamguard.codes.labeled import ClassNumbers, Codes, asked_classes
from hamguard.core.errors import RequestError

# K on both sides of bytes, words and the small key type; C on both sides of one and two label words.
SHAPES = [(1, 1), (7, 10), (12, 64), (21, 65), (64, 21), (65, 80), (127, 3), (128, 3), (130, 130)]


def draw(n, bits, classes, seed, density=0.2):
    rng = np.random.default_rng(seed)
    signs = rng.integers(0, 2, (n, bits)) * 2 - 1
    labels = (rng.random((n, classes)) < density).astype(np.uint8)
    return signs, labels, Codes(pack(signs), bits, labels)


def oracle(signs, labels, db_signs, db_labels):
    bits = signs.shape[1]
    total, relevant = np.zeros((len(signs), bits + 1), int), np.zeros((len(signs), bits + 1), int)
    for i in range(len(signs)):
        for j in range(len(db_signs)):
            d = int((signs[i] != db_signs[j]).sum())
            total[i, d] += 1
            relevant[i, d] += int((labels[i] * db_labels[j]).sum() > 0)
    return total, relevant


def oracle_terms(signs, labels, db_signs, db_labels, i):
    dist = (signs[i] != db_signs).sum(axis=1)
    hit = ((labels[i] * db_labels).sum(axis=1) > 0)[np.argsort(dist, kind="stable")]
    ranks = np.flatnonzero(hit) + 1
    return ranks, np.arange(1, len(ranks) + 1) / ranks


@pytest.mark.parametrize("path", ["numpy", "numba", "torch"])
@pytest.mark.parametrize(("bits", "classes"), SHAPES)
def test_counts_equal_a_literal_loop(bits, classes, path):
    signs, labels, query = draw(5, bits, classes, 1)
    db_signs, db_labels, database = draw(83, bits, classes, 2)
    found = distance_histograms(query, database, path=path)
    total, relevant = oracle(signs, labels, db_signs, db_labels)
    assert np.array_equal(found.total, total)
    assert np.array_equal(found.relevant, relevant)
    assert found.total.dtype == found.relevant.dtype == np.int64


@pytest.mark.parametrize("bits", [64, 2048])
def test_paths_agree_over_several_blocks(bits, monkeypatch):
    monkeypatch.setattr("hamguard.codes.labeled.BLOCK_ROWS", 4500)  # more than one stretch, not a multiple of one
    _, _, query = draw(3, bits, 21, 1)
    _, _, database = draw(10_007, bits, 21, 2)
    tables = [distance_histograms(query, database, path=path) for path in ("numpy", "numba", "torch")]
    assert tables[0].database == 10_007
    for other in tables[1:]:
        assert np.array_equal(tables[0].total, other.total)
        assert np.array_equal(tables[0].relevant, other.relevant)


@pytest.mark.parametrize("path", ["numpy", "numba"])
@pytest.mark.parametrize(("bits", "classes"), SHAPES)
def test_stable_sums_equal_a_stable_sort(bits, classes, path):
    signs, labels, query = draw(5, bits, classes, 1)
    db_signs, db_labels, database = draw(300, bits, classes, 2)
    table = distance_histograms(query, database)
    for max_rank, max_hits in ((None, None), (40, None), (None, 3), (10_000, 10_000)):
        sums, hits = stable_sums(query, database, table, max_rank=max_rank, max_hits=max_hits, path=path)
        for i in range(5):
            ranks, terms = oracle_terms(signs, labels, db_signs, db_labels, i)
            kept = terms[ranks <= (max_rank or 300)][: max_hits or 300]
            assert hits[i] == len(kept)
            assert sums[i] == pytest.approx(kept.sum(), abs=1e-12)


def test_stable_sums_do_not_depend_on_path_threads_or_shards_in_the_last_bit():
    _, _, query = draw(7, 12, 10, 1)
    _, _, database = draw(9_001, 12, 10, 2)
    table = distance_histograms(query, database)
    cuts = [0, 1, 1, 5000, 5003, 9001]
    shards = [Codes(database.packed[a:b], 12, database.labels[a:b]) for a, b in itertools.pairwise(cuts)]
    first = stable_sums(query, database, table, path="numpy", max_rank=5000)
    for other in (
        stable_sums(query, shards, table, path="numpy", max_rank=5000),
        stable_sums(query, database, table, path="numba", max_rank=5000),
        stable_sums(query, shards, table, path="numba", max_rank=5000, threads=3),
    ):
        assert np.array_equal(first[0], other[0])
        assert np.array_equal(first[1], other[1])


def test_many_bits_take_several_turns_of_queries(monkeypatch):
    monkeypatch.setattr(module, "STATE_BYTES", 8)
    _, _, query = draw(150, 12, 10, 1)
    _, _, database = draw(200, 12, 10, 2)
    table = distance_histograms(query, database)
    turns = stable_sums(query, database, table)
    monkeypatch.setattr(module, "STATE_BYTES", 1 << 22)
    assert np.array_equal(turns[0], stable_sums(query, database, table)[0])


def test_shards_add_up_to_the_whole():
    _, _, query = draw(4, 21, 10, 1)
    _, _, database = draw(100, 21, 10, 2)
    parts = [Codes(database.packed[a:b], 21, database.labels[a:b]) for a, b in ((0, 33), (33, 33), (33, 100))]
    whole = distance_histograms(query, database)
    added = distance_histograms(query, parts[0]) + distance_histograms(query, parts[2])
    streamed = distance_histograms(query, parts, path="numba", threads=2)
    for other in (added, streamed):
        assert np.array_equal(whole.total, other.total)
        assert np.array_equal(whole.relevant, other.relevant)


def test_tensors_float_labels_and_banks_count_alike():
    _, labels, query = draw(4, 21, 10, 1)
    _, db_labels, database = draw(100, 21, 10, 2)
    whole = distance_histograms(query, database)
    tensors = [Codes(torch.from_numpy(c.packed), 21, torch.from_numpy(c.labels)) for c in (query, database)]
    floats = Codes(query.packed, 21, labels.astype(np.float32)), Codes(database.packed, 21, db_labels.astype(bool))
    banks = CodeBank(query.packed, 21, labels), CodeBank(database.packed, 21, db_labels)
    for q, d in (tensors, floats, banks):
        for path in ("auto", "numpy", "torch"):
            assert np.array_equal(distance_histograms(q, d, path=path).relevant, whole.relevant)


def test_shared_labels_equal_a_product():
    signs, labels, query = draw(4, 12, 70, 1)
    db_signs, db_labels, database = draw(90, 12, 70, 2)
    found = shared_labels(query, [database])
    shared = labels.astype(int) @ db_labels.T.astype(int)
    dist = (signs[:, None] != db_signs[None]).sum(axis=2)
    for i in range(4):
        assert np.array_equal(found.by_distance[i], np.bincount(dist[i], weights=shared[i], minlength=13))
        assert np.array_equal(found.counts[i], np.bincount(shared[i], minlength=found.counts.shape[1]))


def test_auto_takes_numba_for_many_pairs(monkeypatch):
    _, _, query = draw(2, 8, 2, 1)
    assert module.choose_path("auto", query, [query], 10) == "numpy"
    assert module.choose_path("auto", query, [query], 10**8) == "numba"


def test_importing_histograms_does_not_load_the_compiler():
    seen, waiting = set(), {"hamguard.codes.histograms"}
    while waiting:
        name = waiting.pop()
        seen.add(name)
        tree = ast.parse(Path(importlib.util.find_spec(name).origin).read_text(encoding="utf-8"))
        for node in tree.body:  # imports inside functions are the lazy ones
            found = [node.module] if isinstance(node, ast.ImportFrom) else []
            found += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module == "hamguard.codes":
                found += [f"hamguard.codes.{alias.name}" for alias in node.names]
            waiting |= {n for n in found if n.startswith("hamguard.")} - seen
            seen |= set(found)
    assert "hamguard.codes.histograms_numpy" in seen
    assert not {"numba", "hamguard.codes.histograms_numba"} & seen


def test_kernels_compile_where_no_cache_can_be_written(monkeypatch):
    from hamguard.codes import compiled

    calls = []

    def njit(**options):
        calls.append(options)
        if "cache" in options:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(compiled, "njit", njit)
    assert compiled.compiled(len) is len
    assert [("cache" in c) for c in calls] == [True, False]


def good():
    return draw(3, 12, 4, 1)[2], draw(9, 12, 4, 2)[2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda q, d: (Codes(q.packed[:0], 12, q.labels[:0]), d), "there are no queries"),
        (lambda q, d: (q, Codes(d.packed[:0], 12, d.labels[:0])), "the database is empty"),
        (lambda q, d: (q, []), "the database is empty"),
        (lambda q, d: (q, Codes(d.packed, 13, d.labels)), "12 bits, database codes 13"),
        (lambda q, d: (q, Codes(d.packed, 12, d.labels[:, :3])), "4 classes, database labels 3"),
        (lambda q, d: (q, Codes(d.packed, 12, d.labels * 2)), "multi-hot, 0 or 1"),
        (lambda q, d: (Codes(q.packed, 12, np.full((3, 4), np.nan)), d), "multi-hot, 0 or 1"),
        (lambda q, d: (Codes(q.packed, 12, np.full((3, 4), -1)), d), "multi-hot, 0 or 1"),
    ],
)
@pytest.mark.parametrize("path", ["numpy", "torch"])
def test_unfitting_inputs_are_refused(change, message, path):
    query, database = good()
    if message == "multi-hot, 0 or 1":
        database = Codes(database.packed, 12, np.ones_like(database.labels))
    with pytest.raises(RequestError, match=message):
        distance_histograms(*change(query, database), path=path)


def test_unfitting_codes_are_refused():
    query, database = good()
    with pytest.raises(RequestError, match=r"labels of codes must have shape \(3, C\)"):
        Codes(query.packed, 12, query.labels[0])
    with pytest.raises(RequestError, match="with C at least 1"):
        Codes(query.packed, 12, query.labels[:, :0])
    with pytest.raises(RequestError, match="codes of 20 bits must be uint8"):
        Codes(query.packed, 20, query.labels)
    with pytest.raises(RequestError, match="codes of 20 bits must be uint8"):
        Codes(torch.from_numpy(query.packed), 20, torch.from_numpy(query.labels))
    with pytest.raises(RequestError, match="bits set beyond"):
        Codes(torch.full((3, 2), 255, dtype=torch.uint8), 12, torch.ones(3, 1))
    with pytest.raises(RequestError, match=r"unknown path 'numbra'.*did you mean numba"):
        distance_histograms(query, database, path="numbra")
    with pytest.raises(RequestError, match="threads must be at least 1, got 0"):
        distance_histograms(query, database, threads=0)
    table = distance_histograms(query, database)
    with pytest.raises(RequestError, match="stable ties have no torch path"):
        stable_sums(query, database, table, path="torch")
    with pytest.raises(RequestError, match="do not belong to 3 queries, 18 items"):
        stable_sums(query, [database, database], table)
    with pytest.raises(RequestError, match="same queries and bits add up"):
        table + DistanceHistograms(table.total[:2], table.relevant[:2], 12)
    with pytest.raises(RequestError, match=r"of 11 bits must have shape \(Q, 12\)"):
        DistanceHistograms(table.total, table.relevant, 11)
    with pytest.raises(RequestError, match="between 0 and all items relevant"):
        DistanceHistograms(table.relevant, table.total + 1, 12)


@pytest.mark.parametrize("path", ["numpy", "numba", "torch"])
@pytest.mark.parametrize("numbered", [(True, True), (True, False), (False, True)])
def test_class_numbers_count_as_their_rows(path, numbered, monkeypatch):
    monkeypatch.setattr("hamguard.codes.labeled.BLOCK_BYTES", 1 << 10)  # several blocks
    rng = np.random.default_rng(0)
    q_class, d_class = rng.integers(-1, 300, 9), rng.integers(-1, 300, 700)
    q_class[1] = d_class[1] = 299
    sides = [draw(9, 21, 1, 1)[2].packed, draw(700, 21, 1, 2)[2].packed]
    numbers = [ClassNumbers(q_class, 300), ClassNumbers(d_class, 300)]
    rows = [Codes(p, 21, np.asarray(n)) for p, n in zip(sides, numbers, strict=True)]
    assert rows[0].labels.shape == numbers[0].shape and rows[0].labels.dtype == np.uint8
    own = [Codes(r.packed, 21, n if kept else r.labels) for r, n, kept in zip(rows, numbers, numbered, strict=True)]
    want, got = distance_histograms(*rows, path="numpy"), distance_histograms(*own, path=path)
    assert np.array_equal(want.total, got.total) and np.array_equal(want.relevant, got.relevant)
    assert int(want.relevant.sum()) == int(((q_class[:, None] == d_class) & (q_class >= 0)[:, None]).sum())
    if path != "torch":
        assert all(
            np.array_equal(a, b)
            for a, b in zip(stable_sums(*rows, want, path="numpy"), stable_sums(*own, got, path=path), strict=True)
        )
    assert np.array_equal(shared_labels(*rows).by_distance, shared_labels(*own).by_distance)


@pytest.mark.parametrize("path", ["numpy", "numba", "torch"])
def test_classes_that_no_query_has_are_left_out_without_a_trace(path):
    signs, labels, query = draw(5, 12, 400, 1, density=0.01)
    db_signs, db_labels, database = draw(83, 12, 400, 2, density=0.05)
    assert asked_classes(labels) is not None and len(asked_classes(labels)) < 64
    total, relevant = oracle(signs, labels, db_signs, db_labels)
    found = distance_histograms(query, database, path=path)
    assert np.array_equal(found.total, total) and np.array_equal(found.relevant, relevant)
    bare = distance_histograms(Codes(query.packed, 12, np.zeros_like(labels)), database, path=path)
    assert np.array_equal(bare.total, total) and not bare.relevant.any()
    wrong = db_labels.astype(float)
    wrong[40, np.flatnonzero(~labels.any(axis=0))[0]] = 0.5  # in a column that no query has
    with pytest.raises(RequestError, match="a value is neither"):
        distance_histograms(query, Codes(database.packed, 12, wrong), path=path)


def test_class_numbers_out_of_range_are_refused():
    with pytest.raises(RequestError, match="between -1 and 2, got 0 to 3"):
        ClassNumbers(np.array([0, 3]), 3)
    with pytest.raises(RequestError, match="between -1 and 2, got -2 to 0"):
        ClassNumbers(np.array([-2, 0]), 3)


@pytest.mark.parametrize("classes", [3, 200])
def test_queries_left_out_of_their_own_answers(classes):
    signs, labels, database = draw(40, 12, classes, 2)
    labels[3] = 0
    own = np.array([5, -1, 3, 39])
    query = Codes(database.packed[own], 12, labels[own])
    found = leave_out(distance_histograms(query, database), query, database, own)
    for i, j in enumerate(own):
        others = np.delete(np.arange(40), j) if j >= 0 else np.arange(40)
        total, relevant = oracle(signs[own][i : i + 1], labels[own][i : i + 1], signs[others], labels[others])
        assert np.array_equal(found.total[i], total[0]) and np.array_equal(found.relevant[i], relevant[0])
    assert found.database == 40
    with pytest.raises(RequestError, match="own must name one of 40 items or -1 for each of 4 queries"):
        leave_out(found, query, database, np.array([0, 1, 2, 40]))


@pytest.mark.parametrize("dtype", [np.int64, np.float64, np.uint8, bool])
def test_a_bank_takes_rows_of_any_type_and_class_numbers(dtype):
    signs = draw(4, 12, 1, 1)[0]
    rows = np.array([[1, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]])
    numbers = rows.argmax(axis=1)
    for labels in (rows.astype(dtype), torch.from_numpy(rows.astype(dtype)), numbers, torch.from_numpy(numbers)):
        bank = CodeBank.of(signs, labels)
        assert bank.labels.dtype == np.uint8 and np.array_equal(bank.labels, rows)
    one = CodeBank.of(signs, np.array([[1], [0], [1], [1]], dtype))
    assert one.labels.tolist() == [[1], [0], [1], [1]]
    assert CodeBank.of(signs, np.zeros((4, 0), dtype)).labels.shape == (4, 0)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.full((4, 2), 0.4), "must be multi-hot, 0 or 1; got 0.4 .* soft labels must be decided first"),
        (np.array([[1, -1]] * 4), "must be multi-hot, 0 or 1; got -1"),
        (np.array([[1, np.nan]] * 4), "must be multi-hot, 0 or 1; got nan"),
        (np.array([[0], [3], [1], [2]]), r"got 3 in shape \(4, 1\); class numbers have the shape \(4,\)"),
        (np.array([0, 1, -1, 2]), "class numbers must be whole numbers from 0, got -1"),
        (np.array(["a", "b", "a", "c"]), "got names such as 'a'"),
        (np.eye(3), r"labels must have shape \(4, C\)"),
    ],
)
def test_a_bank_refuses_labels_that_it_would_change(labels, expected):
    signs = draw(4, 12, 1, 1)[0]
    with pytest.raises(RequestError, match=expected):
        CodeBank.of(signs, labels)
    if labels.ndim == 2 and len(labels) == 4 and labels.dtype.kind == "f":
        with pytest.raises(RequestError, match="multi-hot"):
            CodeBank(pack(signs), 12, labels)


def collapsed(n, kinds, bits, classes, seed):
    """Codes of a few kinds, in no order."""
    signs, labels, _ = draw(kinds, bits, classes, seed)
    which = np.random.default_rng(seed).integers(0, kinds, n)
    return signs[which], labels[which], Codes(pack(signs[which]), bits, labels[which])


@pytest.mark.parametrize("path", ["numpy", "numba"])
@pytest.mark.parametrize(("bits", "classes"), [(12, 10), (65, 80), (128, 3)])
def test_collapsed_codes_are_counted_by_their_number(bits, classes, path, monkeypatch):
    signs, labels, query = collapsed(40, 9, bits, classes, 1)
    db_signs, db_labels, database = collapsed(3_000, 60, bits, classes, 2)
    seen = []
    monkeypatch.setattr(module, "QUERIES", {"numpy": 2, "numba": 2})
    kernel, together = module._counting(path)

    def watched(*given):
        seen.append((len(given[0]), given[2].shape[1], int(given[6].sum())))
        kernel(*given)

    monkeypatch.setattr(module, "_counting", lambda path: (watched, together))
    monkeypatch.setattr("hamguard.codes.labeled.BLOCK_ROWS", 2_000)
    found = distance_histograms(query, database, path=path)
    assert [kinds <= 60 and queries <= 9 for queries, kinds, _ in seen] == [True, True]
    assert [items for *_, items in seen] == [2_000, 1_000]
    total, relevant = oracle(signs, labels, db_signs, db_labels)
    assert np.array_equal(found.total, total) and np.array_equal(found.relevant, relevant)
    assert found.total.dtype == found.relevant.dtype == np.int64


@pytest.mark.parametrize("path", ["numpy", "numba"])
def test_different_codes_are_looked_at_once_and_counted_one_by_one(path, monkeypatch):
    _, _, query = draw(20, 64, 10, 1)
    _, _, database = draw(5_000, 64, 10, 2)
    monkeypatch.setattr(module, "QUERIES", {"numpy": 2, "numba": 2})
    monkeypatch.setattr("hamguard.codes.labeled.BLOCK_ROWS", 1_000)
    kernel, together = module._counting(path)
    looked = []

    def look(code, label):
        looked.append(code.shape[1])
        return together(code, label)

    monkeypatch.setattr(module, "_counting", lambda path: (kernel, look))
    assert distance_histograms(query, database, path=path).database == 5_000
    assert looked == [62]  # a sixteenth of the first block, and no other block


@pytest.mark.parametrize("path", ["numpy", "numba"])
def test_items_of_a_kind_are_equal_and_all_counted(path):
    _, _, database = collapsed(5_000, 37, 130, 70, 3)
    code, label = np.ascontiguousarray(module.words(database.packed).T), module.pack_labels(database.labels).T
    first, times = module._counting(path)[1](code, np.ascontiguousarray(label))
    rows = np.concatenate([code, label]).T
    kinds, counts = np.unique(rows, axis=0, return_counts=True)
    order = np.lexsort(rows[first].T[::-1])
    assert np.array_equal(rows[first][order], kinds) and np.array_equal(times[order], counts)


def test_expected_map_of_collapsed_codes_is_that_of_every_pair(monkeypatch):
    from hamguard.retrieval.metrics import average_precision

    _, _, query = collapsed(500, 200, 32, 10, 1)
    _, _, database = collapsed(20_000, 900, 32, 10, 2)
    found = average_precision(query, database, path="numba")
    monkeypatch.setattr(module, "MOST", 0.0)
    every = average_precision(query, database, path="numpy")
    assert np.abs(found - every).max() <= 1e-12


@pytest.mark.parametrize(
    ("bits", "classes"),
    [(1, 1), (12, 10), (30, 24), (32, 1), (32, 80), (58, 70), (64, 21), (64, 25), (65, 80), (127, 3), (128, 3)],
)
@pytest.mark.parametrize("items", [400, 401, 257])
def test_byte_columns_and_pairs_of_keys_count_the_same(bits, classes, items, monkeypatch):
    from hamguard.codes import histograms_numba

    _, _, query = draw(5, bits, classes, 1)
    _, _, database = draw(items, bits, classes, 2)
    slow = distance_histograms(query, database, path="numpy")
    monkeypatch.setattr(histograms_numba, "LONG", 16)
    monkeypatch.setattr(histograms_numba, "MANY", 2)
    found = distance_histograms(query, database, path="numba")
    assert np.array_equal(found.total, slow.total) and np.array_equal(found.relevant, slow.relevant)


@pytest.mark.parametrize("class_", [0, 9, 69])
def test_byte_columns_of_labels_that_few_queries_have(class_, monkeypatch):
    """Columns without a label of a query are left out, wherever the others lie; a query without labels finds nothing relevant."""
    from hamguard.codes import histograms_numba

    _, _, query = draw(5, 64, 70, 1)
    _, _, database = draw(300, 64, 70, 2)
    labels = np.zeros_like(query.labels)
    labels[1:3, class_] = 1
    query = dataclasses.replace(query, labels=labels)
    slow = distance_histograms(query, database, path="numpy")
    monkeypatch.setattr(histograms_numba, "LONG", 16)
    monkeypatch.setattr(histograms_numba, "MANY", 2)
    found = distance_histograms(query, database, path="numba")
    assert np.array_equal(found.total, slow.total) and np.array_equal(found.relevant, slow.relevant)
    assert found.relevant[1].sum() == database.labels[:, class_].sum() > 0 and not found.relevant[0].any()


def test_byte_columns_over_several_stretches():
    _, _, query = draw(70, 64, 21, 1)
    _, _, database = draw(20_001, 64, 21, 2)
    slow = distance_histograms(query, database, path="numpy")
    found = distance_histograms(query, database, path="numba")
    assert np.array_equal(found.total, slow.total) and np.array_equal(found.relevant, slow.relevant)
