"""Several models: the joint attack on one is the attack; on two it moves both; sums keep or leave the ball as written."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hamguard.attacks.attack import Attack
from hamguard.attacks.ensemble import JointProblem, add_spent, attack_jointly, combine
from hamguard.attacks.guides.relevant import RelevantSet
from hamguard.attacks.methods.registry import ATTACKS
from hamguard.attacks.threat import L2, Linf, Threat
from hamguard.codes.bank import CodeBank
from hamguard.core.errors import RequestError
from hamguard.core.seeds import torch_generator
from hamguard.models.hash_model import HashModel

X = (torch.rand(6, 1, 16, 16, generator=torch_generator(1)) * 255).round() / 255
LABELS = torch.eye(3)[torch.arange(6) % 3]


def victim(seed: int, bits: int) -> HashModel:
    model = HashModel("conv2", bits, channels=1, size=(16, 16), generator=torch_generator(seed))
    model.eval().requires_grad_(False)
    z = model.logits(X)
    model.head.bias.data.sub_(z.mean(0))
    model.head.weight.data.div_(z.std())
    model.head.bias.data.div_(z.std())
    return model


MODELS = (victim(4, 8), victim(5, 12))
BANKS = tuple(CodeBank.of(model.code(X), LABELS) for model in MODELS)


@pytest.mark.parametrize("name", ["hag", "mainstay", "pgd", "adaptive", "dhta", "sdha", "nag", "noise"])
def test_one_model_jointly_is_the_attack_itself(name: str) -> None:
    options = {} if name == "noise" else {"steps": 5}
    attack = ATTACKS[name](threat=Linf(0.1), **options)
    alone = attack(MODELS[0], X, LABELS, BANKS[0], seed=3)
    joint = attack_jointly(attack, MODELS[:1], X, LABELS, BANKS[:1], seed=3)
    assert torch.equal(joint.x_adv, alone.x_adv) and len(joint.targets) == 1
    assert joint.spent.forwards.tolist() == alone.spent.forwards.tolist()
    assert joint.spent.backwards.tolist() == alone.spent.backwards.tolist()


def test_joint_attack_moves_every_model_and_counts_all_passes() -> None:
    attack = ATTACKS["mainstay"](steps=30, threat=Linf(0.3))
    attack = replace(attack, search=replace(attack.search, early_stop=False))
    found = attack_jointly(attack, MODELS, X, LABELS, BANKS)
    for model, bank, target in zip(MODELS, BANKS, found.targets, strict=True):
        assert target.shape == (6, bank.bits)
        near = (model.code(found.x_adv) * target).sum(1).mean() / bank.bits
        assert float(near) < float((model.code(X) * target).sum(1).mean()) / bank.bits - 0.3
    assert torch.equal(found.target, found.targets[0])
    assert found.spent.backwards.tolist() == [60] * 6 and found.spent.forwards.tolist() == [2 * 32] * 6
    assert float((found.x_adv - X).abs().max()) <= 0.3 + 1e-6


def test_joint_gradient_is_the_mean_and_wrong_bits_are_the_sum() -> None:
    attack = ATTACKS["center"]()
    parts = [attack.problem(m, X, LABELS, b) for m, b in zip(MODELS, BANKS, strict=True)]
    joint, rows = JointProblem(tuple(parts)), torch.tensor([1, 4])
    gradient, loss, wrong = joint.gradient(X[rows], rows, 1.0)
    single = [part.gradient(X[rows], rows, 1.0) for part in parts]
    assert torch.allclose(gradient, (single[0][0] + single[1][0]) / 2)
    assert torch.allclose(loss, (single[0][1] + single[1][1]) / 2)
    assert torch.equal(wrong, single[0][2] + single[1][2])
    assert torch.equal(joint.score(X[rows], rows), wrong)


def test_guides_that_learn_are_given_model_by_model() -> None:
    tha = ATTACKS["tha"](steps=3, training_steps=3, threat=Linf(0.1))
    fitted = [tha.prepared(bank) for bank in BANKS]
    once = attack_jointly(fitted, MODELS, X, LABELS, BANKS)
    again = attack_jointly(tha, MODELS, X, LABELS, BANKS)
    assert torch.equal(once.x_adv, again.x_adv)


def test_sets_of_codes_work_jointly() -> None:
    found = attack_jointly(ATTACKS["sdha"](steps=3), MODELS, X, LABELS, BANKS)
    assert len(found.targets) == 2 and isinstance(RelevantSet().name, str)


@settings(max_examples=20, deadline=None)
@given(
    eps=st.floats(0.5 / 255, 0.4), norm=st.sampled_from(["linf", "l2"]), count=st.integers(1, 3), off=st.floats(0, 0.9)
)
def test_sums_keep_or_leave_the_ball_as_documented(eps: float, norm: str, count: int, off: float) -> None:
    threat = Threat(norm, eps)  # type: ignore[arg-type]
    x = (X * 254 + off) / 255 if norm == "linf" else X  # not always on the grid
    found = [threat.on_grid(threat.start(x, range(6), seed), x) for seed in range(count)]
    size = {how: threat.length(combine(x, found, threat, how) - x) for how in ("sum", "sum-project", "mean")}  # type: ignore[arg-type]
    rest = threat.length((x * 255).round() / 255 - x)  # a picture between two levels can be no nearer in a file
    assert bool((size["sum-project"] <= rest.clamp(min=eps) + 1e-5).all())
    assert bool((size["mean"] <= rest.clamp(min=eps) + 1e-5).all())
    assert bool((size["sum"] <= rest.clamp(min=count * eps) + 1e-5).all())


def test_a_sum_leaves_the_ball_and_its_projection_does_not() -> None:
    x = torch.full((1, 1, 2, 2), 0.4)
    one = x + 8 / 255
    for threat in (Linf(8 / 255), L2(16 / 255)):
        assert torch.allclose(combine(x, [one, one], threat, "sum"), x + 16 / 255)
        assert torch.allclose(combine(x, [one, one], threat, "sum-project"), one)
        assert torch.allclose(combine(x, [one, one], threat, "mean"), one)
        assert torch.allclose(combine(x, [one], threat, "sum"), one)
    assert float(combine(x, [x + 0.5, x + 0.5], Linf(0.5), "sum").max()) == 1.0, "clipped to [0, 1]"


def test_spent_adds() -> None:
    spent = [ATTACKS["pgd"](steps=4)(m, X).spent for m in MODELS]
    total = add_spent(spent)
    assert torch.equal(total.backwards, spent[0].backwards + spent[1].backwards)
    assert torch.equal(total.forwards, spent[0].forwards + spent[1].forwards)


def test_wrong_inputs_explain_themselves() -> None:
    attack = ATTACKS["pgd"](steps=1)
    with pytest.raises(RequestError, match="got 2 models, 1 banks, 2 attacks"):
        attack_jointly(attack, MODELS, X, None, BANKS[:1])
    with pytest.raises(RequestError, match="at least one model, got none"):
        attack_jointly(attack, [], X, None, [])
    with pytest.raises(RequestError, match="may differ in their guides only"):
        attack_jointly([attack, replace(attack, threat=Linf(0.2))], MODELS, X, None, BANKS)
    problems = [Attack().problem(MODELS[0], pictures) for pictures in (X, X.clone())]
    with pytest.raises(RequestError, match="need the same pictures, threat and seed"):
        JointProblem(tuple(problems))
    with pytest.raises(RequestError, match="unknown combination 'sums'; .*did you mean sum"):
        combine(X, [X], Linf(0.1), "sums")  # type: ignore[arg-type]
    with pytest.raises(RequestError, match=r"shape \(6, 1, 16, 16\), got nothing"):
        combine(X, [], Linf(0.1), "sum")
    with pytest.raises(RequestError, match=r"got \(2, 1, 16, 16\)"):
        combine(X, [X[:2]], Linf(0.1), "sum")
