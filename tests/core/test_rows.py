"""Every fault of a rows file is said with its line, its key, what was received and what is allowed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hamguard.core.errors import RequestError
from hamguard.core.rows import KINDS, Row, read_rows

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
    '{"n": -1}': "n must be a whole number of at least 0 or null, got -1",
    '{"n": 1.5}': "n must be a whole number",
    '{"at": "10"}': "at must be a whole number",
    '{"seconds": -0.1}': "seconds must be a finite number of at least 0",
    '{"seed": 1.0}': "seed must be a whole number",
    '{"model": 3}': "model must be text or null, got 3",
    '{"hashes": {"model": 3}}': "hashes must be an object of texts",
    '{"notes": "one"}': "notes must be a list of texts",
    '{"notes": [1]}': "notes must be a list of texts",
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
