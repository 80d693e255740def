"""PPL: test vectors, literal transcriptions of the equations, and laws of the game."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hamguard.codes.binary import relax
from hamguard.core.errors import RequestError
from hamguard.core.seeds import torch_generator
from hamguard.models.hash_model import HashModel
from hamguard.models.protector import Protector
from hamguard.privacy.game import Game, Material, Warmup, random_parts, two_views
from hamguard.privacy.ppl import Rules, matching_loss, pair_loss, pair_signs, reverse_gradient
from hamguard.privacy.smmd import gaussian_kernels, masked_discrepancy, smmd

X = torch.tensor([[1, 1, 1], [1, 1, -1], [-1, -1, -1], [-1, 1, -1]]).float()
Z = torch.tensor([[1, -1, 1], [-1, 1, -1], [-1, -1, 1], [1, 1, -1]]).float()
LABELS = torch.tensor([[1, 0], [1, 0], [0, 1], [0, 1]]).float()
S = pair_signs(LABELS)


def test_vectors_of_the_specification() -> None:
    assert S.tolist() == [[1, 1, -1, -1], [1, 1, -1, -1], [-1, -1, 1, 1], [-1, -1, 1, 1]]
    assert float(masked_discrepancy(X, Z, (S > 0).float())) == pytest.approx(2.6761972, abs=1e-5)
    assert float(masked_discrepancy(X, Z, (S <= 0).float())) == pytest.approx(-1.3380986, abs=1e-5)
    assert float(smmd(X, Z, S)) == pytest.approx(4.0142958, abs=1e-5)
    assert float(pair_loss(Z, Z, S, normalize="sum")) == 224
    assert float(pair_loss(X, Z, S, normalize="sum")) == 192
    assert float(matching_loss(X, Z, normalize="sum")) == 16
    for mask in (S > 0, S <= 0):
        assert float(masked_discrepancy(X, X, mask.float())) == pytest.approx(0, abs=1e-6)


def literal_smmd(a: list[list[float]], b: list[list[float]], s: list[list[float]]) -> float:
    """Eq. (7) with loops."""
    from math import exp

    def distance(p: list[float], q: list[float]) -> float:
        return sum((u - v) ** 2 for u, v in zip(p, q, strict=True))

    pooled = a + b
    pairs = [(i, j) for i, j in product(range(len(pooled)), repeat=2) if i != j]
    base = sum(distance(pooled[i], pooled[j]) for i, j in pairs) / len(pairs) / 4

    def kernel(p: list[float], q: list[float]) -> float:
        return sum(exp(-distance(p, q) / (base * factor)) for factor in (1, 2, 4, 8, 16))

    total = 0.0
    for sign, keep in ((1, lambda v: v > 0), (-1, lambda v: v <= 0)):
        chosen = [(i, j) for i, j in product(range(len(a)), repeat=2) if keep(s[i][j])]
        if chosen:
            part = [kernel(a[i], a[j]) + kernel(b[i], b[j]) - 2 * kernel(a[i], b[j]) for i, j in chosen]
            total += sign * sum(part) / len(chosen)
    return total


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 7), st.integers(1, 9))
def test_the_losses_are_the_printed_ones(seed: int, m: int, K: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    hx, hz = torch.rand(2, m, K, generator=draw, dtype=torch.float64) * 2 - 1
    labels = (torch.rand(m, 3, generator=draw) < 0.4).double()
    s = pair_signs(labels)
    for i, j in product(range(m), repeat=2):
        assert float(s[i, j]) == (1 if bool((labels[i] * labels[j]).any()) else -1)
    jo = sum(float(hz[i] @ hz[j] - K * s[i, j]) ** 2 for i, j in product(range(m), repeat=2))
    js = sum(float(hx[i] @ hz[j] - K * s[i, j]) ** 2 for i, j in product(range(m), repeat=2))
    je = sum(float((hx[i] - hz[i]).square().sum()) for i in range(m))
    ds = literal_smmd(hx.tolist(), hz.tolist(), s.tolist())
    rules = Rules(2.0, 3.0, 5.0, 7.0, normalize="sum", balance=False)
    assert float(rules.affinity_loss(hz, s)) == pytest.approx(7 * jo, rel=1e-9)
    assert float(rules.privacy_loss(hx, hz, s)) == pytest.approx(2 * ds + 3 * js + 5 * je, rel=1e-6)
    mean = Rules(2.0, 3.0, 5.0, 7.0, normalize="mean", balance=False)
    assert float(mean.affinity_loss(hz, s)) == pytest.approx(7 * jo / (m * K) ** 2, rel=1e-9)
    expected = 2 * ds + 3 * js / (m * K) ** 2 + 5 * je / (m * K)
    assert float(mean.privacy_loss(hx, hz, s)) == pytest.approx(expected, rel=1e-6)


def test_balance_gives_both_kinds_of_pairs_the_same_weight() -> None:
    h = torch.zeros(4, 2)
    labels = torch.tensor([[1, 0], [1, 0], [1, 0], [0, 1]]).float()  # 10 similar pairs, 6 dissimilar
    s = pair_signs(labels)
    shifted = h.clone()
    assert float(pair_loss(h, shifted, s, normalize="mean", balance=True)) == pytest.approx(1.0)
    squares = torch.where(s > 0, 1.0, 3.0)
    from hamguard.hashing.objective import pair_weights

    assert float((squares * pair_weights((s > 0).float())).mean()) == pytest.approx(2.0)


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 10), st.integers(0, 1000))
def test_the_reversal_layer_is_exactly_minus_lambda(lam: float, seed: int) -> None:
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 4, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    y = reverse_gradient(x, lam)
    assert torch.equal(y, x)
    (y * weight).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, -lam * weight)


def test_equal_codes_give_no_nan() -> None:
    h = torch.ones(5, 3, requires_grad=True)
    loss = smmd(h, h * 1.0, pair_signs(torch.eye(5)))
    loss.backward()
    assert float(loss.detach()) == 0
    assert h.grad is not None
    assert bool(h.grad.isfinite().all())
    a, b, across = gaussian_kernels(h.detach(), h.detach())
    assert bool((a == 5).all()) and bool((b == 5).all()) and bool((across == 5).all())


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"normalize": "median"}, "unknown normalize 'median'; allowed: mean, sum"),
        ({"game": "three-step"}, "unknown game"),
        ({"beta": -1.0}, "beta must be at least 0.0, got -1"),
    ],
)
def test_wrong_rules_are_refused(wrong: dict[str, object], match: str) -> None:
    with pytest.raises(RequestError, match=match):
        Rules(**wrong)  # type: ignore[arg-type]


@dataclass
class Batch:
    """What the loop hands over."""

    index: Tensor
    generator: torch.Generator


def make_game(rules: Rules, *, warmup: int = 0, labels: bool = True) -> Game:
    draw = torch_generator(3, "pictures")
    x = torch.rand(24, 1, 16, 16, generator=draw)
    kinds = torch.nn.functional.one_hot(torch.arange(24) % 3).float()
    for i in range(24):
        x[i, :, :, 5 * (i % 3) : 5 * (i % 3) + 5] += 1
    x = (x / 2).clamp(0, 1)

    def pictures(numbers: Sequence[int]) -> Tensor:
        return x[torch.tensor(list(numbers))]

    net = HashModel("conv2", 8, channels=1, size=(16, 16), generator=torch_generator(1))
    protector = Protector(1, "small", 0.3, torch_generator(2))
    return Game(
        protector, [net.eval()], Material(pictures, kinds if labels else None, 24),
        rules=rules, warmup=Warmup(warmup, batch_size=16), rate=1e-3, surrogate_rate=1e-4,
    )  # fmt: skip


def test_one_step_gives_both_players_their_own_gradient() -> None:
    """The one backward pass of eq. (14) equals the two problems of eq. (12)."""
    rules = Rules(1.0, 2.0, 0.5, 1.5, lam=0.7)
    game = make_game(rules)
    batch = Batch(torch.arange(12), torch_generator(0))
    game.step(batch).backward()  # type: ignore[no-untyped-call]
    net, protector = game.surrogates[0], game.protector
    found = [[p.grad.clone() for p in part.parameters() if p.grad is not None] for part in (protector, net)]
    x, similar = game._batch(batch.index, batch.generator)
    for part, sign in ((protector, -0.7), (net, 1.0)):
        for p in (*protector.parameters(), *net.parameters()):
            p.grad = None
        hx, hz = relax(net.logits(x)), relax(net.logits(protector(x)))
        if part is protector:
            hx = hx.detach()
        (rules.affinity_loss(hz, similar) + sign * rules.privacy_loss(hx, hz, similar)).backward()  # type: ignore[no-untyped-call]
        wanted = [p.grad for p in part.parameters() if p.grad is not None]
        mine = found[0 if part is protector else 1]
        assert len(mine) == len(wanted) > 0
        for a, b in zip(mine, wanted, strict=True):
            assert torch.allclose(a, b, atol=1e-5 * float(b.abs().max()) + 1e-6, rtol=1e-3)


def test_a_frozen_surrogate_stays_and_gives_the_generator_the_same_gradient() -> None:
    grads = {}
    for kind in ("one-step", "frozen"):
        game = make_game(Rules(game=kind))  # type: ignore[arg-type]
        before = game.surrogates[0].digest
        game.step(Batch(torch.arange(12), torch_generator(0))).backward()  # type: ignore[no-untyped-call]
        grads[kind] = [p.grad.clone() for p in game.protector.parameters() if p.grad is not None]
        moved = [p.grad is not None for p in game.surrogates[0].parameters()]
        assert all(moved) if kind == "one-step" else not any(moved)
        assert game.surrogates[0].digest == before
        assert len(game.parameter_groups()) == (2 if kind == "one-step" else 1)
    for a, b in zip(grads["one-step"], grads["frozen"], strict=True):
        assert torch.allclose(a, b, atol=1e-5 * float(b.abs().max()) + 1e-6, rtol=1e-3)


def batch_norm_game(backbone: str, side: int, rules: Rules) -> Game:
    x = torch.rand(32, 3, side, side, generator=torch_generator(3, "pictures"))
    kinds = torch.nn.functional.one_hot(torch.arange(32) % 4).float()

    def pictures(numbers: Sequence[int]) -> Tensor:
        return x[torch.tensor(list(numbers))]

    net = HashModel(backbone, 8, channels=3, size=(side, side), generator=torch_generator(1))
    protector = Protector(3, "small", 0.3, torch_generator(2))
    return Game(
        protector, [net.eval()], Material(pictures, kinds, 32),
        rules=rules, warmup=Warmup(0), rate=1e-4, surrogate_rate=1e-3,
    )  # fmt: skip


def test_a_fresh_surrogate_with_batch_norm_has_many_codes_in_the_game_and_its_statistics_move() -> None:
    """In evaluation mode its statistics never saw a picture: 1 or 2 codes for 32 pictures, and nothing moves them."""
    codes, moved = {}, {}
    for statistics in ("batch", "kept"):
        game = batch_norm_game("resnet50", 32, Rules(balance=False, statistics=statistics))  # type: ignore[arg-type]
        net = game.surrogates[0]
        before = {name: value.clone() for name, value in net.named_buffers() if "running" in name}
        with torch.no_grad():
            game.step(Batch(torch.arange(32), torch_generator(0)))
            x, _ = game._batch(torch.arange(32), torch_generator(0))
            signs = game.both(0, x, game.protector(x))[0] >= 0
        codes[statistics] = len({tuple(one) for one in signs.tolist()})
        moved[statistics] = [not torch.equal(value, dict(net.named_buffers())[name]) for name, value in before.items()]
    assert codes["batch"] >= 10 and codes["kept"] <= 2
    assert all(moved["batch"]) and len(moved["batch"]) == 106 and not any(moved["kept"])


@pytest.mark.parametrize("kind", ["one-step", "two-step"])
def test_players_with_batch_norm_get_the_gradient_of_the_joint_batch(kind: str) -> None:
    rules = Rules(1.0, 2.0, 0.5, 1.5, lam=0.7, game=kind)  # type: ignore[arg-type]
    game = batch_norm_game("conv8", 16, rules)
    net, protector, batch = game.surrogates[0], game.protector, Batch(torch.arange(12), torch_generator(0))
    game.own = None  # the surrogate's own step is another test's
    game.step(batch).backward()  # type: ignore[no-untyped-call]
    players = [(protector, -0.7)] + [(net, 1.0)] * (kind == "one-step")
    found = [[p.grad.clone() for p in part.parameters() if p.grad is not None] for part, _ in players]
    x, similar = game._batch(batch.index, batch.generator)
    for (part, sign), mine in zip(players, found, strict=True):
        for p in (*protector.parameters(), *net.parameters()):
            p.grad = None
        hx, hz = relax(net.logits(torch.cat([x, protector(x)]))).chunk(2)
        (rules.affinity_loss(hz, similar) + sign * rules.privacy_loss(hx, hz, similar)).backward()  # type: ignore[no-untyped-call]
        wanted = [p.grad for p in part.parameters() if p.grad is not None]
        assert len(mine) == len(wanted) > 0
        for a, b in zip(mine, wanted, strict=True):
            assert torch.allclose(a, b, atol=1e-4 * float(b.abs().max()) + 1e-6, rtol=1e-2)


def test_two_steps_move_the_surrogate_by_the_privacy_loss_alone() -> None:
    rules = Rules(game="two-step")
    game = make_game(rules)
    net = game.surrogates[0]
    x, similar = game._batch(torch.arange(12), torch_generator(0))
    game.protector.train()
    with torch.no_grad():
        z = game.protector(x)
    game._move_surrogates(x, similar)
    other = make_game(rules).surrogates[0]
    optimizer = torch.optim.Adam(other.parameters(), lr=1e-4)
    rules.privacy_loss(relax(other.logits(x)), relax(other.logits(z)), similar).backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(other.parameters(), 1.0)
    optimizer.step()
    for a, b in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)
    assert len(game.parameter_groups()) == 1


def test_warm_up_teaches_the_clean_pairs_and_spreads_the_codes() -> None:
    game = make_game(Rules(), warmup=60)
    x, similar = game._batch(torch.arange(24), torch_generator(0))

    def loss() -> float:
        h = relax(game.surrogates[0].logits(x)).detach()
        return float(pair_loss(h, h, similar, normalize="mean", balance=True))

    before = loss()
    game.begin()
    assert loss() < 0.5 * before
    codes = game.surrogates[0].code(x)
    assert not bool((codes == codes[0]).all())
    assert all(p.requires_grad for p in game.surrogates[0].parameters())


def test_without_labels_the_two_views_of_a_picture_are_similar() -> None:
    game = make_game(Rules(), labels=False)
    x, similar = game._batch(torch.arange(5), torch_generator(4))
    assert x.shape == (10, 1, 16, 16)
    assert float(x.min()) >= 0 and float(x.max()) <= 1
    for i, j in product(range(10), repeat=2):
        assert float(similar[i, j]) == (1 if i % 5 == j % 5 else -1)
    again = two_views(game.pictures(range(5)), torch_generator(4))
    assert torch.equal(x, again)
    assert not torch.equal(x[:5], x[5:])


def test_no_surrogate_is_refused() -> None:
    with pytest.raises(RequestError, match="at least one surrogate"):
        Game(
            Protector(1), [], Material(lambda n: torch.zeros(1), None, 2),
            rules=Rules(), warmup=Warmup(), rate=1e-3, surrogate_rate=1e-4,
        )  # fmt: skip
    with pytest.raises(RequestError, match="warmup must be at least 0, got -1"):
        Warmup(-1)


def test_outputs_of_a_finished_model_are_scaled_so_that_tanh_does_not_saturate() -> None:
    game = make_game(Rules(game="frozen"))
    net = game.surrogates[0]
    with torch.no_grad():
        net.head.weight.mul_(1000)
    x, _ = game._batch(torch.arange(12), torch_generator(0))
    game.begin()
    assert game.scales == [1.0]  # its own surrogate learns through tanh as it is
    game.fresh = False
    game.begin()
    size = float((net.logits(game.pictures(range(24))) * game.scales[0]).abs().median().detach())
    assert size == pytest.approx(1.0, rel=1e-4)
    assert torch.equal(game.codes(0, x) >= 0, net.logits(x) >= 0)
    other = make_game(Rules(game="frozen"))
    other.load_state(game.state())
    assert other.scales == game.scales


def test_parts_are_cut_at_full_resolution() -> None:
    x = torch.arange(2 * 9 * 7).reshape(2, 1, 9, 7).float()
    found = random_parts(x, 4, torch_generator(1))
    assert found.shape == (2, 1, 4, 4)
    for one, part in zip(x, found, strict=True):
        places = [(t, k) for t in range(6) for k in range(4) if torch.equal(one[:, t : t + 4, k : k + 4], part)]
        assert len(places) == 1
    assert torch.equal(random_parts(x, 4, torch_generator(1)), found)
    game = make_game(Rules())
    game.part = 14
    assert game._batch(torch.arange(3), torch_generator(0))[0].shape == (3, 1, 14, 14)
