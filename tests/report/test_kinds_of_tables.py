"""Each kind of rows as a table, from the rows that its command printed before."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from hamguard.core.rows import KINDS, Row, Rows
from hamguard.report.attack_table import attack_groups, attack_tables
from hamguard.report.audit_table import audit_table
from hamguard.report.detection_table import detection_table
from hamguard.report.kinds import tables_of
from hamguard.report.protection_table import privacy_table
from hamguard.report.purification_table import purification_table
from hamguard.report.table import Table
from hamguard.report.transfer_table import transfer_tables
from tests.golden.rows import load


def golden(name: str) -> Rows:
    """Rows of a kept command; times are not kept."""
    found = Rows()
    for content in load(name):
        if "metric" in content and "model" in content:
            facts = json.loads(json.dumps(content).replace('"TIME"', "0.0"))
            assert set(facts) == set(KINDS)
            facts["ci95"] = tuple(facts["ci95"]) if facts["ci95"] else None
            found.append(Row(**{**facts, "notes": tuple(facts["notes"])}))
    return found


MAKERS: dict[str, Callable[[Rows], list[Table]]] = {
    "attack-away": lambda rows: attack_tables(attack_groups(rows)),
    "attack-targeted": lambda rows: attack_tables(attack_groups(rows)),
    "attack-budgets": lambda rows: attack_tables(attack_groups(rows)),
    "transfer": transfer_tables,
    "audit": lambda rows: [audit_table(rows)],
    "detect": lambda rows: [detection_table(rows)],
    "purify": lambda rows: [purification_table(rows)],
    "privacy": lambda rows: [privacy_table(rows, "toy")],
}
NAMES = {
    "attack-away": ["clean", "random codes", "noise", "hag", "  opposite of the own code"],
    "attack-targeted": [
        "original (clean picture, target labels)",
        "random codes",
        "noise",
        "dhta",
        "  anchor code itself",
    ],
    "attack-budgets": ["clean", "random codes", "noise", "hag", "  opposite of the own code"],
    "transfer": ["clean", "noise", "model", "adsh"],
    "audit": ["clean", "random codes", "noise"],
    "detect": ["clean", "mainstay", "leave, weight 0.1", "leave, weight 1", "decoy, weight 0.1"],
    "purify": ["none", "jpeg:75", "comdefend:world/comdefend"],
    "privacy": ["ppl, eps 0.3, then jpeg:90"] * 2,
}


@pytest.mark.parametrize("name", MAKERS)
def test_rows_alone_make_the_table(name: str) -> None:
    rows = golden(name)
    first = MAKERS[name](rows)[0]
    wanted = NAMES[name]
    assert [row[0].text for row in first.rows][: len(wanted)] == wanted
    figures = {text.split(" ")[0] for row in first.texts for text in row[1:]}
    known = {form.format(row.value) for row in rows if row.value is not None for form in ("{:.4f}", "{:.3f}", "{:.1%}")}
    assert len(figures & known) >= 3, "figures are those of the rows"


def test_every_attack_has_its_own_noise_and_budget() -> None:
    tables = attack_tables(attack_groups(golden("attack-budgets")))
    assert len(tables) == 2 and [table.title.split(", ")[-2] for table in tables] == ["l2 0.5", "l2 1.5"]
    assert tables[0].notes == () and tables[1].notes


@pytest.mark.parametrize("name", MAKERS)
def test_the_kind_of_rows_is_known_from_the_rows(name: str) -> None:
    rows = golden(name)
    found, wanted = tables_of(rows), MAKERS[name](rows)
    assert [table.columns for table in found] == [table.columns for table in wanted]
    assert [table.texts for table in found] == [table.texts for table in wanted]


def test_rows_of_several_kinds_or_of_none_stand_in_a_plain_table() -> None:
    mixed = Rows([*golden("audit"), *golden("detect")])
    for rows in (mixed, golden("audit").where(attack=None), golden("purify").where(attack="noise")):
        (table,) = tables_of(rows)
        assert table.columns[:3] == ("task", "model", "metric") and len(table.rows) == len(rows)
