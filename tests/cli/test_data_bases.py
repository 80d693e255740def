"""One index in a folder and on servers: every verb answers alike, and no password leaves its address."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hamguard.retrieval.engines import open_index
from hamguard.retrieval.stores.address import hidden
from tests.cli.conftest import World
from tests.cli.helpers import Shell

AUDIT = ("--eps", 0.1, "--queries", 4, "--steps", 1, "--answers", 20, "--check", "none", "--no-substitute")


@pytest.fixture(params=["postgres", "milvus"])
def address(request: pytest.FixtureRequest) -> str:
    """Address of an index that no test has built, with a password in it that the server does not ask for."""
    url = str(request.getfixturevalue(request.param))
    return url.replace("postgres:@", "postgres:never-shown@") + "#world"


def like(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Rows without seconds, and without the note that the database is an index."""
    found = []
    for row in rows:
        notes = [note for note in row.get("notes", []) if not str(note).startswith("the database is the index")]  # type: ignore[attr-defined]
        found.append({key: value for key, value in row.items() if key != "seconds"} | {"notes": notes})
    return found


def test_every_verb_answers_as_with_a_folder(world: World, shell: Shell, tmp_path: Path, address: str) -> None:
    made = shell.done("index", "build", world.codes / "database.npz", "--out", address)
    assert "never-shown" not in made.out + made.err and "Next: hamguard search" in made.out
    facts, folder = (shell.done("index", "info", place, "--json").rows[0] for place in (address, world.index))
    for key in ("bits", "count", "distinct", "classes", "model_hash", "split_hash", "bank_digest", "origin"):
        assert facts[key] == folder[key]
    assert "never-shown" not in str(facts) and facts["bytes"] > 0
    for more in (("--top", 5), ("--radius", 2), ("--top", 7, "--label", 3), ("--radius", 3, "--label", 1)):
        ask = ("query:0", "query:7", world.picture, *more, "--json")
        assert shell.done("search", address, *ask).rows == shell.done("search", world.index, *ask).rows
    query = ("--query-codes", world.codes / "query.npz")
    plain = shell.done("evaluate", world.model, "--json").rows
    file = shell.done("evaluate", *query, "--database-codes", world.codes / "database.npz", "--json").rows
    for place in (address, world.index):
        assert like(shell.done("evaluate", world.model, "--index", place, "--json").rows) == like(plain)
        found = shell.done("evaluate", *query, "--index", place, "--json").rows
        assert found[0]["model"] == f"query.npz, {hidden(str(place))}"
        assert [(row["metric"], row["value"], row["ci95"]) for row in found] == [
            (row["metric"], row["value"], row["ci95"]) for row in file
        ]
    attack = ("attack", world.model, "--method", "fgsm", "--eps", 0.1, "--queries", 5, "--json")
    rows = shell.done(*attack, "--index", address, "--out", tmp_path / "rows.jsonl").rows
    assert like(rows) == like(shell.done(*attack).rows)
    assert (
        "never-shown" not in (tmp_path / "rows.jsonl").read_text() and "#world" in (tmp_path / "rows.jsonl").read_text()
    )


def test_an_audit_asks_the_index(world: World, shell: Shell, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from hamguard.retrieval.stores.server_index import ServerIndex

    shell.done("index", "build", world.codes / "database.npz", "--out", address)
    asked, own = [], ServerIndex.search

    def counted(self: ServerIndex, query: np.ndarray, k: int, **rest: object) -> object:
        asked.append(len(query))
        return own(self, query, k, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(ServerIndex, "search", counted)
    rows = like(shell.done("audit", world.model, *AUDIT, "--index", address, "--json").rows)
    assert sum(asked) > 20
    assert rows == like(shell.done("audit", world.model, *AUDIT, "--json").rows)
    line = shell.fails(2, "audit", world.model, *AUDIT, "--index", address, "--endpoint", "a:b")
    assert "--endpoint and --index are two searches" in line


def test_a_threshold_and_groups_are_those_of_the_file(world: World, shell: Shell, tmp_path: Path, address: str) -> None:
    bank = world.codes / "database.npz"
    shell.done("index", "build", bank, "--out", address)
    for words in (("threshold", "--items", 10**5, "--false-matches", 5), ("dedupe", "--radius", 3)):
        verb, *rest = words
        rows, file = (shell.done(verb, place, *rest, "--json").rows for place in (address, bank))
        assert {row["model"] for row in rows}.pop().endswith("#world") and "never-shown" not in str(rows)
        said = [
            [(row["metric"], row["at"], row["value"], row["ci95"], row["hashes"]) for row in one]
            for one in (rows, file)
        ]
        assert said[0] == said[1] and len(rows) >= 3
    for place, name in ((address, "server.jsonl"), (bank, "file.jsonl")):
        shell.done("dedupe", place, "--radius", 3, "--out", tmp_path / name)
    assert (tmp_path / "server.jsonl").read_text() == (tmp_path / "file.jsonl").read_text() != ""


def test_items_are_added_and_removed(world: World, shell: Shell, address: str) -> None:
    shell.done("index", "build", world.codes / "database.npz", "--out", address)
    query = np.load(world.codes / "query.npz")["ids"].tolist()
    fact = shell.done("index", "add", address, world.codes / "query.npz", "--json").rows[0]
    assert fact["count"] == 250 + len(query)
    assert shell.done("search", address, "query:0", "--top", 1, "--json").rows[0]["distance"] == 0
    line = shell.fails(2, "index", "add", address, world.codes / "query.npz")
    assert "is already in the index; remove it first" in line and "never-shown" not in line
    said = shell.done("index", "remove", address, *query).out
    assert "250 codes of 12 bits" in said and "never-shown" not in said
    assert list(open_index(address).ids) == list(open_index(world.index).ids)


def test_what_does_not_belong_together_is_refused(world: World, shell: Shell, tmp_path: Path, address: str) -> None:
    shell.done("train", "--data", world.data, "--bits", 12, "--epochs", 1, "--seed", 3, "--out", tmp_path / "other")
    shell.done("index", "build", world.codes / "database.npz", "--out", address)
    for verb in (("evaluate",), ("attack", "--method", "fgsm", "--eps", 0.1), ("audit", *AUDIT)):
        line = shell.fails(2, verb[0], tmp_path / "other", *verb[1:], "--index", address)
        assert "is stale: it belongs to model" in line and "build it again" in line and "never-shown" not in line
    assert "is stale: it belongs to model" in shell.fails(
        2, "search", address, world.picture, "--model", tmp_path / "other"
    )
    np.savez(tmp_path / "foreign.npz", codes=np.ones((2, 12), int), ids=np.array(["a", "b"]))
    line = shell.fails(2, "index", "add", address, tmp_path / "foreign.npz")
    assert "does not say which model made it" in line and "never-shown" not in line
    with np.load(world.codes / "database.npz") as bank:
        held = dict(bank)
    from hamguard.codes.bank import CodeBank

    bare = CodeBank(
        held["packed"], 12, np.zeros((250, 0), np.uint8), held["ids"], str(held["model_hash"]), str(held["split_hash"])
    )
    bare.save(tmp_path / "bare.npz")
    shell.done("index", "build", tmp_path / "bare.npz", "--out", address)
    assert "holds no labels, the queries have 5 classes" in shell.fails(2, "evaluate", world.model, "--index", address)
    assert "holds no labels to choose by" in shell.fails(
        2, "search", address, "query:0", "--label", 1, "--model", world.model
    )
    other = CodeBank(held["packed"], 12, held["labels"], held["ids"], str(held["model_hash"]), "another")
    other.save(tmp_path / "split.npz")
    shell.done("index", "build", tmp_path / "split.npz", "--out", address)
    assert "is stale: it belongs to split another" in shell.fails(2, "evaluate", world.model, "--index", address)


def test_addresses_of_unknown_kinds_and_servers_that_are_away(world: World, shell: Shell) -> None:
    for verb in (("index", "info"), ("search",)):
        more = () if verb[0] == "index" else (world.picture,)
        line = shell.fails(2, *verb, "redis://me:never-shown@host/x", *more)
        assert "redis://me@host/x: an index is kept in a folder, or at" in line
    both = ("evaluate", "--query-codes", world.codes / "query.npz", "--index", world.index)
    assert "two databases" in shell.fails(2, *both, "--database-codes", world.codes / "database.npz")
    for option in (("--view", "jpeg:50"), ("--learned",)):
        assert "leave out --index" in shell.fails(2, "evaluate", world.model, *option, "--index", world.index)


def test_a_check_of_an_address_shows_no_password(shell: Shell, tmp_path: Path, address: str) -> None:
    few = ("--items", 100, "--queries", 5, "--collapse", 0)
    done = shell.done("engine", "check", address, *few, "--out", tmp_path / "checked")
    assert hidden(address) in done.out and "never-shown" not in done.out + done.err
    for file in ("rows.jsonl", "report.html"):
        assert "never-shown" not in (tmp_path / "checked" / file).read_text()
    for line in shell.done("engine", "check", address, *few, "--json").rows:
        assert line["model"] == hidden(address)
