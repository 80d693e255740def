"""An engine held against brute force: every question at every level of collapse, as rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from hamguard.core.errors import HamguardError, RequestError
from hamguard.core.rows import Row
from hamguard.core.types import Array, Ints
from hamguard.evaluation.search.engine_checks import FAR, QUESTIONS, REMEDY, Question, draw, draw_queries
from hamguard.retrieval.forms.registry import EngineForm, MakeForm, is_exact, version_of

PROTOCOL = "engine-check"
RIGHT, MISSES, WRONG, REFUSED, FAILED, ABSENT = "right", "misses", "wrong", "refused", "failed", "not offered"
"""What came out of a question: an engine that is not exact may miss, refuse what is an edge, and not offer all."""


class Missed(NamedTuple):
    """What is to be said of answers.

    Attributes:
        places: answers that there should be.
        missed: places where a nearer item, or any, is missing.
        false: answers that are not true: another distance than the item's, an item twice, one that may not be there, a wrong order.
    """

    places: int
    missed: int
    false: int


NOTHING = Missed(0, 0, 0)


def judge(distances: Ints, numbers: Ints, right: Ints) -> Missed:
    """Hold answers against the distances of all items.

    Args:
        distances: what the engine said, `(Q, k)`.
        numbers: of which items, `(Q, k)`; -1 where it found none.
        right: distances of all items, `(Q, N)`, `FAR` for those that may not be among the answers.
    """
    k, count = distances.shape[1], right.shape[1]
    wanted = np.pad(np.sort(right, axis=1), ((0, 0), (0, max(0, k - count))), constant_values=FAR)[:, :k]
    there, known = numbers >= 0, (numbers >= 0) & (numbers < count)
    told = np.full(numbers.shape, FAR)
    if count:
        told = np.where(known, np.take_along_axis(right, np.where(known, numbers, 0), axis=1), FAR)
    false = there & ((told != distances) | (told >= FAR))
    false[:, 1:] |= there[:, 1:] & (distances[:, 1:] < distances[:, :-1])
    order = np.argsort(numbers, axis=1, kind="stable")
    ranked = np.take_along_axis(numbers, order, axis=1)
    twice = np.zeros_like(false)
    twice[:, 1:] = (ranked[:, 1:] == ranked[:, :-1]) & (ranked[:, 1:] >= 0)
    false |= np.take_along_axis(twice, np.argsort(order, axis=1), axis=1)
    found = np.sort(np.where(there & ~false, distances, FAR), axis=1)
    return Missed(int((wanted < FAR).sum()), int(((wanted < FAR) & (found > wanted)).sum()), int(false.sum()))


@dataclass(frozen=True)
class Drawing:
    """Codes and queries of one level of collapse.

    Attributes:
        items: how many; of short codes as many as differ in all but two bits.
        queries: how many.
        collapse: share of the items that are copies of others.
        seed: of the draw.
        codes: given ones, `(N, K)` bool, from which only queries are drawn.
        name: what given ones are called.
    """

    items: int
    queries: int
    collapse: float
    seed: int
    codes: Array | None = field(default=None, repr=False, compare=False)
    name: str = ""

    @classmethod
    def of(cls, codes: Array, queries: int, seed: int, name: str) -> Drawing:
        """Given codes, `(N, K)` bool, as they are."""
        copies = 1 - len(np.unique(np.packbits(codes, axis=1), axis=0)) / len(codes)
        return cls(len(codes), queries, copies, seed, codes, name)

    @property
    def said(self) -> str:
        """What rows call it."""
        kind = f"codes of {self.name}" if self.codes is not None else "drawn codes"
        return f"{self.items:,} {kind}, {self.collapse:.0%} copies"

    def count(self, bits: int) -> int:
        """Items of so many bits."""
        return min(self.items, int(2 ** (bits - 2)))

    def draw(self, bits: int) -> tuple[Array, Array]:
        """Codes `(N, bits)` and queries `(Q, bits)` bool."""
        if self.codes is not None:
            return self.codes, draw_queries(np.random.default_rng(self.seed), self.codes, self.queries)
        return draw(self.seed, self.count(bits), bits, self.collapse, self.queries)

    def settings(self, question: Question) -> list[dict[str, Any]]:
        """What a question is asked with; given codes have one length."""
        if self.codes is None:
            return list(question.settings)
        bits, settings = self.codes.shape[1], []
        for one in question.settings:
            own = {**one, "bits": bits} | ({"radius": bits} if one.get("radius") == one["bits"] else {})
            settings += [own] if own not in settings else []
        return settings


@dataclass
class Finding:
    """What came out of a question.

    Attributes:
        question: which.
        drawing: on which codes.
        outcome: one of the six words.
        judged: all of its answers.
        differs: share of the places at which two answers that must be alike are not; None where there are no such.
        wrong: the first setting with a fault, and what is to be said of it.
        said: message of an engine that refused or failed.
        seconds: how long it took, with the building of the engine's index.
    """

    question: Question
    drawing: Drawing
    outcome: str = RIGHT
    judged: Missed = NOTHING
    differs: float | None = None
    wrong: tuple[dict[str, Any], Missed] | None = None
    said: str = ""
    seconds: float = 0.0
    lists: list[Ints] = field(default_factory=list, repr=False)


def check_form(
    make: MakeForm, drawings: Sequence[Drawing], progress: Callable[[float, str], None] = lambda share, text: None
) -> Iterator[tuple[EngineForm, Finding]]:
    """Ask an engine everything.

    Args:
        make: what makes it.
        drawings: codes and queries, one for each level of collapse.
        progress: told the share that is done, and what is asked.

    Raises:
        RequestError: what the engine needs is not installed, or not there, or it cannot be made, or lacks `build` or `search`.
        RunError: the data base of an index cannot be reached, or fails.
    """
    form, done = _made(make), 0
    try:
        for drawing in drawings:
            for question in QUESTIONS:
                progress(done / (len(drawings) * len(QUESTIONS)), question.name)
                yield form, asked(form, question, drawing)
                done += 1
    finally:
        with suppress(AttributeError):
            form.close()  # type: ignore[attr-defined]


def _made(make: MakeForm) -> EngineForm:
    """The engine of a factory, which may be anybody's."""
    try:
        form = make()
    except HamguardError:
        raise
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise RequestError(f"the engine cannot be made: {said}") from error
    if lost := [name for name in ("build", "search") if not callable(getattr(form, name, None))]:
        raise RequestError(f"an engine has the methods build and search, {type(form).__name__} lacks {', '.join(lost)}")
    return form


def asked(form: EngineForm, question: Question, drawing: Drawing) -> Finding:
    """One question, with all of its settings."""
    found = Finding(question, drawing)
    if not all(callable(getattr(form, need, None)) for need in question.needs):
        found.outcome = ABSENT
        return found
    start = time.perf_counter()
    for setting in drawing.settings(question):
        rest = dict(setting)
        codes, query = drawing.draw(rest.pop("bits"))
        try:
            for said in question.ask(form, codes, query, **rest):
                _count(found, setting, *map(np.asarray, said))
        except Exception as error:  # an engine may raise whatever it likes
            if (
                isinstance(error, HamguardError) and not question.edge
            ):  # a server that is away is no answer of an engine
                raise
            found.said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            if not question.edge:
                found.outcome, found.wrong = FAILED, (setting, NOTHING)
                break
    found.seconds = time.perf_counter() - start
    if found.outcome != FAILED:
        judged = found.judged
        found.outcome = WRONG if judged.false else MISSES if judged.missed else REFUSED if found.said else RIGHT
    if question.alike and len(found.lists) == 2:
        found.differs = float((found.lists[0] != found.lists[1]).mean())
    return found


def _count(found: Finding, setting: dict[str, Any], distances: Ints, numbers: Ints, right: Ints) -> None:
    one = judge(distances, numbers, right)
    found.judged = Missed(*(a + b for a, b in zip(found.judged, one, strict=True)))
    if (one.missed or one.false) and (found.wrong is None or (one.false and not found.wrong[1].false)):
        found.wrong = (setting, one)
    if found.question.alike:
        found.lists.append(np.where(numbers < 0, FAR, distances))


def row_of(name: str, form: EngineForm, found: Finding) -> Row:
    """A finding as a row: `value` is the share of the answers that are missing or false."""
    judged, drawing = found.judged, found.drawing
    facts = {
        "method": PROTOCOL,
        "exact": is_exact(form),
        "collapse": drawing.collapse,
        **({} if drawing.codes is None else {"codes": drawing.name}),
        "outcome": found.outcome,
        "missed": judged.missed,
        "false": judged.false,
    }
    return Row(
        protocol=PROTOCOL,
        dataset=drawing.said,
        model=name,
        method=version_of(form) or None,
        bits=None if drawing.codes is None else drawing.codes.shape[1],
        attack=facts | ({} if found.differs is None else {"differs": found.differs}),
        metric=found.question.name,
        value=(judged.missed + judged.false) / judged.places if judged.places else None,
        n=judged.places,
        seconds=found.seconds,
        seed=drawing.seed,
        notes=(found.said,) if found.said else (),
    )


def shows_fault(form: EngineForm, found: Finding) -> bool:
    """Whether a file is worth writing of it: a broken promise, or copies that are missed."""
    missed = found.outcome == MISSES and (is_exact(form) or found.question.name in ("equal codes", REMEDY))
    return found.outcome in (WRONG, FAILED) or missed
