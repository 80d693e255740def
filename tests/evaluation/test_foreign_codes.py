"""Foreign codes of any length and encoding, against oracles that share no line with the package."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise, permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hamguard.core.errors import RequestError
from hamguard.evaluation.foreign_codes import read_codes, read_pair
from tests.cli.helpers import Shell

LENGTHS = (12, 21, 64)
ENCODINGS = ("signs", "bits", "floats", "bools", "packed", "packed-little", "unpacked-with-bits")


def expected_ap(dist: np.ndarray, relevant: np.ndarray) -> Fraction:
    """Mean AP over all orders of equal distances: rank by rank, P(hit here) and the hits expected before, given a hit."""
    total, hits_before, before = Fraction(0), 0, 0
    for d in sorted(set(dist.tolist())):
        group = relevant[dist == d]
        n, r = len(group), int(group.sum())
        for place in range(1, n + 1):
            if r:
                mates = Fraction((place - 1) * (r - 1), n - 1) if n > 1 else Fraction(0)  # hits of the group before it
                total += Fraction(r, n) * (hits_before + mates + 1) / (before + place)
        hits_before, before = hits_before + r, before + n
    return total / int(relevant.sum()) if relevant.any() else Fraction(0)


def stable_ap(dist: np.ndarray, relevant: np.ndarray, at: int | None = None) -> float:
    hits = relevant[np.argsort(dist, kind="stable")][:at]
    ranks = np.flatnonzero(hits) + 1
    return float(np.sum(np.arange(1, len(ranks) + 1) / ranks) / max(1, relevant.sum()))


def test_the_oracle_is_the_mean_over_all_orders() -> None:
    dist, relevant = np.array([1, 0, 1, 1, 2]), np.array([True, False, False, True, True])
    orders = [p for p in permutations(range(5)) if all(dist[a] <= dist[b] for a, b in pairwise(p))]
    values = []
    for order in orders:
        hits = relevant[list(order)]
        values.append(sum(Fraction(int(hits[: i + 1].sum()), i + 1) for i in range(5) if hits[i]) / 3)
    assert expected_ap(dist, relevant) == sum(values) / len(values)


def draw(K: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Signed codes near one of six centers, so that there are ties and a MAP above chance; numbers of the classes."""
    rng = np.random.default_rng([K, seed])
    centers = rng.choice([-1, 1], (6, K))
    q_class, d_class = rng.integers(0, 5, 17), rng.integers(0, 6, 90)
    flip = [np.where(rng.random((len(c), K)) < 0.3, -1, 1) for c in (q_class, d_class)]
    return centers[q_class] * flip[0], centers[d_class] * flip[1], q_class, d_class


def write(path: Path, codes: np.ndarray, labels: np.ndarray, encoding: str) -> Path:
    arrays: dict[str, Any] = {
        "signs": {"codes": codes.astype(np.int8)},
        "bits": {"codes": (codes > 0).astype(np.uint8)},
        "floats": {"codes": codes.astype(np.float32)},
        "bools": {"codes": codes > 0},
        "packed": {"codes": np.packbits(codes > 0, axis=1), "bits": codes.shape[1]},
        "packed-little": {
            "codes": np.packbits(codes > 0, axis=1, bitorder="little"),
            "bits": np.array([codes.shape[1]]),
        },
        "unpacked-with-bits": {"codes": (codes > 0).astype(np.uint8), "bits": codes.shape[1]},
    }[encoding]
    np.savez(path, labels=labels, **arrays)
    return path


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("K", LENGTHS)
def test_evaluate_agrees_with_the_oracle(K: int, encoding: str, shell: Shell, tmp_path: Path) -> None:
    query, base, q_class, d_class = draw(K)
    dist = (K - query @ base.T) // 2
    relevant = q_class[:, None] == d_class[None]
    eye = np.eye(6, dtype=np.int64)
    shapes = [(q_class, d_class), (eye[q_class], eye[d_class].astype(np.float32)), (q_class + 1e6, d_class + 1e6)]
    for q_labels, d_labels in [*shapes, (q_class, eye[d_class])]:
        files = ("--query-codes", write(tmp_path / "Q.npz", query, q_labels, encoding),
                 "--database-codes", write(tmp_path / "D.npz", base, d_labels, encoding))  # fmt: skip
        row = shell.done("evaluate", *files, "--metric", "map", "--json").rows[0]
        exact = sum((expected_ap(dist[i], relevant[i]) for i in range(17)), Fraction(0)) / 17
        assert row["value"] == pytest.approx(float(exact), abs=1e-12)
        assert (row["bits"], row["n"], row["ties"]) == (K, 17, "expected")
    for at in (None, 13):
        name = "map" if at is None else f"map@{at}"
        row = shell.done("evaluate", *files, "--metric", name, "--ties", "stable", "--json").rows[0]
        wanted = np.mean([stable_ap(dist[i], relevant[i], at) for i in range(17)])
        assert row["value"] == pytest.approx(wanted, abs=1e-12)


def test_several_labels_an_item(shell: Shell, tmp_path: Path) -> None:
    query, base, _, _ = draw(21)
    rng = np.random.default_rng(1)
    q_labels, d_labels = rng.random((17, 4)) < 0.3, rng.random((90, 4)) < 0.3
    q_labels[:2] = False
    files = ("--query-codes", write(tmp_path / "Q.npz", query, q_labels, "signs"),
             "--database-codes", write(tmp_path / "D.npz", base, d_labels, "bits"))  # fmt: skip
    dist, relevant = (21 - query @ base.T) // 2, (q_labels.astype(int) @ d_labels.T.astype(int)) > 0
    each = [float(expected_ap(dist[i], relevant[i])) for i in range(17)]
    bare = int((~q_labels.any(1)).sum())
    row = shell.done("evaluate", *files, "--metric", "map", "--json").rows[0]
    assert row["value"] == pytest.approx(np.mean(each), abs=1e-12)
    assert f"{bare} of 17 queries carry no label; they count as 0" in row["notes"]
    row = shell.done("evaluate", *files, "--metric", "map", "--empty", "skip", "--json").rows[0]
    assert row["value"] == pytest.approx(
        np.mean([v for v, r in zip(each, relevant, strict=True) if r.any()]), abs=1e-12
    )
    assert row["n"] == int(relevant.any(1).sum())
    assert f"{bare} of 17 queries carry no label; they are left out" in row["notes"]
    first = shell.done("evaluate", *files, "--metric", "map", "--queries", 6, "--json").rows[0]
    assert first["value"] == pytest.approx(np.mean(each[:6]), abs=1e-12) and first["n"] == 6


def test_a_bank_of_ours_is_read_too(tmp_path: Path) -> None:
    from hamguard.codes.bank import CodeBank

    query, base, q_class, d_class = draw(12)
    eye = np.eye(6, dtype=np.uint8)
    CodeBank.of(query, eye[q_class]).save(tmp_path / "Q.npz")
    read = read_pair(tmp_path / "Q.npz", write(tmp_path / "D.npz", base, d_class, "signs"))[0]
    assert np.array_equal(read.codes.numpy(), query) and np.array_equal(read.labels, eye[q_class])


def test_one_query_that_fits_both_orders_is_read_like_its_database(tmp_path: Path) -> None:
    """Padding tells the order of the database only; the query has no bit where one could see it."""
    query = np.full((1, 12), -1)
    query[0, 8:12] = 1  # high nibble in numpy's order
    base = np.concatenate([query, -query, query])
    pair = read_pair(
        write(tmp_path / "Q.npz", query, np.zeros(1, int), "packed"), write(tmp_path / "D.npz", base, np.zeros(3, int), "packed")
    )  # fmt: skip
    assert (pair[0].codes @ pair[1].codes.T).tolist() == [[12.0, -12.0, 12.0]]


GOOD = np.array([[1, -1, 1], [1, 1, -1]])


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"codes": GOOD}, "must hold the arrays codes and labels; it has codes"),
        ({"labels": [0, 1]}, "must hold the arrays codes and labels; it has labels"),
        ({"codes": GOOD, "labels": [0, 1, 2]}, r"labels must be \(2, C\) or \(2,\), got \(3,\)"),
        ({"codes": GOOD * 0.5, "labels": [0, 1]}, r"codes must consist of \{-1, \+1\} or of \{0, 1\}"),
        ({"codes": np.array([[1, 0], [-1, 1]]), "labels": [0, 1]}, r"codes must consist of"),
        ({"codes": GOOD * np.nan, "labels": [0, 1]}, r"codes must consist of"),
        ({"codes": GOOD[0], "labels": [0, 1, 2]}, r"codes must have shape \(N, K\)"),
        ({"codes": GOOD[:, :0], "labels": [0, 1]}, r"codes must have shape \(N, K\) with K at least 1"),
        ({"codes": GOOD[:0], "labels": []}, "holds no codes"),
        ({"codes": np.zeros((2, 2), np.uint8), "bits": 0, "labels": [0, 1]}, "bits must be at least 1, got 0"),
        (
            {"codes": np.zeros((2, 2), np.uint8), "bits": 12.5, "labels": [0, 1]},
            "bits must be one whole number, got 12.5",
        ),
        ({"codes": np.zeros((2, 2), np.uint8), "bits": [9, 9], "labels": [0, 1]}, "bits must be one whole number"),
        ({"codes": np.zeros((2, 2), np.uint8), "bits": 21, "labels": [0, 1]}, r"21 bits must be uint8 \(N, 3\)"),
        ({"codes": np.full((2, 2), 255, np.uint8), "bits": 12, "labels": [0, 1]}, "bits set beyond bit 12"),
        ({"codes": np.zeros((2, 2), np.int64), "bits": 16, "labels": [0, 1]}, "must be uint8"),
        ({"codes": GOOD, "labels": [[0, 2], [1, 0]]}, "query labels must be multi-hot, 0 or 1"),
        ({"codes": GOOD, "labels": np.zeros((2, 0))}, "query labels have no column"),
        ({"codes": GOOD, "labels": [0.5, 1]}, "query class numbers must be whole numbers from 0"),
        ({"codes": GOOD, "labels": [np.inf, 1]}, "query class numbers must be whole numbers from 0"),
        ({"codes": GOOD, "labels": [-1, 1]}, "query class numbers must be whole numbers from 0"),
        ({"codes": GOOD, "labels": ["cat", "dog"]}, "query labels must be numbers, got <U3"),
        ({"codes": GOOD, "labels": np.array([1, "x"], object)}, "holds Python objects: Object arrays"),
        (
            {"codes": GOOD, "labels": np.eye(2)},
            "class numbers go up to 3, but the multi-hot labels of the other side have 2",
        ),
        ({"codes": np.ones((2, 4)), "labels": [0, 1]}, "query codes have 4 bits, database codes have 3"),
    ],
)
def test_every_fault_is_named(arrays: dict[str, Any], expected: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "Q.npz", **arrays)
    np.savez(tmp_path / "D.npz", codes=np.ones((4, 3)), labels=[0, 1, 2, 3])
    with pytest.raises(RequestError, match=expected):
        read_pair(tmp_path / "Q.npz", tmp_path / "D.npz")


def test_other_files_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", GOOD)
    (tmp_path / "text.npz").write_text("no zip")
    np.savez(tmp_path / "good.npz", codes=GOOD, labels=np.eye(2))
    (tmp_path / "torn.npz").write_bytes((tmp_path / "good.npz").read_bytes()[:-30])
    np.savez(tmp_path / "wide.npz", codes=GOOD, labels=np.zeros((2, 3)))
    with pytest.raises(RequestError, match="no codes at"):
        read_codes(tmp_path / "none.npz")
    for name in ("one.npy", "text.npz", "torn.npz"):
        with pytest.raises(RequestError, match=f"{name} is not a readable .npz file"):
            read_codes(tmp_path / name)
    with pytest.raises(RequestError, match=r"the same classes, got labels \(2, 2\) and \(2, 3\)"):
        read_pair(tmp_path / "good.npz", tmp_path / "wide.npz")


def test_flags_of_a_model_do_not_go_with_foreign_codes(shell: Shell, tmp_path: Path) -> None:
    np.savez(tmp_path / "good.npz", codes=GOOD, labels=np.eye(2))
    files = ("--query-codes", tmp_path / "good.npz", "--database-codes", tmp_path / "good.npz")
    assert "--learned go with a MODEL" in shell.fails(2, "evaluate", *files, "--learned")
    assert "--data, --data-root" in shell.fails(2, "evaluate", *files, "--data", "digits")
    assert "need both --query-codes and --database-codes" in shell.fails(2, "evaluate", *files[:2])
    assert "give either a MODEL, or both" in shell.fails(2, "evaluate")
