"""Twelve questions to an engine, each with what brute force answers; these very lines are written into the files that show a fault.

Codes are `(N, K)` bool; item i has label i % 10. A question yields what the engine said, distances and numbers `(Q, k)`, and the
distances of all items, `(Q, N)`, where `FAR` marks one that may not be among the answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from hamguard.core.types import Array, Bytes, Ints

FAR = 10**6
"""Distance of what may not be found."""
Said: TypeAlias = tuple[Ints, Ints, Ints]


def pack(codes: Array, order: Any = "little") -> Bytes:
    """Codes as bytes, `(N, ceil(K / 8))`."""
    return np.packbits(np.ascontiguousarray(codes), axis=1, bitorder=order)


def brute_force(query: Array, codes: Array) -> Ints:
    """Hamming distances, `(Q, N)`; not those of `hamguard.codes`, which are among what is checked."""
    return np.asarray((codes.shape[1] - (2.0 * query - 1) @ (2.0 * codes - 1).T) / 2, np.int64)


def draw_codes(rng: np.random.Generator, items: int, bits: int, distinct: int) -> Array:
    """Codes around ten centers; all but `distinct` are copies of others, most of these of a few codes, as learned ones are."""
    centers, spare = rng.random((10, bits)) < 0.5, 4 * distinct + 64
    flips = rng.random((spare, bits)) < rng.choice([0.03, 0.1, 0.2, 0.3], (spare, 1))
    pool = rng.permutation(np.unique(centers[rng.integers(0, 10, spare)] ^ flips, axis=0))[:distinct]
    pool = pool[np.argsort(brute_force(pool, centers).min(axis=1), kind="stable")]
    copies = np.minimum(rng.geometric(0.08, items - len(pool)) - 1, len(pool) - 1)
    codes: Array = pool[rng.permutation(np.concatenate([np.arange(len(pool)), copies]))]
    return codes


def distinct_of(items: int, collapse: float) -> int:
    """How many codes differ where a share `collapse` are copies of others."""
    return max(1, round(items * (1 - collapse)))


def draw_queries(rng: np.random.Generator, codes: Array, queries: int) -> Array:
    """Codes of items, every second one with a bit in twenty flipped."""
    query = codes[rng.integers(0, len(codes), queries)]
    query ^= rng.random(query.shape) < 0.05 * (np.arange(queries) % 2)[:, None]
    return query


def draw(seed: int, items: int, bits: int, collapse: float, queries: int) -> tuple[Array, Array]:
    """Codes, and queries that go with them."""
    rng = np.random.default_rng(seed)
    codes = draw_codes(rng, items, bits, distinct_of(items, collapse))
    return codes, draw_queries(rng, codes, queries)


def nearest_ten(engine: Any, codes: Array, query: Array) -> Iterator[Said]:
    """The ten nearest."""
    engine.build(pack(codes), codes.shape[1], np.arange(len(codes)) % 10)
    yield *engine.search(pack(query), 10), brute_force(query, codes)


def masked(engine: Any, codes: Array, query: Array) -> Iterator[Said]:
    """The same bits turned in all codes and queries."""
    for mask in (query[0] ^ query[0], query[0]):
        engine.build(pack(codes ^ mask), codes.shape[1], np.arange(len(codes)) % 10)
        yield *engine.search(pack(query ^ mask), 10), brute_force(query, codes)


def permuted(engine: Any, codes: Array, query: Array) -> Iterator[Said]:
    """Bits in another order, the same in all codes and queries."""
    for order in (np.arange(codes.shape[1]), np.random.default_rng(1).permutation(codes.shape[1])):
        engine.build(pack(codes[:, order]), codes.shape[1], np.arange(len(codes)) % 10)
        yield *engine.search(pack(query[:, order]), 10), brute_force(query, codes)


def few(engine: Any, codes: Array, query: Array, count: int, k: int) -> Iterator[Said]:
    """More places than items, and no items at all."""
    codes = codes[:count]
    engine.build(pack(codes), codes.shape[1], np.arange(len(codes)) % 10)
    right = np.pad(brute_force(query, codes), ((0, 0), (0, k)), constant_values=FAR)
    yield *engine.search(pack(query), k), right


def equal_codes(engine: Any, codes: Array, query: Array) -> Iterator[Said]:
    """Items that ask for themselves."""
    query = codes[:: len(codes) // len(query)][: len(query)]
    engine.build(pack(codes), codes.shape[1], np.arange(len(codes)) % 10)
    yield *engine.search(pack(query), 1), brute_force(query, codes)


def each_code_once(engine: Any, codes: Array, query: Array) -> Iterator[Said]:
    """The same over the codes that differ."""
    query, codes = codes[:: len(codes) // len(query)][: len(query)], np.unique(codes, axis=0)
    engine.build(pack(codes), codes.shape[1], np.arange(len(codes)) % 10)
    yield *engine.search(pack(query), 1), brute_force(query, codes)


def filtered(engine: Any, codes: Array, query: Array) -> Iterator[Said]:
    """The ten nearest of a label that every tenth item has."""
    engine.build(pack(codes), codes.shape[1], np.arange(len(codes)) % 10)
    right = np.where(np.arange(len(codes)) % 10 == 3, brute_force(query, codes), FAR)
    yield *engine.filtered(pack(query), 10, 3), right


def radius(engine: Any, codes: Array, query: Array, radius: int) -> Iterator[Said]:
    """All within a radius."""
    engine.build(pack(codes), codes.shape[1], np.arange(len(codes)) % 10)
    right = np.where(brute_force(query, codes) <= radius, brute_force(query, codes), FAR)
    yield *engine.within(pack(query), radius, len(codes)), right


def removed(engine: Any, codes: Array, query: Array) -> Iterator[Said]:
    """Every second item removed, and then put back."""
    engine.build(pack(codes), codes.shape[1], np.arange(len(codes)) % 10)
    gone, right = np.arange(0, len(codes), 2), brute_force(query, codes)
    engine.remove(gone)
    yield *engine.search(pack(query), 10), np.where(np.isin(np.arange(len(codes)), gone), FAR, right)
    engine.add(pack(codes[gone]), gone, gone % 10)
    yield *engine.search(pack(query), 10), right


def restarted(engine: Any, codes: Array, query: Array) -> Iterator[Said]:
    """Closed and opened again."""
    engine.build(pack(codes), codes.shape[1], np.arange(len(codes)) % 10)
    engine.reopen()
    yield *engine.search(pack(query), 10), brute_force(query, codes)


def tied(engine: Any, codes: Array, query: Array) -> Iterator[Said]:
    """Fifty items with the code of a query, ten places."""
    codes = np.concatenate([np.repeat(query[:1], 50, axis=0), codes])
    engine.build(pack(codes), codes.shape[1], np.arange(len(codes)) % 10)
    yield *engine.search(pack(query), 10), brute_force(query, codes)


def ordered_bits(engine: Any, codes: Array, query: Array, order: str) -> Iterator[Said]:
    """The first bit in the lowest or in the highest place of a byte, and a last byte that is not full."""
    engine.build(pack(codes, order), codes.shape[1], np.arange(len(codes)) % 10)
    yield *engine.search(pack(query, order), 10), brute_force(query, codes)


def added_again(engine: Any, codes: Array, query: Array) -> Iterator[Said]:
    """A tenth of the items added once more, under new numbers."""
    engine.build(pack(codes), codes.shape[1], np.arange(len(codes)) % 10)
    again = np.arange(len(codes) // 10)
    engine.add(pack(codes[again]), len(codes) + again, again % 10)
    yield *engine.search(pack(query), 10), brute_force(query, np.concatenate([codes, codes[again]]))


@dataclass(frozen=True)
class Question:
    """One of the checks.

    Attributes:
        name: as rows and tables call it.
        ask: what it does.
        settings: what it is asked with, one after the other; `bits` is the length of the codes.
        needs: what an engine must offer for it.
        edge: whether an engine may refuse.
        alike: whether its first two answers must be alike, whatever is right.
    """

    name: str
    ask: Callable[..., Iterator[Said]]
    settings: tuple[dict[str, Any], ...] = ({"bits": 32},)
    needs: tuple[str, ...] = ()
    edge: bool = False
    alike: bool = False


LENGTHS = (12, 16, 32, 48, 64, 128, 256)
ODD = tuple({"bits": bits, "order": order} for bits in (12, 20, 37) for order in ("little", "big"))
EDGES = ((5, 10), (5, 5), (500, 1), (1, 1), (1, 3), (0, 1))
REMEDY = "equal codes, each code once"
"""What is asked besides the twelve: whether an engine that misses copies finds them where each code is kept once."""
QUESTIONS = (
    Question("distances at seven lengths", nearest_ten, tuple({"bits": bits} for bits in LENGTHS)),
    Question("the same bits turned everywhere", masked, alike=True),
    Question("the bits in another order", permuted, alike=True),
    Question("few items, one, none", few, tuple({"bits": 32, "count": n, "k": k} for n, k in EDGES), edge=True),
    Question("equal codes", equal_codes),
    Question(REMEDY, each_code_once),
    Question("the ten nearest of a label", filtered, needs=("filtered",)),
    Question("radius 0, 1 and K", radius, tuple({"bits": 32, "radius": one} for one in (0, 1, 32)), needs=("within",)),
    Question("items removed and put back", removed, needs=("remove", "add")),
    Question("closed and opened", restarted, needs=("reopen",)),
    Question("more equal items than places", tied),
    Question("both orders of bits, odd lengths", ordered_bits, ODD),
    Question("a tenth added again", added_again, needs=("add",)),
)
"""The twelve, and the remedy."""
