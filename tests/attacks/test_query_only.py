"""An attack that sees answers alone, against a small Hamming search; and the endpoint that it asks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hamguard.attacks.endpoint import Answers, Endpoint
from hamguard.attacks.query_only import (
    FADE,
    Knowledge,
    Nearness,
    QueryAttacked,
    QueryOnly,
    Row,
    ShortestPath,
    discounts,
)
from hamguard.attacks.threat import L2, Linf, Threat
from hamguard.codes.binary import hamming, pack
from hamguard.codes.labeled import Codes
from hamguard.core.errors import RequestError, RunError, StoppedError
from hamguard.core.seeds import numpy_generator
from hamguard.core.types import Array, Bytes
from hamguard.images.quantize import as_pixels
from hamguard.retrieval.metrics import average_precision

SIDE, BITS, CLASSES, K = 10, 16, 4, 20
BALL = Linf(16 / 255)


@dataclass
class Search:
    """A Hamming search over a linear hash model; equal distances in database order."""

    weight: Array
    packed: Bytes
    shows: bool = True
    calls: list[int] = field(default_factory=list)

    def code(self, pixels: Bytes) -> Bytes:
        z = (pixels.reshape(len(pixels), -1) / 255 - 0.5) @ self.weight
        return pack(np.where(z < 0, -1, 1))

    def __call__(self, pixels: Bytes, k: int) -> Answers:
        assert pixels.dtype == np.uint8
        self.calls.append(len(pixels))
        dist = hamming(self.code(pixels), self.packed)
        ids = np.argsort(dist, axis=1, kind="stable")[:, :k]
        return Answers(ids, np.take_along_axis(dist, ids, 1) if self.shows else None)


@functools.cache
def world(n: int = 240, channels: int = 1) -> tuple[Tensor, Bytes, Array]:
    """Pictures of four classes `(n, C, H, W)`, their labels, and the weights of a linear model."""
    random = numpy_generator(0, "world", channels)
    centers = random.uniform(0.35, 0.65, size=(CLASSES, channels, SIDE, SIDE))
    number = np.arange(n) % CLASSES
    pixels = np.clip(centers[number] + random.normal(0, 0.02, size=(n, channels, SIDE, SIDE)), 0, 1)
    x = torch.from_numpy((pixels * 255).round() / 255).float()
    return x, np.eye(CLASSES, dtype=np.uint8)[number], random.normal(size=(channels * SIDE**2, BITS))


def search(shows: bool = True, channels: int = 1) -> Search:
    x, _, weight = world(channels=channels)
    made = Search(weight, np.empty((0, 2), dtype=np.uint8), shows)
    made.packed = made.code(as_pixels(x[40:]))
    return made


def run(
    ask: Callable[..., Answers], threat: Threat = BALL, rows: Sequence[int] = range(12), queries: int = 60, **more: Any
) -> QueryAttacked:
    x, seed, marks = world()[0][list(rows)], more.pop("seed", 0), more.pop("marks", ())
    endpoint = ask if isinstance(ask, Endpoint) else Endpoint(ask)
    return QueryOnly(queries, k=K, **more)(x, endpoint, threat, index=rows, seed=seed, marks=marks)


def precision(x_adv: Tensor) -> float:
    """Mean average precision of the first pictures of the world."""
    made, labels = search(), world()[1]
    query = Codes(made.code(as_pixels(x_adv)), BITS, labels[: len(x_adv)])
    return float(average_precision(query, Codes(made.packed, BITS, labels[40:])).mean())


@pytest.mark.parametrize("shows", [True, False])
@pytest.mark.parametrize("threat", [BALL, L2(0.4)])
def test_it_hurts_more_than_noise_of_the_same_ball(shows: bool, threat: Threat) -> None:
    x = world()[0][:32]
    noise = precision(threat.on_grid(threat.start(x, range(32), 0), x))
    found = run(search(shows), threat, range(32), queries=150)
    clean, attacked = precision(x), precision(found.x_adv)
    assert clean > 0.9 and noise > 0.8
    assert attacked < noise - 0.3
    assert 0.2 < float(found.fitness.mean()) <= 1


def test_distances_and_colors_are_used() -> None:
    made = search()
    hidden = run(search(shows=False)).x_adv
    assert torch.equal(run(made, distances=False).x_adv, hidden)
    assert not torch.equal(run(made).x_adv, hidden)
    x = world(channels=3)[0][:2]
    seen = search(channels=3)
    found = QueryOnly(20, k=K)(x, Endpoint(seen), BALL, index=[0, 1], seed=0)
    assert found.x_adv.shape == x.shape and as_pixels(x).shape == (2, SIDE, SIDE, 3)
    assert not torch.equal(found.x_adv, x)


@settings(max_examples=15, deadline=None)
@given(eps=st.floats(0.3 / 255, 0.6), norm=st.sampled_from(["linf", "l2"]), shows=st.booleans())
def test_pictures_stay_in_the_ball_on_the_grid(eps: float, norm: str, shows: bool) -> None:
    threat = Threat(norm, eps)  # type: ignore[arg-type]
    x = world()[0][:4]
    found = run(search(shows), threat, range(4), queries=8, marks=[3])
    for x_adv in (found.x_adv, found.snapshots[3]):
        assert float(threat.length(x_adv - x).max()) <= eps + 1e-6
        assert torch.allclose(x_adv * 255, (x_adv * 255).round(), atol=1e-3)
        assert float(x_adv.min()) >= 0 and float(x_adv.max()) <= 1


def test_every_picture_asked_is_in_the_ball() -> None:
    x = as_pixels(world()[0][:12]).astype(int)
    made = search()

    def ask(pixels: Bytes, k: int) -> Answers:
        assert np.abs(pixels.astype(int) - x).max() <= 16
        return made(pixels, k)

    run(ask, queries=10)


def test_queries_are_counted() -> None:
    made = search()
    endpoint = Endpoint(made)
    found = run(endpoint, queries=25)
    assert found.asked.tolist() == [25] * 12
    assert endpoint.asked == sum(made.calls) == 300 and endpoint.failures == 0
    assert run(search(), queries=1).x_adv.equal(world()[0][:12])
    still = run(search(), Linf(0.2 / 255), queries=9)  # no file but the clean one lies in the ball
    assert still.asked.tolist() == [1] * 12 and float(still.fitness.max()) == 0


@pytest.mark.parametrize("shows", [True, False])
def test_results_repeat_and_do_not_depend_on_batches(shows: bool) -> None:
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    whole = run(search(shows), queries=40)
    assert torch.equal(whole.x_adv, run(search(shows), queries=40).x_adv)
    assert not torch.equal(whole.x_adv, run(search(shows), queries=40, seed=1).x_adv)
    parts = [run(search(shows), rows=rows, queries=40) for rows in (range(5), range(5, 6), range(6, 12))]
    assert torch.equal(whole.x_adv, torch.cat([part.x_adv for part in parts]))
    assert torch.equal(whole.fitness, torch.cat([part.fitness for part in parts]))
    assert torch.equal(state, torch.random.get_rng_state())


def gone(x_adv: Tensor) -> Array:
    """Weighted part of the clean answers that is gone, written out, `(B,)`."""
    made, found = search(), []
    clean = made(as_pixels(world()[0][: len(x_adv)]), K).ids
    for now, then in zip(made(as_pixels(x_adv), K).ids, clean, strict=True):
        weights = [1 / np.log2(2 + rank) for rank in range(K)]
        found.append(sum(w for w, item in zip(weights, now, strict=True) if item not in then) / sum(weights))
    return np.array(found)


def test_snapshots_show_the_way() -> None:
    marks = [1, 2, 5, 10, 20, 40]
    found = run(search(shows=False), queries=40, marks=marks)
    assert sorted(found.snapshots) == marks
    way = np.stack([gone(found.snapshots[mark]) for mark in marks])  # (6, B)
    assert bool((np.diff(way.mean(1)) >= 0).all())
    assert torch.equal(found.snapshots[1], world()[0][:12]) and way[0].max() == 0
    assert torch.equal(found.snapshots[40], found.x_adv)
    assert np.allclose(found.fitness.numpy(), way[-1]) and way[-1].mean() > way[1].mean() + 0.1
    shorter = QueryOnly(40, k=K)(world()[0][:12], Endpoint(search(False)), BALL, index=range(12), seed=0)
    assert torch.equal(shorter.x_adv, found.x_adv)  # looking changes nothing


def test_the_search_against_a_literal_one() -> None:
    """One picture, ids alone."""
    made, queries, eps = search(shows=False), 40, 4
    random, w = numpy_generator(5, "query only", 7), discounts(K)
    clean = as_pixels(world()[0][7:8]).astype(int)
    best, best_ids = clean.copy(), made(clean.astype(np.uint8), K).ids[0]
    near = dict.fromkeys(best_ids.tolist(), 1.0)
    refused = 0
    for step in range(2, queries + 1):
        if step == 2:
            x_adv = clean + eps * (2 * random.integers(2, size=(1, 1, SIDE)) - 1)
        else:
            side = round(np.sqrt(0.5 * 0.1 ** (step / queries) * SIDE * SIDE))
            while True:
                r, c = int(random.integers(SIDE - side + 1)), int(random.integers(SIDE - side + 1))
                sign = 2 * int(random.integers(2, size=(1, 1, 1))[0, 0, 0]) - 1
                x_adv = best.copy()
                x_adv[0, r : r + side, c : c + side] = clean[0, r : r + side, c : c + side] + eps * sign
                if (x_adv != best).any():
                    break
        ids = made(x_adv.astype(np.uint8), K).ids[0]
        now, before = (sum(w[i] * near.get(int(one), 0) for i, one in enumerate(row)) for row in (ids, best_ids))
        if step == 2 or now <= before + 1e-9:
            best, best_ids = x_adv, ids
        else:
            refused += 1
        for one in ids.tolist():
            near[one] = max(near.get(one, 0), now**FADE)
    found = run(made, Linf(eps / 255), [7], queries, seed=5, square=0.5)
    assert 5 < refused < 35 and np.array_equal(as_pixels(found.x_adv), best)


def test_nearness_by_hand() -> None:
    w = discounts(3)
    assert w == pytest.approx(np.array([1, 1 / np.log2(3), 0.5]) / (1.5 + 1 / np.log2(3)))
    known = Nearness(Row([1, 2, 3], None))
    assert known.score(Row([3, 1, 2], None)) == pytest.approx(-1)
    assert known.score(Row([1, 7, 2], None)) == pytest.approx(w[1] - 1)
    assert known.score(Row([1], None)) == pytest.approx(-w[0]) and known.score(Row([], None)) == 0
    known.learn(Row([1, 7, 2], None))
    near = (1 - w[1]) ** FADE  # of item 7, which came up among the clean ones
    assert known.score(Row([7, 8, 9], None)) == pytest.approx(-w[0] * near)
    known.learn(Row([8, 7, 9], None))
    assert known.score(Row([5, 6, 9], None)) == pytest.approx(-w[2] * (w[1] * near) ** FADE)
    assert known.score(Row([5, 7, 6], None)) == pytest.approx(-w[1] * near)  # the nearest row decides
    assert known.score(Row([1, 2, 3], None)) == pytest.approx(-1)


def test_distances_decide_where_nearness_does_not() -> None:
    clean = Row([1, 2, 3], [0.0, 0.0, 0.0])
    known, same, farther = Knowledge(clean), Row([1, 2, 3], [1.0, 1.0, 1.0]), Row([1, 2, 3], [2.0, 2.0, 2.0])
    assert known.no_nearer(farther, same) and known.no_nearer(same, same) and not known.no_nearer(same, farther)
    assert known.no_nearer(Row([1, 7, 2], [0.0, 0.0, 0.0]), farther)  # nearness comes first
    assert not known.no_nearer(farther, Row([1, 7, 2], [0.0, 0.0, 0.0]))
    hidden = Knowledge(Row(clean.ids, None))
    assert hidden.no_nearer(Row([1, 2, 3], None), Row([1, 2, 3], None))
    assert not hidden.no_nearer(Row([1, 2, 3], None), Row([1, 2, 9], None))


def test_the_shortest_path_bounds_the_true_distance() -> None:
    known = ShortestPath(Row([1, 2], [0.0, 1.0]))
    assert known.score(Row([2, 5], [3.0, 4.0])) == 4
    known.learn(Row([2, 5], [3.0, 4.0]))
    assert known.score(Row([5, 6], [1.0, 2.0])) == 9  # over item 5, which is at most 4 + 4 away
    known.learn(Row([5, 6], [1.0, 2.0]))
    assert known.score(Row([8, 9], [0.0, 6.0])) == 15 and known.score(Row([], [])) == np.inf
    known.learn(Row([1, 5], [2.0, 2.0]))  # a shorter way to item 5
    assert known.score(Row([5, 6], [1.0, 2.0])) == 5
    made, random = search(), numpy_generator(1, "walk")
    at = as_pixels(world()[0][:1])
    start, answers = made.code(at), made(at, K)
    assert answers.distances is not None
    path = ShortestPath(Row(answers.ids[0].tolist(), answers.distances[0].tolist()))
    seen = set(answers.ids[0].tolist())
    for _ in range(60):
        at = np.clip(at + random.integers(-12, 13, size=at.shape), 0, 255).astype(np.uint8)
        answers = made(at, K)
        assert answers.distances is not None
        row = Row(answers.ids[0].tolist(), answers.distances[0].tolist())
        assert seen & set(row.ids)
        assert path.score(row) >= int(hamming(start, made.code(at))[0, 0])
        path.learn(row)
        seen |= set(row.ids)
    with pytest.raises(RequestError, match="needs distances"):
        path.score(Row([1], None))


@pytest.mark.parametrize("shows", [True, False])
def test_a_search_that_fails_twice_is_asked_again(shows: bool) -> None:
    made, waited = search(shows), []
    turns = iter(range(1000))

    def ask(pixels: Bytes, k: int) -> Answers:
        if next(turns) in (4, 5):
            raise ConnectionError("busy")
        return made(pixels, k)

    endpoint = Endpoint(ask, sleep=waited.append)
    assert torch.equal(run(endpoint, queries=12).x_adv, run(search(shows), queries=12).x_adv)
    assert waited == [0.5, 1.0] and endpoint.failures == 2 and endpoint.asked == 144


def test_a_search_that_fails_for_good_ends_the_attack() -> None:
    made, waited = search(), []

    def ask(pixels: Bytes, k: int) -> Answers:
        if len(made.calls) == 3:
            raise OSError("no route\n to host")
        return made(pixels, k)

    endpoint = Endpoint(ask, tries=4, pause=0.1, sleep=waited.append)
    with pytest.raises(RunError, match="failed 4 times in a row, at last with: no route to host; 36 pictures had been"):
        run(endpoint)
    assert waited == pytest.approx([0.1, 0.2, 0.4]) and endpoint.failures == 4
    for stop in (KeyboardInterrupt(), StoppedError("stopped")):
        calls = []

        def stopped(pixels: Bytes, k: int, stop: BaseException = stop, calls: list[int] = calls) -> Answers:
            calls.append(k)
            raise stop

        with pytest.raises(type(stop)):
            run(stopped)
        assert len(calls) == 1
    with pytest.raises(RunError, match="failed once, at last with: ValueError; 0 pictures"):
        Endpoint(lambda pixels, k: (_ for _ in ()).throw(ValueError), tries=1)(np.zeros((1, 2, 2), np.uint8), 1)


GOOD = np.array([[0, 1], [2, -1]])
WRONG = [
    (GOOD, r"must return Answers, got ndarray"),
    (Answers(GOOD[:1]), r"ids of the search's answers must have shape \(2, 2\), got \(1, 2\)"),
    (Answers(GOOD.astype(float)), "ids of the search's answers must be integers, got float64"),
    (Answers(GOOD, GOOD[:, :1]), r"distances of the search's answers must have shape \(2, 2\), got \(2, 1\)"),
    (Answers(GOOD, GOOD.astype(str)), "distances of the search's answers must be numbers"),
    (Answers(GOOD, np.array([[0, np.nan], [0, 0]])), "must be finite, got NaN"),
    (Answers(GOOD, np.array([[-1, 2], [0, 0]])), "must be at least 0, got -1"),
    (Answers(GOOD, np.array([[0.9, 0.8], [0.9, 0]])), "nearest first, got distance 0.9 first and 0.8 last"),
]


@pytest.mark.parametrize(("found", "words"), WRONG)
def test_malformed_answers_are_refused_at_once(found: Any, words: str) -> None:
    calls: list[int] = []
    endpoint = Endpoint(lambda pixels, k: (calls.append(k), found)[1])
    with pytest.raises(RunError, match=words):
        endpoint(np.zeros((2, 3, 3), np.uint8), 2)
    assert calls == [2] and endpoint.asked == 0


def test_good_answers_pass() -> None:
    far = np.array([[0, 1], [2, np.nan]], dtype=np.float32)  # what stands beside -1 does not matter
    found = Endpoint(lambda pixels, k: Answers(GOOD.astype(np.int32), far))(np.zeros((2, 3, 3), np.uint8), 2)
    assert found.ids.dtype == np.int64 and found.distances is not None and found.distances.dtype == np.float64


def test_searches_with_few_answers() -> None:
    made = search()

    def within(pixels: Bytes, k: int) -> Answers:  # a radius, so that answers run out
        found = made(pixels, k)
        assert found.distances is not None
        return Answers(np.where(found.distances <= 1, found.ids, -1), found.distances)

    found = run(within, queries=60)
    assert float(found.fitness.max()) == pytest.approx(1) and int(found.asked.min()) < 60  # nothing is left to lose
    nothing = run(lambda pixels, k: Answers(np.full((len(pixels), k), -1)), queries=5)
    assert nothing.asked.tolist() == [1] * 12 and nothing.fitness.tolist() == [0] * 12


def test_wrong_requests_explain_themselves() -> None:
    x, endpoint = world()[0][:2], Endpoint(search())
    with pytest.raises(RequestError, match=r"in \[0, 1\]"):
        QueryOnly(5)(x * 255, endpoint, BALL, index=[0, 1], seed=0)
    with pytest.raises(RequestError, match=r"C 1 or 3, got \(2, 2, 10, 10\)"):
        QueryOnly(5)(x.expand(-1, 2, -1, -1), endpoint, BALL, index=[0, 1], seed=0)
    with pytest.raises(RequestError, match="one number for each of 2 pictures, got 1"):
        QueryOnly(5)(x, endpoint, BALL, index=[0], seed=0)
    with pytest.raises(RequestError, match="mark must be between 1 and 5, got 6"):
        QueryOnly(5)(x, endpoint, BALL, index=[0, 1], seed=0, marks=[6])
    with pytest.raises(RequestError, match=r"square must be in \(0, 1\], got 0"):
        QueryOnly(square=0.0)
    with pytest.raises(RequestError, match="queries must be at least 1, got 0"):
        QueryOnly(0)
    with pytest.raises(RequestError, match="tries must be at least 1, got 0"):
        Endpoint(search(), tries=0)
    made = search()

    def forgetful(pixels: Bytes, k: int) -> Answers:
        made.shows = len(made.calls) < 3
        return made(pixels, k)

    with pytest.raises(RunError, match="gave distances at first and gives none any more"):
        run(forgetful, queries=9)
