"""An index in Milvus, on a server or in a file: a collection of codes, compared by `BIN_FLAT`, and one of items.

Milvus has no transactions. So one row of the collection `hamguard` says which two collections are the index and which batches of
items count, and to write that row is the only step that readers see. A build, and a removal, write two new collections beside the
old ones; an addition is a batch. What a run that died has left counts for nothing, and is gone after the next build or removal.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import bytes_of
from hamguard.codes.distinct import distinct
from hamguard.codes.label_sets import LabelSets
from hamguard.core.errors import DamagedError, RequestError, RunError
from hamguard.core.types import Array
from hamguard.retrieval.index import (
    IndexFacts,
    check_some_stay,
    names_of,
    unknown_ids,
)
from hamguard.retrieval.origin import check_origin
from hamguard.retrieval.stores import retry
from hamguard.retrieval.stores.address import Address
from hamguard.retrieval.stores.milvus_client import CHUNK, Client, key_of
from hamguard.retrieval.stores.milvus_reader import PARTS, MilvusReader, label_numbers
from hamguard.retrieval.stores.registry import register_store
from hamguard.retrieval.stores.server_index import Reader, ServerStore, check_joins

R = TypeVar("R")

FORMAT = 1
"""Of the collections; another one is refused."""
HEAD = "hamguard"
"""The collection of one row an index."""
LONGEST = 60_000  # bytes of an id, or of what the row of an index says
BATCHES = 200  # additions after which the index is written anew
NUMBER: tuple[str, dict[str, int]] = ("INT64", {})
NOTHING = ("BINARY_VECTOR", {"dim": 8})  # because Milvus keeps no rows without a vector


class MilvusStore(ServerStore):
    """Collections of a data base, in which an index lies or will.

    Args:
        address: `milvus://user:password@host:port/database#name`, or `milvus://FILE.db#name`.
    """

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self.client = Client(address)

    def reading(self, work: Callable[[Reader], R]) -> R:
        """What some work finds in one state of the index; begun again where it was changed meanwhile."""

        def look(client: Client) -> R:
            row = self._row(client)
            found = work(MilvusReader(client, row, self.facts_of(row)))
            if self._row(client)["change"] != row["change"]:
                raise retry.Lost("the index was changed meanwhile")
            return found

        return self.client.run(look)

    def write(self, bank: CodeBank, *, engine: str = "flat", origin: dict[str, Any] | None = None) -> None:
        """Build an index of a bank in the place of an older one.

        Raises:
            RequestError: an empty bank, ids that are there twice or cannot be kept, or another engine than `flat`.
            RunError: the server cannot be reached, fails or is full, or another process changed the index; it is as it was then.
        """
        self.check_new(bank, engine)
        _check_ids(names_of(bank))
        mark = secrets.token_hex(8)
        self.client.run(lambda client: self._build(client, bank, engine, origin or {}, bank.digest, mark))

    def add(self, bank: CodeBank) -> None:
        """Add the items of a bank.

        Raises:
            RequestError: wrong number of bits, other classes, or an id that is twice in the bank or already in the index.
            StaleError: the bank was made by another model.
            RunError: the server cannot be reached, fails or is full, or another process changed the index; nothing is added then.
        """
        names, labels, mark = _check_ids(names_of(bank)), LabelSets.of(bank.labels), secrets.token_hex(8)

        def insert(client: Client) -> None:
            row = self._row(client)
            if row["change"] == mark:
                return
            facts = self.facts_of(row)
            check_joins(facts, bank, labels)
            reader = MilvusReader(client, row, facts)
            taken = reader.known(names)
            if taken:
                raise RequestError(f"ids must be unique, {min(taken)!r} is already in the index; remove it first")
            if len(row["batches"]) >= BATCHES:
                whole = joined_banks(reader.everything(), bank)
                self._build(client, whole, facts.engine, row["origin"], "", mark)
                return
            start, batch = row["next_age"], secrets.randbits(31)
            self._send(client, row["token"], bank, start, batch)
            codes = self._collections(row["token"])[0]
            (count,) = client.inner.query(codes, filter="", output_fields=["count(*)"])
            more = {"count": facts.count + len(bank), "distinct": int(count["count(*)"]), "bank_digest": ""}
            more |= {"classes": max(facts.classes, labels.classes)}
            now = row | {"facts": facts.common | more, "batches": [*row["batches"], batch]}
            self._commit(client, row, now | {"next_age": start + len(bank), "change": mark})

        self.client.run(insert)

    def remove(self, ids: Array) -> None:
        """Remove items by id: the index is written anew without them.

        Raises:
            RequestError: an id is not in the index, or all are to go; nothing is removed then.
            RunError: the server cannot be reached, or fails, or another process changed the index; nothing is removed then.
        """
        names, mark = np.unique(np.asarray(ids).ravel().astype(np.str_)), secrets.token_hex(8)

        def rewrite(client: Client) -> None:
            row = self._row(client)
            if row["change"] == mark:
                return
            bank = MilvusReader(client, row, self.facts_of(row)).everything()
            missing = np.setdiff1d(names, bank.ids)
            if len(missing):
                raise unknown_ids(len(missing), str(missing[0]))
            check_some_stay(len(bank), len(names))
            left = bank.select(~np.isin(bank.ids, names))
            self._build(client, left, row["facts"]["engine"], row["origin"], "", mark)

        self.client.run(rewrite)

    def origin(self) -> dict[str, Any]:
        """Model and data that the codes came from.

        Raises:
            DamagedError: what is written down is no origin.
        """
        return check_origin(self.client.run(self._row)["origin"], self.shown)

    def bytes(self) -> int:
        """Size of the file, with all that is in it; of a server, which does not say, that of the codes."""
        facts = self.open().facts
        if self.client.file:
            return Path(self.client.file).stat().st_size
        return facts.distinct * bytes_of(facts.bits)

    def facts_of(self, row: dict[str, Any]) -> IndexFacts:
        """What the row of the index says.

        Raises:
            DamagedError: it is not what was written.
        """
        try:
            return IndexFacts(**row["facts"])
        except (KeyError, TypeError) as error:
            raise DamagedError(self.shown, "its row does not say what an index is made of; build it again") from error

    def _row(self, client: Client) -> dict[str, Any]:
        """What the row of the index says.

        Raises:
            RequestError: there is no index, or one of another form.
        """
        row = self._found(client)
        if row is None:
            raise RequestError(f"no index at {self.shown}; build one with `hamguard index build`")
        if row.get("format") != FORMAT:
            raise RequestError(
                f"index {self.shown} was written by another hamguard, in form {row.get('format')}, and this one reads form "
                f"{FORMAT}; build it again with `hamguard index build`"
            )
        return row

    def _found(self, client: Client) -> dict[str, Any] | None:
        if self.client.file and not Path(self.client.file).exists() and not client.held:
            return None  # to look into a file of no index makes none
        if not client.inner.has_collection(HEAD):
            return None
        client.inner.load_collection(HEAD)
        found = list(client.rows(HEAD, ["content"], "age", 1, f'called == "{self.address.name}"'))
        try:
            return dict(json.loads(found[0]["content"])) if found else None
        except ValueError as error:
            raise DamagedError(self.shown, "its row is no JSON; build it again") from error

    def _collections(self, token: str) -> tuple[str, str]:
        return f"{HEAD}_{self.address.name}_{token}_codes", f"{HEAD}_{self.address.name}_{token}_items"

    def _build(
        self, client: Client, bank: CodeBank, engine: str, origin: dict[str, Any], digest: str, mark: str
    ) -> None:
        """Write a bank into two new collections and say that they are the index now."""
        before = self._found(client)
        if before is not None and before.get("change") == mark:
            return
        token, batch = secrets.token_hex(4), secrets.randbits(31)
        first, _ = distinct(bank.packed)
        facts = IndexFacts(**IndexFacts.of(bank, engine, len(first)).common | {"bank_digest": digest})
        width = bytes_of(bank.bits)
        code = ("VARCHAR", {"max_length": 2 * width})
        codes, items = self._collections(token)
        try:
            client.make(codes, code=code, vector=("BINARY_VECTOR", {"dim": 8 * width}), part=NUMBER)
            rest = {"id": ("VARCHAR", {"max_length": 65_535}), "code": code, "labels": ("JSON", {}), "none": NOTHING}
            client.make(items, item=NUMBER, batch=NUMBER, age=NUMBER, key=NUMBER, **rest)
            self._send(client, token, bank, 0, batch)
            row = {"format": FORMAT, "token": token, "batches": [batch], "next_age": len(bank), "change": mark}
            self._commit(client, before, row | {"origin": origin, "facts": facts.common})
        except BaseException:
            with suppress(Exception):  # unless they are the index by now, and only the answer was lost
                if (self._found(client) or {}).get("token") != token:
                    for name in (codes, items):
                        client.inner.drop_collection(name)
            raise
        old = re.compile(rf"{HEAD}_{self.address.name}_[0-9a-f]{{8}}_(codes|items)")
        for name in client.inner.list_collections():
            if old.fullmatch(name) and name not in (codes, items):
                client.inner.drop_collection(name)

    def _send(self, client: Client, token: str, bank: CodeBank, start: int, batch: int) -> None:
        """Write items as a batch, and their codes; a code that is there is written once more as it is."""
        first, owner = distinct(bank.packed)
        codes, items = self._collections(token)
        packed = [code.tobytes() for code in bank.packed[first]]
        rows = [{"code": one.hex(), "vector": one, "part": key_of(one.hex()) % PARTS} for one in packed]
        client.send(codes, rows, over=start > 0)
        labels, ids = label_numbers(LabelSets.of(bank.labels)), [str(name) for name in bank.ids.tolist()]
        for begin in range(0, len(ids), CHUNK):
            client.send(
                items,
                [
                    {"item": batch << 32 | i, "batch": batch, "age": start + i, "key": key_of(ids[i]), "id": ids[i]}
                    | {"code": packed[owner[i]].hex(), "labels": {"c": labels[i]}, "none": b"\0"}
                    for i in range(begin, min(begin + CHUNK, len(ids)))
                ],
            )

    def _commit(self, client: Client, before: dict[str, Any] | None, row: dict[str, Any]) -> None:
        """Say what the index is now, unless somebody else said something meanwhile.

        Raises:
            RunError: somebody did.
            RequestError: the row would be too long.
        """
        if (self._found(client) or {}).get("change") != (before or {}).get("change"):
            raise RunError(
                f"another process has changed {self.shown} meanwhile, nothing was changed; run the same command again"
            )
        content = json.dumps(row)
        if len(content) > LONGEST:
            raise RequestError(f"what is to be known of {self.shown} is too long for Milvus: {len(content):,} bytes")
        text = ("VARCHAR", {"max_length": 65_535})
        client.make(HEAD, called=("VARCHAR", {"max_length": 64}), content=text, age=NUMBER, none=NOTHING)
        client.send(HEAD, [{"called": self.address.name, "content": content, "age": 0, "none": b"\0"}], over=True)
        if (self._found(client) or {}).get("change") != row["change"]:
            raise RunError(
                f"another process changed {self.shown} at the same moment; look at it, and run the same command again"
            )


def joined_banks(first: CodeBank, second: CodeBank) -> CodeBank:
    """Items of two banks in one."""
    labels = LabelSets.of(first.labels).join(LabelSets.of(second.labels)).labels
    packed, ids = (np.concatenate([getattr(bank, part) for bank in (first, second)]) for part in ("packed", "ids"))
    return replace(first, packed=packed, labels=labels, ids=ids)  # type: ignore[arg-type]


def _check_ids(names: Array) -> Array:
    """Ids that Milvus can keep.

    Raises:
        RequestError: one that it cannot.
    """
    for name in names.tolist():
        if any("\ud800" <= letter <= "\udfff" for letter in name) or len(name.encode()) > LONGEST:
            raise RequestError(
                f"the id {name[:60]!r} cannot be kept in Milvus: it is no UTF-8 text of at most {LONGEST:,} bytes"
            )
    return names


@register_store("milvus")
def milvus(place: str) -> MilvusStore:
    """Collections in Milvus 2.5 or later, on a server, or in a file whose name ends with .db."""
    return MilvusStore(Address.parse(place))
