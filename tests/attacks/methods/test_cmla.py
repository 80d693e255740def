"""CMLA: its two terms against the test vectors and a double loop, its loop against a literal transcription, and what it does."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hamguard.attacks.attack import Attack
from hamguard.attacks.ensemble import JointProblem, attack_jointly
from hamguard.attacks.guides.pairs import CrossCodes, PairCodes, pair_codes
from hamguard.attacks.guides.vote import SignedMean
from hamguard.attacks.losses.cmla import CmlaLoss, distortion, inter_term, intra_term
from hamguard.attacks.methods.cmla import GROWTH, IMAGE_RATE, NORM, TEXT_EPS, TEXT_RATE, cmla, cmla_text
from hamguard.attacks.search.gradient_descent import GradientSteps
from hamguard.attacks.threat import L2, Linf
from hamguard.codes.bank import CodeBank, PairBank
from hamguard.codes.binary import sign
from hamguard.core.errors import RequestError, RunError
from hamguard.core.seeds import torch_generator
from hamguard.models.text_model import TextModel
from tests.attacks.test_laws import world


@dataclass
class Linear:
    """A hash function that is one matrix."""

    w: Tensor

    @property
    def bits(self) -> int:
        return self.w.shape[1]

    def logits(self, x: Tensor) -> Tensor:
        return (x - 0.5).flatten(1) @ self.w  # (B, K)


def steep(n: int = 24, bits: int = 8) -> tuple[Linear, Tensor, Tensor, PairBank]:
    """A model trained in closed form (ridge) on faint pictures of three classes, so that a few levels turn its codes; and texts."""
    kinds = torch.arange(n) % 3
    prototypes = torch.rand(3, 1, 8, 8, generator=torch_generator(1)) - 0.5
    grain = torch.rand(n, 1, 8, 8, generator=torch_generator(2)) - 0.5
    x = ((0.5 + 0.05 * prototypes[kinds] + 0.03 * grain) * 255).round() / 255
    codes = sign(torch.rand(3, bits, generator=torch_generator(3)) - 0.5)
    flat = (x - 0.5).flatten(1)
    ridge = 0.1 * flat.square().sum(1).mean() * torch.eye(flat.shape[1])
    model = Linear(torch.linalg.solve(flat.T @ flat + ridge, flat.T @ (2 * codes[kinds])))
    texts = codes * sign(torch.rand(3, bits, generator=torch_generator(9)) - 0.3)
    labels = torch.eye(3)[kinds]
    own = sign(model.logits(x))
    assert torch.equal(own, codes[kinds]), "the ridge learned the codes"
    return model, x, labels, PairBank.join(CodeBank.of(own, labels), CodeBank.of(texts[kinds], labels))


def bags(n: int = 10, words: int = 12) -> tuple[TextModel, Tensor, Tensor, PairBank]:
    """A text net nobody trained, bags of words, and pairs seen from the text side."""
    model = TextModel("mlp", words, 8, width=16, seed=5).eval().requires_grad_(False)
    x = (torch.rand(n, words, generator=torch_generator(1)) < 0.4).float()
    labels = torch.eye(3)[torch.arange(n) % 3]
    images = sign(torch.rand(n, 8, generator=torch_generator(2)) - 0.5)
    return model, x, labels, PairBank.join(CodeBank.of(model.code(x), labels), CodeBank.of(images, labels))


def test_published_vectors_of_the_inter_term() -> None:
    theta = torch.tensor(0.7, dtype=torch.float64)
    assert float(inter_term(theta, torch.ones_like(theta))) == pytest.approx(1.1031860, abs=1e-7)
    assert float(inter_term(theta, torch.zeros_like(theta))) == pytest.approx(0.4031860, abs=1e-7)
    assert float(intra_term(theta, torch.ones_like(theta))) == pytest.approx(0.4031860, abs=1e-7)
    assert float(intra_term(theta, torch.zeros_like(theta))) == pytest.approx(1.1031860, abs=1e-7)


@settings(max_examples=100, deadline=None)
@given(g=st.floats(-500, 500), similar=st.sampled_from([0.0, 1.0]))
def test_the_inter_term_is_the_likelihood_with_flipped_similarity(g: float, similar: float) -> None:
    theta, s = torch.tensor(g, dtype=torch.float64), torch.tensor(similar, dtype=torch.float64)
    printed = max(-g, 0.0) + math.log1p(math.exp(-abs(g))) + similar * g  # softplus(-G) + S G
    assert float(inter_term(theta, s)) == pytest.approx(printed, abs=1e-8)
    assert float(inter_term(theta, s)) == pytest.approx(float(intra_term(theta, 1 - s)), abs=1e-12)
    slides = ((1 - similar) * g - max(g, 0.0) - math.log1p(math.exp(-abs(g)))) ** 2
    assert float(inter_term(theta, s, squared=True)) == pytest.approx(slides, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("halved", [True, False])
@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("intra", [0.0, 1.0, 2.5])
def test_the_loss_agrees_with_a_double_loop(halved: bool, squared: bool, intra: float) -> None:
    draw = torch_generator(3)
    u = torch.rand(4, 6, generator=draw, dtype=torch.float64) * 2 - 1
    other, own = (sign(torch.rand(5, 6, generator=draw, dtype=torch.float64) - 0.5) for _ in range(2))
    similar = (torch.rand(4, 5, generator=draw) < 0.5).double()
    target = PairCodes(other, own, similar, torch.ones(4, 6, dtype=torch.float64))
    found = CmlaLoss(intra, halved=halved, squared=squared)(u, target, -1)
    assert found.shape == (4,)
    for i in range(4):
        total = 0.0
        for j in range(5):
            s, scale = float(similar[i, j]), 0.5 if halved else 1.0
            g = scale * sum(float(u[i, k] * other[j, k]) for k in range(6))
            q = scale * sum(float(u[i, k] * own[j, k]) for k in range(6))
            inter = math.log1p(math.exp(-g)) + s * g
            within = math.log1p(math.exp(q)) - s * q
            total += (inter**2 if squared else inter) + intra * (within**2 if squared else within)
        assert float(found[i]) == pytest.approx(total / 5, rel=1e-12)
    assert torch.equal(found, CmlaLoss(intra, halved=halved, squared=squared)(u, target, 1)), "one direction only"


def test_pair_codes_compare_labels_and_vote_over_the_other_side() -> None:
    _, _, labels, bank = world()
    two = torch.tensor([[1.0, 0, 0], [0, 1, 1], [0, 0, 0]])
    marks = torch.from_numpy(bank.labels).float()
    found = pair_codes(bank.codes, bank.other_codes, two, marks)
    for i in range(3):
        shared = [float(any(two[i, c] and bank.labels[j, c] for c in range(3))) for j in range(12)]
        assert found.similar[i].tolist() == shared
    others = CodeBank.of(bank.other_codes, labels)
    assert torch.equal(found.vote, SignedMean("center")(bank.codes[:3], two, others, range(3), 0))
    some = found.select(torch.tensor([2, 0]))
    assert torch.equal(some.similar, found.similar[[2, 0]]) and torch.equal(some.vote, found.vote[[2, 0]])
    assert some.other is found.other and some.own is found.own


def test_material_of_the_guide() -> None:
    model, x, labels, bank = world()
    own, part = model.code(x[3:6]), [7, 2, 9]
    whole = CrossCodes()(own, labels[3:6], bank, part, 0)
    assert torch.equal(whole.own, bank.codes) and torch.equal(whole.other, bank.other_codes)
    inside = CrossCodes("batch")(own, labels[part], bank, part, 0)
    assert torch.equal(inside.own, bank.codes[part]) and torch.equal(inside.other, bank.other_codes[part])
    assert torch.equal(inside.similar, (labels[part] @ labels[part].T).clamp(max=1)), "a batch is compared with itself"
    swapped = CrossCodes()(own, labels[3:6], bank.swapped(), part, 0)
    assert torch.equal(swapped.own, bank.other_codes) and torch.equal(swapped.other, bank.codes)
    with pytest.raises(RequestError, match="unknown material 'bath'; .*did you mean batch"):
        CrossCodes("bath")  # type: ignore[arg-type]


def literal_cmla(
    model: Any, o: Tensor, bank: PairBank, steps: int, *, rate: float, high: float, top: float, norm: float = 1.0,
    ours: bool = False,
) -> list[Tensor]:  # fmt: skip
    """The published loop (methods, K.2) with Adam by hand: d after each step. Inputs lie in [0, top], the model takes [0, 1].

    With `ours`, our default: halved inner products, a clip on both sides, AMSGrad, and a norm term that grows.
    """
    other, own, labels = bank.other_codes.to(o), bank.codes.to(o), torch.from_numpy(bank.labels).to(o)
    d, first, second, widest = (torch.zeros_like(o) for _ in range(4))
    S = ((labels @ labels.T) > 0).to(o)
    tiny = 1e-8 / (top * len(o))  # Adam's own constant in the units of a mean over the batch and of the scale 0 to top
    found = []
    for step in range(1, steps + 1):
        moving = d.clone().requires_grad_()
        whole = o + moving
        seen = torch.where((whole < 0) | (whole > top), whole.detach().clamp(0, top), whole)  # as TensorFlow clips
        h = torch.tanh(model.logits(seen / top))
        G, Q = (h @ side.T / (2 if ours else 1) for side in (other, own))
        J = (torch.log(1 + torch.exp(-G)) + S * G).mean() + (torch.log(1 + torch.exp(Q)) - S * Q).mean()
        J = J + norm * (1 + 0.007 * (step - 1) if ours else 1) * (seen - o).abs().mean()
        (gradient,) = torch.autograd.grad(J, moving)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        width = (second / (1 - 0.999**step)).sqrt()
        widest = torch.maximum(widest, width)
        d = d - rate * (first / (1 - 0.9**step)) / ((widest if ours else width) + tiny)
        d = d.clamp(-high if ours else 0, high)
        found.append(d)
    return found


@pytest.mark.parametrize(("make", "norm", "least"), [(world, 1.0, 0.0), (steep, 1.0, 0.3), (steep, 0.01, 6.0)])
@pytest.mark.parametrize("preset", ["code", "default"])
def test_pictures_follow_the_published_loop(make: Any, norm: float, least: float, preset: Any) -> None:
    model, x, _, bank = make()
    if isinstance(model, Linear):
        model.w = model.w.double()
    else:
        model.double()
    x = (x * 216 + 12).round().double() / 255  # beyond 245 the code's d goes on where ours stops at 1
    bank = PairBank.join(CodeBank.of(sign(model.logits(x)), bank.labels), CodeBank.of(bank.other_codes, bank.labels))
    attack = replace(cmla(preset=preset, steps=25, norm=norm), rounding=False)
    problem = attack.problem(model, x, torch.from_numpy(bank.labels).double(), bank, marks=range(1, 26))
    last = attack.solve(problem)
    literal = literal_cmla(
        model, 255 * x, bank, 25, rate=0.5, high=10.0, top=255.0, norm=norm, ours=preset == "default"
    )  # fmt: skip
    for step, d in enumerate(literal, 1):
        assert torch.allclose(problem.kept[step] - x, d / 255, atol=1e-9), f"step {step}"
    assert torch.equal(last, problem.kept[25]) and least <= float(literal[-1].max()) <= 10
    assert bool((literal[-1] != 0).any()) and bool((literal[-1] < 0).any()) == (preset == "default")


@pytest.mark.parametrize("norm", [0.0, 0.5, 1.0])
def test_texts_follow_the_published_loop(norm: float) -> None:
    model, x, labels, bank = bags()
    model, x = model.double(), x.double()
    attack = cmla_text(preset="code", steps=12, norm=norm)
    problem = attack.problem(model, x, labels.double(), bank, marks=range(1, 13))
    attack.solve(problem)
    literal = literal_cmla(model, x, bank, 12, rate=0.002, high=0.01, top=1.0, norm=norm)
    for step, d in enumerate(literal, 1):
        assert torch.allclose(problem.kept[step], (x + d).clamp(max=1), atol=1e-9), f"step {step}"
    assert float((problem.kept[12] - x).max()) == pytest.approx(0.01)


def test_the_norm_term_is_the_mean_of_absolute_changes() -> None:
    model, x, labels, bank = world()
    at = (x + 0.1 * (torch.rand(x.shape, generator=torch_generator(2)) - 0.3)).clamp(0, 1)
    rows, M = torch.arange(12), x[0].numel()

    def gradient(**options: Any) -> tuple[Tensor, Tensor]:
        problem = Attack(CrossCodes(), CmlaLoss(), **options).problem(model, x, labels, bank)
        slope, loss, _ = problem.gradient(at, rows, 1.0)
        return slope, loss

    (plain, base), (l1, more), (l2, square) = (
        gradient(), gradient(fidelity=3.0, fidelity_norm="l1"), gradient(fidelity=3.0)
    )  # fmt: skip
    delta = at - x
    assert torch.allclose(l1 - plain, 3 * delta.sign() / M, atol=1e-6)
    assert torch.allclose(more - base, 3 * delta.abs().flatten(1).mean(1), atol=1e-5)
    assert torch.allclose(l2 - plain, 6 * delta / M, atol=1e-6)
    assert torch.allclose(square - base, 3 * delta.square().flatten(1).mean(1), atol=1e-5)


@pytest.mark.parametrize("preset", ["default", "code"])
def test_a_mark_is_where_a_shorter_run_ends(preset: Any) -> None:
    model, x, labels, bank = world()
    text, bag, marks, pairs = bags()
    for make, victim, clean, own, codes in (
        (cmla, model, x, labels, bank), (cmla_text, text, bag, marks, pairs)
    ):  # fmt: skip
        whole = replace(make(preset=preset, steps=12), rounding=False)
        problem = whole.problem(victim, clean, own, codes, marks=(3, 7, 12))
        last = whole.solve(problem)
        assert sorted(problem.kept) == [3, 7, 12] and torch.equal(problem.kept[12], last)
        for k in (3, 7):
            short = replace(make(preset=preset, steps=k), rounding=False)
            assert torch.equal(problem.kept[k], short(victim, clean, own, codes).x_adv)
        assert not torch.equal(problem.kept[3], problem.kept[7])
        assert problem.spent.backwards.tolist() == [12] * len(clean), "looking costs nothing"


def test_the_norm_term_draws_back_what_is_not_needed_any_more() -> None:
    model, x, labels, bank = steep()

    def run(norm: float) -> tuple[list[float], list[int]]:
        attack = cmla(steps=200, norm=norm, intra=0.0)
        problem = attack.problem(model, x, labels, bank, marks=(20, 200))
        attack.solve(problem)
        points = [problem.kept[mark] for mark in (20, 200)]
        moved = [int((sign(model.logits(point)) != bank.codes).sum()) for point in points]
        return [float(distortion(point, x).mean()) for point in points], moved

    (early, late), moved = run(0.1)
    assert moved[1] >= moved[0] > 0.5 * bank.codes.numel(), "the codes had turned, and stay so"
    assert late < 0.9 * early
    (free_early, free_late), _ = run(0.0)
    assert free_late > free_early > early, "without the term nothing draws back"


def test_the_attack_leaves_the_other_modality_and_the_intra_term_holds_the_own() -> None:
    model, x, labels, bank = steep()
    shared = (labels @ labels.T) > 0

    def agreement(**options: Any) -> tuple[float, float]:
        """Mean inner product with similar items of the other and of the own modality, in [-1, 1]."""
        code = sign(model.logits(cmla(steps=60, **options)(model, x, labels, bank).x_adv))
        return tuple(float((code @ side.T / 8)[shared].mean()) for side in (bank.other_codes, bank.codes))  # type: ignore[return-value]

    clean = tuple(float((bank.codes @ side.T / 8)[shared].mean()) for side in (bank.other_codes, bank.codes))
    other, own = agreement(intra=1.0)
    alone, loose = agreement(intra=0.0)
    assert other < clean[0] - 0.2 and alone < other, "both leave, the free one farther"
    assert own > loose + 0.2 and own > other, "the term keeps the own modality"
    noise = Linf(10 / 255).start(x, range(24), 0)
    assert float((sign(model.logits(noise)) != bank.codes).float().mean()) < 0.1
    gentle, _ = agreement(intra=0.0, norm=30.0)
    assert gentle > alone, "a strong norm term costs strength"


@settings(max_examples=15, deadline=None)
@given(
    eps=st.floats(1e-3, 1.0), steps=st.integers(1, 6), preset=st.sampled_from(["default", "paper", "code"]),
    between=st.booleans(), squared=st.booleans(),
)  # fmt: skip
def test_attacked_bags_stay_in_their_ball(eps: float, steps: int, preset: Any, between: bool, squared: bool) -> None:
    model, x, labels, bank = bags()
    x = torch.rand(x.shape, generator=torch_generator(4)) if between else x
    found = cmla_text(threat=Linf(eps), steps=steps, preset=preset, squared=squared)(model, x, labels, bank)
    delta = found.x_adv - x
    assert float(found.x_adv.min()) >= 0 and float(found.x_adv.max()) <= 1
    assert float(delta.abs().max()) <= eps + 1e-6 and bool((delta != 0).any())
    assert preset == "default" or float(delta.min()) >= -1e-7, "the published clip is one-sided"
    off_grid = found.x_adv * 255
    assert eps > 0.01 or not torch.allclose(off_grid, off_grid.round(), atol=1e-3), "a bag has no 8-bit grid"


def test_published_forms_take_the_pairs_of_the_batch() -> None:
    model, x, labels, bank = world()
    part = [2, 3, 5, 7, 8]
    paper = cmla(preset="paper", steps=6)
    found = paper(model, x[part], labels[part], bank, index=part)
    inside = replace(paper, guide=CrossCodes())(model, x[part], labels[part], bank.select(torch.tensor(part).numpy()))
    assert torch.equal(found.x_adv, inside.x_adv)
    by_hand = pair_codes(model.code(x[part]), bank.other_codes[part], labels[part], labels[part])
    assert isinstance(found.target, PairCodes) and torch.equal(found.target.similar, by_hand.similar)
    assert torch.equal(found.target.own, by_hand.own) and torch.equal(found.target.vote, by_hand.vote)
    loss = CmlaLoss()(torch.tanh(model.logits(x[part])), by_hand, -1)  # d = 0 where the first gradient is taken
    problem = paper.problem(model, x[part], labels[part], bank, index=part)
    assert torch.allclose(problem.gradient(x[part], torch.arange(5), 1.0)[1], loss, atol=1e-6)
    whole = cmla(preset="paper", steps=6)(model, x, labels, bank)
    assert isinstance(whole.target, PairCodes) and whole.target.similar.shape == (12, 12)


def test_several_cross_modal_models_are_attacked_together() -> None:
    model, x, labels, bank = world()
    attack = replace(cmla(steps=6, norm=0.01), rounding=False)
    alone = attack(model, x, labels, bank)
    assert torch.equal(attack_jointly(attack, [model], x, labels, [bank]).x_adv, alone.x_adv)
    turned = PairBank.join(CodeBank.of(bank.codes, labels), CodeBank.of(-bank.other_codes, labels))
    both = attack_jointly(attack, [model, model], x, labels, [bank, turned])
    assert not torch.equal(both.x_adv, alone.x_adv) and both.spent.backwards.tolist() == [12] * 12
    parts = tuple(attack.problem(model, x, labels, one, marks=(2,)) for one in (bank, bank.swapped()))
    joint = JointProblem(parts)
    attack.solve(joint)  # type: ignore[arg-type]
    assert [list(part.kept) for part in joint.parts] == [[2], [2]]
    assert torch.equal(joint.parts[0].kept[2], joint.parts[1].kept[2])


def test_presets_are_the_published_forms() -> None:
    mine, paper, code = (cmla(preset=preset) for preset in ("default", "paper", "code"))  # type: ignore[arg-type]
    assert mine.guide == CrossCodes("train") and paper.guide == code.guide == CrossCodes("batch")
    assert mine.loss == paper.loss == CmlaLoss(1.0, halved=True) and code.loss == CmlaLoss(1.0, halved=False)
    assert paper.threat.one_sided and code.threat.one_sided and not mine.threat.one_sided
    assert mine.threat.eps == paper.threat.eps == 10 / 255 and mine.fidelity_norm == "l1"
    assert (mine.fidelity, paper.fidelity, cmla(norm=2.0).fidelity) == (255.0 * NORM, 255.0, 510.0)
    assert (mine.fidelity_growth, paper.fidelity_growth, code.fidelity_growth) == (GROWTH, 0.0, 0.0)
    assert mine.search == GradientSteps("amsgrad", IMAGE_RATE, 500, alpha="constant", keep="last")
    assert paper.search == code.search == GradientSteps("adam", IMAGE_RATE, 500, alpha="constant", keep="last")
    assert paper.rounding and mine.rounding
    assert IMAGE_RATE == 0.5 / 255
    text, published = cmla_text(), cmla_text(preset="paper", steps=7, intra=0.0, squared=True)
    assert (text.threat.eps, text.fidelity, published.fidelity) == (TEXT_EPS, NORM, 1.0) and not text.rounding
    assert published.search == GradientSteps("adam", TEXT_RATE, 7, alpha="constant", keep="last")
    assert published.loss == CmlaLoss(0.0, squared=True) and TEXT_RATE == 0.002 and TEXT_EPS == 0.01


def test_distortion_is_each_items_own() -> None:
    x = torch.zeros(2, 1, 2, 2)
    moved = x + torch.tensor([[[[0.3, 0.0], [0.0, 0.0]]], [[[0.1, -0.1], [0.1, 0.1]]]])
    assert distortion(moved, x).tolist() == pytest.approx([0.15, 0.1])
    assert distortion(torch.full((3, 5), 0.2), torch.zeros(3, 5)).tolist() == pytest.approx([0.2] * 3)


@pytest.mark.parametrize("make", [cmla, cmla_text])
def test_wrong_options_explain_themselves(make: Any) -> None:
    with pytest.raises(RequestError, match="unknown preset 'papr'; allowed: default, paper, code; did you mean paper"):
        make(preset="papr")
    with pytest.raises(RequestError, match=r"intra must be at least 0.0, got -1"):
        make(intra=-1.0)
    with pytest.raises(RequestError, match=r"norm must be at least 0.0, got -0.5"):
        make(norm=-0.5)
    with pytest.raises(RequestError, match="a one-sided threat is a linf threat, got l2"):
        make(preset="paper", threat=L2(1.0))


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_what_the_guide_misses_is_said(preset: Any) -> None:
    model, x, labels, bank = world()
    attack = cmla(preset=preset, steps=1)
    for plain in (None, CodeBank.of(bank.codes, labels)):
        with pytest.raises(RequestError, match=r"cmla needs codes of pictures and of texts; give a cross-modal model"):
            attack(model, x, labels, plain)
    with pytest.raises(RequestError, match="cmla needs labels of the pictures and of the reference pairs"):
        attack(model, x, None, bank)
    nobody = CodeBank.of(bank.codes, torch.zeros(12, 0))
    with pytest.raises(RequestError, match="cmla needs labels of the pictures and of the reference pairs"):
        attack(model, x, labels, PairBank.join(nobody, nobody))
    with pytest.raises(RequestError, match="labels have 2 classes, the reference codes 3"):
        attack(model, x, torch.ones(12, 2), bank)


def test_bags_outside_their_range_and_broken_nets_are_named() -> None:
    model, x, labels, bank = bags()
    with pytest.raises(RequestError, match=r"in \[0, 1\], got \(10, 12\)"):
        cmla_text(steps=1)(model, 2 * x, labels, bank)
    with pytest.raises(RequestError, match=r"bags of words must have shape \(B, 12\), got \(10, 11\)"):
        cmla_text(steps=1)(model, x[:, :11], labels, bank)

    class Rooted(Linear):
        def logits(self, x: Tensor) -> Tensor:
            return x.sqrt() @ self.w  # finite, but its slope at a word that is absent is not

    with pytest.raises(RunError, match="the gradient to the picture is NaN or infinite"):
        cmla_text(steps=1)(Rooted(torch.ones(12, 8)), x, labels, bank)
