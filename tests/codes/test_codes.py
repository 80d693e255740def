from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import bytes_of, check_packed, hamming, pack, relax, sign, unpack, words
from hamguard.core.errors import RequestError, StaleError


@st.composite
def codes(draw: st.DrawFn) -> np.ndarray:
    n, bits, seed = draw(st.integers(0, 9)), draw(st.integers(1, 140)), draw(st.integers(0, 9999))
    return np.random.default_rng(seed).choice([-1, 1], size=(n, bits)).astype(np.int8)


@given(codes())
def test_packing_and_unpacking_is_the_identity(code: np.ndarray) -> None:
    packed = pack(code)
    assert packed.shape == (len(code), bytes_of(code.shape[1]))
    assert np.array_equal(unpack(packed, code.shape[1]), code)
    assert np.array_equal(packed, pack((code + 1) // 2)), "{0, 1} packs as {-1, +1}"
    assert np.array_equal(packed, pack(torch.from_numpy(code).float()))


@given(codes(), codes())
def test_hamming_is_the_inner_product_identity(a: np.ndarray, b: np.ndarray) -> None:
    b = np.resize(b, (len(b), a.shape[1])) if b.size else np.ones((0, a.shape[1]), np.int8)
    b = np.where(b == 0, 1, b)
    expected = (a.shape[1] - a.astype(int) @ b.astype(int).T) // 2
    assert np.array_equal(hamming(pack(a), pack(b)), expected)


def test_hamming_vector_of_the_specification() -> None:
    c, o = torch.tensor([[1.0, -1, 1, -1]]), torch.tensor([[0.7, 0.2, -0.7, -0.4]])
    assert hamming(pack(c), pack(sign(o))).tolist() == [[2]]


@given(codes())
def test_words_hold_the_same_bits(code: np.ndarray) -> None:
    wide = words(pack(code))
    assert wide.dtype == np.uint64 and wide.shape == (len(code), -(-code.shape[1] // 64))
    assert np.array_equal(np.bitwise_count(wide).sum(1), (code > 0).sum(1))


def test_sign_of_zero_is_plus_one_and_nan_is_refused() -> None:
    assert sign(torch.tensor([0.0, -0.0, -1e-30, 3.0])).tolist() == [1, 1, -1, 1]
    with pytest.raises(RequestError, match="NaN"):
        sign(torch.tensor([float("nan")]))


def test_relax_keeps_the_sign() -> None:
    z = torch.tensor([-2.0, 0.5])
    assert torch.equal(sign(relax(z, 0.1)), sign(z)) and torch.equal(relax(z), torch.tanh(z))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (np.zeros((2, 0)), "K at least 1"),
        (np.zeros(3), r"shape \(N, K\)"),
        (np.array([[1, 2]]), r"\{-1, \+1\}"),
        (np.array([[-1, 0]]), r"\{-1, \+1\}"),
        (np.array([[0.3, -0.7]]), "sign real outputs first"),
    ],
)
def test_pack_refuses_what_is_no_code(code: np.ndarray, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        pack(code)


def test_packed_codes_are_checked() -> None:
    with pytest.raises(RequestError, match=r"uint8 \(N, 2\), got uint8 \(1, 1\)"):
        check_packed(np.zeros((1, 1), np.uint8), 12)
    with pytest.raises(RequestError, match="beyond bit 4"):
        check_packed(np.array([[16]], np.uint8), 4)
    with pytest.raises(RequestError, match="bits must be at least 1, got 0"):
        bytes_of(0)
    with pytest.raises(RequestError, match="equal widths"):
        hamming(np.zeros((1, 1), np.uint8), np.zeros((1, 2), np.uint8))


def bank() -> CodeBank:
    code = np.random.default_rng(0).choice([-1, 1], size=(5, 12))
    labels = np.eye(5, 3, dtype=np.uint8)
    return CodeBank.of(code, labels, model_hash="m", split_hash="s")


def test_a_bank_comes_back_as_it_was(tmp_path: Path) -> None:
    first = bank()
    first.save(tmp_path / "b.npz")
    second = CodeBank.load(tmp_path / "b.npz", model_hash="m", split_hash="s")
    assert second.digest == first.digest and second.ids.tolist() == ["0", "1", "2", "3", "4"]
    assert torch.equal(second.codes, first.codes) and second.codes.shape == (5, 12)
    assert second.select(np.array([1, 3])).ids.tolist() == ["1", "3"]


def test_a_stale_bank_is_refused(tmp_path: Path) -> None:
    bank().save(tmp_path / "b.npz")
    with pytest.raises(StaleError, match="belongs to model m, the model is now n; encode again"):
        CodeBank.load(tmp_path / "b.npz", model_hash="n")
    with pytest.raises(StaleError, match="belongs to split s"):
        CodeBank.load(tmp_path / "b.npz", split_hash="t")


def test_a_damaged_or_foreign_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "b.npz"
    with pytest.raises(RequestError, match="no code bank at"):
        CodeBank.load(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(RequestError, match="not a readable .npz file"):
        CodeBank.load(path)
    np.savez(path, packed=np.zeros((1, 1), np.uint8))
    with pytest.raises(RequestError, match="not a readable code bank"):
        CodeBank.load(path)
    good = bank()
    np.savez(path, packed=good.packed, bits=np.inf, labels=good.labels, ids=good.ids, model_hash="m", split_hash="s",
             digest=good.digest)  # fmt: skip
    with pytest.raises(RequestError, match="not a readable code bank: cannot convert float infinity"):
        CodeBank.load(path)
    np.savez(path, packed=good.packed ^ 1, bits=12, labels=good.labels, ids=good.ids, model_hash="m", split_hash="s",
             digest=good.digest)  # fmt: skip
    with pytest.raises(RequestError, match="is damaged"):
        CodeBank.load(path)


def test_a_bank_checks_its_parts() -> None:
    with pytest.raises(RequestError, match=r"labels must have shape \(1, C\)"):
        CodeBank(np.zeros((1, 1), np.uint8), 8, np.zeros((2, 1), np.uint8))
    with pytest.raises(RequestError, match="multi-hot"):
        CodeBank(np.zeros((1, 1), np.uint8), 8, np.full((1, 1), 2, np.uint8))
    with pytest.raises(RequestError, match="as many ids"):
        CodeBank(np.zeros((1, 1), np.uint8), 8, np.zeros((1, 1), np.uint8), np.array(["a", "b"]))
