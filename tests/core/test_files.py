"""The one door for reading and the one writer: what is refused, what is sealed, what a kill leaves."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from hamguard.core import files
from hamguard.core.archives import map_array, read_npz, seal_array
from hamguard.core.digests import digest_array
from hamguard.core.errors import DamagedError, MissingFileError, RequestError, RunError
from hamguard.core.rows import Row, read_rows, read_sealed_rows, write_rows
from hamguard.core.shown import json_line, shown


def lookalike(path: Path, kind: str) -> None:
    """Something in the place of a file that is no ordinary file, or far too large."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path)
    else:
        with path.open("wb") as stream:
            stream.truncate(1 << 40)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("pipe", "is not an ordinary file, no card"), ("folder", "is a folder, no card"), ("loop", "cannot be read"),
        ("device", "is not an ordinary file, no card"), ("huge", "has 1,099,511,627,776 bytes, too many for a card; the limit"),
    ],
)  # fmt: skip
def test_only_ordinary_files_of_a_fitting_size_are_opened(tmp_path: Path, kind: str, said: str) -> None:
    path = tmp_path / "card"
    lookalike(path, kind)
    for read in (files.read_bytes, files.read_text, files.read_json, files.read_sealed):
        with pytest.raises(RequestError, match=said) as caught:
            read(path, "card")
        assert "\n" not in str(caught.value)
    if kind != "huge":
        with pytest.raises(RequestError, match=said):
            read_npz(path, "card")
    with pytest.raises(MissingFileError, match="no card at .*nothing: the file does not exist"):
        files.read_bytes(tmp_path / "nothing", "card")
    with pytest.raises(RequestError, match="is not a file name"):
        files.read_bytes("a\0b", "card")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe{", r"it is not UTF-8 text \(byte 0\)"), (b"{", "it is not JSON"), (b"[1]", "it holds no JSON object"),
        (b"[" * 100_000, "it is nested too deeply|it is not JSON"), (b"", "it is not JSON"),
        (b'{"a":' + b"9" * 5000 + b"}", "it is not JSON"),
    ],
)  # fmt: skip
def test_damaged_json_is_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "facts.json"
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=f"facts.json is damaged: {said}") as caught:
        files.read_json(path, "facts")
    assert "\n" not in str(caught.value)


def test_a_seal_holds_every_value_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    facts = {"a": 1, "b": [1.5, (2, 3)], 4: {"x": None}, "name": "caf\udce9"}
    files.write_sealed(path, facts)
    assert files.read_sealed(path, "facts") == {"a": 1, "b": [1.5, [2, 3]], "4": {"x": None}, "name": "caf\udce9"}
    whole = json.loads(path.read_text())
    for change in ({"a": 2}, {"b": [1.5, [3, 2]]}, {"4": {}}, {"more": 1}, {"digest": "0" * 16}, {"digest": None}):
        path.write_text(json.dumps(whole | change))
        with pytest.raises(DamagedError, match="its content was changed after it was written"):
            files.read_sealed(path, "facts")
    del whole["digest"]
    path.write_text(json.dumps(whole))
    with pytest.raises(DamagedError, match="it has no digest, or an older hamguard wrote it; make it again"):
        files.read_sealed(path, "facts")
    assert files.read_sealed(path, "facts", old=lambda found: found["a"] == 1)["a"] == 1


def test_sealed_arrays_know_a_change_that_the_archive_does_not(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    arrays = {"x": np.arange(6).reshape(2, 3), "name": np.array("run"), "ids": np.array(["a", "caf\udce9"])}
    files.write_npz(path, arrays)
    found = read_npz(path, "arrays", sealed=True)
    assert sorted(found) == sorted(arrays) and all(np.array_equal(found[name], arrays[name]) for name in arrays)
    held = read_npz(path, "arrays")["digest"]
    changes: list[dict[str, np.ndarray]] = [
        {"x": arrays["x"][::-1]}, {"x": arrays["x"].astype(np.int32)}, {"x": arrays["x"].T}, {"ids": arrays["ids"][::-1]},
        {"name": np.array("other")}, {"more": np.zeros(1)},
    ]  # fmt: skip
    for change in changes:
        np.savez(path, **arrays | change, digest=held)
        with pytest.raises(DamagedError, match="its arrays are not those that were written"):
            read_npz(path, "arrays", sealed=True)
    np.savez(path, **arrays)
    with pytest.raises(DamagedError, match="its arrays are not those that were written"):
        read_npz(path, "arrays", sealed=True)


def test_a_mapped_array_is_trusted_with_its_hash_only(tmp_path: Path) -> None:
    path, array = tmp_path / "a.npy", np.arange(12, dtype=np.uint8)
    np.save(path, array)
    assert map_array(path) is None
    seal_array(path, digest_array(array))
    found = map_array(path)
    assert found is not None and np.array_equal(found[0], array) and found[1] == digest_array(array)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    assert map_array(path) is None
    path.write_bytes(b"\x93NUMPY\x01\x00\xff\xff(")
    assert map_array(path) is None


def test_sealed_rows_and_what_lies_beside_them(tmp_path: Path) -> None:
    path, rows = tmp_path / "rows.jsonl", [Row(value=0.5, notes=("caf\udce9",)), Row(value=0.25)]
    write_rows(path, rows, seal={"beside": {"a": "1"}})
    read, facts = read_sealed_rows(path)
    assert facts == {"beside": {"a": "1"}} and read == read_rows(path)
    assert [row.value for row in read] == [0.5, 0.25] and read[0].notes == (r"caf\xe9",)
    lines = path.read_bytes().splitlines(keepends=True)
    for content in (
        path.read_bytes().replace(b"0.5", b"0.6"), path.read_bytes().replace(b'"a": "1"', b'"a": "2"'), b"".join(lines[:2]),
        b"".join(lines[1:]), b"", lines[2],
    ):  # fmt: skip
        path.write_bytes(content)
        with pytest.raises(DamagedError):
            read_sealed_rows(path)
    write_rows(path, [], seal={})
    assert read_sealed_rows(path) == ([], {})


def test_what_cannot_be_written_is_known_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    files.check_writable(tmp_path / "new" / "deep" / "rows.jsonl")
    files.check_writable(tmp_path / "file")  # it would be replaced
    assert [one.name for one in tmp_path.iterdir()] == ["file"], "nothing is made"
    for path, said in ((tmp_path, "Is a directory"), (tmp_path / "file" / "rows.jsonl", "Not a directory")):
        with pytest.raises(RunError, match=f"cannot write {path}: {said}"):
            files.check_writable(path)
    monkeypatch.setattr(os, "access", lambda place, mode: False)
    with pytest.raises(RunError, match=f"rows.jsonl: {tmp_path} takes no files"):
        files.check_writable(tmp_path / "new" / "rows.jsonl")


def test_any_name_that_a_disk_takes_can_be_written(tmp_path: Path) -> None:
    name = "x" * 251 + ".txt"
    files.write_text(tmp_path / name, "whole")
    assert (tmp_path / name).read_text() == "whole"
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.json"))
    files.write_sealed(odd, {"a": 1})
    assert files.read_sealed(odd, "facts") == {"a": 1}
    assert len(list(tmp_path.iterdir())) == 2


def _write_slowly(path: str, begun: str) -> None:
    with files.replacing(path) as temporary:
        temporary.write_bytes(b"half")
        Path(begun).touch()
        time.sleep(60)


def test_what_a_kill_left_goes_and_what_is_being_written_stays(tmp_path: Path) -> None:
    place, begun = tmp_path / "out", [tmp_path / "begun-1", tmp_path / "begun-2"]
    place.mkdir()
    fork = multiprocessing.get_context("forkserver")
    both = [fork.Process(target=_write_slowly, args=(str(place / f"{n}.bin"), str(begun[n]))) for n in (0, 1)]
    for one in both:
        one.start()
    while not all(path.exists() for path in begun):
        time.sleep(0.01)
    assert both[0].pid is not None
    os.kill(both[0].pid, signal.SIGKILL)
    both[0].join()
    assert len(list(place.iterdir())) == 2  # one of the killed, one of the living
    files.sweep(place, again=True)
    (left,) = place.iterdir()
    assert left.name.startswith(".hamguard-") and left.suffix == ".bin"
    (place / ".hamguard-notes.txt").write_text("a person's own")
    both[1].kill()
    both[1].join()
    files.sweep(place, again=True)
    assert [path.name for path in place.iterdir()] == [".hamguard-notes.txt"]


def test_two_that_change_a_folder_wait_for_each_other(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("forkserver")
    (tmp_path / "n").write_text("0")
    both = [fork.Process(target=_count_up, args=(str(tmp_path),)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert (tmp_path / "n").read_text() == "40"
    with pytest.raises(MissingFileError, match="no folder at"), files.updating(tmp_path / "none"):
        pass


def _count_up(folder: str) -> None:
    for _ in range(20):
        with files.updating(folder):
            number = int((Path(folder) / "n").read_text())
            time.sleep(0.001)
            (Path(folder) / "n").write_text(str(number + 1))


def test_names_are_shown_in_one_line_in_any_encoding() -> None:
    assert shown("bad\nhamguard: all fine.jpg") == "bad\\nhamguard: all fine.jpg"
    assert shown("a\x1b[31m\x9b2J\u202e\u2028b\udce9") == "a\\x1b[31m\\x9b2J\\u202e\\u2028b\\xe9"
    assert shown("犬/Käse.png") == "犬/Käse.png"
    value = {"id": "犬\x9b\u202e\udce9\n\U0001f600"}
    for encoding in ("utf-8", "cp1252", "ascii", None):
        line = json_line(value, encoding)
        assert json.loads(line) == value and "\n" not in line and "\x9b" not in line
        line.encode(encoding or "utf-8")
