"""Foreign codes of any length and encoding, against oracles that share no line with the package."""

from __future__ import annotations

import functools
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise, permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hamguard.core.errors import RequestError
from hamguard.evaluation.search.foreign_codes import read_codes, read_pair
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


@functools.cache
def drawn_map(K: int) -> float:
    """The oracle's MAP of the codes of `draw(K)`."""
    query, base, q_class, d_class = draw(K)
    dist, relevant = (K - query @ base.T) // 2, q_class[:, None] == d_class[None]
    return float(sum((expected_ap(dist[i], relevant[i]) for i in range(17)), Fraction(0)) / 17)


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
        assert row["value"] == pytest.approx(drawn_map(K), abs=1e-12)
        assert (row["bits"], row["n"], row["ties"]) == (K, 17, "expected")
    for at in (None, 13):
        name = "map" if at is None else f"map@{at}"
        row = shell.done("evaluate", *files, "--metric", name, "--ties", "stable", "--json").rows[0]
        wanted = np.mean([stable_ap(dist[i], relevant[i], at) for i in range(17)])
        assert row["value"] == pytest.approx(wanted, abs=1e-12)


def test_codes_that_are_arrays_are_scored_without_torch(tmp_path: Path) -> None:
    query, base, q_class, d_class = draw(12)
    Q, D = write(tmp_path / "Q.npz", query, q_class, "signs"), write(tmp_path / "D.npz", base, d_class, "packed")
    words = ["hamguard", "evaluate", "--query-codes", str(Q), "--database-codes", str(D), "--metric", "ndcg-shared@5",
             "--metric", "map", "--out", str(tmp_path / "rows.jsonl"), "--json"]  # fmt: skip
    code = f"import sys; sys.argv = {words!r}\nfrom hamguard.cli.main import run\ntry: run()\n"
    code += "except SystemExit as end: assert not end.code\nheavy = {'torch', 'torchvision', 'faiss', 'sklearn', 'matplotlib'}\n"
    code += "print(heavy & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *rows, heavy = done.stdout.splitlines()
    assert len(rows) == 3 and heavy == "set()"


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
        ({"codes": GOOD, "labels": ["cat", "dog"]}, "query labels are class names, database labels are not"),
        ({"codes": GOOD.astype(str), "labels": [0, 1]}, "codes must be numbers, got <U"),
        ({"codes": GOOD.astype("M8[s]"), "labels": [0, 1]}, "codes must be numbers, got datetime64"),
        (
            {"codes": np.full((2, 3), 7, np.uint8), "labels": [0, 1]},
            "these hold 7; packed bits need the number of bits",
        ),
        ({"codes": GOOD * 0.37, "labels": [0, 1]}, "these hold 0.37; sign real outputs first"),
        ({"codes": np.array([[1, np.nan], [0, 1]]), "labels": [0, 1]}, "these hold NaN"),
        (
            {"codes": np.array([[1, 0], [-1, 1]]), "labels": [0, 1]},
            "hold -1, 0 and .1, where 0 may be a bit that is off or",
        ),
        ({"codes": np.array(1), "labels": [0, 1]}, r"codes must have shape \(N, K\)"),
        ({"codes": GOOD, "labels": 1}, "query labels must be class numbers .* got one value alone"),
        ({"codes": GOOD, "labels": [0, 1], "bits": np.nan}, "bits must be one whole number, got nan"),
        ({"codes": GOOD, "labels": [0, 1], "ids": np.zeros((2, 1))}, r"ids must be \(2,\) strings or whole numbers"),
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
    assert "--learned and --view go with a MODEL" in shell.fails(2, "evaluate", *files, "--learned")
    assert "--data, --data-root" in shell.fails(2, "evaluate", *files, "--data", "digits")
    assert "need both --query-codes and --database-codes" in shell.fails(2, "evaluate", *files[:2])
    assert "give either a MODEL, or both" in shell.fails(2, "evaluate")


# What can be read in two ways, and what a file holds beyond codes and labels.


def rows_of(shell: Shell, query: Path, base: Path, *words: object) -> dict[str, Any]:
    metric = () if "--metric" in words else ("--metric", "map")
    return shell.done("evaluate", "--query-codes", query, "--database-codes", base, *metric, *words, "--json").rows[0]


def exact_map(query: np.ndarray, base: np.ndarray, relevant: np.ndarray) -> float:
    dist = (query.shape[1] - query @ base.T) // 2
    return float(np.mean([float(expected_ap(dist[i], relevant[i])) for i in range(len(query))]))


def test_one_column_of_class_numbers_is_what_the_same_numbers_in_a_row_are(shell: Shell, tmp_path: Path) -> None:
    query = np.full((2, 4), -1)
    base = np.where(np.arange(4) < np.arange(5)[:, None], 1, -1)  # distances 0 to 4: no ties
    files = (
        write(tmp_path / "Q.npz", query, np.array([[0], [1]]), "signs"),
        write(tmp_path / "D.npz", base, np.array([[1], [0], [1], [0], [1]]), "signs"),
    )
    row = rows_of(shell, *files)
    assert row["value"] == pytest.approx((1 / 2 + (1 + 2 / 3 + 3 / 5) / 3) / 2)  # hits at 2, 4 and at 1, 3, 5
    assert not any("carry no label" in note for note in row["notes"])
    assert [note.partition(" of shape")[0] for note in row["notes"]] == ["query labels", "database labels"]


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int64, np.float32])
def test_codes_of_one_bit_are_read_with_and_without_bits(kind: type, shell: Shell, tmp_path: Path) -> None:
    values = []
    for bits in ({}, {"bits": 1}):
        np.savez(tmp_path / "Q.npz", codes=np.array([[1], [0]]).astype(kind), labels=[0, 1], **bits)
        np.savez(tmp_path / "D.npz", codes=np.array([[1], [0], [1]]).astype(kind), labels=[0, 1, 1], **bits)
        row = rows_of(shell, tmp_path / "Q.npz", tmp_path / "D.npz")
        values.append(row["value"])
        assert row["notes"] == []  # two bits agree by chance with the first items; nobody says they are the same
    assert values == pytest.approx([(3 / 4 + 11 / 12) / 2] * 2)
    np.savez(tmp_path / "Q.npz", codes=np.array([[128], [0]], np.uint8), labels=[0, 1], bits=1)  # numpy's order
    np.savez(tmp_path / "D.npz", codes=np.array([[128], [0], [128]], np.uint8), labels=[0, 1, 1], bits=1)
    assert rows_of(shell, tmp_path / "Q.npz", tmp_path / "D.npz")["value"] == pytest.approx(values[0])


def test_bits_packed_on_one_side_only_are_said_to_be_taken_lowest_first(shell: Shell, tmp_path: Path) -> None:
    query, base, q_class, d_class = draw(16)
    relevant = q_class[:, None] == d_class[None]
    right = exact_map(query, base, relevant)
    Q = write(tmp_path / "Q.npz", query, q_class, "signs")
    for encoding in ("packed", "packed-little"):
        row = rows_of(shell, Q, write(tmp_path / "D.npz", base, d_class, encoding))
        assert (row["value"] == pytest.approx(right)) == (encoding == "packed-little")
        assert len(row["notes"]) == 1 and "packed bits of D.npz were taken lowest first" in row["notes"][0]
    both = rows_of(
        shell, write(tmp_path / "Q.npz", query, q_class, "packed"), write(tmp_path / "D.npz", base, d_class, "packed")
    )
    assert both["value"] == pytest.approx(right) and both["notes"] == []


def test_padding_tells_the_order_of_each_side(shell: Shell, tmp_path: Path) -> None:
    query, base, q_class, d_class = draw(12)
    right = exact_map(query, base, q_class[:, None] == d_class[None])
    for first, second, said in (
        ("signs", "packed", ["highest first: its padding says so"]),
        ("signs", "packed-little", []),
        ("packed-little", "packed", []),
        ("packed", "packed-little", []),
    ):
        row = rows_of(
            shell, write(tmp_path / "Q.npz", query, q_class, first), write(tmp_path / "D.npz", base, d_class, second)
        )
        assert row["value"] == pytest.approx(right)
        assert len(row["notes"]) == len(said) and all(
            words in note for words, note in zip(said, row["notes"], strict=True)
        )


def test_a_bank_of_ours_has_its_order_beside_packed_codes_of_others(shell: Shell, tmp_path: Path) -> None:
    from hamguard.codes.bank import CodeBank

    query, base, q_class, d_class = draw(12)
    CodeBank.of(query, np.eye(6, dtype=np.uint8)[q_class]).save(tmp_path / "Q.npz")
    row = rows_of(shell, tmp_path / "Q.npz", write(tmp_path / "D.npz", base, d_class, "packed"))
    assert row["value"] == pytest.approx(exact_map(query, base, q_class[:, None] == d_class[None]))


@pytest.mark.parametrize("key", ["labels", "packed", "model_hash", "digest"])
def test_a_changed_bank_of_ours_is_damaged_wherever_it_is_read(key: str, shell: Shell, tmp_path: Path) -> None:
    from hamguard.codes.bank import CodeBank

    query, base, q_class, d_class = draw(12)
    CodeBank.of(base, np.eye(6, dtype=np.uint8)[d_class]).save(tmp_path / "D.npz")
    Q = write(tmp_path / "Q.npz", query, q_class, "signs")
    with np.load(tmp_path / "D.npz") as stored:
        arrays = dict(stored)
    arrays[key] = arrays[key][::-1].copy() if arrays[key].ndim else np.array("0" * 16)
    np.savez(tmp_path / "D.npz", **arrays)
    words = ("evaluate", "--query-codes", Q, "--database-codes", tmp_path / "D.npz")
    assert "D.npz is damaged" in shell.fails(2, *words)
    assert "D.npz is damaged" in shell.fails(2, "index", "build", tmp_path / "D.npz", "--out", tmp_path / "index")
    del arrays["digest"]
    np.savez(tmp_path / "D.npz", **arrays)
    assert "D.npz" in shell.fails(2, *words)


@pytest.mark.parametrize("swap", [False, True])
def test_numbers_from_one_beside_multi_hot_labels_are_named(swap: bool, shell: Shell, tmp_path: Path) -> None:
    query, base, q_class, d_class = draw(12)
    eye = np.eye(6, dtype=np.int64)
    ones = (q_class % 3 + 1, eye[d_class]) if not swap else (eye[q_class], d_class % 3 + 1)
    row = rows_of(
        shell, write(tmp_path / "Q.npz", query, ones[0], "signs"), write(tmp_path / "D.npz", base, ones[1], "signs")
    )
    side, count = ("query", int((d_class == 0).sum())) if not swap else ("database item", int((q_class == 0).sum()))
    assert any(f"no {side} has class 0, which {count} " in note and "subtract 1" in note for note in row["notes"])
    good = rows_of(
        shell,
        write(tmp_path / "Q.npz", query, q_class % 3, "signs"),
        write(tmp_path / "D.npz", base, eye[d_class], "signs"),
    )
    assert good["notes"] == []


def test_numbers_up_to_the_number_of_columns_count_from_one(tmp_path: Path) -> None:
    query, base, q_class, d_class = draw(12)
    Q = write(tmp_path / "Q.npz", query, q_class % 3 + 1, "signs")
    with pytest.raises(
        RequestError, match=r"go up to 3, but .* 3 columns, counted from 0; where they count from 1, subtract 1"
    ):
        read_pair(Q, write(tmp_path / "D.npz", base, np.eye(3)[d_class % 3], "signs"))


def test_two_sides_of_class_numbers_with_different_starts_are_asked_about(tmp_path: Path) -> None:
    query, base, q_class, d_class = draw(12)
    q_class, d_class = np.arange(17) % 5, np.arange(90) % 5
    for a, b, said in ((0, 1, 1), (1, 0, 1), (1, 1, 0), (0, 0, 0)):
        pair = read_pair(
            write(tmp_path / "Q.npz", query, q_class + a, "signs"),
            write(tmp_path / "D.npz", base, d_class + b, "signs"),
        )
        assert len(pair.notes) == said and all("does one side count from 1?" in note for note in pair.notes)


def test_class_names_are_classes(shell: Shell, tmp_path: Path) -> None:
    query, base, q_class, d_class = draw(12)
    names = np.array(["cat", "dog", "caf\u00e9", "emu", "fox", "gnu"])
    other = np.array(["cat", "dog", "cafe\u0301", "emu", "fox", "hen"])
    Q = write(tmp_path / "Q.npz", query, names[q_class], "signs")
    row = rows_of(shell, Q, write(tmp_path / "D.npz", base, other[d_class][:, None], "signs"))
    assert row["value"] == pytest.approx(exact_map(query, base, q_class[:, None] == d_class[None]))
    blank = names[q_class]
    blank[:3] = ""
    row = rows_of(shell, write(tmp_path / "Q.npz", query, blank, "signs"), tmp_path / "D.npz")
    assert "3 of 17 queries carry no label; they count as 0" in row["notes"]
    D = write(tmp_path / "D.npz", base, d_class, "signs")
    error = shell.fails(2, "evaluate", "--query-codes", Q, "--database-codes", D)
    assert "query labels are class names, database labels are not" in error


def leave_one_out(codes: np.ndarray, classes: np.ndarray) -> float:
    dist = (codes.shape[1] - codes @ codes.T) // 2
    values = []
    for i in range(len(codes)):
        others = np.delete(np.arange(len(codes)), i)
        values.append(float(expected_ap(dist[i][others], (classes == classes[i])[others])))
    return float(np.mean(values))


@pytest.mark.parametrize("named", [False, True])
def test_queries_that_are_items_are_named_and_left_out_on_request(named: bool, shell: Shell, tmp_path: Path) -> None:
    _, base, _, d_class = draw(12)
    ids: dict[str, Any] = {"ids": np.array([f"p{i}" for i in range(90)])} if named else {}
    np.savez(tmp_path / "D.npz", codes=base, labels=d_class, **ids)
    D, Q = tmp_path / "D.npz", tmp_path / "Q.npz"
    row = rows_of(shell, D, D)
    said = "90 of 90 queries are in the database themselves and find themselves; --exclude-self leaves them out"
    assert row["notes"] == [said]
    assert row["value"] == pytest.approx(exact_map(base, base, d_class[:, None] == d_class[None]))
    row = rows_of(shell, D, D, "--exclude-self")
    assert row["value"] == pytest.approx(leave_one_out(base, d_class))
    assert row["notes"] == ["90 of 90 queries are in the database themselves; each is left out of its own answers"]
    order = np.arange(90)[::-1] if named else np.arange(90)
    order = order[:40]
    np.savez(Q, codes=base[order], labels=d_class[order], **({"ids": ids["ids"][order]} if named else {}))
    row = rows_of(shell, Q, D, "--metric", "precision@89", "--exclude-self")
    counts = np.array([(d_class == c).sum() - 1 for c in d_class[order]])
    assert row["value"] == pytest.approx(float((counts / 89).mean()))
    assert "40 of 40 queries" in row["notes"][0]


def test_leaving_out_asks_for_what_it_needs(shell: Shell, tmp_path: Path) -> None:
    query, base, q_class, d_class = draw(12)
    Q, D = write(tmp_path / "Q.npz", query, q_class, "signs"), write(tmp_path / "D.npz", base, d_class, "signs")
    words = ("evaluate", "--exclude-self", "--query-codes")
    assert "no query is a database item, by ids or by place" in shell.fails(2, *words, Q, "--database-codes", D)
    for more in (("--ties", "stable"), ("--metric", "ndcg-shared@5")):
        assert "with ties expected, worst and best" in shell.fails(2, *words, D, "--database-codes", D, *more)
    assert "--exclude-self goes with --query-codes" in shell.fails(2, "evaluate", "shipped:digits", "--exclude-self")


def test_arrays_that_are_not_read_are_named(tmp_path: Path) -> None:
    query, base, q_class, d_class = draw(12)
    np.savez(tmp_path / "Q.npz", codes=query, labels=q_class, names=np.array(["a"]), y=q_class)
    pair = read_pair(tmp_path / "Q.npz", write(tmp_path / "D.npz", base, d_class, "signs"))
    assert pair.notes == ("arrays of Q.npz not read: names, y",)


def test_codes_on_their_side_are_told(tmp_path: Path) -> None:
    _, base, _, d_class = draw(12)
    np.savez(tmp_path / "D.npz", codes=base.T, labels=d_class)
    with pytest.raises(RequestError, match=r"codes \(12, 90\) seem to lie on their side: transpose them to \(90, 12\)"):
        read_codes(tmp_path / "D.npz")


@pytest.mark.parametrize("metric", ["map", "precision@7", "recall@7", "ndcg@7", "ndcg-shared@7"])
def test_many_classes_kept_as_numbers_give_what_rows_give(
    metric: str, monkeypatch: pytest.MonkeyPatch, shell: Shell, tmp_path: Path
) -> None:
    from hamguard.codes.labeled import ClassNumbers
    from hamguard.evaluation.search import foreign_codes

    query, base, _, _ = draw(21)
    rng = np.random.default_rng(5)
    q_class, d_class = rng.integers(0, 130, 17) * 7, rng.integers(0, 130, 90) * 7
    for q_labels in (q_class, np.eye(910, dtype=np.uint8)[q_class]):
        files = write(tmp_path / "Q.npz", query, q_labels, "signs"), write(tmp_path / "D.npz", base, d_class, "signs")
        monkeypatch.setattr(foreign_codes, "MOST_CELLS", 1 << 26)
        rows = rows_of(shell, *files, "--metric", metric)
        assert isinstance(read_pair(*files).database.labels, np.ndarray)
        monkeypatch.setattr(foreign_codes, "MOST_CELLS", 0)
        numbers = rows_of(shell, *files, "--metric", metric)
        assert isinstance(read_pair(*files).database.labels, ClassNumbers)
        assert [numbers[key] for key in ("value", "ci95", "n", "notes")] == [
            rows[key] for key in ("value", "ci95", "n", "notes")
        ]


def test_codes_from_elsewhere_become_an_index(shell: Shell, tmp_path: Path) -> None:
    from hamguard.retrieval.engines import open_index

    _, base, _, d_class = draw(16)
    ids = np.array([f"photo-{i}" for i in range(90)])
    for more, first, notes in (
        ({"codes": base, "ids": ids, "labels": d_class}, "photo-0", []),
        (
            {"codes": base, "ids": ids, "labels": d_class.astype(str), "z": [1]},
            "photo-0",
            ["not read: z", "are names of classes"],
        ),
        ({"codes": base}, "0", ["D.npz has no ids: items are called by their numbers from 0"]),
        (
            {"codes": np.packbits(base > 0, axis=1), "bits": 16, "ids": ids},
            "photo-0",
            ["packed bits of D.npz were taken lowest"],
        ),
    ):
        np.savez(tmp_path / "D.npz", **more)
        answer = shell.done("index", "build", tmp_path / "D.npz", "--out", tmp_path / f"index{len(more)}")
        said = [line.removeprefix("Note: ") for line in answer.out.splitlines() if line.startswith("Note: ")]
        assert len(said) == len(notes) and all(want in got for want, got in zip(notes, said, strict=True))
        index = open_index(tmp_path / f"index{len(more)}")
        assert (len(index), index.bits, str(index.ids[0])) == (90, 16, first)
        found = index.search(read_codes(tmp_path / "D.npz").packed()[:1], 1)
        assert int(found.distances[0, 0]) == 0
    np.savez(tmp_path / "D.npz", codes=base, ids=ids[:3])
    assert "ids must be (90,) strings" in shell.fails(
        2, "index", "build", tmp_path / "D.npz", "--out", tmp_path / "new"
    )


def test_as_many_classes_as_items_take_no_matrix(tmp_path: Path) -> None:
    import tracemalloc

    from hamguard.evaluation.search.score import score_rows

    codes = np.random.default_rng(0).integers(0, 2, (20_000, 64), dtype=np.uint8)
    np.savez(tmp_path / "Q.npz", codes=codes[:50], labels=np.arange(50))
    np.savez(tmp_path / "D.npz", codes=codes, labels=np.arange(20_000))
    tracemalloc.start()
    try:
        pair = read_pair(tmp_path / "Q.npz", tmp_path / "D.npz")
        row = score_rows(pair.query, pair.database, metrics=["map"], reference=False)[0]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert row.value == 1.0 and peak < 64 << 20  # rows of 20,000 classes take 400 MB
