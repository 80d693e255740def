"""CSQ: centers for any K and C, targets, loss against loops."""

import math

import pytest
import torch

from hamguard.codes.binary import relax
from hamguard.core.seeds import torch_generator
from hamguard.hashing.csq import CSQ, CSQSettings, center_distances, center_targets, csq, hadamard, hash_centers


@pytest.mark.parametrize("bits", [1, 2, 4, 16, 64])
def test_hadamard_rows_are_orthogonal(bits):
    assert torch.equal(hadamard(bits) @ hadamard(bits).T, bits * torch.eye(bits))


@pytest.mark.parametrize("bits", [1, 2, 3, 8, 12, 16, 21, 33])
@pytest.mark.parametrize("classes", [1, 2, 10, 41])
def test_centers_for_any_length_and_number(bits, classes):
    centers = hash_centers(classes, bits, torch_generator(0, "t"))
    assert centers.shape == (classes, bits) and bool((centers.abs() == 1).all())
    assert torch.equal(centers, hash_centers(classes, bits, torch_generator(0, "t")))
    if bits & (bits - 1) == 0 and classes <= 2 * bits:
        assert torch.equal(centers, torch.cat([hadamard(bits), -hadamard(bits)])[:classes])
        assert classes == 1 or center_distances(centers)[0] >= bits / 2
    else:
        random = centers[2 * bits :] if bits & (bits - 1) == 0 else centers
        assert bool((random.sum(1) == bits % 2).all())  # balanced


def test_center_distances():
    assert center_distances(torch.tensor([[1.0, 1, 1], [1, 1, -1], [-1, -1, -1]])) == (1.0, 2.0)


def test_random_centers_keep_the_distances_asked_for():
    centers = hash_centers(41, 33, torch_generator(0, "t"))
    least, mean = center_distances(centers)
    assert least > 33 / 4 or mean > 16


def test_targets_of_one_and_of_several_labels():
    centers = torch.tensor([[1.0, 1, -1], [-1, 1, -1], [1, -1, -1]])
    fill = torch.tensor([-1.0, 1, 1])
    labels = torch.tensor([[1.0, 0, 0], [1, 1, 0], [1, 1, 1], [1, 0, 1], [0, 1, 1]])
    expected = torch.tensor([[1.0, 1, -1], [-1, 1, -1], [1, 1, -1], [1, 1, -1], [-1, 1, -1]])
    assert torch.equal(center_targets(labels, centers, fill), expected)


def test_loss_agrees_with_loops():
    logits = torch.randn(4, 3, dtype=torch.double)
    targets = torch.randn(4, 3).sign().double()
    counted = torch.tensor([1.0, 0, 1, 1]).double()
    total = 0.0
    for i in (0, 2, 3):
        for k in range(3):
            u = math.tanh(float(logits[i, k]))
            p, c = (u + 1) / 2, (float(targets[i, k]) + 1) / 2
            total += -c * math.log(p) - (1 - c) * math.log(1 - p) + 0.05 * (abs(u) - 1) ** 2
    assert float(csq(logits, targets, counted, lam=0.05)) == pytest.approx(total / 9, abs=1e-6)
    assert float(relax(logits).abs().max()) <= 1


def test_unlabeled_images_do_not_count():
    objective = CSQ(CSQSettings(), bits=4, labels=torch.eye(3), seed=0)
    logits = torch.randn(2, 4, requires_grad=True)
    value = objective.loss(logits, torch.zeros(2, 3), torch.arange(2), 0.0)
    value.backward()
    assert float(value.detach()) == 0 and float(logits.grad.abs().sum()) == 0


def test_centers_depend_on_the_seed_only():
    a, b, c = (CSQ(CSQSettings(), bits=12, labels=torch.eye(5), seed=s).state for s in (1, 1, 2))
    assert torch.equal(a["centers"], b["centers"]) and torch.equal(a["fill"], b["fill"])
    assert not torch.equal(a["centers"], c["centers"])
