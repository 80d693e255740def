"""ProS-GAN: nets at every size, losses and one whole step against literal transcriptions, budgets, ablations, behavior."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hamguard.attacks.generated import GeneratorPass, NoGenerator, against, generated
from hamguard.attacks.guides.supervised import (
    PUBLISHED_PROTOTYPE,
    SupervisedPrototype,
    distinct_labels,
    prototype_loss,
)
from hamguard.attacks.methods.prosgan import prosgan
from hamguard.attacks.methods.registry import ATTACKS
from hamguard.attacks.prosgan_game import (
    Game,
    GameRules,
    adversarial_loss,
    discriminator_loss,
    hamming_loss,
    made_picture,
    new_nets,
    straight_through,
)
from hamguard.attacks.threat import L2, Linf, Threat
from hamguard.codes.bank import CodeBank
from hamguard.core.errors import RequestError, RunError
from hamguard.core.seeds import torch_generator
from hamguard.models.hash_model import HashModel
from hamguard.models.prosgan import Discriminator, Generator, PrototypeNet, pad_to


class Drawn:
    """What the game looks at in a batch."""

    def __init__(self, index: Sequence[int], progress: float = 0.0, seed: int = 0) -> None:
        self.index, self.progress, self.generator = torch.tensor(index), progress, torch_generator(seed)


def world(bits: int = 8, n: int = 24, side: int = 32) -> tuple[HashModel, torch.Tensor, torch.Tensor, CodeBank]:
    """Noisy gray pictures of three kinds, a net whose codes tell them apart."""
    kinds = torch.rand(3, 1, side, side, generator=torch_generator(1))
    labels = torch.eye(3)[torch.arange(n) % 3]
    noise = torch.rand(n, 1, side, side, generator=torch_generator(2))
    x = ((0.7 * kinds[torch.arange(n) % 3] + 0.3 * noise) * 255).round() / 255
    model = HashModel(
        "conv2", bits, channels=1, size=(side, side), mean=[0.5], std=[0.25], generator=torch_generator(4)
    )
    model.eval().requires_grad_(False)
    z = model.logits(x)
    model.head.bias.data.sub_(z.mean(0))
    model.head.weight.data.div_(z.std())
    model.head.bias.data.div_(z.std())
    return model, x, labels, CodeBank.of(model.code(x), labels)


def game(rules: GameRules | None = None, seed: int = 0, **changes: Any) -> Game:
    rules = rules or GameRules(**changes)
    model, x, labels, bank = world()
    generator, discriminator = new_nets(1, (32, 32), 3, 8, rules, seed)
    made = Game(
        generator, discriminator, model, lambda numbers: x[list(numbers)], labels, distinct_labels(bank.labels),
        prototype=lambda: SupervisedPrototype(steps=10).fit(bank, seed), blank=PrototypeNet(3, 8, torch_generator(0)),
        rules=rules, rate=lambda progress: 1e-3 * (1 - progress),
    )  # fmt: skip
    made.begin()
    return made


@pytest.mark.parametrize(
    ("channels", "size", "grid", "kernel"),
    [
        (1, (28, 28), (2, 2), (1, 1)),
        (3, (32, 32), (2, 2), (1, 1)),
        (3, (64, 64), (4, 4), (2, 2)),
        (1, (20, 40), (2, 3), (1, 2)),
    ],
)
def test_nets_take_any_side(
    channels: int, size: tuple[int, int], grid: tuple[int, int], kernel: tuple[int, int]
) -> None:
    generator = Generator(channels, size, 8, torch_generator(0))
    discriminator = Discriminator(channels, size, 11, 8, torch_generator(0))
    x = torch.rand(2, channels, *size, generator=torch_generator(1)) * 2 - 1
    made = generator(x, torch.randn(2, 512, generator=torch_generator(2)))
    assert made.shape == x.shape and float(made.detach().abs().max()) <= 1
    assert generator.grid == grid and discriminator.last.weight.shape[2:] == kernel
    assert discriminator(x).shape == (2, 11)


def test_the_published_nets_take_a_training_step_at_224_pixels() -> None:
    """Channels of D.4 at width 64, start grid 14 x 14, final kernel 7; one step of the whole game."""
    rules = GameRules()
    generator, discriminator = new_nets(3, (224, 224), 5, 64, rules, 0)
    assert discriminator is not None
    down = [m for m in generator.body if isinstance(m, nn.Conv2d)]
    up = [m for m in generator.body if isinstance(m, nn.ConvTranspose2d)]
    assert [(m.in_channels, m.out_channels, m.kernel_size[0]) for m in down] == [
        (6, 64, 7),
        (64, 128, 4),
        (128, 256, 4),
    ]
    assert [(m.in_channels, m.out_channels) for m in up] == [(256, 128), (128, 64)]
    decoder = [m for m in generator.label_decoder if isinstance(m, nn.ConvTranspose2d)]
    assert [m.in_channels for m in decoder] == [128, 64, 32, 16] and generator.label_map.out_features == 128 * 14 * 14
    assert generator.last.in_channels == 67 and generator.grid == (14, 14)
    assert discriminator.last.in_channels == 1024 and discriminator.last.kernel_size == (7, 7)
    victim = (
        HashModel("conv8", 8, channels=3, size=(224, 224), generator=torch_generator(0)).eval().requires_grad_(False)
    )
    x = torch.rand(1, 3, 224, 224, generator=torch_generator(1))
    task = Game(
        generator, discriminator, victim, lambda _: x, torch.eye(5)[:1], torch.eye(5), rules=rules, rate=lambda _: 1e-4,
        prototype=lambda: PrototypeNet(5, 8, torch_generator(0)), blank=PrototypeNet(5, 8, torch_generator(0)),
    )  # fmt: skip
    task.begin()
    before = generator.last.weight.detach().clone()
    optimizer = torch.optim.Adam(task.parameter_groups(), lr=1e-4)
    task.step(Drawn([0])).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    assert not torch.equal(before, generator.last.weight) and bool(generator.last.weight.isfinite().all())


def test_padding_repeats_the_border_and_is_cropped_again() -> None:
    x = torch.rand(1, 1, 28, 30, generator=torch_generator(0))
    padded = pad_to(x, 16)
    assert padded.shape == (1, 1, 32, 32) and torch.equal(padded[:, :, 2:30, 1:31], x)
    assert torch.equal(padded[:, :, 0, 1:31], x[:, :, 0]) and torch.equal(pad_to(padded, 16), padded)


def test_weights_come_from_the_generator_alone() -> None:
    torch.manual_seed(0)
    state = torch.random.get_rng_state()
    one, other = (new_nets(3, (32, 32), 4, 8, GameRules(), seed) for seed in (0, 1))
    again = new_nets(3, (32, 32), 4, 8, GameRules(), 0)
    for first, second, third in zip(one, again, other, strict=True):
        assert first is not None and second is not None and third is not None
        assert all(
            torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
        )
        assert any(
            not torch.equal(a, b) for a, b in zip(first.state_dict().values(), third.state_dict().values(), strict=True)
        )
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_generator_may_begin_with_the_picture() -> None:
    x, r = torch.rand(4, 3, 32, 32, generator=torch_generator(0)), torch.zeros(4, 512)
    moved = {}
    for start in ("random", "picture"):
        generator = new_nets(3, (32, 32), 4, 8, GameRules(), 0)[0]
        if start == "picture":
            generator.begin_with_picture()
        moved[start] = float((made_picture(generator, x, r, None).detach() - x).square().mean().sqrt())
    assert moved["picture"] < 0.06 < 0.2 < moved["random"]


def test_the_prototype_loss_is_equation_3() -> None:
    h = torch.tensor([[0.5, -0.2], [0.9, 0.1]])
    y_hat = torch.tensor([[0.8, 0.3], [0.4, 0.6]])
    labels = torch.eye(2)
    codes = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0]])
    similar = torch.tensor([[True, False, True], [False, True, False]])
    near, far = [], []
    for i in range(2):
        for j in range(3):
            theta = float((h[i] * codes[j]).sum()) / 2
            term = np.log1p(np.exp(theta)) - float(similar[i, j]) * theta
            (near if similar[i, j] else far).append(term)
    quantization = ((0.5 - 1) ** 2 + (-0.2 + 1) ** 2 + (0.9 - 1) ** 2 + (0.1 - 1) ** 2) / 2
    answers = (0.2**2 + 0.3**2 + 0.4**2 + 0.4**2) / 4
    rest = 1e-4 * quantization + answers
    want = np.mean(near + far) + rest
    assert float(prototype_loss(h, y_hat, labels, codes, similar)) == pytest.approx(want, rel=1e-6)
    balanced = 0.5 * (np.mean(near) + np.mean(far)) + rest
    assert float(prototype_loss(h, y_hat, labels, codes, similar, balance=True)) == pytest.approx(balanced, rel=1e-6)
    alone = float(prototype_loss(h[:1], y_hat[:1], labels[:1], codes, similar[:1] & False, balance=True))
    assert np.isfinite(alone), "a batch without a similar pair"


def test_the_prototype_learns_codes_of_its_labels() -> None:
    _, _, _, bank = world()
    net = SupervisedPrototype(steps=60).fit(bank, 3)
    code = torch.where(net(torch.eye(3)) < 0, -1.0, 1.0)
    marks = torch.from_numpy(bank.labels).float()
    near = torch.stack([bank.codes[marks[:, c] > 0].mean(0) for c in range(3)])  # (3, K)
    inner = code @ near.T
    assert bool((inner.diagonal()[:, None] >= inner).all()), "each label's code is nearest to its own pictures"
    assert torch.equal((net.heads(net.represent(torch.eye(3)))[1] > 0.5).float(), torch.eye(3))
    assert not any(p.requires_grad for p in net.parameters())
    one, again = (SupervisedPrototype(steps=3).fit(bank, 3)(torch.eye(3)) for _ in range(2))
    assert torch.equal(one, again)
    assert PUBLISHED_PROTOTYPE.steps == 100 * 300 and not PUBLISHED_PROTOTYPE.balance


def test_a_prototype_needs_labels_and_a_finite_loss() -> None:
    _, _, labels, bank = world()
    with pytest.raises(RequestError, match="the prototype code needs reference codes with labels"):
        SupervisedPrototype().fit(None)
    with pytest.raises(RequestError, match="every label vector is empty"):
        distinct_labels(np.zeros_like(labels.numpy()))
    with pytest.raises(RequestError, match="prototype steps must be at least 1, got 0"):
        SupervisedPrototype(steps=0)
    with pytest.raises(RunError, match="ended in NaN; take a smaller rate"):
        SupervisedPrototype(steps=8, rate=1e30).fit(bank)


def test_the_losses_of_the_game() -> None:
    real, made = torch.tensor([[0.5, 0.2, 0.1]]), torch.tensor([[0.3, 0.6, 0.7]])
    y, y_t = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    mse_real = (0.5**2 + 0.2**2 + 0.1**2) / 3
    mse_made = (0.3**2 + 0.4**2 + 0.3**2) / 3
    assert float(discriminator_loss(real, made, y, y_t)) == pytest.approx(0.5 * mse_real + 0.5 * mse_made)
    assert float(adversarial_loss(made, y_t)) == pytest.approx((0.3**2 + 0.4**2 + 0.7**2) / 3)
    alone = float(discriminator_loss(real[:, 2:], made[:, 2:], y, y_t))
    assert alone == pytest.approx(0.5 * 0.1**2 + 0.5 * 0.3**2), "ProS-GAN-1: real or made, no classes"
    assert float(adversarial_loss(made[:, 2:], y_t)) == pytest.approx(0.7**2)
    z, code = torch.tensor([[2.0, -0.5]]), torch.tensor([[1.0, 1.0]])
    assert float(hamming_loss(z, code)) == pytest.approx(1 - (np.tanh(2) + np.tanh(-0.5)) / 2)
    assert float(hamming_loss(z, code, 1.5)) == pytest.approx((0 + 2.0) / 2)


@pytest.mark.parametrize(
    ("kind", "scores"),
    [("classes", "linear"), ("classes", "sigmoid"), ("real", "linear"), ("real", "sigmoid"), ("none", "linear")],
)
def test_one_step_is_the_published_one(kind: str, scores: str) -> None:
    """PROSGAN_STEP written out: D first, on the same batch, then the loss of G, from the same weights and draws.

    With and without the sigmoid of section 3.4, which is written out beside a discriminator that has none.
    """
    task, twin = game(discriminator=kind, scores=scores), game(discriminator=kind)
    optimizer = torch.optim.Adam(task.parameter_groups(), lr=2e-3)
    numbers = [3, 7, 10, 11]
    loss = task.step(Drawn(numbers))
    loss.backward()  # type: ignore[no-untyped-call]

    model, x, labels, _ = world()
    x, y = x[numbers], labels[numbers]
    pool = torch.from_numpy(np.unique(labels.numpy(), axis=0))
    y_t = pool[torch.randint(3, (4,), generator=torch_generator(0))]
    r = twin.prototype.trunk(y_t)
    h = torch.sign(torch.tanh(twin.prototype.code_head(r)))
    x_f = twin.generator(2 * x - 1, r.detach())  # in [-1, 1]
    want = 5 * (1 - (h * torch.tanh(model.logits((x_f + 1) / 2))).mean()) + 50 * ((x_f - (2 * x - 1)) ** 2).mean()
    plain = twin.discriminator

    def D(x: torch.Tensor) -> torch.Tensor:
        assert plain is not None
        return 1 / (1 + torch.exp(-plain(x))) if scores == "sigmoid" else plain(x)

    if plain is not None:
        own = torch.optim.Adam(plain.parameters(), lr=1e-3, betas=(0.5, 0.999))
        zero, one = torch.zeros(4, 1), torch.ones(4, 1)
        part = slice(0, None) if kind == "classes" else slice(3, None)
        real, fake = torch.cat([y, zero], 1)[:, part], torch.cat([y_t, one], 1)[:, part]
        l_d = 0.5 * ((D(2 * x - 1) - real) ** 2).mean() + 0.5 * ((D(x_f.detach()) - fake) ** 2).mean()
        l_d.backward()
        own.step()
        want = want + ((D(x_f) - torch.cat([y_t, zero], 1)[:, part]) ** 2).mean()
    assert float(loss.detach()) == pytest.approx(float(want.detach()), rel=1e-4)
    want.backward()
    for (name, a), b in zip(task.generator.named_parameters(), twin.generator.parameters(), strict=True):
        assert a.grad is not None and b.grad is not None
        assert torch.allclose(a.grad, b.grad, rtol=1e-3, atol=1e-4 * float(b.grad.abs().max())), name
    assert optimizer.param_groups[0]["betas"] == (0.5, 0.999)
    if plain is not None and task.discriminator is not None:
        for (name, a), b in zip(task.discriminator.named_parameters(), plain.parameters(), strict=True):
            moved = (
                a - b
            ).abs() > 1e-4  # Adam's first step is a sign, which rounding may flip where the slope is nothing
            assert float(moved.float().mean()) < 0.01, name


def test_the_discriminator_moves_every_third_step_and_only_then() -> None:
    task = game()
    assert task.discriminator is not None
    moved = []
    for step in range(7):
        before = task.discriminator.last.weight.detach().clone()
        task.step(Drawn([1, 2], seed=step)).backward()  # type: ignore[no-untyped-call]
        moved.append(not torch.equal(before, task.discriminator.last.weight))
        assert all(p.requires_grad for p in task.discriminator.parameters())
    assert moved == [True, False, False, True, False, False, True]


def test_the_ablations_leave_out_what_they_say() -> None:
    blind = game(hamming=0.0)
    calls: list[int] = []
    blind.victim = type("Deaf", (), {"bits": 8, "logits": lambda self, x: calls.append(1)})()
    blind.step(Drawn([0, 1])).backward()  # type: ignore[no-untyped-call]
    assert not calls and blind.end_epoch(0)["right_bits"] == 0.0
    real = game(discriminator="real").discriminator
    assert real is not None and real.last.out_channels == 1
    assert game(discriminator="none").discriminator is None and game(discriminator="none").own is None


def test_targets_are_uniform_and_may_be_without_overlap() -> None:
    task, apart = game(), game(overlap=False)
    index = torch.zeros(600, dtype=torch.int64)
    free = task.targets_of(index, torch_generator(1)).mean(0)
    assert bool(((free - 1 / 3).abs() < 0.08).all())
    kept = apart.targets_of(index, torch_generator(1))
    assert float(kept[:, 0].sum()) == 0 and abs(float(kept[:, 1].mean()) - 0.5) < 0.08
    model, x, labels, bank = world()
    generator, _ = new_nets(1, (32, 32), 3, 8, GameRules(), 0)
    with pytest.raises(RequestError, match="some training pictures share a label with every target label"):
        Game(
            generator, None, model, lambda n: x[list(n)], labels, torch.ones(1, 3), rules=GameRules(overlap=False),
            prototype=lambda: SupervisedPrototype().fit(bank), blank=PrototypeNet(3, 8, torch_generator(0)),
            rate=lambda _: 1e-3,
        )  # fmt: skip


@pytest.mark.parametrize("threat", [Linf(8 / 255), Linf(0.3), L2(0.7), None], ids=str)
def test_a_hard_budget_holds_after_8_bits(threat: Threat | None) -> None:
    model, x, labels, _ = world()
    x = x.clone()
    x[0], x[1] = 0.0, 1.0
    generator = Generator(1, (32, 32), 8, torch_generator(0)).eval()
    with torch.no_grad():
        generator.last.weight.mul_(50)  # every value at the end of its range
    attack = generated(prosgan(), generator, PrototypeNet(3, 8, torch_generator(0)), threat)
    found = attack(model, x, labels)
    levels = found.x_adv * 255
    assert (
        torch.allclose(levels, levels.round(), atol=1e-3)
        and 0 <= float(found.x_adv.min()) <= float(found.x_adv.max()) <= 1
    )
    assert found.spent.forwards.tolist() == [1] * len(x) and found.spent.backwards.tolist() == [0] * len(x)
    if threat is not None:
        reach = threat.length(found.x_adv - x)
        assert float(reach.max()) <= threat.eps + 1e-6 and float(reach.max()) > 0.8 * threat.eps
    else:
        assert float((found.x_adv - x).abs().max()) > 0.5


def test_clipped_values_go_on_learning() -> None:
    x = torch.zeros(1, 1, 32, 32)
    generator = Generator(1, (32, 32), 8, torch_generator(0))
    made = made_picture(generator, x, torch.zeros(1, 512), Linf(0.1))
    assert float(made.detach().min()) == 0
    (slope,) = torch.autograd.grad(made.sum(), generator.last.weight)
    assert float(slope.abs().max()) > 0
    raw = torch.tensor([-0.5, 0.5], requires_grad=True)
    through = straight_through(raw, raw.clamp(0, 1))
    through.sum().backward()  # type: ignore[no-untyped-call]
    assert through.tolist() == [0.0, 0.5] and raw.grad is not None and raw.grad.tolist() == [1.0, 1.0]


def test_a_widened_ball_falls_to_the_one_asked_for() -> None:
    rules = GameRules(budget="hard", eps=0.02, widen=8.0)
    radii = [rules.threat_at(p).eps for p in (0.0, 0.3, 0.6, 0.99)]  # type: ignore[union-attr]
    assert radii == pytest.approx([0.16, 0.02 * 8**0.5, 0.02, 0.02]) and rules.threat == Linf(0.02)
    assert GameRules(budget="hard", eps=0.5, widen=8.0).threat_at(0.0) == Linf(1.0)
    assert GameRules(widen=8.0).threat_at(0.0) is None


@pytest.mark.parametrize("changes", [{"reconstruction": 5.0}, {"budget": "hard", "eps": 0.3, "discriminator": "none"}])
def test_training_brings_codes_to_the_prototype(changes: dict[str, Any]) -> None:
    model, x, labels, bank = world()
    task = game(overlap=False, **changes)
    optimizer = torch.optim.Adam(task.parameter_groups(), lr=2e-3)
    for step in range(40):
        drawn = torch.randperm(24, generator=torch_generator(9, step))[:12]
        optimizer.zero_grad()
        task.step(Drawn(drawn.tolist(), step / 40, seed=step)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    facts = task.end_epoch(0)
    assert facts["rmse"] > 0 and ("discriminator" in facts) == (task.discriminator is not None)
    attack = generated(prosgan(), task.generator.eval(), task.prototype, task.rules.threat)
    target = labels.roll(1, 0)
    found = attack(model, x, target, bank)
    assert isinstance(found.target, torch.Tensor)
    before, after = ((model.code(one) == found.target).float().mean() for one in (x, found.x_adv))
    assert float(after) > float(before) + 0.15


def test_state_is_all_that_a_run_needs() -> None:
    def go(task: Game, steps: range, optimizer: torch.optim.Optimizer) -> None:
        for step in steps:
            optimizer.zero_grad()
            task.step(Drawn([step % 24, 5], step / 8, seed=step)).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    whole, cut, again = game(), game(), game(seed=1)
    first, second = torch.optim.Adam(whole.parameter_groups()), torch.optim.Adam(cut.parameter_groups())
    go(whole, range(8), first)
    go(cut, range(5), second)
    state, kept = cut.state(), copy.deepcopy(second.state_dict())
    go(cut, range(5, 6), second)  # what was kept must not move with it
    again.load_state(state)
    third = torch.optim.Adam(again.parameter_groups())
    third.load_state_dict(kept)
    go(again, range(5, 8), third)
    for name, value in whole.state()["generator"].items():
        assert torch.equal(value, again.state()["generator"][name]), name
    assert again.end_epoch(0) == whole.end_epoch(0)


def test_wrong_rules_are_named() -> None:
    with pytest.raises(RequestError, match="unknown discriminator 'clases'; .*did you mean classes"):
        GameRules(discriminator="clases")  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="unknown budget 'softe'"):
        GameRules(budget="softe")  # type: ignore[arg-type]
    with pytest.raises(RequestError, match=r"reconstruction must be at least 0.0, got -1"):
        GameRules(reconstruction=-1.0)
    with pytest.raises(RequestError, match="widen must be at least 1.0, got 0.5"):
        GameRules(widen=0.5)
    with pytest.raises(RequestError, match=r"eps must be in \(0, 1\], got 8; did you mean 8 / 255"):
        GameRules(budget="hard", eps=8)
    for width in (4, 12):
        with pytest.raises(RequestError, match=f"width must be a multiple of 8, .*got {width}"):
            Generator(3, (32, 32), width, torch_generator(0))
    with pytest.raises(RequestError, match="width must be a multiple of 8"):
        Discriminator(3, (32, 32), 4, 12, torch_generator(0))
    with pytest.raises(RequestError, match="the smaller side of the pictures must be at least 16, got 8"):
        Generator(3, (32, 8), 8, torch_generator(0))


def test_the_attack_explains_what_it_lacks() -> None:
    model, x, labels, bank = world()
    raw = ATTACKS["prosgan"]()
    assert isinstance(raw.search, NoGenerator) and raw.prepared(bank) is raw and raw.toward
    with pytest.raises(RequestError, match="train one with hamguard train --method prosgan --victim"):
        raw(model, x, labels, bank)
    nets = Generator(1, (32, 32), 8, torch_generator(0)), PrototypeNet(3, 8, torch_generator(0))
    attack = generated(raw, *nets, Linf(0.1), training=SupervisedPrototype(steps=2))
    assert isinstance(attack.search, GeneratorPass) and attack.prepared(bank) is attack
    with pytest.raises(RequestError, match="trained for linf 0.1, got linf 0.2; leave `eps` and `threat` out"):
        generated(prosgan(threat=Linf(0.2)), *nets, Linf(0.1))
    with pytest.raises(RequestError, match="trained for a soft budget, which has no eps, got linf 0.2"):
        generated(prosgan(threat=Linf(0.2)), *nets, None)
    with pytest.raises(RequestError, match=r"made for pictures of shape \(1, 32, 32\), got \(1, 20, 20\)"):
        attack(model, x[:, :, :20, :20], labels)
    with pytest.raises(RequestError, match=r"in \[0, 1\]"):
        attack(model, x * 255, labels)
    with pytest.raises(RequestError, match="prototype"):
        attack(model, x)
    other = against(attack, bank, 1)
    assert other.guide is not attack.guide and torch.equal(
        attack(model, x, labels).x_adv, other(model, x, labels).x_adv
    )
