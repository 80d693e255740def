"""The query-only stage: an attacker who sees nothing but what the search answers, and how MAP falls with what is asked."""

from __future__ import annotations

import importlib
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from hamguard.attacks.endpoint import Answers, Endpoint
from hamguard.attacks.query_only import QueryOnly
from hamguard.core.digests import digest_array
from hamguard.core.errors import RequestError, RunError, StoppedError
from hamguard.core.types import Array, Bytes, Floats, Ints
from hamguard.data.dataset import ImageStore
from hamguard.evaluation.attack.run import keep_batch, kept_batch, within
from hamguard.evaluation.audit.bench import Bench
from hamguard.evaluation.audit.plan import QUERIES
from hamguard.evaluation.audit.worst import Worst
from hamguard.evaluation.ground import Ground
from hamguard.images.quantize import as_pixels
from hamguard.retrieval.engines import build_index
from hamguard.retrieval.index import Index
from hamguard.training.encode import packed_codes

PAGE = 100
"""Answers that the attacker looks at."""

MARKS = (10, 30, 100, 300, 1000, 3000, 10_000)
"""Numbers of asked pictures at which the curve is drawn, and the last."""


BATCH = ("pixels", "asked", "snapshots", "seconds", "told")
"""What is kept of a batch."""


@dataclass(frozen=True)
class AnswerCurve:
    """MAP of the sample against pictures asked.

    Attributes:
        asked: how many for each query, `(M,)`; 0 first.
        ap: average precision of each query by then, `(M, n)`.
        distances: whether distances were seen.
    """

    asked: Ints
    ap: Floats
    distances: bool


class OwnSearch:
    """The model's own Hamming search over the database, as an outsider meets it; where it is in an index, that index answers.

    Args:
        ground: model and codes.
        distances: tell distances, or hide them.
    """

    def __init__(self, ground: Ground, distances: bool) -> None:
        self.ground, self.told = ground, distances
        self.index: Index = ground.indexed.index if ground.indexed else build_index(ground.database)
        self._numbers = {name: number for number, name in enumerate(map(str, ground.database.ids.tolist()))}

    def __call__(self, pixels: Bytes, k: int) -> Answers:
        """The k nearest items of each picture; -1 where the database has fewer."""
        packed = packed_codes(self.ground.model, ImageStore(pixels), np.arange(len(pixels)), device=self.ground.device)
        found = self.index.search(packed, min(k, len(self.index)))
        return padded(self._places(found.ids), found.distances if self.told else None, k)

    def _places(self, ids: Array) -> Ints:
        """Database positions of ids, `(B, k)`.

        Raises:
            RequestError: an item was added to the index meanwhile.
        """
        try:
            return np.array([[self._numbers[name] for name in row] for row in ids.tolist()], np.int64)
        except KeyError as error:
            raise RequestError(f"{error} was added to the index during the audit; begin again") from error


class ForeignSearch:
    """A search that a person gives as `package.module:factory`; the factory returns what answers `(pixels, k)`.

    Its answer is ids `(B, k)`, or ids and distances; ids may be strings. What it raises is left to the endpoint.

    Args:
        text: the place.
        distances: use distances where it gives them.

    Raises:
        RequestError: no such module or factory, or what it returns cannot be called.
    """

    def __init__(self, text: str, distances: bool) -> None:
        place, _, attribute = text.partition(":")
        try:
            factory = getattr(importlib.import_module(place), attribute)
        except (ImportError, AttributeError, ValueError) as error:
            raise RequestError(f"`endpoint` must be package.module:factory, got {text!r}: {error}") from error
        self.ask: Any = factory()
        if not callable(self.ask):
            raise RequestError(f"{text} must return a function of (pixels, k), got {type(self.ask).__name__}")
        self.distances = distances
        self.told = False  # distances, so far
        self._numbers: dict[str, int] = {}

    def __call__(self, pixels: Bytes, k: int) -> Answers:
        """What the search answers, ids as numbers."""
        found = self.ask(pixels, k)
        ids, distances = found if isinstance(found, tuple) else (found, None)
        array: Array = np.asarray(ids)
        if array.dtype.kind not in "iu":
            numbered = [self._numbers.setdefault(str(one), len(self._numbers)) for one in array.reshape(-1)]
            array = np.array(numbered, dtype=np.int64).reshape(array.shape)
        far = None if distances is None or not self.distances else np.asarray(distances)
        self.told = far is not None
        return padded(array, far, k) if array.ndim == 2 else Answers(array, far)


def padded(ids: Ints, distances: Any, k: int) -> Answers:
    """Answers with k places a picture, -1 behind the last."""
    short = k - ids.shape[1]
    if short <= 0:
        return Answers(ids, distances)
    wide = ((0, 0), (0, short))
    return Answers(
        np.pad(ids, wide, constant_values=-1), None if distances is None else np.pad(distances, wide, mode="edge")
    )


def search_of(ground: Ground, endpoint: str = "", *, distances: bool = True) -> Endpoint:
    """The search that is asked: the person's, or the model's own.

    Raises:
        RequestError: there is no such search.
    """
    return Endpoint(ForeignSearch(endpoint, distances) if endpoint else OwnSearch(ground, distances))


def answer_stage(bench: Bench, worst: Worst, search: Endpoint, *, distances: bool = True) -> AnswerCurve:
    """Attack the queries that still hold, and the sample of the checks, by answers alone.

    Raises:
        RunError: the search failed for good; what was finished stays.
    """
    asked = bench.budget.queries or QUERIES
    numbers = np.union1d(worst.open, bench.sample())
    marks = [mark for mark in MARKS if mark < asked] + [asked]
    attack = QueryOnly(queries=asked, k=PAGE, distances=distances)
    with bench.stage(f"query-only, {asked} pictures asked for each"):
        made = _run(bench, attack, search, numbers, marks)
    ap = bench.ap(made["pixels"], numbers)
    worst.offer(numbers, made["pixels"], ap)
    worst.note(
        "query-only", "answers", numbers, ap, (made["asked"], np.zeros_like(numbers), float(made["seconds"].sum()))
    )
    first = np.searchsorted(numbers, bench.sample())
    curve = [worst.clean[bench.sample()]]
    curve += [bench.ap(made["snapshots"][first, i], bench.sample()) for i in range(len(marks))]
    return AnswerCurve(np.array([0, *marks]), np.stack(curve), bool(made["told"].all()))


def _run(bench: Bench, attack: QueryOnly, search: Endpoint, numbers: Ints, marks: list[int]) -> dict[str, Array]:
    """Pictures after all queries, `(n, ...)`, and at each mark, `(n, M, ...)`, in batches that are kept."""
    ground, size = bench.ground, bench.ground.batch_size
    folder = bench.work / f"answers-{digest_array(numbers)[:12]}"
    parts: list[dict[str, Array]] = []
    for start in range(0, len(numbers), size):
        part = numbers[start : start + size]
        path = folder / f"{start:07d}.npz"
        found = kept_batch(path, BATCH, len(part))
        if found is None:
            begun = time.perf_counter()
            x = ground.dataset.images.batch(ground.rows[part]).to(ground.device)  # (b, C, H, W)
            try:
                got = attack(
                    x, search, bench.threat, index=part.tolist(), seed=ground.seed, marks=marks,
                    watch=within(
                        bench.progress, slice(start, start + len(part)), len(numbers), attack.queries, "queries, picture"
                    ),
                )  # fmt: skip
            except RunError as error:
                raise RunError(
                    f"{error}; {start:,} of {len(numbers):,} queries are finished and kept, the same command goes on from there"
                ) from error
            except KeyboardInterrupt as stopped:
                raise StoppedError(
                    f"stopped: {start:,} of {len(numbers):,} queries are attacked; the same command goes on from there"
                ) from stopped
            found = {
                "pixels": as_pixels(got.x_adv),
                "asked": got.asked.numpy(),
                "snapshots": np.stack([as_pixels(got.snapshots[mark]) for mark in marks], axis=1),
                "seconds": np.array(time.perf_counter() - begun),
                "told": np.array(search.ask.told),  # type: ignore[attr-defined]
            }
            keep_batch(path, found)
        parts.append(found)
        bench.progress((start + len(part)) / len(numbers), f"{start + len(part):,} of {len(numbers):,} queries")
    return {name: np.concatenate([np.atleast_1d(part[name]) for part in parts]) for name in parts[0]}
