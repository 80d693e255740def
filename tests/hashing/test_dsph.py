"""DSPH: its terms against loops over items, classes and pairs; the bound; proxies that learn."""

import math

import pytest
import torch

from hamguard.hashing.dsph import DSPHSettings, dsph, irrelevant_error, least_distance, proxy_error
from hamguard.models.dsph_parts import Proxies
from hamguard.training.cross_task import DsphTask
from hamguard.training.loop import make_optimizer
from tests.training.pairs import ask, batch_of, copy_of, moved, task_of

LABELS = torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1], [0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]]).double()


def example(seed=0):
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(n, 6, generator=g, dtype=torch.double) for n in (5, 5, 4)]


def cosine(a, b):
    a, b = a.tolist(), b.tolist()
    dot = sum(p * q for p, q in zip(a, b, strict=True))
    return dot / math.sqrt(sum(p * p for p in a) * sum(q * q for q in b))


def slow_proxy(u, proxies, delta):
    near = [1 - cosine(u[i], proxies[c]) for i in range(5) for c in range(4) if LABELS[i, c]]
    far = [max(cosine(u[i], proxies[c]) - delta, 0) for i in range(5) for c in range(4) if not LABELS[i, c]]
    return sum(near) / len(near) + sum(far) / len(far)


def slow_pairs(u, other, delta):
    """Items 0, 1 and 2 have several labels; of those only 0 and 1 share none."""
    return sum(max(cosine(u[i], other[j]) - delta, 0) for i, j in ((0, 1), (1, 0))) / 2


@pytest.mark.parametrize("seed", range(4))
def test_the_terms_agree_with_loops(seed):
    image, text, proxies = example(seed)
    assert float(proxy_error(image, LABELS, proxies, delta=-0.2)) == pytest.approx(slow_proxy(image, proxies, -0.2))
    assert float(irrelevant_error(image, text, LABELS, delta=-0.9)) == pytest.approx(slow_pairs(image, text, -0.9))
    expected = slow_proxy(image, proxies, -0.1) + slow_proxy(text, proxies, -0.1)
    expected += 0.8 * sum(slow_pairs(u, v, -0.1) for u, v in ((image, image), (text, text), (image, text)))
    assert float(dsph(image, text, LABELS, proxies, delta=-0.1, alpha=0.8)) == pytest.approx(expected)


def test_unbalanced_every_class_of_an_item_weighs_alike():
    image, _, proxies = example()
    terms = [
        1 - cosine(image[i], proxies[c]) if LABELS[i, c] else max(cosine(image[i], proxies[c]), 0)
        for i in range(5)
        for c in range(4)
    ]
    found = float(proxy_error(image, LABELS, proxies, delta=0.0, balance=False))
    assert found == pytest.approx(2 * sum(terms) / 20)


def test_no_pair_apart_is_no_term_and_outputs_of_zero_are_finite():
    u = torch.zeros(3, 6, requires_grad=True)
    labels = torch.tensor([[1.0, 0], [0, 1], [1, 0]])  # one label each
    assert float(irrelevant_error(u, u, labels, delta=0.0).detach()) == 0
    dsph(u, u, labels, torch.randn(2, 6), delta=0.0, alpha=1.0).backward()
    assert bool(u.grad.isfinite().all())


@pytest.mark.parametrize(
    ("bits", "classes", "distance"), [(16, 32, 8), (32, 64, 16), (7, 16, 3), (3, 8, 1), (8, 2, 8), (8, 16, 4)]
)
def test_the_distance_is_that_of_known_best_codes(bits, classes, distance):
    """Reed-Muller, Hamming, extended Hamming and repetition codes reach it."""
    assert least_distance(bits, classes) == distance


def test_the_cosine_is_of_bits_and_classes_unless_it_is_given():
    assert DSPHSettings().far(bits=16, classes=32) == 0 and DSPHSettings().far(bits=8, classes=2) == -1
    assert DSPHSettings(delta=0.3).far(bits=16, classes=32) == 0.3


def test_one_step_moves_both_nets_and_the_proxies_toward_a_lower_loss():
    task = task_of("dsph")
    assert isinstance(task, DsphTask) and isinstance(task.parts, Proxies)
    optimizer = make_optimizer(task.parameter_groups(), ask("dsph").training)
    kept = {name: copy_of(net) for name, net in (("i", task.model.image), ("t", task.model.text), ("p", task.parts))}
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = task.step(batch_of(*range(12)))
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert moved(kept["i"], task.model.image) and moved(kept["t"], task.model.text) and moved(kept["p"], task.parts)
    assert losses[-1] < 0.7 * losses[0]


def test_proxies_are_of_the_seed():
    assert torch.equal(Proxies(4, 6, seed=1).points, Proxies(4, 6, seed=1).points)
    assert not torch.equal(Proxies(4, 6, seed=1).points, Proxies(4, 6, seed=2).points)
