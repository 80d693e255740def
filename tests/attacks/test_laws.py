"""What every attack keeps: its ball, the 8-bit grid, the seed, the model; what it does to a tiny model; and what a guide is.

The names come from the registries, so that a method or guide is covered by being registered, here or in a plugin.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import replace
from inspect import signature
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hamguard.attacks.attack import Attack, fitted_guide, guide_for
from hamguard.attacks.generated import NoGenerator, generated
from hamguard.attacks.guides.prototype import FittedPrototype, PrototypeCode
from hamguard.attacks.guides.registry import GUIDES, guide_named
from hamguard.attacks.guides.relevant import CodeSet, RelevantSet
from hamguard.attacks.guides.vote import SignedMean
from hamguard.attacks.losses.inner import inner_product
from hamguard.attacks.methods.registry import ATTACKS, method_facts
from hamguard.attacks.search.signs import SignSteps
from hamguard.attacks.threat import L0, L1, L2, NORMS, Linf, Threat
from hamguard.attacks.types import GuideMaker
from hamguard.codes.bank import CodeBank, PairBank
from hamguard.core.checks import parse_eps
from hamguard.core.errors import RequestError, RunError
from hamguard.core.seeds import torch_generator
from hamguard.models.hash_model import HashModel
from hamguard.models.prosgan import Generator, PrototypeNet

NAMES = ATTACKS
TARGETED = [
    name
    for name in NAMES
    if method_facts(name).direction in ("toward", "either") and not method_facts(name).needs_generator
]  # a generator must be trained before it comes nearer to anything: tests/attacks/methods/test_prosgan.py


def world(bits: int = 8, n: int = 12) -> tuple[HashModel, torch.Tensor, torch.Tensor, PairBank]:
    """A tiny model, pictures, labels, and their codes beside those of an invented text side that agrees in most bits."""
    model = HashModel("conv2", bits, channels=1, size=(16, 16), mean=[0.5], std=[0.25], generator=torch_generator(4))
    model.eval().requires_grad_(False)
    x = torch.rand(n, 1, 16, 16, generator=torch_generator(1))
    x = (x * 255).round() / 255
    z = model.logits(x)  # center and spread the outputs, so that fresh codes differ
    model.head.bias.data.sub_(z.mean(0))
    model.head.weight.data.div_(z.std())
    model.head.bias.data.div_(z.std())
    labels = torch.eye(3)[torch.arange(n) % 3]
    code = model.code(x)
    turned = torch.rand(n, bits, generator=torch_generator(6)) < 0.2
    texts = torch.where(turned, -code, code)
    return model, x, labels, PairBank.join(CodeBank.of(code, labels), CodeBank.of(texts, labels))


@functools.cache
def prototype() -> FittedPrototype:
    return PrototypeCode(steps=20).fit(world()[3])


def made(name: str, **options: Any) -> Any:
    """A method with the options that it knows, and with a small prototype where it trains one."""
    known = method_facts(name).options
    attack = ATTACKS[name](**{option: value for option, value in options.items() if option in known})
    return replace(attack, guide=prototype()) if isinstance(attack.guide, PrototypeCode) else attack


def ready(attack: Any, labels: torch.Tensor, seed: int = 0) -> Attack:
    """A universal perturbation fitted on the pictures of the world, a generator that nobody trained, any other as it is."""
    model, x, _, bank = world()
    if isinstance(attack.search, NoGenerator):
        generator = Generator(1, (16, 16), 8, torch_generator(seed)).eval()
        return generated(attack, generator, PrototypeNet(3, 8, torch_generator(seed)), attack.threat)
    return attack.prepared(bank, seed, model=model, images=x, labels=labels) if attack.learns else attack


def run(name: str, threat: Threat, part: slice = slice(None), seed: int = 0, **more: Any) -> torch.Tensor:
    model, x, labels, bank = world()
    attack = ready(made(name, threat=threat, steps=4, **more), labels, seed)
    index = list(range(len(x)))[part]
    return attack(model, x[part], labels[part], bank, index=index, seed=seed).x_adv


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=5, deadline=None)
@given(eps=st.floats(0.5 / 255, 0.6), norm=st.sampled_from(NORMS))
def test_attacks_stay_in_their_ball_on_the_grid(name: str, eps: float, norm: str) -> None:
    eps = max(eps, 1 / 256) if norm == "l0" else eps  # a pixel at least
    threat = Threat(norm, eps)  # type: ignore[arg-type]
    x = world()[1]
    x_adv = run(name, threat)
    assert float(threat.length(x_adv - x).max()) <= eps + 1e-6
    levels = x_adv * 255
    assert torch.allclose(levels, levels.round(), atol=1e-3) and float(x_adv.min()) >= 0 and float(x_adv.max()) <= 1


@pytest.mark.parametrize("name", NAMES)
def test_attacks_do_not_depend_on_the_batch_and_repeat_with_the_seed(name: str) -> None:
    whole = run(name, Linf(0.1))
    parts = torch.cat([run(name, Linf(0.1), part) for part in (slice(0, 5), slice(5, 12))])
    assert torch.equal(whole, run(name, Linf(0.1)))
    assert float(((whole - parts).abs() > 1e-6).float().mean()) < 0.01  # rounding of another batch size may flip a sign
    search = getattr(ATTACKS[name](), "search", None)
    if name in ("noise", "universal", "prosgan") or getattr(search, "random_start", False):
        assert not torch.equal(whole, run(name, Linf(0.1), seed=1))


@pytest.mark.parametrize("name", NAMES)
def test_attacks_leave_the_model_alone(name: str) -> None:
    model, x, labels, bank = world()
    before, clean = model.digest, x.clone()
    torch.manual_seed(0)
    state = torch.random.get_rng_state()
    attack = ready(made(name, threat=Linf(0.1), steps=10), labels)
    attack(model, x[:3], labels[:3], bank)
    assert model.digest == before and not model.training and torch.equal(x, clean)
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(state, torch.random.get_rng_state())


def test_spent_counts_gradients() -> None:
    model, x, labels, bank = world()
    search = SignSteps(7, early_stop=False)
    result = Attack(SignedMean(), inner_product, search, Linf(0.05))(model, x, labels, bank)
    assert result.spent.backwards.tolist() == [7] * len(x)
    assert result.spent.forwards.tolist() == [1 + 7 + 1] * len(x), "own code, gradients, and the last picture"


def test_early_stop_computes_only_what_is_left() -> None:
    model, x, labels, bank = world()
    stop = Attack(SignedMean(), inner_product, SignSteps(60), Linf(0.5))(model, x, labels, bank)
    through = Attack(SignedMean(), inner_product, SignSteps(60, early_stop=False), Linf(0.5))(model, x, labels, bank)
    assert int(stop.spent.backwards.sum()) < int(through.spent.backwards.sum())

    def wrong(found: Any) -> float:
        return float(((model.code(found.x_adv) * found.target).sum(1) / 2 + 4).sum())

    assert wrong(stop) <= wrong(through) + 1


@pytest.mark.parametrize(
    ("name", "least"), [("hag", 4.0), ("center", 4.0), ("mainstay", 4.0), ("pgd", 4.0), ("mifgsm", 4.0)]
)
def test_attacks_move_more_bits_than_noise(name: str, least: float) -> None:
    model, x, labels, bank = world()
    more = {} if name != "mifgsm" else {"steps": 20}
    attacked = ATTACKS[name](threat=Linf(0.3), **more)(model, x, labels, bank)
    noisy = ATTACKS["noise"](threat=Linf(0.3))(model, x, labels, bank)

    def moved(found: Any) -> float:
        return float((model.code(found.x_adv) != model.code(x)).float().sum(1).mean())

    assert moved(attacked) >= least > moved(noisy)


@pytest.mark.parametrize("name", TARGETED)
def test_targeted_attacks_come_nearer(name: str) -> None:
    model, x, labels, bank = world()
    target = labels.roll(1, dims=1)
    if method_facts(name).needs_fit:  # one target for all
        target = target[:1].expand(len(x), -1)
    attack = ready(made(name, threat=Linf(0.3), steps=40, toward=True, guide=SignedMean()), target)
    assert attack.toward
    found = attack(model, x, target, bank)
    guide = found.target if isinstance(found.target, torch.Tensor) else found.target.vote
    before = (model.code(x) * guide).sum(1).mean()
    assert float((model.code(found.x_adv) * guide).sum(1).mean()) > float(before) + (1 if name == "fgsm" else 2)


@pytest.mark.parametrize("name", NAMES)
def test_facts_say_what_a_method_does(name: str) -> None:
    facts, factory = method_facts(name), ATTACKS[name]
    assert facts.title and facts.doc and "threat" in facts.options
    assert ("toward" in facts.options) == (facts.direction == "either")
    assert factory().toward == (facts.direction == "toward")
    assert factory().learns == facts.needs_fit == (name == "universal")
    assert facts.needs_generator == (name == "prosgan")
    assert (factory().name, factory().preset) == (name, "default") and factory() == replace(factory(), name="")
    for preset in facts.presets:
        assert (factory(preset=preset) == factory()) == (preset == facts.presets[0])
    if facts.presets:
        with pytest.raises(RequestError, match="unknown preset"):
            factory(preset="papr")


def fitted(name: str) -> GuideMaker:
    """A guide on the codes of the world, with a small prototype where it trains one."""
    return prototype() if name == "prototype" else fitted_guide(guide_named(name), world()[3], 0)


@pytest.mark.parametrize("name", GUIDES)
def test_a_guide_gives_every_picture_a_code_of_its_own(name: str) -> None:
    model, x, labels, bank = world()
    own, guide = model.code(x), fitted(name)

    def codes(part: slice) -> torch.Tensor:
        made = guide(own[part], labels[part], bank, list(range(12))[part], 3)
        found = guide_for(inner_product, made)  # type: ignore[arg-type]
        assert isinstance(found, torch.Tensor)
        return found

    whole = codes(slice(None))
    assert whole.shape == own.shape and whole.dtype == own.dtype and set(whole.unique().tolist()) <= {-1.0, 1.0}
    assert torch.equal(whole, torch.cat([codes(slice(0, 5)), codes(slice(5, 12))])), "whatever the batch"
    assert torch.equal(whole, codes(slice(None))), "the same again"


@pytest.mark.parametrize("name", GUIDES)
def test_a_guide_says_what_it_is_and_what_it_needs(name: str) -> None:
    model, x, labels, bank = world()
    guide, own = guide_named(name), model.code(x)
    assert guide.name == name and guide == guide_named(name) and hash(guide) == hash(guide_named(name))
    assert GUIDES.title(name) and "\n" not in GUIDES.title(name)
    if not guide.needs_labels:
        alone = guide(own, None, None, range(12), 0)
        assert isinstance(alone, torch.Tensor) and torch.equal(alone, guide(own, labels, bank, range(12), 0))  # type: ignore[arg-type]
        return
    for missing in ((None, bank), (labels, None)):
        with pytest.raises(RequestError, match="needs"):
            guide(own, *missing, range(12), 0)
    with pytest.raises(RequestError, match=r"classes|needs"):
        guide(own, labels[:, :2], bank, range(12), 0)


@pytest.mark.parametrize("name", GUIDES)
def test_an_attack_that_takes_any_guide_follows_it(name: str) -> None:
    model, x, labels, bank = world()
    target = labels.roll(1, dims=1)
    found = ATTACKS["pgd"](guide=fitted(name), toward=name != "own", threat=Linf(0.3), steps=30)(model, x, target, bank)
    before, after = ((model.code(one) * found.target).sum(1).mean() for one in (x, found.x_adv))
    assert float(after) < float(before) - 2 if name == "own" else float(after) > float(before) + 2


@pytest.mark.parametrize("name", [name for name in ATTACKS if "steps" in signature(ATTACKS[name]).parameters])
def test_no_gradient_is_not_taken_for_the_usual_number(name: str) -> None:
    for count in (0, -1):
        with pytest.raises(RequestError, match=f"steps must be at least 1, got {count}"):
            ATTACKS[name](steps=count)


def test_registering_checks_name_and_direction() -> None:
    from hamguard.attacks.methods.registry import register

    with pytest.raises(RequestError, match="attack 'tha' is registered twice"):
        register("tha")(Attack)
    with pytest.raises(RequestError, match="unknown direction 'towards'; .*did you mean toward"):
        register("other", direction="towards")  # type: ignore[arg-type]


def test_a_set_of_codes_goes_to_a_loss_of_single_codes_as_its_vote() -> None:
    model, x, labels, bank = world()
    found = ATTACKS["pgd"](steps=3, guide=RelevantSet())(model, x, labels, bank)
    assert torch.equal(found.target, RelevantSet()(model.code(x), labels, bank, range(12), 0).vote)
    assert isinstance(ATTACKS["sdha"](steps=3)(model, x, labels, bank).target, CodeSet)


def test_projection_is_the_nearest_point_and_idempotent() -> None:
    x = torch.rand(4, 3, 5, 5, generator=torch_generator(2))
    far = x + 3 * torch.randn(4, 3, 5, 5, generator=torch_generator(3))
    for threat in (Linf(0.1), L2(0.7), L1(4.0), L0(0.2)):
        once = threat.project(far, x)
        assert torch.allclose(threat.project(once, x), once, atol=1e-6)
        assert float(threat.length(once - x).max()) <= threat.eps + 1e-6
    inside = (x + 0.01).clamp(0, 1)
    assert torch.allclose(Linf(0.1).project(inside, x), inside, atol=1e-7)


def test_a_threat_of_few_pixels_keeps_those_that_would_be_farthest() -> None:
    x = torch.rand(5, 3, 2, 2, generator=torch_generator(2))
    far = x + torch.randn(5, 3, 2, 2, generator=torch_generator(3))
    for count in (1, 2, 3, 4):
        threat = L0(count / 4)
        assert threat.pixels(x) == count
        found = threat.project(far, x)
        ways = []  # every choice of pixels, by hand
        for chosen in itertools.combinations(range(4), count):
            mask = torch.zeros(4, dtype=torch.bool)
            mask[list(chosen)] = True
            ways.append(torch.where(mask.view(2, 2), far.clamp(0, 1), x))
        apart = torch.stack([(far - one).square().flatten(1).sum(1) for one in ways])  # (ways, B)
        assert torch.allclose((far - found).square().flatten(1).sum(1), apart.min(0).values, atol=1e-6)
        assert torch.allclose(threat.length(found - x).flatten(), torch.full((5,), count / 4))
        start = threat.start(x, range(5), 1)
        assert bool((threat.length(start - x) <= count / 4).all()) and not torch.equal(
            start, threat.start(x, range(5), 2)
        )
    bags = torch.rand(3, 10, generator=torch_generator(4))
    assert bool((L0(0.2).project(bags + 0.3, bags) != bags).sum(1).le(2).all()), "words of a bag"


def test_a_share_of_pixels_is_explained() -> None:
    with pytest.raises(
        RequestError, match=r"eps of l0 is a share of the pixels in \(0, 1\], got 20; did you mean 20 / \(h"
    ):
        L0(20)
    with pytest.raises(RequestError, match="eps 0.001 of 256 pixels is less than one; give 1/256 or more"):
        ATTACKS["jsma"](threat=L0(0.001))(*world()[:2])
    assert (L0(0.2).reach, Linf(0.2).reach, L0(0.2).times(9).eps, Linf(0.2).times(9).eps) == (1.0, 0.2, 1.0, 1.0)
    assert L2(0.2).times(9).eps == pytest.approx(1.8)


@settings(max_examples=40, deadline=None)
@given(eps=st.floats(1e-4, 1.0), far=st.floats(0, 3), seed=st.integers(0, 10**6), whole=st.booleans())
def test_a_one_sided_threat_lets_values_only_grow(eps: float, far: float, seed: int, whole: bool) -> None:
    threat = Threat("linf", eps, one_sided=True)
    x = torch.rand(3, 1, 4, 5, generator=torch_generator(seed))
    x = (x * 255).round() / 255 if whole else x
    moved = x + far * torch.randn(3, 1, 4, 5, generator=torch_generator(seed, "far"))
    once = threat.project(moved, x)
    assert torch.allclose(once, moved.clamp(x, (x + eps).clamp(max=1)), atol=1e-6), "the nearest allowed picture"
    assert torch.allclose(threat.project(once, x), once, atol=1e-6)
    start = threat.start(x, range(3), seed)
    on_grid = threat.on_grid(once, x)
    assert torch.allclose(on_grid * 255, (on_grid * 255).round(), atol=1e-3)
    free = torch.ones_like(x, dtype=torch.bool)
    if not whole and eps < 1 / 255:  # then no level may lie within [x, x + eps], and the nearest one to x is taken
        free = ((x * 255).ceil() <= (x + eps) * 255) & ((x * 255).frac() > 1e-3)
        assert float((on_grid - x).abs().max()) <= 1 / 255 + 1e-6
    for found, slack in ((once, 1e-6), (start, 1e-6), (on_grid, 2e-6)):
        delta = found - x if found is not on_grid else (found - x)[free]
        assert bool((delta >= -slack).all() and (delta <= eps + slack).all())
        assert float(found.min()) >= 0 and float(found.max()) <= 1
    assert float((start - x)[x < 0.999].gt(0).float().mean()) > 0.9, "the start is drawn from all of [0, eps]"


def test_a_one_sided_start_is_uniform_and_others_did_not_change() -> None:
    x = torch.full((1, 1, 60, 60), 0.3)
    grown = (Threat("linf", 0.2, one_sided=True).start(x, [5], 1) - x) / 0.2
    assert float(grown.mean()) == pytest.approx(0.5, abs=0.02) and float(grown.var()) == pytest.approx(
        1 / 12, abs=0.005
    )
    both = (Linf(0.2).start(x, [5], 1) - x) / 0.2
    assert torch.allclose(both, 2 * grown - 1, atol=1e-5), "the same numbers, stretched"
    assert Linf(0.2).low == -0.2 and Threat("linf", 0.2, one_sided=True).low == 0
    with pytest.raises(RequestError, match="a one-sided threat is a linf threat, got l2"):
        Threat("l2", 0.2, one_sided=True)


def test_eps_in_levels_is_explained() -> None:
    with pytest.raises(RequestError, match=r"eps must be in \(0, 1\], got 8; did you mean 8 / 255\?"):
        Linf(8)
    with pytest.raises(RequestError, match="eps must be above 0, got 0"):
        L2(0)
    with pytest.raises(RequestError, match="eps must be a number such as 0.03 or 8/255, got '8/x'"):
        parse_eps("8/x")
    assert parse_eps("8/255") == 8 / 255


def test_wrong_models_and_pictures_are_named() -> None:
    model, x, labels, _bank = world()

    class Flat:
        bits = 8

        def logits(self, x: torch.Tensor) -> torch.Tensor:
            return x.sum()[None]

    class Broken:
        bits = 8

        def logits(self, x: torch.Tensor) -> torch.Tensor:
            return (x - 2).sqrt().flatten(1)[:, :8].nan_to_num(0.0) + x.flatten(1)[:, :8] * float("inf")

    with pytest.raises(RequestError, match=r"must return \(12, K\) numbers, got \(1,\)"):
        ATTACKS["pgd"]()(Flat(), x)
    with pytest.raises(RequestError, match=r"in \[0, 1\]"):
        ATTACKS["pgd"]()(model, x * 255)
    with pytest.raises((RunError, RequestError), match="NaN"):
        ATTACKS["pgd"]()(Broken(), x)
    with pytest.raises(RequestError, match="the mainstay code needs reference codes"):
        ATTACKS["mainstay"]()(model, x, labels)
    with pytest.raises(RequestError, match="did you mean mainstay"):
        ATTACKS["mainstey"]
