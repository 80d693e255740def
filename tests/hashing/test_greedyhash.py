"""GreedyHash: the loss and its gradient against a slow transcription; who keeps the sign at the end masks gradients."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import hamguard as hg
from hamguard.attacks.threat import Linf
from hamguard.codes.bank import CodeBank
from hamguard.core.seeds import torch_generator
from hamguard.evaluation.audit.checks.gradients import zero_gradients
from hamguard.hashing.greedyhash import GreedyHash, GreedyHashSettings, greedyhash
from hamguard.models.hash_model import HashModel

LABELS = torch.tensor([[1.0, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0]]).double()


def drawn():
    g = torch.Generator().manual_seed(4)
    v = torch.randn(4, 5, generator=g, dtype=torch.double)
    return v.requires_grad_(), torch.randn(3, 5, generator=g, dtype=torch.double)


def slow(v, labels, classifier, alpha):
    """The loss, its gradient to the outputs through the sign, and to the classifier, by hand."""
    B, K, C = len(v), v.shape[1], labels.shape[1]
    counted = [i for i in range(B) if labels[i].any()]
    value, to_v, to_w = 0.0, torch.zeros(B, K).double(), torch.zeros(C, K).double()
    for i in range(B):
        code = [1.0 if e >= 0 else -1.0 for e in v[i].tolist()]
        for k, e in enumerate(v[i].tolist()):
            value += alpha * abs(abs(e) - 1) ** 3 / (B * K)
            slope = 3 * (abs(e) - 1) ** 2 * (1 if abs(e) > 1 else -1) * (1 if e > 0 else -1)
            to_v[i, k] += alpha * slope / (B * K)
        if i not in counted:
            continue
        scores = [sum(float(w) * b for w, b in zip(classifier[c], code, strict=True)) for c in range(C)]
        total, own = sum(math.exp(s) for s in scores), float(labels[i].sum())
        for c in range(C):
            share = float(labels[i, c]) / own
            value -= share * math.log(math.exp(scores[c]) / total) / len(counted)
            off = (math.exp(scores[c]) / total - share) / len(counted)  # dLoss / dscore
            for k in range(K):
                to_v[i, k] += off * float(classifier[c, k])  # straight through the sign
                to_w[c, k] += off * code[k]
    return value, to_v, to_w


@pytest.mark.parametrize("alpha", [0.0, 0.1, 1.0])
def test_loss_and_gradients_agree_with_the_transcription(alpha):
    v, classifier = drawn()
    classifier.requires_grad_()
    value = greedyhash(v, LABELS, classifier, alpha=alpha)
    value.backward()
    expected, to_v, to_w = slow(v.detach(), LABELS, classifier.detach(), alpha)
    assert float(value.detach()) == pytest.approx(expected)
    assert torch.allclose(v.grad, to_v) and torch.allclose(classifier.grad, to_w)


def test_only_signs_reach_the_classifier():
    v, classifier = drawn()
    far = torch.where(v < 0, -3.0, 0.2).double()
    assert torch.equal(greedyhash(v, LABELS, classifier, alpha=0.0), greedyhash(far, LABELS, classifier, alpha=0.0))


def test_the_penalty_is_least_at_plus_and_minus_one():
    code = torch.tensor([[1.0, -1, 1]])
    assert float(greedyhash(code, torch.zeros(1, 2), torch.zeros(2, 3), alpha=1.0)) == 0
    for off in (0.5, 0.9, 1.3):
        moved = greedyhash(off * code, torch.zeros(1, 2), torch.zeros(2, 3), alpha=1.0)
        assert float(moved) == pytest.approx(abs(off - 1) ** 3, rel=1e-5)


def test_the_classifier_belongs_to_the_method_and_learns():
    objective = GreedyHash(GreedyHashSettings(), bits=8, labels=torch.eye(4).repeat(6, 1), seed=3)
    (classifier,) = objective.parameters()
    assert classifier is objective.state["classifier"] and classifier.shape == (4, 8)
    assert float(classifier.detach().abs().max()) <= 8**-0.5
    z = torch.randn(24, 8, generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.Adam([classifier], lr=0.05)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = objective.loss(z, objective.labels, torch.arange(24), 0.0)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.2


class Signed(nn.Module):
    """A network that answers with signs, as GreedyHash's does while it learns."""

    size, channels = (16, 16), 1

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner.logits(x).sign()


def test_a_model_that_ends_in_a_sign_is_named_by_the_audit_and_the_same_without_it_is_not():
    inner = HashModel("conv2", 12, channels=1, size=(16, 16), generator=torch_generator(1)).eval().requires_grad_(False)
    signed = hg.wrap(Signed(inner), size=(16, 16), channels=1)
    assert signed.gradient == "zero"
    x = torch.rand(6, 1, 16, 16, generator=torch_generator(2))
    for model, passed in ((inner, True), (signed, False)):
        ground = SimpleNamespace(
            dataset=SimpleNamespace(images=SimpleNamespace(batch=lambda rows: x[torch.as_tensor(rows)])),
            rows=np.arange(6), device="cpu", seed=0, model=model,
            query=CodeBank.of(inner.code(x), torch.eye(3).repeat(2, 1)),
        )  # fmt: skip
        case = SimpleNamespace(bench=SimpleNamespace(ground=ground, sample=lambda: np.arange(6), threat=Linf(0.1)))
        found = zero_gradients(case)
        assert found.passed is passed and found.value == (0.0 if passed else 1.0)
