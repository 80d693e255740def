"""`PairBank`: two codes an item that stay together, whatever is selected and from whichever side it is seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hamguard.codes.bank import CodeBank, PairBank
from hamguard.core.errors import RequestError

N, BITS = 6, 12
LABELS = np.eye(N, 3, dtype=np.uint8)
IDS = np.array([f"pair {i}" for i in range(N)])


def side(seed: int, ids: np.ndarray = IDS, bits: int = BITS) -> CodeBank:
    code = np.random.default_rng(seed).choice([-1, 1], size=(N, bits))
    return CodeBank.of(code, LABELS, ids=ids, model_hash=f"m{seed}", split_hash="s")


def pairs() -> PairBank:
    return PairBank.join(side(0), side(1))


def test_join_keeps_both_sides() -> None:
    joined = pairs()
    assert torch.equal(joined.codes, side(0).codes) and torch.equal(joined.other_codes, side(1).codes)
    assert joined.other_codes.dtype == torch.float32 and set(joined.other_codes.unique().tolist()) == {-1.0, 1.0}
    assert joined.ids.tolist() == IDS.tolist() and np.array_equal(joined.labels, LABELS)
    assert (len(joined), joined.bits, joined.model_hash, joined.split_hash) == (N, BITS, "m0", "s")
    assert isinstance(joined, CodeBank), "an attack within the own modality takes it, too"


@pytest.mark.parametrize("index", [np.array([4, 0, 3]), np.arange(N) % 2 == 0, np.array([], dtype=np.int64)])
def test_select_keeps_pairs_together(index: np.ndarray) -> None:
    rows = np.arange(N)[index]
    chosen = pairs().select(index)
    assert isinstance(chosen, PairBank) and chosen.ids.tolist() == IDS[rows].tolist()
    assert torch.equal(chosen.codes, side(0).codes[rows]) and torch.equal(chosen.other_codes, side(1).codes[rows])
    assert np.array_equal(chosen.labels, LABELS[rows]) and (chosen.model_hash, chosen.split_hash) == ("m0", "s")
    assert chosen.digest == PairBank.join(side(0).select(index), side(1).select(index)).digest


def test_swapped_sees_the_same_pairs_from_the_other_side() -> None:
    turned = pairs().swapped()
    assert torch.equal(turned.codes, side(1).codes) and torch.equal(turned.other_codes, side(0).codes)
    assert turned.ids.tolist() == IDS.tolist() and np.array_equal(turned.labels, LABELS)
    assert turned.digest != pairs().digest and turned.swapped().digest == pairs().digest
    rows = np.array([5, 2])
    assert turned.select(rows).digest == pairs().select(rows).swapped().digest


def test_digest_sees_both_sides_labels_and_ids() -> None:
    base = pairs()
    assert base.digest == pairs().digest != side(0).digest
    others = [
        PairBank.join(side(0), side(2)), PairBank.join(side(2), side(1)), base.select(np.arange(N)[::-1]),
        PairBank.join(side(0, IDS[::-1]), side(1, IDS[::-1])),
        PairBank(base.packed, BITS, LABELS[::-1].copy(), base.ids, "m0", "s", base.other),
    ]  # fmt: skip
    assert len({base.digest, *(other.digest for other in others)}) == 6


def test_banks_of_other_items_or_lengths_do_not_join() -> None:
    message = "must hold the same items in the same order, with codes of one length"
    with pytest.raises(RequestError, match=message):
        PairBank.join(side(0), side(1, IDS[::-1]))
    with pytest.raises(RequestError, match=message):
        PairBank.join(side(0), side(1, bits=16))
    with pytest.raises(RequestError, match=message):
        PairBank.join(side(0), side(1).select(np.arange(3)))


def test_the_other_side_is_checked() -> None:
    own = side(0)
    with pytest.raises(RequestError, match="two codes an item, got 6 and 2"):
        PairBank(own.packed, BITS, LABELS, IDS, "", "", own.packed[:2])
    with pytest.raises(RequestError, match=r"packed codes of the other modality of 12 bits must be uint8 \(N, 2\)"):
        PairBank(own.packed, BITS, LABELS, IDS)
    with pytest.raises(RequestError, match="packed codes of the other modality have bits set beyond bit 12"):
        PairBank(own.packed, BITS, LABELS, IDS, "", "", np.full((N, 2), 255, np.uint8))


def test_a_bank_of_pairs_is_not_written_without_its_other_side(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no file format; save the two banks"):
        pairs().save(tmp_path / "b.npz")
    assert not list(tmp_path.iterdir())
