"""One look at an index in Milvus."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from hamguard.codes.bank import CodeBank
from hamguard.codes.label_sets import LabelSets
from hamguard.codes.labeled import ClassNumbers
from hamguard.core.types import Array, Bytes, Ints
from hamguard.retrieval.index import IndexFacts
from hamguard.retrieval.stores import retry
from hamguard.retrieval.stores.milvus_client import CHUNK, WHOLE, Client, key_of
from hamguard.retrieval.stores.server_index import ItemsOfCodes, NearCodes, labels_of

MOST, SPARE = 16_384, 16  # codes that one search gives, and those that are asked for where few items are wanted
ANSWERS, QUERIES = 200_000, 100  # codes that queries asked at once may bring, and such queries
PARTS = 1 << 20
"""Codes are in one of so many parts, by their hash, so that a crowd of them can be asked for in portions."""


class MilvusReader:
    """One state of an index, as its row said it.

    Args:
        client: the connection.
        row: which collections are the index, and up to which age items count.
        facts: what is known of it.
    """

    def __init__(self, client: Client, row: dict[str, Any], facts: IndexFacts) -> None:
        self.facts, self._client, self._below = facts, client, int(row["next_age"])
        self._batches = [int(batch) for batch in row["batches"]]  # others are of runs that died, or are not done
        head = f"hamguard_{client.address.name}_{row['token']}"
        self._codes, self._items = f"{head}_codes", f"{head}_items"
        for name in (self._codes, self._items):
            client.inner.load_collection(name)
        self._held: dict[int | None, dict[str, list[tuple[int, str]]]] = defaultdict(dict)  # items of codes, by label

    def near(self, packed: Bytes, k: int, label: int | None) -> NearCodes:
        """Codes as far as the k-th nearest item, and those as far as the last of these."""
        found: list[tuple[int, int, str]] = []
        radius = np.full(len(packed), -1)
        left = np.arange(len(packed))
        fetch = max(SPARE, 2 * k * self.facts.distinct // self.facts.count)
        while len(left):
            radius[left] = np.maximum(self._reach(packed[left], min(fetch, WHOLE)), radius[left] + 1)
            ball = self._ball(packed, left, np.minimum(radius, self.facts.bits))
            self._load(sorted({code for _, _, code in ball}), label)
            held, counts = self._held[label], np.zeros(len(packed), np.int64)
            for query, _, code in ball:
                counts[query] += len(held[code])
            enough = (counts >= k) | (radius >= self.facts.bits)
            found += [one for one in ball if enough[one[0]]]
            left, fetch = left[~enough[left]], 4 * fetch
        return _as_arrays(found)

    def within(self, packed: Bytes, radius: int, label: int | None) -> NearCodes:
        """All codes at most `radius` bits away."""
        return _as_arrays(self._ball(packed, np.arange(len(packed)), np.full(len(packed), radius)))

    def items(self, codes: Array, most: int | None, label: int | None) -> ItemsOfCodes:
        """The `most` oldest items of each code."""
        self._load(codes.tolist(), label)
        held = self._held[label]
        rows = [(number, *one) for number, code in enumerate(codes.tolist()) for one in held[code][:most]]
        number, age, name = zip(*rows, strict=True) if rows else ((), (), ())
        return ItemsOfCodes(np.array(number, np.int64), np.array(age, np.int64), np.array(name, dtype=np.str_))

    def everything(self) -> CodeBank:
        """All items in the order of insertion."""
        facts, counted = self.facts, {*self._batches}
        fields = ["age", "batch", "id", "code", "labels"]
        rows = [row for row in self._client.rows(self._items, fields, "age", self._below) if row["batch"] in counted]
        rows.sort(key=lambda row: int(row["age"]))
        codes = np.frombuffer(bytes.fromhex("".join(row["code"] for row in rows)), np.uint8).reshape(len(rows), -1)
        return CodeBank(
            codes.copy(),
            facts.bits,
            labels_of([row["labels"]["c"] for row in rows], facts.classes),
            np.array([row["id"] for row in rows], dtype=np.str_),
            facts.model_hash,
            facts.split_hash,
        )

    def known(self, names: Array) -> set[str]:
        """Which of some ids are in the index."""
        wanted, found = set(names.tolist()), set()
        for start in range(0, len(names), CHUNK):
            keys = [key_of(name) for name in names[start : start + CHUNK].tolist()]
            where = f"key in {keys} and batch in {self._batches}"
            found |= {row["id"] for row in self._client.rows(self._items, ["id"], "age", self._below, where)}
        return wanted & found

    def _load(self, codes: Sequence[str], label: int | None) -> None:
        """Items of codes, the oldest first, where they are not at hand."""
        held = self._held[label]
        asked = [code for code in codes if code not in held]
        labeled = "" if label is None else f' and json_contains(labels["c"], {int(label)})'
        for start in range(0, len(asked), CHUNK):
            part = asked[start : start + CHUNK]
            held.update({code: [] for code in part})
            where = f"code in {json.dumps(part)} and batch in {self._batches}{labeled}"  # codes are hexadecimal digits
            for row in self._client.rows(self._items, ["code", "age", "id"], "age", self._below, where):
                held[row["code"]].append((int(row["age"]), row["id"]))
        for code in asked:
            held[code].sort()

    def _reach(self, packed: Bytes, count: int) -> Ints:
        """Distance of the `count`-th nearest code of each query, `(q,)`; K where there are fewer codes."""
        found = np.full(len(packed), self.facts.bits)
        step = max(1, ANSWERS // count)
        for start in range(0, len(packed), step):
            for place, hits in enumerate(self._search(packed[start : start + step], count, {}, ""), start):
                if len(hits) == count:
                    found[place] = round(max(hit["distance"] for hit in hits))
        return found

    def _ball(self, packed: Bytes, queries: Ints, radius: Ints) -> list[tuple[int, int, str]]:
        """Query, distance and code of all codes within the radius of each query."""
        found = []
        for reach in np.unique(radius[queries]).tolist():
            own = queries[radius[queries] == reach]
            for start in range(0, len(own), QUERIES):
                found += self._range(packed, own[start : start + QUERIES], reach, 0, PARTS)
        return found

    def _range(self, packed: Bytes, queries: Ints, radius: int, low: int, high: int) -> list[tuple[int, int, str]]:
        """The same of some parts of the codes; what may have been cut is asked for again in two halves."""
        where = "" if high - low == PARTS else f"part >= {low} and part < {high}"
        found, params = [], {"radius": radius + 1}  # Milvus leaves the radius itself out
        for query, hits in zip(queries.tolist(), self._search(packed[queries], MOST, params, where), strict=True):
            if len(hits) < WHOLE or high - low == 1:
                near = [(query, round(hit["distance"]), str(hit["id"])) for hit in hits]
                found += [one for one in near if one[1] <= radius]
                continue
            middle = (low + high) // 2
            for begin, end in ((low, middle), (middle, high)):
                found += self._range(packed, np.array([query]), radius, begin, end)
        return found

    def _search(self, packed: Bytes, limit: int, params: dict[str, int], where: str) -> Any:
        return self._client.inner.search(
            self._codes,
            data=[row.tobytes() for row in packed],
            limit=limit,
            filter=where,
            search_params={"metric_type": "HAMMING", "params": params},
            anns_field="vector",
            timeout=retry.ANSWER_SECONDS,
        )


def label_numbers(labels: LabelSets) -> list[list[int]]:
    """Class numbers of each item."""
    if isinstance(labels.sets, ClassNumbers):
        sets = [[number] if number >= 0 else [] for number in labels.sets.numbers.tolist()]
    else:
        sets = [np.flatnonzero(row).tolist() for row in labels.sets]
    return [sets[number] for number in labels.which.tolist()]


def _as_arrays(found: list[tuple[int, int, str]]) -> NearCodes:
    query, distance, code = zip(*found, strict=True) if found else ((), (), ())
    order = np.argsort(np.array(query, np.int64), kind="stable")
    return NearCodes(
        np.array(query, np.int64)[order], np.array(distance, np.int64)[order], np.array(code, dtype=np.str_)[order]
    )
