"""`hamguard index add` and `remove`: changed in one step, and nothing that is in doubt is added or lost."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hamguard.core.files import seal, write_sealed
from hamguard.models.store import load_folder
from hamguard.retrieval.engines import open_index
from tests.cli.conftest import World
from tests.cli.helpers import Shell
from tests.cli.test_search import copy_of

FILES = ["codes", "index.json", "origin.json"]


def names(folder: Path) -> list[str]:
    return sorted("codes" if path.suffix == ".npz" else path.name for path in folder.iterdir())


@pytest.mark.parametrize("engine", ["flat", "ivf"])
def test_items_are_added_and_removed(world: World, shell: Shell, tmp_path: Path, engine: str) -> None:
    index = tmp_path / "index"
    shell.done("index", "build", world.codes / "database.npz", "--out", index, "--engine", engine)
    before = open_index(index).ids.tolist()
    query = np.load(world.codes / "query.npz")["ids"].tolist()
    fact = shell.done("index", "add", index, world.codes / "query.npz", "--json").rows[0]
    assert fact["count"] == len(before) + len(query) and names(index) == FILES
    assert open_index(index).ids.tolist() == before + query
    found = shell.done("search", index, "query:0", "--top", 3, "--json").rows
    assert found[0]["distance"] == 0
    gone = tmp_path / "gone.txt"
    gone.write_text("\n".join(query[1:]) + "\n\n")
    said = shell.done("index", "remove", index, query[0], f"@{gone}", query[0]).out
    assert f"{engine} index, {len(before)} codes of 12 bits" in said and names(index) == FILES
    ask = (world.picture, "--top", 5, "--json")
    assert shell.done("search", index, *ask).rows == shell.done("search", world.index, *ask).rows


def test_what_cannot_be_added_or_removed_changes_nothing(world: World, shell: Shell, tmp_path: Path) -> None:
    index = copy_of(world.index, tmp_path / "index")
    whole = {path.name: path.read_bytes() for path in index.iterdir()}
    first = open_index(index).ids.tolist()
    np.savez(tmp_path / "foreign.npz", codes=np.ones((2, 12), int), ids=np.array(["a", "b"]))
    np.savez(tmp_path / "short.npz", codes=np.ones((2, 8), int), ids=np.array(["a", "b"]))
    for words, said in (
        (("add", index, world.codes / "database.npz"), "is already in the index; remove it first"),
        (("add", index, tmp_path / "foreign.npz"), "foreign.npz does not say which model made it"),
        (("add", index, tmp_path / "none.npz"), "no code bank at"),
        (("add", tmp_path / "none", world.codes / "query.npz"), "no index at"),
        (("remove", index, "nobody", first[0]), "1 ids are not in the index, the first is 'nobody'"),
        (("remove", index, f"@{tmp_path / 'none.txt'}"), "no list of ids at"),
        (("remove", index, *first), f"these are all {len(first)} items"),
        (("remove", tmp_path, "a"), "no index at"),
    ):
        assert said in shell.fails(2, "index", *words)
        assert {path.name: path.read_bytes() for path in index.iterdir()} == whole
    shell.done("index", "build", tmp_path / "foreign.npz", "--out", tmp_path / "strange")
    assert "the index holds codes of 12 bits, these have 8" in shell.fails(
        2, "index", "add", tmp_path / "strange", tmp_path / "short.npz"
    )


@pytest.mark.parametrize(
    "fact", [{"model": 3}, {"modality": None}, {"everything": "yes"}, {"data_root": 1.5}, {"protocol": []}]
)
def test_an_origin_of_wrong_types_is_damage(
    world: World, shell: Shell, tmp_path: Path, fact: dict[str, object]
) -> None:
    index = copy_of(world.index, tmp_path / "index")
    told = json.loads((index / "origin.json").read_text())
    (index / "origin.json").write_text(json.dumps(told | fact))
    assert "origin.json is damaged: its content was changed" in shell.fails(2, "search", index, world.picture)
    del told["digest"]
    (index / "origin.json").write_text(json.dumps(seal(told | fact)))
    assert f"origin.json is damaged: {next(iter(fact))} cannot be" in shell.fails(2, "search", index, world.picture)


def test_a_card_that_asks_for_much_is_refused_before_anything_is_built(world: World, tmp_path: Path) -> None:
    model = copy_of(world.model, tmp_path / "model")
    card = json.loads((model / "card.json").read_text())
    del card["digest"]
    write_sealed(model / "card.json", card | {"size": [4096, 4096]})  # the layer above would have 2.5 GB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="weights and card do not fit"):
        load_folder(model)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kilobytes


def test_names_are_written_to_any_output(world: World, tmp_path: Path) -> None:
    """One process, whose output knows neither the letters of a name nor bytes that are no UTF-8."""
    odd = os.fsdecode(os.fsencode(tmp_path) + "/犬 caf".encode() + b"\xe9\x1b[2J\nhamguard: all fine")
    Path(odd).symlink_to(world.index)
    command = [sys.executable, "-m", "hamguard", "index", "info", odd]
    for encoding, name in (("cp1252", rb"\u72ac caf\xe9"), ("utf-8", "犬 caf".encode() + rb"\xe9")):
        made = subprocess.run(
            command, capture_output=True, env=os.environ | {"PYTHONIOENCODING": encoding}, check=False
        )
        lines = made.stdout.splitlines()
        assert made.returncode == 0 and made.stderr == b"", made.stderr
        assert name + rb"\x1b[2J\nhamguard: all fine: flat index, 250 codes" in lines[0] and b"\x1b" not in made.stdout
