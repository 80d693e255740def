"""Guide codes and losses against the published test vectors and literal transcriptions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hamguard.attacks.guides.relevant import CodeSet, RelevantSet
from hamguard.attacks.guides.vote import AnchorCode, SignedMean, label_cosine, mainstay_sum, vote
from hamguard.attacks.losses.hag import HagLoss
from hamguard.attacks.losses.inner import cosine, inner_product, logarithm, margin
from hamguard.attacks.losses.mainstay import MainstayLoss
from hamguard.attacks.losses.sdha import SdhaLoss, surrogate_distance
from hamguard.codes.bank import CodeBank
from hamguard.core.errors import RequestError

B = torch.tensor(
    [[1, 1, 1, -1], [1, -1, 1, -1], [1, 1, -1, -1], [-1, 1, -1, 1], [-1, -1, 1, 1], [-1, 1, -1, -1]]
).float()
L = torch.tensor([[1, 0, 0], [1, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1]]).float()
Y = torch.tensor([[1.0, 1, 0]])
BANK = CodeBank.of(B, L)
CODE = torch.tensor([[1.0, -1, 1, -1]])
OUT = torch.tensor([[0.7, 0.2, -0.7, -0.4]])


def test_center_and_mainstay_before_the_sign() -> None:
    assert torch.allclose(mainstay_sum(Y, B, L, weighted=False), torch.tensor([[1.2, 1.6, -1.2, -1.6]]))
    assert torch.allclose(label_cosine(Y, L), torch.tensor([[0.7071, 1, 0.7071, 0.7071, 0, 0.5]]), atol=1e-4)
    assert torch.allclose(mainstay_sum(Y, B, L), torch.tensor([[1.3333, 1.4477, -1.0572, -1.6095]]), atol=1e-4)
    for name in ("center", "mainstay"):
        assert SignedMean(name)(CODE, Y, BANK, [0], 0).tolist() == [[1, 1, -1, -1]]


def test_anchor_votes_over_exactly_the_label() -> None:
    assert vote(B[[0, 2]]).tolist() == [1, 1, 1, -1], "the tied third bit is +1"
    got = AnchorCode(n=9)(CODE, torch.tensor([[1.0, 0, 0]]), BANK, [0], 0)
    assert got.tolist() == [[1, 1, 1, -1]]
    single = AnchorCode(n=1)(CODE, torch.tensor([[1.0, 0, 0]]), BANK, [5], 0)
    assert single.tolist() in ([B[0].tolist()], [B[2].tolist()])


def test_an_empty_side_counts_nothing() -> None:
    alone = torch.tensor([[0.0, 0, 0]])
    assert torch.allclose(mainstay_sum(alone, B, L), -B.mean(0, keepdim=True))
    everything = torch.tensor([[1.0, 1, 1]])
    assert torch.allclose(mainstay_sum(everything, B, L, weighted=False), B.mean(0, keepdim=True))


def test_class_numbers_are_rows_of_one_class() -> None:
    for guide in (SignedMean(), SignedMean("center"), RelevantSet()):
        for numbers in (torch.tensor([2]), torch.tensor([2.0])):
            got, want = (guide(CODE, y, BANK, [0], 0) for y in (numbers, torch.eye(3)[[2]]))
            assert repr(got) == repr(want)
    with pytest.raises(RequestError, match="class numbers go up to 9, but there are 3 classes"):
        SignedMean()(CODE, torch.tensor([9]), BANK, [0], 0)
    with pytest.raises(RequestError, match="class numbers must be whole numbers from 0, got 0.4"):
        SignedMean()(CODE, torch.tensor([0.4]), BANK, [0], 0)


def test_guides_say_what_they_miss() -> None:
    with pytest.raises(RequestError, match="the mainstay code needs reference codes with labels, got none"):
        SignedMean()(CODE, Y, None, [0], 0)
    with pytest.raises(RequestError, match="the center code needs the labels of the pictures"):
        SignedMean("center")(CODE, None, BANK, [0], 0)
    with pytest.raises(RequestError, match="labels have 2 classes, the reference codes 3"):
        SignedMean()(CODE, torch.ones(1, 2), BANK, [0], 0)
    with pytest.raises(RequestError, match=r"exactly the target label of picture 7 \(classes 0, 1, 2\)"):
        AnchorCode()(CODE, torch.tensor([[1.0, 1, 1]]), BANK, [7], 0)
    with pytest.raises(RequestError, match=r"picture 7 \(no class\)"):
        AnchorCode()(CODE, torch.zeros(1, 3), BANK, [7], 0)
    with pytest.raises(RequestError, match="n must be at least 1, got 0"):
        AnchorCode(0)
    with pytest.raises(RequestError, match="labels have 2 classes, the reference codes 3"):
        RelevantSet()(CODE, torch.ones(1, 2), BANK, [0], 0)
    with pytest.raises(RequestError, match="a vote needs codes"):
        vote(torch.empty(0, 4))
    with pytest.raises(RequestError, match="the relevant set needs labels"):
        RelevantSet()(CODE, None, BANK, [0], 0)


def test_hag_vector() -> None:
    own = torch.tensor([[1.0, -1, 1, -1]])
    # the vector compares with the clean outputs; with signed codes the same mask and the plain sum
    clean = torch.tensor([0.9, -0.8, 0.6, -0.95])
    kept = [0, 1, 3]
    literal = (sum(float(clean[k] * OUT[0, k]) for k in kept) / 3 + 1) ** 2
    assert literal == pytest.approx(1.6469444, abs=1e-6)
    signed = (sum(float(own[0, k] * OUT[0, k]) for k in kept) / 3 + 1) ** 2
    assert float(HagLoss(t=0.5)(OUT, own, -1)) == pytest.approx(signed, abs=1e-6)
    assert float(HagLoss()(OUT, -own, 1)) == pytest.approx(signed, abs=1e-6), "toward -c is away from c"


def test_hag_without_kept_bits_is_zero_and_flat() -> None:
    u = torch.tensor([[-0.9, 0.9]], requires_grad=True)
    loss = HagLoss()(u, torch.tensor([[1.0, -1]]), -1)
    loss.sum().backward()
    assert float(loss.detach()) == 0 and u.grad is not None and float(u.grad.abs().sum()) == 0


@pytest.mark.parametrize(
    ("loss", "side", "expected"),
    [
        (inner_product, -1, 0.05),
        (inner_product, 1, -0.05),
        (MainstayLoss(), -1, 0.83),
        (MainstayLoss(printed=True), 1, 0.1033333),
    ],
)
def test_guide_loss_vectors(loss: object, side: int, expected: float) -> None:
    # q = [.7, -.2, -.7, .4]; the specification's plain away loss is mean q = 0.05
    assert float(loss(OUT, CODE, side)) == pytest.approx(expected, abs=1e-6)  # type: ignore[operator]


def test_mirrored_toward_form_moves_a_fully_wrong_bit() -> None:
    for printed, slope in ((True, 0.0), (False, -4.0)):
        u = torch.tensor([[-1.0]], requires_grad=True)
        MainstayLoss(printed=printed)(u, torch.ones(1, 1), 1).backward()
        assert u.grad is not None and float(u.grad) == pytest.approx(slope)


def test_sdha_vector_and_transcription() -> None:
    r = torch.tensor([[1.0, -1, -1, -1]])
    assert float(surrogate_distance(OUT, r, 5.0)) == pytest.approx(1.6256963, abs=1e-6)
    rng = np.random.default_rng(0)
    u, codes = rng.uniform(-1, 1, 6), rng.choice([-1.0, 1.0], (4, 6))
    total = 0.0
    for code in codes:
        distance = max(1.0, float((np.where(u < 0, -1, 1) != code).sum()))
        gate = 1 / (1 + np.exp(-5 * u * code))
        total += distance**-0.5 * float((0.5 * np.abs(u - code) * gate + (1 - gate)).sum())
    group = CodeSet(torch.from_numpy(codes).float(), torch.ones(1, 4))
    got = float(SdhaLoss()(torch.from_numpy(u).float()[None], group, -1))
    assert got == pytest.approx(-25 / 6 * total / 4, rel=1e-5)


def test_relevant_set_falls_back_to_the_own_code() -> None:
    own = torch.stack([CODE[0], -CODE[0]])
    labels = torch.tensor([[0.0, 0, 1], [0, 0, 0]])
    group = RelevantSet()(own, labels, BANK, [0, 1], 0)
    assert group.member[0].tolist() == [0, 0, 0, 0, 1, 1, 0, 0]
    assert torch.equal(group.vote[1], own[1])


def test_logarithm_is_never_flat() -> None:
    z = torch.tensor([[0.1, -0.3, 1e6, -1e-9]], requires_grad=True)
    target = torch.tensor([[1.0, 1, -1, 1]])
    value = logarithm(z, target, -1)
    expected = (np.log(2) - np.log(4) - np.log1p(1e7) - np.log1p(1e-8)) / 4
    assert value.item() == pytest.approx(expected, rel=1e-5)
    assert logarithm(z, target, 1).item() == pytest.approx(-expected, rel=1e-5)
    (slope,) = torch.autograd.grad(value.sum(), z)
    assert (slope.sign() == target).all() and slope.abs()[0, 3] > slope.abs()[0, 0] > slope.abs()[0, 2] > 0


def test_cosine_and_margin() -> None:
    assert float(cosine(CODE, CODE, 1)) == pytest.approx(-1) and float(cosine(CODE, CODE, -1)) == pytest.approx(1)
    z = torch.tensor([[3.0, -0.5]])
    assert float(margin(z, torch.tensor([[1.0, 1]]), 1)) == pytest.approx(0.75)
