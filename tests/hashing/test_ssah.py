"""SSAH: eq. (7) and both sides of the adversarial term, each against a literal transcription."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from hamguard.core.seeds import torch_generator
from hamguard.hashing.ssah import SSAHSettings, discriminate, mislead, ssah
from hamguard.models.ssah_parts import Discriminator, LabelNet, SsahParts

WEIGHTS = {"alpha": 0.7, "gamma": 1.3, "beta": 0.4, "eta": 0.2}


def example(B: int = 5, K: int = 4, F: int = 6, C: int = 3, seed: int = 0) -> tuple[Tensor, ...]:
    """`h, f, label_logits, labels, guide_h, guide_f` in double precision."""
    g = torch_generator(seed, "ssah")
    h, guide_h = (torch.tanh(torch.randn(B, K, generator=g)).double() for _ in range(2))
    f, guide_f = (torch.tanh(torch.randn(B, F, generator=g)).double() for _ in range(2))
    logits, labels = torch.randn(B, C, generator=g).double(), (torch.rand(B, C, generator=g) < 0.4).double()
    labels[0, 0] = labels[1, 0] = 1  # at least one similar pair of two
    labels[2], labels[3] = torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.0, 0.0, 1.0])  # and one dissimilar pair
    return h, f, logits, labels, guide_h, guide_f


def asked(given: Sequence[Tensor]) -> tuple[Any, ...]:
    """The example as `ssah` takes it."""
    return *given[:4], (given[4], given[5])


def slow_likelihood(own: Tensor, guide: Tensor, labels: Tensor, scale: float, balance: bool) -> float:
    terms: dict[bool, list[float]] = {True: [], False: []}
    for i, j in itertools.product(range(len(own)), range(len(guide))):
        theta = scale * sum(float(own[i, k]) * float(guide[j, k]) for k in range(own.shape[1]))
        similar = any(labels[i, c] == 1 and labels[j, c] == 1 for c in range(labels.shape[1]))
        terms[similar].append(-(theta if similar else 0.0) + math.log(1 + math.exp(theta)))
    if balance:
        return 0.5 * sum(terms[True]) / len(terms[True]) + 0.5 * sum(terms[False]) / len(terms[False])
    return sum(terms[True] + terms[False]) / len(own) ** 2


def slow_ssah(
    h: Tensor, f: Tensor, logits: Tensor, labels: Tensor, guide_h: Tensor, guide_f: Tensor, balance: bool
) -> float:
    """Eq. (7): feature pairs, code pairs, quantization, labels; the inner product of features on the scale of the codes."""
    B, K, F, C = len(h), h.shape[1], f.shape[1], labels.shape[1]
    codes = slow_likelihood(h, guide_h, labels, 0.5, balance)
    features = slow_likelihood(f, guide_f, labels, 0.5 * K / F, balance)
    bits = 0.0
    for i, k in itertools.product(range(B), range(K)):
        value = float(h[i, k])
        bits += ((1.0 if value >= 0 else -1.0) - value) ** 2 / (B * K)  # ||b - h||^2
    wrong = 0.0
    for i, c in itertools.product(range(B), range(C)):
        wrong += (float(labels[i, c]) - 1 / (1 + math.exp(-float(logits[i, c])))) ** 2 / (B * C)
    w = WEIGHTS
    return w["alpha"] * features + w["gamma"] * codes + w["beta"] * bits + w["eta"] * wrong


@pytest.mark.parametrize("balance", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_ssah_agrees_with_loops(balance: bool, seed: int) -> None:
    given = example(seed=seed)
    assert float(ssah(*asked(given), **WEIGHTS, balance=balance)) == pytest.approx(slow_ssah(*given, balance), rel=1e-6)


def test_each_weight_has_its_own_term() -> None:
    h, f, logits, labels, guide_h, guide_f = given = example()
    none = dict.fromkeys(WEIGHTS, 0.0)
    assert float(ssah(*asked(given), **none)) == 0
    wanted = {
        "alpha": slow_likelihood(f, guide_f, labels, 0.5 * 4 / 6, False),
        "gamma": slow_likelihood(h, guide_h, labels, 0.5, False),
        "beta": float((torch.where(h < 0, -1.0, 1.0) - h).square().mean()),
        "eta": float((labels - 1 / (1 + torch.exp(-logits))).square().mean()),
    }
    for name, value in wanted.items():
        assert float(ssah(*asked(given), **{**none, name: 1.0})) == pytest.approx(value), name


def test_printed_weights_are_those_of_the_sums() -> None:
    """Eq. (7) and (8) of one net over a whole training set, in sums and with the preset's weights, divided by its n^2 pairs."""
    h, f, logits, labels, guide_h, guide_f = given = example()
    n, K, F, C = 5, 4, 6, 3
    made = SSAHSettings(**SSAHSettings.presets["paper"])
    fake = logits[:, 0]
    slow = 1.0 * slow_likelihood(h, guide_h, labels, 0.5, False) * n * n
    slow += 1.0 * slow_likelihood(f, guide_f, labels, 0.5 * K / F, False) * n * n
    for i, k in itertools.product(range(n), range(K)):
        value = float(h[i, k])
        slow += 1e-4 * ((1.0 if value >= 0 else -1.0) - value) ** 2
    for i, c in itertools.product(range(n), range(C)):
        slow += 1e-4 * (float(labels[i, c]) - 1 / (1 + math.exp(-float(logits[i, c])))) ** 2
    slow += 1.0 * sum(-math.log(1 / (1 + math.exp(-z))) for z in fake.tolist())
    weights, delta = made.weights(items=n, bits=K, labels=C)
    got = ssah(*asked(given), **weights) + delta * mislead(fake)
    assert float(got) == pytest.approx(slow / n**2, rel=1e-6)


def test_our_own_weights_are_those_of_means() -> None:
    made = SSAHSettings()
    weights, delta = made.weights(items=5, bits=4, labels=3)
    assert (weights, delta) == ({"alpha": 0.1, "gamma": 1.0, "beta": 0.1, "eta": 0.1}, made.delta)


def test_the_order_of_a_batch_does_not_matter() -> None:
    given = example()
    order = torch.tensor([3, 0, 4, 1, 2])
    turned = [part[order] for part in given]
    assert float(ssah(*asked(turned), **WEIGHTS, balance=True)) == pytest.approx(
        float(ssah(*asked(given), **WEIGHTS, balance=True))
    )


def test_features_weigh_like_codes_whatever_their_number() -> None:
    h, f, logits, labels, guide_h, guide_f = example()
    only = {**dict.fromkeys(WEIGHTS, 0.0), "alpha": 1.0}
    once = ssah(h, f, logits, labels, (guide_h, guide_f), **only)
    wide = ssah(h, f.repeat(1, 8), logits, labels, (guide_h, guide_f.repeat(1, 8)), **only)
    torch.testing.assert_close(wide, once)


def test_discriminators_and_misleading_agree_with_logarithms() -> None:
    real, fake = torch.tensor([0.3, -1.2, 2.0]), torch.tensor([-0.4, 0.9, 0.1])

    def p(z: float) -> float:
        return 1 / (1 + math.exp(-z))

    ones = sum(-math.log(p(z)) for z in real.tolist()) / 3
    zeros = sum(-math.log(1 - p(z)) for z in fake.tolist()) / 3
    assert float(discriminate(real, fake)) == pytest.approx((ones + zeros) / 2, rel=1e-6)
    assert float(mislead(fake)) == pytest.approx(sum(-math.log(p(z)) for z in fake.tolist()) / 3, rel=1e-6)


def test_the_two_players_pull_a_logit_in_opposite_directions() -> None:
    fake = torch.tensor([-0.4, 0.9], requires_grad=True)
    (down,) = torch.autograd.grad(discriminate(torch.zeros(2), fake), fake)
    (up,) = torch.autograd.grad(mislead(fake), fake)
    assert bool((down > 0).all()) and bool((up < 0).all())  # lowered by gradient descent: fewer, more
    far = torch.tensor([1e4, -1e4])
    assert math.isfinite(float(discriminate(far, far))) and math.isfinite(float(mislead(far)))
    assert float(discriminate(torch.tensor([50.0]), torch.tensor([-50.0]))) == pytest.approx(0, abs=1e-12)


def test_the_parts_have_their_shapes_and_their_own_seed() -> None:
    before = torch.random.get_rng_state()
    parts, same, other = (SsahParts(3, 4, width=7, features=6, seed=s) for s in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state()), "the global generator is left alone"
    f, z, labels = parts.label_net(torch.eye(3))
    assert (f.shape, z.shape, labels.shape) == ((3, 6), (3, 4), (3, 3)) and float(f.detach().abs().max()) <= 1
    assert parts.image_critic(f).shape == (3,) and parts.text_label(f).shape == (3, 3)
    states = [torch.cat([p.flatten() for p in part.parameters()]) for part in (parts, same, other)]
    assert torch.equal(states[0], states[1]) and not torch.equal(states[0], states[2])
    assert not torch.equal(parts.image_critic.net[0].weight, parts.text_critic.net[0].weight)
    assert isinstance(parts.label_net, LabelNet) and isinstance(parts.text_critic, Discriminator)


def test_settings_of_ssah() -> None:
    made = SSAHSettings(**SSAHSettings.presets["paper"])
    assert (made.alpha, made.gamma, made.beta, made.cross) == (1.0, 1.0, 1e-4, 0.0) and made.label_width == 4096
    assert SSAHSettings().text_net == "multi-scale" and SSAHSettings().features == 512
