"""Attack of a search from outside: it sees nothing but answers, ids and perhaps distances; no model, no label, no gradient.

Papers: M. Andriushchenko, F. Croce, N. Flammarion, M. Hein, "Square Attack: a query-efficient black-box adversarial attack via
random search", ECCV 2020, for the search: vertical stripes of +-eps first, then squares of +-eps in random places, one sign a
channel, kept where they do no harm. X. Li et al., "QAIR: Practical Query-efficient Black-box Attacks for Image Retrieval",
CVPR 2021, for the idea to measure the overlap of the answers with the clean ones.

Deliberate differences:

* The score comes from answers. Those of a hash search are full of ties: the whole first page may lie at distance 0, and only a
  flipped bit moves anything. So an equal score is kept as well, which lets the picture drift until a bit flips, and the share
  of pixels of a square falls slowly, by a factor of ten over the run; Square Attack's falls early, to squares too small to flip
  a bit, and stopped after about 50 of 200 queries there.
* Which of the clean answers are gone says nothing any more once all are, and in a tight class, where hundreds of items share one
  code, that is soon and wins nothing. So the reference grows (`Nearness`): an item that came up among clean answers counts as
  near as well, one that came up among such items a little less, and a row is judged by all of its items. The weights of ranks are
  the discounts of nDCG. Distances are not needed for it.
* With distances, where that decides nothing (`ShortestPath`): how far the picture is from the clean one, by the triangle
  inequality over every item that two answers share. An item that stays in the list says it directly. For one that left, the
  last distance of the list is a bound, but one that falls again when the picture arrives at another class and would hold it in
  between.
* For an l2 threat a square gets twice the mean size of the ball's values, and the whole is brought back into the ball; Square
  Attack moves mass from one window to another.
* A candidate is put on the 8-bit grid before it is asked, because a search is given files. One that changes nothing is drawn
  again and at last not asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from hamguard.attacks.endpoint import Answers, Endpoint
from hamguard.attacks.threat import TINY, Threat
from hamguard.core.checks import check_range
from hamguard.core.errors import RequestError, RunError
from hamguard.core.seeds import numpy_generator
from hamguard.core.types import Floats
from hamguard.images.quantize import as_pixels

SHRINK = 0.1
"""Last share of pixels of a square over the first."""

DRAWS = 10
"""Squares drawn for one query until one changes the picture."""

FADE = 6
"""Power by which nearness fades from a row to its items; at 1 a class that the picture wanders through never gets new."""

EQUAL = 1e-9
"""Difference of scores that counts as none."""

L2_SIZE = 2.0
"""Size of an l2 square's values over the mean size of the ball's."""


@dataclass(frozen=True)
class QueryAttacked:
    """What came of the attack.

    Attributes:
        x_adv: attacked pictures as 8-bit files hold them, `(B, C, H, W)` in [0, 1].
        asked: pictures asked for each, the clean one included, `(B,)` int64.
        fitness: part of each picture's clean answers that are gone, weighted by rank, `(B,)`: 0 as clean, 1 all gone.
        snapshots: a number of queries to the best pictures by then, `(B, C, H, W)`.
    """

    x_adv: Tensor
    asked: Tensor
    fitness: Tensor
    snapshots: dict[int, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """The answers to one picture, without the places that are empty.

    Attributes:
        ids: nearest first.
        distances: in the same order; None where they are hidden or not to be used.
    """

    ids: list[int]
    distances: list[float] | None


class Nearness:
    """Ids alone: how near the clean answers each item is, by the answers that it was seen among.

    A clean answer has nearness 1. A row's nearness is the mean over its items, weighted by rank, where an item never seen has 0; an
    item has the greatest nearness, to the power of `FADE`, of any row that it was seen in. So an item that came up among the clean
    answers stays near after the last of them is gone, and what came up among such items is a little less near.
    """

    def __init__(self, clean: Row) -> None:
        self._weights = discounts(len(clean.ids))
        self._near = dict.fromkeys(clean.ids, 1.0)

    def score(self, row: Row) -> float:
        """The row's nearness with a minus, -1 to 0; a place without an answer has none."""
        near = [self._near.get(item, 0.0) for item in row.ids[: len(self._weights)]]
        return float(-(self._weights[: len(near)] @ np.array(near)))

    def learn(self, row: Row) -> None:
        """Note that the items were seen together."""
        near = (-self.score(row)) ** FADE
        for item in row.ids:
            self._near[item] = max(self._near.get(item, 0.0), near)


class ShortestPath:
    """With distances: the shortest way back to the clean picture, from answer to answer.

    By the triangle inequality a picture is at most as far from the clean one as any item's distance from both together, and
    the same holds for an item that was seen together with one whose distance is bounded. A row that shares no item with what
    was seen counts as farther than all before by its last distance, because what was seen is at least so far from it.
    """

    def __init__(self, clean: Row) -> None:
        self._far = dict(
            zip(clean.ids, _distances(clean), strict=True)
        )  # bounds of the distance from the clean picture
        self._farthest = 0.0

    def score(self, row: Row) -> float:
        """Length of the shortest way."""
        pairs = list(zip(row.ids, _distances(row), strict=True))
        ways = [self._far[item] + dist for item, dist in pairs if item in self._far]
        if ways:
            return min(ways)
        return self._farthest + pairs[-1][1] if pairs else math.inf

    def learn(self, row: Row) -> None:
        """Shorten the ways to the items of a row."""
        here = self.score(row)
        self._farthest = max(self._farthest, here)
        for item, dist in zip(row.ids, _distances(row), strict=True):
            self._far[item] = min(self._far.get(item, math.inf), here + dist)


class Knowledge:
    """What all answers so far have taught of one picture's neighborhood: nearness, and with distances the shortest path."""

    def __init__(self, clean: Row) -> None:
        self._near = Nearness(clean)
        self._path = None if clean.distances is None else ShortestPath(clean)

    def no_nearer(self, row: Row, other: Row) -> bool:
        """Whether a row is at least as far from the clean answers as another, by what is known now."""
        gain = self._near.score(row) - self._near.score(other)
        if abs(gain) > EQUAL or self._path is None:
            return gain >= -EQUAL
        return self._path.score(row) >= self._path.score(other)

    def learn(self, row: Row) -> None:
        """Take in a row that was asked and judged."""
        self._near.learn(row)
        if self._path is not None:
            self._path.learn(row)


@dataclass
class Hunt:
    """One picture under attack.

    Attributes:
        best: the best picture so far, `(C, H, W)` on the grid.
        row: its answers.
        known: what all answers so far have taught.
        random: its random numbers.
        clean: clean answers.
        asked: pictures asked.
    """

    best: Tensor
    row: Row
    known: Knowledge
    random: np.random.Generator
    clean: frozenset[int]
    asked: int = 1

    @property
    def open(self) -> bool:
        """Whether there is something to gain: clean answers, and not all places empty by now."""
        return bool(self.clean) and bool(self.row.ids)

    def offer(self, x_adv: Tensor, row: Row, first: bool) -> None:
        """Keep a candidate `(C, H, W)` unless its answers are nearer to the clean ones; the first is kept always."""
        self.asked += 1
        keep = first or self.known.no_nearer(row, self.row)
        self.known.learn(row)
        if keep:
            self.best, self.row = x_adv, row

    @property
    def gone(self) -> float:
        """Part of the places of the clean answers that hold another item or none by now, weighted by rank; 0 without any."""
        weights = discounts(len(self.clean))
        changed = [item not in self.clean for item in self.row.ids[: len(weights)]]
        changed += [True] * (len(weights) - len(changed))
        return float(weights @ np.array(changed, dtype=np.float64))


@dataclass(frozen=True)
class QueryOnly:
    """Random squares, judged by the search's answers alone.

    Attributes:
        queries: pictures asked for each attacked picture at most, the clean one included.
        k: answers looked at.
        distances: use distances where the search gives them.
        square: share of the pixels of the first square, in (0, 1]; the last one has a tenth of it.
    """

    queries: int = 500
    k: int = 100
    distances: bool = True
    square: float = 0.2

    def __post_init__(self) -> None:
        check_range("queries", self.queries, 1)
        check_range("k", self.k, 1)
        if not 0 < self.square <= 1:
            raise RequestError(f"square must be in (0, 1], got {self.square:g}")

    def __call__(
        self,
        x: Tensor,
        endpoint: Endpoint,
        threat: Threat,
        *,
        index: Sequence[int],
        seed: int,
        marks: Sequence[int] = (),
        watch: Callable[[int], None] | None = None,
    ) -> QueryAttacked:
        """Attack a batch.

        Args:
            x: clean pictures, `(B, C, H, W)` in [0, 1] with one or three channels.
            endpoint: the search.
            threat: the allowed set.
            index: number of each picture in the whole run, so that batches may be cut anywhere.
            seed: seed of the attack.
            marks: numbers of queries after which the best pictures are kept, 1 to `queries`.
            watch: told after each question how many were asked of a picture.

        Raises:
            RequestError: pictures outside [0, 1] or of another shape, numbers that are not one a picture, or a mark out of range.
            RunError: the search failed, its answers have the wrong form, or it stopped giving distances.
        """
        self._check(x, index, marks)
        clean = threat.on_grid(x, x)
        hunts = self._begin(clean, endpoint, index, seed)
        snapshots = {}
        for step in range(1, self.queries + 1):  # `step` pictures are asked, the clean one is the first
            if step > 1:
                self._step(step, hunts, x, endpoint, threat)
            if step in marks:
                snapshots[step] = torch.stack([hunt.best for hunt in hunts])
            if watch is not None:
                watch(step)
        return QueryAttacked(
            torch.stack([hunt.best for hunt in hunts]),
            torch.tensor([hunt.asked for hunt in hunts]),
            torch.tensor([hunt.gone for hunt in hunts]),
            snapshots,
        )

    def _begin(self, clean: Tensor, endpoint: Endpoint, index: Sequence[int], seed: int) -> list[Hunt]:
        """Ask the clean pictures."""
        answers = endpoint(as_pixels(clean), self.k)
        return [
            Hunt(x, row, Knowledge(row), numpy_generator(seed, "query only", int(i)), frozenset(row.ids))
            for x, row, i in zip(clean, self._rows(answers), index, strict=True)
        ]

    def _step(self, step: int, hunts: list[Hunt], x: Tensor, endpoint: Endpoint, threat: Threat) -> None:
        """Ask one candidate of each picture that is open."""
        share = self.square * SHRINK ** (step / self.queries)
        moves = []
        for hunt, own in zip(hunts, x, strict=True):
            if hunt.open:
                x_adv = stripes(hunt, own, threat) if step == 2 else squares(hunt, own, threat, share)
                if not torch.equal(x_adv, hunt.best):
                    moves.append((hunt, x_adv))
        if not moves:
            return
        rows = self._rows(endpoint(as_pixels(torch.stack([x_adv for _, x_adv in moves])), self.k))
        for (hunt, x_adv), row in zip(moves, rows, strict=True):
            if hunt.row.distances is not None and row.distances is None:
                raise RunError("the search gave distances at first and gives none any more; attack it by ids alone")
            hunt.offer(x_adv, row, step == 2)

    def _rows(self, answers: Answers) -> list[Row]:
        """The answers picture by picture."""
        far = answers.distances if self.distances else None
        there = answers.ids >= 0
        return [
            Row(ids[kept].tolist(), None if far is None else far[i][kept].tolist())
            for i, (ids, kept) in enumerate(zip(answers.ids, there, strict=True))
        ]

    def _check(self, x: Tensor, index: Sequence[int], marks: Sequence[int]) -> None:
        if x.ndim != 4 or len(x) == 0 or x.shape[1] not in (1, 3) or not bool(((x >= 0) & (x <= 1)).all()):
            raise RequestError(
                f"pictures to attack must be (B, C, H, W) in [0, 1], at least one, C 1 or 3, got {tuple(x.shape)}"
            )
        if len(index) != len(x):
            raise RequestError(f"index must have one number for each of {len(x)} pictures, got {len(index)}")
        for mark in marks:
            check_range("mark", mark, 1, self.queries)


def stripes(hunt: Hunt, x: Tensor, threat: Threat) -> Tensor:
    """The start: each column of each channel moves up or down by its own coin, `(C, H, W)`."""
    coins = _coins(hunt.random, (x.shape[0], 1, x.shape[2])).to(x)
    return _allowed(x + coins * _mean_size(x, threat), x, threat)


def squares(hunt: Hunt, x: Tensor, threat: Threat, share: float) -> Tensor:
    """The best picture with a fresh square of about `share` of its pixels, `(C, H, W)`; itself where none changes it."""
    channels, height, width = x.shape
    side = min(max(round(math.sqrt(share * height * width)), 1), height, width)
    size = _mean_size(x, threat) * (1.0 if threat.norm == "linf" else L2_SIZE)
    for _ in range(DRAWS):
        top, left = (int(hunt.random.integers(room - side + 1)) for room in (height, width))
        window = (slice(None), slice(top, top + side), slice(left, left + side))
        x_adv = hunt.best.clone()
        x_adv[window] = x[window] + size * _coins(hunt.random, (channels, 1, 1)).to(x)
        x_adv = _allowed(x_adv, x, threat)
        if not torch.equal(x_adv, hunt.best):
            return x_adv
    return hunt.best


def discounts(places: int) -> Floats:
    """Weights of ranks, `1 / log2(1 + rank)` from rank 1, of sum 1, `(places,)`."""
    weights = 1 / np.log2(2 + np.arange(places))
    return np.asarray(weights / weights.sum())


def _coins(random: np.random.Generator, shape: tuple[int, ...]) -> Tensor:
    """Fair signs."""
    return torch.from_numpy(2.0 * random.integers(2, size=shape) - 1)


def _mean_size(x: Tensor, threat: Threat) -> float:
    """Size of each value of a perturbation that uses the whole ball evenly."""
    values = max(x.numel(), TINY)
    return {"linf": threat.eps, "l2": threat.eps / math.sqrt(values), "l1": threat.eps / values}[threat.norm]


def _allowed(x_adv: Tensor, x: Tensor, threat: Threat) -> Tensor:
    """The nearest picture of the threat, on the grid."""
    return threat.on_grid(threat.project(x_adv[None], x[None]), x[None])[0]


def _distances(row: Row) -> list[float]:
    """The distances of a row that has them."""
    if row.distances is None:
        raise RequestError("the shortest path needs distances, the answers have none")
    return row.distances
