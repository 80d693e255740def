"""DPN: targets for any K and C, the loss against loops over bits, what several labels ask for."""

import pytest
import torch

from hamguard.core.seeds import torch_generator
from hamguard.hashing.csq import center_targets, hash_centers
from hamguard.hashing.dpn import DPN, DPNSettings, class_targets, dpn, polarization


@pytest.mark.parametrize("kind", ["random", "balanced", "hadamard"])
@pytest.mark.parametrize("bits", [1, 2, 16, 21])
@pytest.mark.parametrize("classes", [1, 10, 41])
def test_targets_for_any_length_and_number(kind, bits, classes):
    targets = class_targets(kind, classes, bits, torch_generator(0, "t"))
    assert targets.shape == (classes, bits) and bool((targets.abs() == 1).all())
    assert torch.equal(targets, class_targets(kind, classes, bits, torch_generator(0, "t")))
    if kind == "hadamard":
        assert torch.equal(targets, hash_centers(classes, bits, torch_generator(0, "t")))
    if kind == "balanced":
        assert bool((targets.sum(1) == bits % 2).all())


def test_random_targets_have_each_bit_with_probability_one_half():
    targets = class_targets("random", 400, 64, torch_generator(1, "t"))
    assert abs(float(targets.mean())) < 0.02 and float(targets.mean(1).abs().max()) > 0.1, "each bit by itself"
    assert float((targets @ targets.T / 64).fill_diagonal_(0).abs().mean()) < 0.12, "nearly orthogonal"


def slow(v, labels, centers, margin):
    """Sum over classes and bits of max(m - v t, 0), mean over the images with a class."""
    total, images = 0.0, 0
    for i in range(len(v)):
        own = [c for c in range(labels.shape[1]) if labels[i, c] == 1]
        images += bool(own)
        for c in own:
            for k in range(v.shape[1]):
                total += max(margin - float(v[i, k]) * float(centers[c, k]), 0.0)
    return total / images


@pytest.mark.parametrize("margin", [0.5, 1.0])
def test_loss_agrees_with_loops(margin):
    g = torch.Generator().manual_seed(3)
    v = torch.randn(6, 5, generator=g, dtype=torch.double)
    labels = torch.tensor([[1.0, 0, 0], [0, 1, 0], [1, 1, 0], [1, 1, 1], [0, 0, 0], [0, 0, 1]]).double()
    centers = class_targets("random", 3, 5, g).double()
    whole = slow(v, labels, centers, margin)
    assert float(dpn(v, labels, centers, margin=margin, over="sum")) == pytest.approx(whole)
    assert float(dpn(v, labels, centers, margin=margin, over="mean")) == pytest.approx(whole / 5)
    objective = DPN(DPNSettings(margin=margin, over="sum"), bits=5, labels=labels.float(), seed=0)
    objective.state["centers"] = centers.float()
    assert float(objective.loss(v.float(), labels.float(), torch.arange(6), 0.0)) == pytest.approx(whole, rel=1e-5)


def test_several_labels_may_vote():
    labels = torch.tensor([[1.0, 1, 0], [1, 1, 1], [0, 0, 0]])
    objective = DPN(DPNSettings(several="vote"), bits=8, labels=labels, seed=2)
    v = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    votes = center_targets(labels, objective.state["centers"], objective.state["fill"])
    expected = sum(max(1 - float(v[i, k] * votes[i, k]), 0.0) for i in (0, 1) for k in range(8)) / 16
    assert float(objective.loss(v, labels, torch.arange(3), 0.0)) == pytest.approx(expected, rel=1e-5)


def test_a_bit_beyond_the_margin_costs_nothing_and_any_other_is_pushed():
    v = torch.tensor([1.5, 0.2, -2.0], requires_grad=True)
    polarization(v, torch.tensor([1.0, 1.0, 1.0]), margin=1.0).sum().backward()
    assert v.grad.tolist() == [0.0, -1.0, -1.0]


def test_without_any_label_nothing_is_learned():
    objective = DPN(DPNSettings(), bits=4, labels=torch.eye(3), seed=0)
    z = torch.randn(2, 4, requires_grad=True)
    value = objective.loss(z, torch.zeros(2, 3), torch.arange(2), 0.0)
    value.backward()
    assert float(value.detach()) == 0 and float(z.grad.abs().sum()) == 0


def test_outputs_reach_the_targets_of_their_classes():
    labels = torch.eye(5).repeat(4, 1)
    objective = DPN(DPNSettings(), bits=16, labels=labels, seed=0)
    z = torch.zeros(20, 16, requires_grad=True)
    optimizer = torch.optim.SGD([z], lr=50.0)
    for _ in range(20):
        optimizer.zero_grad()
        objective.loss(z, labels, torch.arange(20), 0.0).backward()
        optimizer.step()
    assert torch.equal(z.detach().sign(), labels @ objective.state["centers"])
