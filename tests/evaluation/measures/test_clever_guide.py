"""CLEVER of class codes: exact on a linear hash function."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hamguard.attacks.threat import Linf
from hamguard.codes.bank import CodeBank
from hamguard.core.errors import RequestError
from hamguard.core.seeds import torch_generator
from hamguard.evaluation.measures.clever_guide import guide_clever, rival_codes
from hamguard.evaluation.measures.extreme import Sampling
from tests.evaluation.measures.linear import LinearHash, pictures


def test_guides_of_a_linear_function_are_exact() -> None:
    model, x = LinearHash(), pictures(4)
    generator = torch_generator(0, "codes")
    own = torch.where(model.logits(x) < 0, -1.0, 1.0)
    rivals = torch.where(torch.rand(4, 3, 6, generator=generator) < 0.5, -1.0, 1.0)
    rivals[0, 0] = -own[0]
    found = guide_clever(model, x, own, rivals, Sampling(Linf(0.5), 3, 4), relaxation="none")
    away = (own[:, None] - rivals) / 6  # (n, J, K)
    margin = torch.einsum("njk,nk->nj", away, model.logits(x))
    size = (away @ model.W).abs().sum(-1)
    assert np.allclose(found.score, (margin / size).numpy(), rtol=1e-3) and found.score.shape == (4, 3)
    swapped = guide_clever(model, x, rivals[:, 0], own[:, None], Sampling(Linf(0.5), 2, 2), relaxation="none")
    assert (swapped.score[:, 0] == 0).all() and swapped.margin[0, 0] < 0  # nearer to the rival already
    tanh = guide_clever(model, x, own, rivals, Sampling(Linf(0.01), 4, 8))
    assert tanh.what == "guide, tanh" and ((tanh.score >= 0) & (tanh.score <= 0.01)).all()


def test_rival_codes_are_votes_of_the_classes() -> None:
    codes = torch.tensor([[1, 1, -1], [1, -1, -1], [1, 1, 1], [-1, -1, -1], [-1, -1, 1]])
    bank = CodeBank.of(codes, np.eye(4, dtype=np.uint8)[[0, 0, 0, 1, 3]])  # nothing of class 2
    own, rivals = rival_codes(bank, np.eye(4, dtype=np.uint8)[[3, 0]])
    assert own.tolist() == [[-1, -1, 1], [1, 1, -1]]
    assert rivals.tolist() == [[[1, 1, -1], [-1, -1, -1]], [[-1, -1, -1], [-1, -1, 1]]]
    with pytest.raises(RequestError, match="exactly one of 4 labels a picture"):
        rival_codes(bank, np.array([[1, 1, 0, 0]]))
    with pytest.raises(RequestError, match="exactly one of 4 labels a picture"):
        rival_codes(bank, np.eye(3, dtype=np.uint8))
    with pytest.raises(RequestError, match="know 3 classes; rivals need two, and each picture's own"):
        rival_codes(bank, np.eye(4, dtype=np.uint8)[[2]])
    with pytest.raises(RequestError, match="know 1 classes"):
        rival_codes(bank.select(np.arange(3)), np.eye(4, dtype=np.uint8)[[0]])


def test_guides_refuse_wrong_input() -> None:
    model, x = LinearHash(), pictures(2)
    own = torch.ones(2, 6)
    with pytest.raises(
        RequestError, match=r"guide codes must be \(2, 6\) and rivals \(2, J, 6\), got \(2, 6\) and \(2, 6\)"
    ):
        guide_clever(model, x, own, own)
    with pytest.raises(RequestError, match=r"rivals \(2, J, 6\), got \(2, 6\) and \(2, 0, 6\)"):
        guide_clever(model, x, own, torch.ones(2, 0, 6))
    with pytest.raises(RequestError, match="unknown relaxation 'sigmoid'; allowed: tanh, none"):
        guide_clever(model, x, own, -own[:, None], relaxation="sigmoid")
