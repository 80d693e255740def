"""DCMH: eq. (1) term by term, the closed form of B against all codes, and the registry of cross-modal methods."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from hamguard.codes.binary import sign
from hamguard.core.errors import RequestError
from hamguard.hashing.cross_modal import cross_likelihood
from hamguard.hashing.dcmh import DCMHSettings, dcmh, quantization, update_codes
from hamguard.hashing.registry import CROSS_METHODS, register_cross
from hamguard.hashing.ssah import SSAHSettings
from hamguard.training.recipe import Recipe

Example = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def example(B: int = 5, N: int = 7, K: int = 4, C: int = 3, seed: int = 0) -> Example:
    """`own, labels, other, other_labels, codes` in double precision."""
    g = torch.Generator().manual_seed(seed)
    own, other = torch.randn(B, K, generator=g).double(), torch.randn(N, K, generator=g).double()
    labels, other_labels = (torch.rand(B, C, generator=g) < 0.4), (torch.rand(N, C, generator=g) < 0.4)
    return own, labels.double(), other, other_labels.double(), sign(torch.randn(B, K, generator=g)).double()


def share_a_label(a: Tensor, b: Tensor) -> bool:
    return any(x == 1 and y == 1 for x, y in zip(a.tolist(), b.tolist(), strict=True))


def slow_pairs(own: Tensor, labels: Tensor, other: Tensor, other_labels: Tensor, scale: float, balance: bool) -> float:
    """The negative log likelihood of each pair by itself; balanced: half the mean of similar ones, half that of the others."""
    found: dict[bool, list[float]] = {True: [], False: []}
    for i, j in itertools.product(range(len(own)), range(len(other))):
        theta = scale * sum(float(own[i, k]) * float(other[j, k]) for k in range(own.shape[1]))
        similar = share_a_label(labels[i], other_labels[j])
        found[similar].append(math.log1p(math.exp(theta)) - (theta if similar else 0.0))
    if balance:
        return 0.5 * sum(found[True]) / len(found[True]) + 0.5 * sum(found[False]) / len(found[False])
    return sum(found[True] + found[False]) / (len(own) * len(other))


def slow_dcmh(
    own: Tensor, labels: Tensor, other: Tensor, other_labels: Tensor, codes: Tensor, gamma: float, eta: float, balance: bool
) -> float:  # fmt: skip
    """Eq. (1) as one net sees it, each sum divided by the number of its terms."""
    B, K = own.shape
    pairs = slow_pairs(own, labels, other, other_labels, 0.5, balance)
    pull = sum(float(codes[i, k] - own[i, k]) ** 2 for i in range(B) for k in range(K)) / (B * K)
    ones = [sum(float(own[i, k]) for i in range(B)) for k in range(K)]  # F^T 1
    return pairs + gamma * pull + eta * sum((value / B) ** 2 for value in ones) / K


@pytest.mark.parametrize("balance", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_dcmh_agrees_with_loops(balance: bool, seed: int) -> None:
    own, labels, other, other_labels, codes = example(seed=seed)
    got = dcmh(own, labels, other, other_labels, codes, gamma=0.7, eta=0.3, balance=balance)
    slow = slow_dcmh(own, labels, other, other_labels, codes, 0.7, 0.3, balance)
    assert float(got) == pytest.approx(slow, rel=1e-6)


def test_each_weight_has_its_own_term() -> None:
    own, labels, other, other_labels, codes = example()
    value = [float(dcmh(own, labels, other, other_labels, codes, gamma=a, eta=b)) for a, b in ((0, 0), (1, 0), (0, 1))]
    pairs = slow_pairs(own, labels, other, other_labels, 0.5, balance=False)
    assert value[0] == pytest.approx(pairs)
    assert value[1] - value[0] == pytest.approx(float((codes - own).square().mean()))
    assert value[2] - value[0] == pytest.approx(float((own.sum(0) / 5).square().mean()))


def test_the_gradient_is_that_of_the_loops_and_goes_to_the_own_net_only() -> None:
    own, labels, other, other_labels, codes = example()
    own.requires_grad_()
    dcmh(own, labels, other, other_labels, codes, gamma=0.7, eta=0.3, balance=True).backward()
    assert own.grad is not None
    for i, k in ((0, 0), (3, 2), (4, 3)):
        step = torch.zeros_like(own)
        step[i, k] = 1e-6
        ends = [
            slow_dcmh((own + s * step).detach(), labels, other, other_labels, codes, 0.7, 0.3, True) for s in (1, -1)
        ]
        assert float(own.grad[i, k]) == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-6)


@pytest.mark.parametrize("first", [0, 2])
def test_printed_sums_divided_by_the_pairs(first: int) -> None:
    """Eq. (1) of the image net, term by term over all n items, as far as it depends on a batch of three of them."""
    n, K, gamma, eta = 7, 4, 1.0, 1.0
    f, labels, g, _, codes = example(B=n, N=n, K=K)
    batch = list(range(first, first + 3))
    slow = 0.0
    for i, j in itertools.product(batch, range(n)):
        theta = sum(float(f[i, k]) * float(g[j, k]) for k in range(K)) / 2
        slow += math.log1p(math.exp(theta)) - (theta if share_a_label(labels[i], labels[j]) else 0.0)
    slow += gamma * sum((float(codes[i, k]) - float(f[i, k])) ** 2 for i in batch for k in range(K))
    slow += eta * sum(sum(float(f[i, k]) for i in range(n)) ** 2 for k in range(K))  # ||F^T 1||^2, F has n rows
    rest = f.sum(0) - f[batch].sum(0)
    got = dcmh(f[batch], labels[batch], g, labels, codes[batch], gamma=gamma, eta=eta, over="pairs", rest=rest)
    assert float(got) == pytest.approx(slow / (3 * n), rel=1e-9)


def test_the_printed_sums_of_a_whole_pass_are_the_gradient_of_the_objective() -> None:
    f, labels, g, _, codes = example(B=6, N=6)
    f.requires_grad_()
    weights = {"gamma": 1.0, "eta": 1.0}
    (whole,) = torch.autograd.grad(dcmh(f, labels, g, labels, codes, over="pairs", **weights) * 36, f)
    for rows in ([0, 1], [2, 3], [4, 5]):
        own = f[rows].detach().requires_grad_()
        rest = (f.sum(0) - f[rows].sum(0)).detach()
        part = dcmh(own, labels[rows], g, labels, codes[rows], over="pairs", rest=rest, **weights) * 12
        (found,) = torch.autograd.grad(part, own)
        torch.testing.assert_close(found, whole[rows])


@pytest.mark.parametrize("size", [1e2, 1e6, 1e15])
def test_the_likelihood_never_overflows(size: float) -> None:
    own = torch.full((2, 4), size, requires_grad=True)
    other = torch.tensor([[size] * 4, [-size] * 4])
    similar = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    value = cross_likelihood(own, other, similar, balance=False)
    value.backward()
    assert own.grad is not None and bool(own.grad.isfinite().all())
    # theta is +-2 size^2: the two right pairs cost nothing, the two wrong ones |theta|
    assert float(value.detach()) == pytest.approx(2 * (2 * size * size) / 4, rel=1e-5)


@pytest.mark.parametrize("balance", [False, True])
def test_pairs_of_one_kind_only_are_finite(balance: bool) -> None:
    own, *_ = example()
    for similar in (torch.ones(5, 5).double(), torch.zeros(5, 5).double()):
        assert math.isfinite(float(cross_likelihood(own, own, similar, balance=balance)))


@pytest.mark.parametrize(("n", "K"), [(4, 2), (3, 3), (2, 4), (1, 4)])
@pytest.mark.parametrize("gamma", [0.01, 1.0, 30.0])
def test_updated_codes_are_the_minimum_over_all_codes(n: int, K: int, gamma: float) -> None:
    f, _, g, *_ = example(B=n, N=n, K=K, seed=n)
    found = float(quantization(update_codes(f, g, gamma), f, g))
    values = [
        float(quantization(torch.tensor(code, dtype=torch.double).view(n, K), f, g))
        for code in itertools.product((-1.0, 1.0), repeat=n * K)
    ]
    assert found == pytest.approx(min(values), rel=1e-12) and len(values) == 2 ** (n * K)


def test_quantization_agrees_with_loops() -> None:
    f, _, _, _, codes = example()
    g = f.flip(0)
    slow = sum(float(codes[i, k] - net[i, k]) ** 2 for net in (f, g) for i in range(5) for k in range(4))
    assert float(quantization(codes, f, g)) == pytest.approx(slow)


def test_ties_become_plus_one() -> None:
    f = torch.tensor([[0.25, -0.5, 0.0, 3.0]])
    assert update_codes(f, -f, 1.0).tolist() == [[1.0, 1.0, 1.0, 1.0]]
    assert update_codes(f, torch.tensor([[-0.5, 0.25, 0.0, 1.0]]), 1.0).tolist() == [[-1.0, -1.0, 1.0, 1.0]]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 9999), gamma=st.floats(0.01, 10.0), eta=st.floats(0.0, 5.0), n=st.integers(2, 6), K=st.integers(1, 5)
)  # fmt: skip
def test_the_objective_never_rises_through_an_update(seed: int, gamma: float, eta: float, n: int, K: int) -> None:
    f, labels, g, _, before = example(B=n, N=n, K=K, seed=seed)
    similar = ((labels @ labels.T) > 0).double()

    def whole(codes: Tensor) -> float:
        """Eq. (1) in sums."""
        theta = f @ g.T / 2
        pairs = (torch.log1p(torch.exp(theta)) - similar * theta).sum()
        balance = f.sum(0).square().sum() + g.sum(0).square().sum()
        return float(pairs + gamma * quantization(codes, f, g) + eta * balance)

    after = update_codes(f, g, gamma)
    assert set(after.unique().tolist()) <= {-1.0, 1.0}
    assert whole(after) <= whole(before) + 1e-9
    assert torch.equal(update_codes(f, g, gamma), after), "a second update changes nothing"


def test_relaxation_of_the_settings() -> None:
    z = torch.tensor([[-3.0, 0.0, 0.5]])
    assert torch.equal(DCMHSettings().relax(z), torch.tanh(z))
    assert torch.equal(DCMHSettings(relaxation="linear").relax(z), z)


def test_the_registry_knows_both_methods() -> None:
    assert CROSS_METHODS.names() == ["dcmh", "dsph", "ssah"] and CROSS_METHODS["dcmh"] is DCMHSettings
    with pytest.raises(
        RequestError, match=r"unknown cross-modal method 'dchm'; allowed: dcmh, dsph, ssah; did you mean dcmh\?"
    ):
        CROSS_METHODS["dchm"]
    with pytest.raises(RequestError, match="cross-modal method 'dcmh' is registered twice"):
        register_cross("dcmh")(SSAHSettings)
    assert CROSS_METHODS["dcmh"] is DCMHSettings and (DCMHSettings.name, SSAHSettings.name) == ("dcmh", "ssah")


@pytest.mark.parametrize("name", ["dcmh", "ssah"])
def test_presets_and_training_defaults_are_valid(name: str) -> None:
    kind = CROSS_METHODS[name]
    assert "CVPR" in kind.title and kind.name == name
    Recipe(**kind.training)
    assert "paper" in kind.presets
    for preset in kind.presets.values():
        made = kind(**preset)
        assert all(getattr(made, key) == value for key, value in preset.items())


def test_settings_are_frozen_and_checked() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        DCMHSettings().gamma = 2.0  # type: ignore[misc]
    for wrong in (
        {"gama": 1.0},
        {"gamma": -1.0},
        {"turns": "epoch"},
        {"words": 0},
        {"ngrams": 6},
        {"without_text": "x"},
    ):
        with pytest.raises(ValidationError):
            DCMHSettings(**wrong)  # type: ignore[arg-type]
