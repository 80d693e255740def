"""Every fault of a rows file is said with its line, its key, what was received and what is allowed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from hamguard.core import rows
from hamguard.core.errors import RequestError
from hamguard.core.rows import KINDS, Row, Rows, read_rows, write_rows

FAULTS = {
    "[1]": r"not a JSON object, got \[1\]",
    '"text"': "not a JSON object",
    "{": "not a JSON object",
    "null": "not a JSON object, got null",
    '{"metrik": 1}': "unknown keys metrik",
    '{"value": "abc"}': 'value must be a finite number or null, got "abc"',
    '{"value": true}': "value must be a finite number",
    '{"value": NaN}': "NaN is no JSON number",
    '{"attack": {"eps": -Infinity}}': "-Infinity is no JSON number",
    '{"value": 1e999}': "value must be a finite number",
    '{"value": 1' + "0" * 400 + "}": "value must be a finite number",
    '{"ci95": [0.1, 0.2, 0.3]}': "ci95 must be two finite numbers",
    '{"ci95": []}': "ci95 must be two finite numbers",
    '{"ci95": [0.3, 0.1]}': "the lower one first",
    '{"ci95": 0.1}': "ci95 must be two finite numbers",
    '{"attack": "hag"}': 'attack must be an object or null, got "hag"',
    '{"threat": []}': "threat must be an object",
    '{"threat": {"norm": "linf", "eps": 1e999}}': "threat must hold finite numbers",
    '{"threat": {"norm": "linf", "eps": 1' + "0" * 400 + "}}": "threat must hold finite numbers",
    '{"attack": {"values": [{"x": -1e999}]}}': "attack must hold finite numbers",
    '{"defense": {"a": ' + "[" * 40 + "]" * 40 + "}}": "defense must hold finite numbers",
    '{"n": -1}': "n must be a whole number of at least 0 or null, got -1",
    '{"n": 1.5}': "n must be a whole number",
    '{"at": "10"}': "at must be a whole number",
    '{"seconds": -0.1}': "seconds must be a finite number of at least 0",
    '{"seed": 1.0}': "seed must be a whole number",
    '{"model": 3}': "model must be text or null, got 3",
    '{"hashes": {"model": 3}}': "hashes must be an object of texts",
    '{"notes": "one"}': "notes must be a list of texts",
    '{"notes": [1]}': "notes must be a list of texts",
    '{"model": "a\\ud800"}': r"'a\\ud800' holds half a character",
    '{"notes": ["a\\udce9"]}': "holds half a character",
    '{"attack": {"x": [{"\\udce9": 1}]}}': "holds half a character",
    "[" * 100_000: "not a JSON object",
}


@pytest.mark.parametrize("line", FAULTS, ids=lambda line: line[:24])
def test_a_fault_is_said_with_its_line(line: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{Row(value=0.5).json()}\n\n{line}\n")
    with pytest.raises(RequestError, match=rf"rows\.jsonl, line 3: .*{FAULTS[line]}") as caught:
        read_rows(path)
    assert len(str(caught.value)) < len(str(path)) + 200 and "\n" not in str(caught.value)


def test_what_is_no_text_is_said_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(Row(value=0.5).json().encode() + b"\n\xff\xfe\n")
    with pytest.raises(RequestError, match="line 2: not a JSON object"):
        read_rows(path)


def test_every_key_may_be_null_and_a_missing_version_is_said(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(dict.fromkeys(KINDS)) + "\n{}\n")
    assert read_rows(path) == [Row(version="unknown")] * 2


def test_a_line_that_never_ends_is_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "LONGEST", 1000)
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{Row(value=0.5).json()}\n{Row(notes=('a' * 1000,)).json()}\n")
    with pytest.raises(RequestError, match=r"rows\.jsonl, line 2: longer than 1,000 bytes"):
        read_rows(path)


def test_what_is_no_ordinary_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RequestError, match="pipe is not an ordinary file"):
        read_rows(tmp_path / "pipe")
    with pytest.raises(RequestError, match="is a folder"):
        read_rows(tmp_path)


def test_equal_facts_of_many_rows_are_kept_once_and_others_keep_their_kind(tmp_path: Path) -> None:
    facts: list[dict[str, Any]] = [{"method": "hag", "a": 1}, {"method": "hag", "a": 1.0}, {"method": "hag", "a": True}]
    made = [
        Row(attack=facts[n % 3], notes=("one", "two"), ci95=(0.1, 0.2), model="m", hashes={"model": "h"})
        for n in range(6)
    ]
    write_rows(tmp_path / "rows.jsonl", made)
    read = read_rows(tmp_path / "rows.jsonl")
    assert [repr(row) for row in read] == [repr(row) for row in made]
    assert all(read[n].attack is read[n + 3].attack for n in range(3)) and read[0].attack is not read[1].attack
    assert len({id(row.hashes) for row in read}) == len({id(row.notes) for row in read}) == 1


def test_equal_rows_stand_once_whatever_time_they_took() -> None:
    rows = [Row(value=0.5, seconds=1.0), Row(value=0.25), Row(value=0.5, seconds=2.0), Row(value=0.5, seed=1)]
    assert Rows(rows).once() == [rows[0], rows[1], rows[3]]
