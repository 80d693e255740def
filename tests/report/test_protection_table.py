"""Tables of protections: every protection of a study has its line."""

from __future__ import annotations

from dataclasses import replace

from hamguard.core.rows import Row
from hamguard.report.protection_table import four_searches_table

ROW = Row(
    dataset="shop", split="s", model="a-dsdh", method="dsdh", bits=16, task="C->A", train="C", metric="map", value=0.2, n=10,
    attack={"method": "ppl", "eps": 0.3, "protector": "aaaa"},
)  # fmt: skip


def test_protections_of_one_name_and_size_have_a_line_each() -> None:
    other = replace(ROW, model="b-dsdh", value=0.3, attack={**(ROW.attack or {}), "protector": "bbbb"})
    whole = [ROW, replace(ROW, task="A->A", value=0.6), other, replace(other, task="A->A", value=0.7)]
    table = four_searches_table(whole)
    assert table is not None
    assert [tuple(cell.text for cell in line) for line in table.rows] == [
        ("ppl 0.3 (aaaa)", "dsdh", "16", "C", "None", "0.200", "0.600"),
        ("ppl 0.3 (bbbb)", "dsdh", "16", "C", "None", "0.300", "0.700"),
    ]
    alone = four_searches_table(whole[:2])
    assert alone is not None and alone.rows[0][0].text == "ppl 0.3"
