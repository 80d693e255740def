"""An index in PostgreSQL: tables of codes and of items in a schema of its own, compared by a scan with `bit_count`.

A build is loaded by COPY into a schema beside the old one and put in its place in the same transaction; readers meanwhile see the
old index, and after a crash there is nothing to clean up. Writers wait for each other. No extension is needed.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from hamguard.codes.bank import CodeBank
from hamguard.codes.distinct import distinct
from hamguard.codes.label_sets import LabelSets
from hamguard.core.errors import DamagedError, RequestError
from hamguard.core.types import Array, Bytes
from hamguard.retrieval.index import (
    IndexFacts,
    check_some_stay,
    names_of,
    unknown_ids,
)
from hamguard.retrieval.origin import check_origin
from hamguard.retrieval.stores import postgres_tables as tables
from hamguard.retrieval.stores import retry
from hamguard.retrieval.stores.address import Address
from hamguard.retrieval.stores.postgres_session import Session
from hamguard.retrieval.stores.registry import register_store
from hamguard.retrieval.stores.server_index import ItemsOfCodes, NearCodes, Reader, ServerStore, check_joins, labels_of

R = TypeVar("R")

BATCH = 64  # queries in one statement


class PostgresStore(ServerStore):
    """A schema of a data base, in which an index lies or will.

    Args:
        address: `postgresql://user:password@host:port/database#schema`, with whatever else PostgreSQL reads there.
    """

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self.session = Session(address)

    def reading(self, work: Callable[[Reader], R]) -> R:
        """What some work finds in one look; begun again where the connection is lost."""

        def look(connection: Any) -> R:
            connection.execute("set transaction isolation level repeatable read, read only")
            connection.execute(f"set local statement_timeout = '{retry.ANSWER_SECONDS}s'")
            return work(PostgresReader(self, connection))

        return self.session.run(look)

    def write(self, bank: CodeBank, *, engine: str = "flat", origin: dict[str, Any] | None = None) -> None:
        """Build an index of a bank in the place of an older one.

        Raises:
            RequestError: an empty bank, ids that are there twice or cannot be kept, another engine than `flat`, or tables of other
                software under these names.
            RunError: the server cannot be reached, fails or is full; the old index is as it was.
        """
        self.check_new(bank, engine)
        names = tables.id_texts(names_of(bank))
        first, owner = distinct(bank.packed)
        facts = IndexFacts.of(bank, engine, len(first))
        codes = tables.bit_texts(bank.packed[first], bank.bits)
        marks, sizes = tables.label_texts(LabelSets.of(bank.labels)), np.bincount(owner)

        def load(connection: Any) -> None:
            at = f"{self.address.name}_new_{secrets.token_hex(4)}"
            connection.execute(f"create schema {at}")
            connection.execute(tables.MAKE.format(at=at, bits=bank.bits))
            cursor = connection.cursor()
            columns = (map(str, first.tolist()), map(str, sizes.tolist()))
            tables.copy_rows(cursor, f"copy {at}.codes (code, age, items) from stdin with (freeze)", codes, *columns)
            own = map(codes.__getitem__, owner.tolist())
            ages = map(str, range(len(names)))
            tables.copy_rows(
                cursor, f"copy {at}.items (id, code, age, labels) from stdin with (freeze)", names, own, ages, marks
            )
            connection.execute(tables.FINISH.format(at=at))
            self._insert_facts(connection, at, facts, origin or {})
            self._replace(connection, at)

        self._change(load)

    def add(self, bank: CodeBank) -> None:
        """Add the items of a bank, in one transaction.

        Raises:
            RequestError: wrong number of bits, other classes, or an id that is twice in the bank or already in the index.
            StaleError: the bank was made by another model.
            RunError: the server cannot be reached, fails or is full; nothing is added then.
        """
        names, labels = tables.id_texts(names_of(bank)), LabelSets.of(bank.labels)

        def insert(connection: Any) -> None:
            row = self._row(connection)
            facts = self.facts_of(row)
            check_joins(facts, bank, labels)
            connection.execute(tables.COMING.format(bits=facts.bits))
            start = int(row["next_age"])
            columns = (names, tables.bit_texts(bank.packed, bank.bits), map(str, range(start, start + len(names))))
            copy = "copy coming (id, code, age, labels) from stdin"
            tables.copy_rows(connection.cursor(), copy, *columns, tables.label_texts(labels))
            (taken,) = connection.execute(tables.TAKEN.format(at=self.address.name)).fetchone()
            if taken is not None:
                raise RequestError(f"ids must be unique, {taken!r} is already in the index; remove it first")
            values = {
                "count": len(names),
                "next_age": start + len(names),
                "classes": max(labels.classes, facts.classes),
            }
            connection.execute(tables.ADD.format(at=self.address.name, **values))

        self._change(insert)

    def remove(self, ids: Array) -> None:
        """Remove items by id, in one transaction.

        Raises:
            RequestError: an id is not in the index, or all are to go; nothing is removed then.
            RunError: the server cannot be reached, or fails; nothing is removed then.
        """
        names = tables.id_texts(np.unique(np.asarray(ids).ravel().astype(np.str_)))

        def delete(connection: Any) -> None:
            count, at = self.facts_of(self._row(connection)).count, self.address.name
            connection.execute(tables.GOING)
            tables.copy_rows(connection.cursor(), "copy going (id) from stdin", names)
            missing, name = connection.execute(tables.MISSING.format(at=at)).fetchone()
            if missing:
                raise unknown_ids(missing, name)
            check_some_stay(count, len(names))
            connection.execute(tables.REMOVE.format(at=at, count=len(names)))

        self._change(delete)

    def origin(self) -> dict[str, Any]:
        """Model and data that the codes came from.

        Raises:
            DamagedError: what is written down is no origin.
        """
        return check_origin(self.session.run(self._row)["origin"] or {}, self.shown)

    def bytes(self) -> int:
        """Size of the tables and their indexes on the server."""
        at = self.address.name
        sizes = " + ".join(f"pg_total_relation_size('{at}.{name}')" for name in tables.TABLES)
        return int(self.session.run(lambda connection: connection.execute(f"select {sizes}").fetchone()[0]))

    def facts_of(self, row: dict[str, Any]) -> IndexFacts:
        """What the row of `facts` says.

        Raises:
            DamagedError: it is of another type than written.
        """
        numbers = {
            "bits": row.get("bits"),
            "count": row.get("items"),
            "distinct": row.get("codes"),
            "classes": row.get("classes"),
        }
        texts = {name: row.get(name) for name in ("engine", "model_hash", "split_hash", "bank_digest")}
        if not all(isinstance(one, int) for one in numbers.values()) or not all(
            isinstance(one, str) for one in texts.values()
        ):
            raise DamagedError(self.shown, "its table facts does not say what an index is made of; build it again")
        return IndexFacts(**numbers, **texts)  # type: ignore[arg-type]

    def _row(self, connection: Any) -> dict[str, Any]:
        """The row of `facts`, columns that this version does not know included.

        Raises:
            RequestError: there is no index, or one of another form.
        """
        at = self.address.name
        # Before the first look: what is seen is frozen then, and a build that is done meanwhile would be seen in part.
        connection.execute(f"lock table {at}.facts in access share mode")
        rows = connection.execute(f"select to_jsonb(f) from {at}.facts as f").fetchall()
        if len(rows) != 1 or "format" not in rows[0][0]:
            raise RequestError(f"no index at {self.shown}; build one with `hamguard index build`")
        row: dict[str, Any] = rows[0][0]
        if row["format"] != tables.FORMAT:
            raise RequestError(
                f"index {self.shown} was written by another hamguard, in form {row['format']}, and this one reads form "
                f"{tables.FORMAT}; build it again with `hamguard index build`"
            )
        return row

    def _change(self, work: Callable[[Any], None]) -> None:
        """Change the index in one transaction, alone; where the connection is lost at the end, look whether it was done."""
        mark, at = secrets.token_hex(8), self.address.name

        def change(connection: Any) -> None:
            connection.execute(f"set local lock_timeout = '{retry.LOCK_SECONDS}s'")
            connection.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"hamguard index {at}",))
            if self._ours(connection) and connection.execute(f"select change from {at}.facts").fetchone() == (mark,):
                return
            work(connection)
            connection.execute(f"update {at}.facts set change = %s", (mark,))

        self.session.run(change)

    def _ours(self, connection: Any) -> bool:
        """Whether the tables of the schema are those of an index.

        Raises:
            RequestError: they are another's, whatever they are.
        """
        some, ours = connection.execute(tables.OWN, (self.address.name,)).fetchone()
        if some and not ours:
            raise RequestError(
                f"{self.shown} has tables or views of these names that are no index; choose another name behind the #"
            )
        return bool(ours)

    def _insert_facts(self, connection: Any, at: str, facts: IndexFacts, origin: dict[str, Any]) -> None:
        row = {name: value for name, value in facts.common.items() if name not in ("count", "distinct")}
        row |= {"format": tables.FORMAT, "items": facts.count, "codes": facts.distinct, "next_age": facts.count}
        row |= {"origin": json.dumps(origin)}
        names = ", ".join(row)
        values = ", ".join(f"%({name})s" + "::jsonb" * (name == "origin") for name in row)
        connection.execute(f"insert into {at}.facts ({names}) values ({values})", row)

    def _replace(self, connection: Any, new: str) -> None:
        """Put the tables of a schema in the place of the index, as the last step."""
        at = self.address.name
        connection.execute(f"create schema if not exists {at}")
        if self._ours(connection):  # what readers lock first, too: so neither waits for the other in a circle
            connection.execute(f"lock table {at}.facts in access exclusive mode")
        connection.execute(f"drop table if exists {', '.join(f'{at}.{name}' for name in tables.TABLES)}")
        for name in tables.TABLES:
            connection.execute(f"alter table {new}.{name} set schema {at}")
        connection.execute(f"drop schema {new}")


class PostgresReader:
    """One transaction that reads.

    Args:
        store: the index.
        connection: in a transaction of its own.
    """

    def __init__(self, store: PostgresStore, connection: Any) -> None:
        self._store, self._connection = store, connection
        self.facts = store.facts_of(store._row(connection))

    def near(self, packed: Bytes, k: int, label: int | None) -> NearCodes:
        """Codes on which the k nearest items lie."""
        return self._found(tables.NEAR, packed, label, k=k)

    def within(self, packed: Bytes, radius: int, label: int | None) -> NearCodes:
        """All codes at most `radius` bits away."""
        return self._found(tables.WITHIN, packed, label, radius=radius)

    def _found(self, statement: str, packed: Bytes, label: int | None, **values: int) -> NearCodes:
        at, bits = self._store.address.name, self.facts.bits
        source = tables.SOURCE.format(at=at) if label is None else tables.LABELED.format(at=at, label=int(label))
        text = statement.format(bits=bits, source=source, how="not" if label is None else "")
        queries, rows = tables.bit_texts(packed, bits), []
        for start in range(0, len(queries), BATCH):
            part = self._connection.execute(text, values | {"queries": queries[start : start + BATCH]}).fetchall()
            rows += [(start + number - 1, distance, code) for number, code, distance in part]
        query, distance, code = zip(*rows, strict=True) if rows else ((), (), ())
        return NearCodes(np.array(query, np.int64), np.array(distance, np.int64), np.array(code, dtype=np.str_))

    def items(self, codes: Array, most: int | None, label: int | None) -> ItemsOfCodes:
        """The `most` oldest items of each code."""
        labeled = "" if label is None else f"and labels @> array[{int(label)}]"
        text = tables.ITEMS.format(at=self._store.address.name, bits=self.facts.bits, labeled=labeled)
        rows = self._connection.execute(text, {"codes": codes.tolist(), "most": most}).fetchall()
        number, age, name = zip(*rows, strict=True) if rows else ((), (), ())
        return ItemsOfCodes(np.array(number, np.int64) - 1, np.array(age, np.int64), np.array(name, dtype=np.str_))

    def everything(self) -> CodeBank:
        """All items in the order of insertion."""
        facts = self.facts
        rows = self._connection.execute(tables.EVERYTHING.format(at=self._store.address.name)).fetchall()
        ids, codes, labels = zip(*rows, strict=True)
        return CodeBank(
            tables.packed_codes(codes, facts.bits),
            facts.bits,
            labels_of(labels, facts.classes),
            np.array(ids, dtype=np.str_),
            facts.model_hash,
            facts.split_hash,
        )


@register_store("postgresql")
def postgresql(place: str) -> PostgresStore:
    """Tables in PostgreSQL 14 or later."""
    return PostgresStore(Address.parse(place))


@register_store("postgres")
def postgres(place: str) -> PostgresStore:
    """The same; PostgreSQL's tools know both."""
    return PostgresStore(Address.parse(place))
