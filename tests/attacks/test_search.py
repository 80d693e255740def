"""Searches: laws that both keep, Nesterov's look-ahead, and the adaptive search against a literal transcription."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from hamguard.attacks.attack import Attack
from hamguard.attacks.guides.vote import SignedMean
from hamguard.attacks.losses.inner import inner_product
from hamguard.attacks.problem import Problem
from hamguard.attacks.search.adaptive import AdaptiveSteps, checkpoints
from hamguard.attacks.search.signs import SignSteps
from hamguard.attacks.threat import L1, L2, Linf, Threat
from hamguard.codes.binary import relax
from hamguard.core.errors import RequestError
from tests.attacks.test_laws import world

Search = SignSteps | AdaptiveSteps
SEARCHES: list[Search] = [
    AdaptiveSteps(5),
    AdaptiveSteps(12, restarts=2),
    AdaptiveSteps(6, random_start=False, early_stop=False),
    SignSteps(6, 0.03, momentum=1.0, nesterov=True),
    SignSteps(6, 0.03, "cosine", momentum=0.9, random_start=True, restarts=2, translation=3),
    SignSteps(3, keep="last", random_start=True, restarts=2),
]


def problem_of(threat: Threat, part: slice = slice(None), seed: int = 0) -> Problem:
    """Leave the center codes of a tiny model."""
    model, x, labels, bank = world()
    guide = SignedMean("center")(model.code(x), labels, bank, range(len(x)), seed)
    index = list(range(len(x)))[part]
    return Problem(model, x[part], guide[part], -1, inner_product, threat, index, seed)


def bits(problem: Problem, x_adv: Tensor) -> Tensor:
    return problem.wrong(problem.model.logits(x_adv), torch.arange(len(x_adv)))


@dataclass(frozen=True)
class Camera:
    """A view that keeps what it was shown."""

    shown: list[Tensor]
    weight: float = 1.0

    def __call__(self, x: Tensor, index: Sequence[int], step: int, seed: int) -> Tensor:
        self.shown.append(x.detach().clone())
        return x


@pytest.mark.parametrize("search", SEARCHES, ids=repr)
@pytest.mark.parametrize("threat", [Linf(0.1), L2(1.5), L1(9.0)], ids=repr)
def test_searches_stay_in_the_ball_whatever_the_batch(search: Search, threat: Threat) -> None:
    problem = problem_of(threat)
    whole = search(problem)
    assert float(threat.length(whole - problem.x).max()) <= threat.eps + 1e-5
    assert float(whole.min()) >= 0 and float(whole.max()) <= 1
    assert torch.equal(whole, search(problem_of(threat)))
    parts = torch.cat([search(problem_of(threat, part)) for part in (slice(0, 1), slice(1, 8), slice(8, 12))])
    assert float(((whole - parts).abs() > 1e-5).float().mean()) < 0.01  # rounding of another batch size may flip a sign
    if search.random_start:
        assert not torch.equal(whole, search(problem_of(threat, seed=1)))


@pytest.mark.parametrize("search", [s for s in SEARCHES if getattr(s, "keep", "best") == "best"], ids=repr)
def test_the_result_is_the_best_of_all_points_where_the_model_was_asked(search: Search) -> None:
    shown: list[Tensor] = []
    options = {**search.__dict__, "early_stop": False, "views": (Camera(shown),)}
    problem = problem_of(Linf(0.1))
    result = type(search)(**options)(problem)
    assert len(shown) == search.steps * search.restarts
    best = torch.stack([bits(problem, x_adv) for x_adv in shown]).min(0).values
    assert bool((bits(problem, result) <= best).all()), "the last point counts, too, so it may be better"
    assert all(float((x_adv - problem.x).abs().max()) <= 0.1 + 1e-6 for x_adv in shown)


@pytest.mark.parametrize("search", [AdaptiveSteps(30), SignSteps(30, momentum=1.0, nesterov=True)], ids=repr)
def test_early_stop_changes_no_other_picture(search: Search) -> None:
    stop, through = problem_of(Linf(0.4)), problem_of(Linf(0.4))
    found = search(stop)
    whole = type(search)(**{**search.__dict__, "early_stop": False})(through)
    assert int(stop.spent.backwards.sum()) < int(through.spent.backwards.sum()) == 12 * 30
    assert through.spent.forwards.tolist() == [31] * 12
    solved = bits(stop, found) == 0
    assert bool(solved.any()) and torch.equal(solved, bits(through, whole) == 0)
    assert float(((found - whole)[~solved].abs() > 1e-5).float().mean()) < 0.01 or bool(solved.all())


def test_restarts_take_up_only_what_is_left_and_never_harm() -> None:
    once, thrice = problem_of(Linf(0.06)), problem_of(Linf(0.06))
    first = bits(once, AdaptiveSteps(8)(once))
    best = bits(thrice, AdaptiveSteps(8, restarts=3)(thrice))
    assert bool((best <= first).all()) and float(best.sum()) < float(first.sum())
    solved = first == 0
    assert bool(solved.any())
    assert torch.equal(thrice.spent.backwards[solved], once.spent.backwards[solved])
    assert bool((thrice.spent.backwards[~solved] > 8).all())


def literal_nesterov(problem: Problem, steps: int, size: float, decay: float) -> list[Tensor]:
    """NI-FGSM of one picture: the points where the model is asked, and the last iterate."""
    at, memory, asked = problem.x.clone(), torch.zeros_like(problem.x), []
    for _ in range(steps):
        ahead = (at - size * decay * memory - problem.x).clamp(-problem.threat.eps, problem.threat.eps) + problem.x
        ahead = ahead.clamp(0, 1)
        asked.append(ahead)
        gradient = slow_gradient(problem, ahead, 1.0)[0]
        memory = decay * memory + gradient / gradient.abs().mean()
        at = (at - size * memory.sign() - problem.x).clamp(-problem.threat.eps, problem.threat.eps) + problem.x
        at = at.clamp(0, 1)
    return [*asked, at]


def slow_gradient(problem: Problem, at: Tensor, alpha: float) -> tuple[Tensor, float]:
    moving = at.clone().requires_grad_()
    u = relax(problem.model.logits(moving), alpha)[0]
    loss = torch.stack([u[k] * problem.target[0, k] for k in range(len(u))]).mean()  # type: ignore[index]
    return torch.autograd.grad(loss, moving)[0], float(loss.detach())


def same(a: Tensor, b: Tensor) -> bool:
    return float(((a - b).abs() > 1e-5).float().mean()) < 0.005  # a sign of a value near 0 may be rounded away


@pytest.mark.parametrize("picture", [0, 4, 7])
def test_nesterov_agrees_with_the_equations(picture: int) -> None:
    shown: list[Tensor] = []
    problem = problem_of(Linf(0.1), slice(picture, picture + 1))
    search = SignSteps(8, 0.02, momentum=0.9, nesterov=True, keep="last", views=(Camera(shown),))
    last = search(problem)
    *asked, final = literal_nesterov(problem, 8, 0.02, 0.9)
    assert all(same(a, b) for a, b in zip(shown, asked, strict=True)) and same(last, final)
    assert not same(asked[3], problem.x) and not same(asked[1], asked[2])


def literal_adaptive(
    problem: Problem, start: Tensor, steps: int, values: Sequence[float] = ()
) -> tuple[list[Tensor], Tensor, list[int]]:
    """The adaptive search of one picture as its docstring has it: points asked, result, and the steps that halved the size.

    `values` stand in place of the losses, the gradients stay.
    """
    eps, x = problem.threat.eps, problem.x
    slopes = [
        0.3 if t < 22 * steps else 1 if t < 41 * steps else 2 if t < 70 * steps else 4
        for t in range(0, 100 * steps, 100)
    ]
    marks, percent, gap = set(), 22, 22
    while percent < 100:
        marks.add(math.ceil(percent * steps / 100 - 1e-9))
        gap = max(gap - 3, 6)
        percent += gap
    at, memory, size, visited = start, torch.zeros_like(x), 2 * eps, []
    halvings: list[int] = []
    stage: list[tuple[float, Tensor, Tensor]] = []  # loss, point and gradient since the slope changed
    window, halved, loss_at_mark = 0, False, math.inf
    for step in range(steps):
        visited.append(at)
        gradient, loss = slow_gradient(problem, at, slopes[step])
        loss = values[step] if values else loss
        gradient = gradient / gradient.abs().mean()
        memory = 0.75 * memory + gradient
        if step and slopes[step] != slopes[step - 1]:
            stage, window, halved, loss_at_mark = [], 0, False, math.inf
        stage.append((loss, at, gradient))
        best_loss, best_at, best_gradient = min(stage, key=lambda seen: seen[0])
        if step in marks and window >= 5:
            recent = [seen[0] for seen in stage[-(window + 1) :]]
            falls = sum(later < earlier for earlier, later in itertools.pairwise(recent))
            halve = falls < 0.5 * window or (not halved and best_loss >= loss_at_mark)
            if halve:
                size, at, memory = size / 2, best_at, best_gradient
                halvings.append(step)
            halved, loss_at_mark, window = halve, best_loss, 0
        window += 1
        moved = at - (1 - step / steps) * size * memory.sign()
        at = (x + (moved - x).clamp(-eps, eps)).clamp(0, 1)
    visited.append(at)
    wrong = [float(bits(problem, point)[0]) for point in visited]
    return visited[:-1], visited[wrong.index(min(wrong))], halvings


def assert_adaptive_agrees(picture: int, steps: int, values: Sequence[float] = ()) -> list[int]:
    """The search and its transcription ask the same points and return the same; the steps that halved the size."""
    shown: list[Tensor] = []
    problem = problem_of(Linf(0.15), slice(picture, picture + 1))
    start = problem.threat.start(problem.x, problem.index, 0, 0)
    if values:
        problem.loss = MadeLoss(iter(values))
    result = AdaptiveSteps(steps, early_stop=False, views=(Camera(shown),))(problem)
    visited, best, halvings = literal_adaptive(problem, start, steps, values)
    for step, (ours, literal) in enumerate(zip(shown, visited, strict=True)):
        assert same(ours, literal), f"picture {picture}, {steps} steps, step {step}"
    assert same(result, best)
    return halvings


@dataclass(frozen=True)
class MadeLoss:
    """The slope of the inner product and values that were written down, so that no rounding decides whether a loss fell."""

    values: Iterator[float]

    def __call__(self, u: Tensor, target: Tensor, direction: int) -> Tensor:
        real = inner_product(u, target, direction)
        return real - real.detach() + next(self.values)


@pytest.mark.parametrize(("picture", "steps"), [(0, 5), (3, 10), (5, 17), (6, 30)])
def test_adaptive_agrees_with_a_literal_transcription(picture: int, steps: int) -> None:
    assert_adaptive_agrees(picture, steps)


@pytest.mark.parametrize(
    ("values", "steps", "halved"),
    [
        ((3, 2, 1, 0, -1), 5, []),
        ([-step for step in range(60)], 60, []),
        (list(range(30)), 30, [18, 27]),  # it never falls: halved whenever there were steps enough to tell
        (list(range(60)), 60, [35, 48, 53]),
        ([0] * 120, 120, [69, 96, 105, 112, 119]),
        # it falls in two of three steps and never below the best so far: halved where it was not halved at the last look
        ([-step % 3 for step in range(120)], 120, [105, 119]),
        ([-step % 3 - (step >= 100) for step in range(120)], 120, [112]),  # once it got below
    ],
)
def test_adaptive_agrees_with_a_literal_transcription_where_sizes_are_halved(
    values: Sequence[float], steps: int, halved: list[int]
) -> None:
    assert assert_adaptive_agrees(9, steps, values) == halved


def test_checkpoints_are_those_of_apgd() -> None:
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(10) == [3, 5, 6, 7, 8, 9] and checkpoints(5) == [2, 3, 4] and checkpoints(1) == []
    assert all(0 < mark < steps for steps in range(1, 200) for mark in checkpoints(steps))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"restarts": 0}, "restarts must be at least 1, got 0"),
        ({"restarts": 2, "random_start": False}, "all alike: got restarts 2 without random_start"),
    ],
)
@pytest.mark.parametrize("kind", [SignSteps, AdaptiveSteps])
def test_wrong_options_explain_themselves(kind: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        kind(**options)


def test_an_empty_batch_stays_empty() -> None:
    problem = problem_of(Linf(0.1), slice(0, 0))
    assert AdaptiveSteps(3)(problem).shape == SignSteps(3, random_start=True)(problem).shape == (0, 1, 16, 16)
    assert Attack().search == SignSteps()
