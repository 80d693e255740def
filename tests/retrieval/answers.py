"""Banks whose items share codes, and every answer of an index held against all items one by one."""

import numpy as np

from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import hamming


def drawn(rng, count, bits, codes, prefix="i"):
    """Items on at most `codes` codes, some of which most items share; ids in no order, labels of three classes."""
    pool = rng.random((codes, bits)) < 0.5
    code = pool[np.minimum(rng.integers(0, codes, count), rng.integers(0, codes, count))]
    ids = np.array([f"{prefix}{j}" for j in rng.permutation(count)], dtype=np.str_)
    marks = (rng.random((count, 3)) < 0.4).astype(np.uint8)
    return CodeBank(np.packbits(code, axis=1, bitorder="little"), bits, marks, ids, "m1", "s1")


def joined(first, second):
    """Items of two banks in one."""
    parts = [np.concatenate(pair) for pair in zip(*[(b.packed, b.labels, b.ids) for b in (first, second)], strict=True)]
    return CodeBank(parts[0], first.bits, parts[1], parts[2], "m1", "s1")


def check_answers(index, bank, query, label=None):
    """Every answer against all items one by one, of a label where one is given."""
    kept = bank if label is None else bank.select(bank.labels[:, label] > 0)
    dist = hamming(query.packed, kept.packed)
    order = np.argsort(dist, axis=1, kind="stable")
    far, ids = np.take_along_axis(dist, order, axis=1), kept.ids[order]
    for k in {1, 2, min(7, len(bank)), max(1, len(bank) // 2), len(bank)}:
        if k <= len(bank):
            found, there = index.search(query, k, label=label), min(k, len(kept))
            assert found.distances.shape == found.ids.shape == (len(query), k)
            assert np.array_equal(found.distances[:, :there], far[:, :k]) and (found.distances[:, there:] == -1).all()
            assert np.array_equal(found.ids[:, :there], ids[:, :k]) and (found.ids[:, there:] == "").all()
    for radius in {0, 1, bank.bits // 3, bank.bits}:
        ball = index.within(query, radius, label=label)
        assert np.array_equal(np.diff(ball.limits), (dist <= radius).sum(axis=1))
        assert list(ball.ids) == [name for row, near in zip(ids, far, strict=True) for name in row[near <= radius]]
        assert list(ball.distances) == [d for near in far for d in near[near <= radius]]
    again = index.bank()
    assert np.array_equal(again.packed, bank.packed) and list(again.ids) == list(bank.ids)
    assert np.array_equal(again.labels, bank.labels)
