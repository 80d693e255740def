"""The tables of an index in PostgreSQL, as statements; bit k of a code is character k of its `bit(K)`.

| table | columns |
|---|---|
| `codes` | `code bit(K)` primary key, `age` of its oldest item, `items`, how many have it |
| `items` | `id` primary key, `code`, `age` in the order of insertion, `labels`, class numbers |
| `facts` | one row: `format` of these tables, bits, numbers of items and codes, hashes of model and split, origin |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from hamguard.codes.binary import unpack
from hamguard.codes.label_sets import LabelSets
from hamguard.codes.labeled import ClassNumbers
from hamguard.core.errors import RequestError
from hamguard.core.types import Array, Bytes

FORMAT = 1
"""Of the tables; another one is refused."""
CHUNK = 20_000  # rows that are sent at once

MAKE = """
create table {at}.codes (code bit({bits}) not null, age bigint not null, items integer not null);
create table {at}.items (id text collate "C" not null, code bit({bits}) not null, age bigint not null, labels integer[] not null);
create table {at}.facts (
    format integer, engine text, bits integer, items bigint, codes bigint, classes integer, model_hash text, split_hash text,
    bank_digest text, next_age bigint, change text, origin jsonb
);
"""
FINISH = """
alter table {at}.codes add primary key (code);
alter table {at}.items add primary key (id);
create unique index items_code_age on {at}.items (code, age);
alter table {at}.items add foreign key (code) references {at}.codes (code);
create index items_labels on {at}.items using gin (labels);
analyze {at}.codes;
analyze {at}.items;
"""
TABLES = ("items", "codes", "facts")

OWN = (
    "select count(*) filter (where c.relname in ('items', 'codes', 'facts')) as some, count(f.attname) as ours from pg_class c "
    "join pg_namespace n on n.oid = c.relnamespace and n.nspname = %s left join pg_attribute f on f.attrelid = c.oid and "
    "c.relname = 'facts' and f.attname = 'format' where c.relkind in ('r', 'p', 'v', 'm', 'f')"
)
"""How many tables of our names a schema has, and whether its facts are such as we write."""

SOURCE = "{at}.codes"
LABELED = (
    "(select code, min(age) as age, count(*) as items from {at}.items where labels @> array[{label}] group by code)"
)
"""The codes that are compared: all, or those of the items with a label."""

NEAR = """
with codes as {how} materialized (select code, age, items from {source} as all_codes)
select q.n, near.code::text, near.distance
from unnest(%(queries)s::bit({bits})[]) with ordinality as q (code, n)
cross join lateral (
    select code, distance, sum(items) over (order by distance range between unbounded preceding and 1 preceding) as nearer
    from (
        select code, items, bit_count(code # q.code) as distance from codes order by distance, age limit %(k)s
    ) as first
) as near
where coalesce(near.nearer, 0) < %(k)s
order by q.n
"""
WITHIN = """
with codes as {how} materialized (select code from {source} as all_codes)
select q.n, codes.code::text, bit_count(codes.code # q.code) as distance
from unnest(%(queries)s::bit({bits})[]) with ordinality as q (code, n)
join codes on bit_count(codes.code # q.code) <= %(radius)s
order by q.n
"""
ITEMS = """
select c.n, i.age, i.id from unnest(%(codes)s::bit({bits})[]) with ordinality as c (code, n)
cross join lateral (
    select age, id from {at}.items where items.code = c.code {labeled} order by age limit %(most)s
) as i
"""
EVERYTHING = "select id, code::text, labels from {at}.items order by age"

COMING = """
create temporary table coming (id text collate "C", code bit({bits}), age bigint, labels integer[]) on commit drop
"""
TAKEN = "select min(id) from coming join {at}.items using (id)"
ADD = """
insert into {at}.codes as old (code, age, items) select code, min(age), count(*) from coming group by code
    on conflict (code) do update set items = old.items + excluded.items;
insert into {at}.items (id, code, age, labels) select id, code, age, labels from coming;
update {at}.facts set items = items + {count}, codes = (select count(*) from {at}.codes), classes = {classes}, bank_digest = '',
    next_age = {next_age}
"""
GOING = """create temporary table going (id text collate "C" primary key) on commit drop"""
MISSING = "select count(*), min(id) from going where not exists (select from {at}.items where items.id = going.id)"
REMOVE = """
create temporary table freed on commit drop as
    select code, count(*) as items from {at}.items where id in (select id from going) group by code;
delete from {at}.items where id in (select id from going);
update {at}.codes set items = codes.items - freed.items from freed where codes.code = freed.code;
delete from {at}.codes where items = 0;
update {at}.codes set age = oldest.age
    from (select code, min(age) as age from {at}.items where code in (select code from freed) group by code) as oldest
    where codes.code = oldest.code and codes.age <> oldest.age;
update {at}.facts set items = items - {count}, codes = (select count(*) from {at}.codes), bank_digest = ''
"""


def bit_texts(packed: Bytes, bits: int) -> list[str]:
    """Codes `(n, bytes)` as PostgreSQL writes them, `n` texts of zeros and ones."""
    text = ((unpack(packed, bits) > 0).astype(np.uint8) + ord("0")).tobytes().decode("ascii")
    return [text[start : start + bits] for start in range(0, len(text), bits)]


def packed_codes(texts: Sequence[str], bits: int) -> Bytes:
    """Codes from texts of zeros and ones, `(n, ceil(bits / 8))`."""
    flat = np.frombuffer("".join(texts).encode("ascii"), np.uint8).reshape(-1, bits) - ord("0")
    return np.packbits(flat, axis=1, bitorder="little")


def label_texts(labels: LabelSets) -> list[str]:
    """Class numbers of each item, as an array of PostgreSQL is written."""
    if isinstance(labels.sets, ClassNumbers):
        texts = [f"{{{number}}}" if number >= 0 else "{}" for number in labels.sets.numbers.tolist()]
    else:
        texts = [f"{{{','.join(map(str, np.flatnonzero(row)))}}}" for row in labels.sets]
    return [texts[number] for number in labels.which.tolist()]


def id_texts(ids: Array) -> list[str]:
    """Ids as COPY reads them.

    Raises:
        RequestError: an id that PostgreSQL cannot hold.
    """
    found = []
    for name in ids.tolist():
        if "\0" in name or any("\ud800" <= letter <= "\udfff" for letter in name):
            raise RequestError(f"the id {name!r} cannot be kept in PostgreSQL: it is no UTF-8 text without zeros")
        found.append(name.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r"))
    return found


def copy_rows(cursor: Any, statement: str, *columns: Iterable[str]) -> None:
    """Send rows, given as columns of texts, by COPY."""
    with cursor.copy(statement) as copy:
        for chunk in _chunks(columns):
            copy.write(chunk)


def _chunks(columns: Sequence[Iterable[str]]) -> Iterator[str]:
    rows = map("\t".join, zip(*columns, strict=True))
    while part := list(islice(rows, CHUNK)):
        yield "\n".join(part) + "\n"
