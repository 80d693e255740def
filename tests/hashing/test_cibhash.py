"""CIBHash: the contrastive loss and the divergence against loops, draws, and views that find each other."""

import math

import pytest
import torch
from torch import nn

from hamguard.core.errors import RequestError
from hamguard.hashing.cibhash import CIBHash, CIBHashSettings, contrast, divergence, drawn_codes


def objective(bits=4, seed=0, **settings):
    return CIBHash(CIBHashSettings(**settings), bits=bits, labels=torch.zeros(12, 0), seed=seed)


def cosine(a, b):
    dot = sum(p * q for p, q in zip(a, b, strict=True))
    return dot / math.sqrt(sum(p * p for p in a) * sum(q * q for q in b))


def slow_contrast(one, two, temperature):
    """Each view against its partner and all others: -log of its share, mean over the 2 B views."""
    z, n = [*one.tolist(), *two.tolist()], len(one)
    total = 0.0
    for i in range(2 * n):
        partner = (i + n) % (2 * n)
        weight = [math.exp(cosine(z[i], z[j]) / temperature) if j != i else 0.0 for j in range(2 * n)]
        total -= math.log(weight[partner] / sum(weight))
    return total / (2 * n)


def slow_divergence(one, two):
    total = 0.0
    for z, y in zip(one.flatten().tolist(), two.flatten().tolist(), strict=True):
        p, q = 1 / (1 + math.exp(-z)), 1 / (1 + math.exp(-y))
        total += p * (math.log(p) - math.log(q)) + (1 - p) * (math.log(1 - p) - math.log(1 - q))
    return total / len(one)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_the_contrast_agrees_with_loops(n):
    one, two = (torch.randn(n, 4, dtype=torch.double).sign() for _ in range(2))
    assert float(contrast(one, two, temperature=0.3)) == pytest.approx(slow_contrast(one, two, 0.3), abs=1e-9)


def test_the_divergence_agrees_with_loops_and_the_other_side_is_fixed():
    one, two = (torch.randn(3, 4, dtype=torch.double, requires_grad=True) for _ in range(2))
    value = divergence(one, two)
    assert float(value.detach()) == pytest.approx(slow_divergence(one.detach(), two.detach()), rel=1e-9)
    value.backward()
    assert one.grad is not None and two.grad is None
    assert float(divergence(one, one).detach()) == pytest.approx(0, abs=1e-12)


def test_far_outputs_do_not_overflow():
    z = torch.tensor([[1e4, -1e4]], requires_grad=True)
    value = divergence(z, -z.detach())
    value.backward()
    assert float(value.detach()) == pytest.approx(2e4) and bool(z.grad.isfinite().all())


def test_the_loss_of_the_code_written_out():
    one, two = torch.randn(5, 4, dtype=torch.double), torch.randn(5, 4, dtype=torch.double)
    asked = objective(codes="sign", beta=0.2, temperature=0.4)
    found = float(asked.loss(one, torch.zeros(5, 0), torch.arange(5), 0.0, views=two[None]))
    codes = [torch.where(torch.sigmoid(z) < 0.5, -1.0, 1.0) for z in (one, two)]
    kl = (slow_divergence(one, two) + slow_divergence(two, one)) / 2
    assert found == pytest.approx(slow_contrast(*codes, 0.4) + 0.2 * kl, rel=1e-6)


def test_the_gradient_goes_straight_through_to_the_probabilities():
    """dL/dz = dL/db * p (1 - p), with L differentiated at the drawn codes."""
    one, two = torch.randn(5, 4, dtype=torch.double), torch.randn(5, 4, dtype=torch.double)
    asked = objective(beta=0.0)
    first, second = asked.thresholds(torch.arange(5))
    codes = [
        torch.where(torch.sigmoid(z) < u, -1.0, 1.0).double().requires_grad_() for z, u in ((one, first), (two, second))
    ]
    contrast(*codes, temperature=0.3).backward()
    one.requires_grad_()
    asked.loss(one, torch.zeros(5, 0), torch.arange(5), 0.0, views=two[None]).backward()
    p = torch.sigmoid(one.detach())
    torch.testing.assert_close(one.grad, codes[0].grad * p * (1 - p))


def test_bits_are_drawn_with_their_probability():
    z = torch.tensor([-2.0, 0.0, 1.0]).expand(20_000, 3)
    bits = drawn_codes(z, torch.rand(20_000, 3, generator=torch.Generator().manual_seed(0)))
    assert set(bits.unique().tolist()) == {-1.0, 1.0}
    torch.testing.assert_close((bits > 0).float().mean(0), torch.sigmoid(z[0]), atol=0.02, rtol=0)


def test_draws_are_of_seed_step_and_picture():
    asked, index = objective(seed=3), torch.tensor([7, 2, 11])
    draws = asked.thresholds(index)
    assert torch.equal(draws[:, [2, 1, 0]], asked.thresholds(index.flip(0))) and draws.shape == (2, 3, 4)
    assert not torch.equal(draws[0], draws[1])
    assert not torch.equal(draws, objective(seed=4).thresholds(index))
    asked.loss(torch.randn(3, 4), torch.zeros(3, 0), index, 0.0, views=torch.randn(1, 3, 4))
    assert not torch.equal(draws, asked.thresholds(index)) and int(asked.state["step"]) == 1


def test_a_second_view_is_asked_for():
    with pytest.raises(RequestError, match="cibhash compares two views of a picture; give `views`"):
        objective().loss(torch.randn(3, 4), torch.zeros(3, 0), torch.arange(3), 0.0)


def test_what_it_asks_of_the_loop():
    assert CIBHash.needs_views == 2 and not CIBHashSettings().needs_labels
    assert not objective().keeps_backbone and objective(features="kept").keeps_backbone


def test_views_of_a_picture_find_each_other():
    """A small net on noisy views of 32 points: unseen views of one point have nearer codes than those of different points."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(32, 8, generator=generator)

    def view():
        return points + 0.3 * torch.randn(32, 8, generator=generator)

    torch.manual_seed(0)
    net, asked = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 12)), objective(bits=12)

    def distances():
        with torch.no_grad():
            one, two = (torch.where(net(view()) < 0, -1.0, 1.0) for _ in range(2))
        far = (12 - one @ two.T) / 2
        return float(far.diagonal().mean()), float(far.mean())

    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    before = distances()
    for _ in range(150):
        optimizer.zero_grad()
        asked.loss(net(view()), torch.zeros(32, 0), torch.arange(32), 0.0, views=net(view())[None]).backward()
        optimizer.step()
    own, other = distances()
    assert other > 5 and own < 1.5 and own / other < 0.5 * before[0] / before[1]
