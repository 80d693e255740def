"""Bi-half: the layer against the authors' formulas written out, similarities and cross entropy against loops."""

import math

import pytest
import torch
from torch import nn

from hamguard.core.errors import RequestError
from hamguard.hashing.bihalf import Bihalf, BihalfSettings, half_codes, similarity_error


def slow_half(u):
    """The column is sorted; the first half of its places gets +1, the others -1."""
    codes = torch.empty_like(u)
    for k in range(u.shape[1]):
        places = sorted(range(len(u)), key=lambda i: -float(u[i, k]))
        for place, i in enumerate(places):
            codes[i, k] = 1.0 if place < len(u) // 2 else -1.0
    return codes


def cosine(a, b):
    dot = sum(float(p) * float(q) for p, q in zip(a, b, strict=True))
    return dot / math.sqrt(sum(float(p) ** 2 for p in a) * sum(float(q) ** 2 for q in b))


def slow_similarity(codes, features, pairs):
    h, n = len(codes) // 2, len(codes)
    each = (
        [(i, h + i) for i in range(h)] if pairs == "halves" else [(i, j) for i in range(n) for j in range(n) if i != j]
    )
    errors = [(cosine(codes[i], codes[j]) - cosine(features[i], features[j])) ** 2 for i, j in each]
    return sum(errors) / len(errors)


def objective(labels=None, **settings):
    labels = torch.eye(4).repeat(3, 1) if labels is None else labels
    return Bihalf(BihalfSettings(**settings), bits=5, labels=labels, seed=0)


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_half_of_every_bit_is_plus_one(n):
    u = torch.randn(n, 6)
    codes = half_codes(u)
    assert torch.equal(codes, slow_half(u)) and torch.equal((codes > 0).sum(0), torch.full((6,), n // 2))


def test_among_all_halves_it_is_the_nearest():
    """Optimal transport: no other assignment of three +1 and three -1 is nearer to the outputs."""
    u = torch.randn(6, 1)
    found = float((u - half_codes(u)).square().sum())
    for number in range(2**6):
        other = torch.tensor([[1.0 if number >> i & 1 else -1.0] for i in range(6)])
        if float(other.sum()) == 0:
            assert found <= float((u - other).square().sum()) + 1e-6


@pytest.mark.parametrize("pairs", ["all", "halves"])
@pytest.mark.parametrize("n", [2, 6, 7])
def test_similarities_agree_with_loops(pairs, n):
    codes, features = half_codes(torch.randn(n, 5)).double(), torch.randn(n, 9).double()
    found = float(similarity_error(codes, features, pairs=pairs))
    assert found == pytest.approx(slow_similarity(codes, features, pairs), rel=1e-9)


@pytest.mark.parametrize("pairs", ["all", "halves"])
def test_one_picture_has_no_pair(pairs):
    assert float(similarity_error(torch.ones(1, 5), torch.ones(1, 3), pairs=pairs)) == 0


@pytest.mark.parametrize("pairs", ["all", "halves"])
def test_the_gradient_is_that_of_the_authors_layer(pairs):
    """dL/dU = dL/dB + gamma (U - B) / (N K): L is differentiated at the codes, and the second term is added by hand."""
    u, x = torch.randn(8, 5, dtype=torch.double), torch.randn(8, 7, dtype=torch.double)
    codes = slow_half(u).requires_grad_()
    similarity_error(codes, x, pairs=pairs).backward()
    expected = codes.grad + 6 * (u - codes.detach()) / (8 * 5)
    logits = u.clone().requires_grad_()
    loss = objective(pairs=pairs).loss(logits, torch.eye(4).repeat(2, 1), torch.arange(8), 0.0, features=x)
    loss.backward()
    torch.testing.assert_close(logits.grad, expected)
    pull = 3 * float((u - codes.detach()).square().mean())
    assert float(loss.detach()) == pytest.approx(slow_similarity(codes.detach(), x, pairs) + pull, rel=1e-6)


def test_features_get_no_gradient_and_are_asked_for():
    x = torch.randn(4, 7, requires_grad=True)
    logits = torch.randn(4, 5, requires_grad=True)
    asked = objective()
    asked.loss(logits, torch.eye(4), torch.arange(4), 0.0, features=x).backward()
    assert x.grad is None and asked.needs_features and asked.keeps_backbone and not asked.settings.needs_labels
    with pytest.raises(RequestError, match="bihalf fits the features of a batch; give `features`"):
        asked.loss(logits, torch.eye(4), torch.arange(4), 0.0)


def slow_class(logits, labels):
    """-sum_c share_c log softmax_c of each labeled picture, whose labels share the mass alike; mean over those pictures."""
    terms = []
    for z, y in zip(logits.tolist(), labels.tolist(), strict=True):
        if any(y):
            total = sum(math.exp(v) for v in z)
            terms.append(-sum(t / sum(y) * math.log(math.exp(v) / total) for v, t in zip(z, y, strict=True)))
    return sum(terms) / max(1, len(terms))


@pytest.mark.parametrize(
    "labels", [[[1.0, 0, 0], [0, 0, 1], [0, 0, 0]], [[1.0, 1, 0], [0, 0, 1], [0, 0, 0]], [[0.0, 0, 0]] * 3]
)
def test_labels_by_cross_entropy_of_a_linear_layer_on_codes(labels):
    labels, u = torch.tensor(labels), torch.randn(3, 5)
    asked = objective(labels, fits="labels", gamma=2.0)
    weight, bias = (asked.state[name].detach() for name in ("weight", "bias"))
    codes = slow_half(u)
    expected = slow_class(codes @ weight.T + bias, labels) + float((u - codes).square().mean())
    assert float(asked.loss(u, labels, torch.arange(3), 0.0).detach()) == pytest.approx(expected, rel=1e-5)


def test_the_layer_that_predicts_labels_learns_and_keeps_its_place():
    asked = objective(fits="labels")
    assert asked.settings.needs_labels and not asked.needs_features and not asked.keeps_backbone
    assert all(isinstance(one, nn.Parameter) for one in asked.state.values()) and asked.state["weight"].shape == (4, 5)
    again, other = objective(fits="labels"), Bihalf(asked.settings, bits=5, labels=torch.eye(4), seed=1)
    assert torch.equal(asked.state["weight"], again.state["weight"])
    assert not torch.equal(asked.state["weight"], other.state["weight"])
    asked.loss(torch.randn(4, 5, requires_grad=True), torch.eye(4), torch.arange(4), 0.0).backward()
    assert float(asked.state["weight"].grad.abs().sum()) > 0 and float(asked.state["bias"].grad.abs().sum()) > 0


def test_codes_of_a_small_head_fit_similarities_of_features():
    """Two clouds of features: codes of one cloud agree, codes of different clouds differ, and every bit is in balance."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 6, generator=generator) + 4 * torch.eye(6)[:1] * torch.tensor([1.0, -1.0]).repeat(32)[:, None]
    torch.manual_seed(0)
    head, asked = nn.Linear(6, 5), objective(torch.zeros(64, 0))
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(80):
        optimizer.zero_grad()
        asked.loss(head(x), torch.zeros(64, 0), torch.arange(64), 0.0, features=x).backward()
        optimizer.step()
    codes = torch.where(head(x) < 0, -1.0, 1.0)
    agree = (codes @ codes.T / 5).detach()
    assert float(agree[::2, ::2].mean()) > 0.5 and float(agree[::2, 1::2].mean()) < -0.5
    assert float(codes.mean(0).abs().max()) < 0.3
