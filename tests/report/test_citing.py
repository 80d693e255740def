"""A page cites the methods that its rows used, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from hamguard.core.rows import Row
from hamguard.report.citing import bibtex_for, used_names
from hamguard.report.collect import collect_rows
from hamguard.report.rows_page import rows_report, write_rows_page

HAG = Row(dataset="toy", model="m", method="csq", task="query->database", metric="map", value=0.2, n=4,
          attack={"method": "hag", "guide": "own"}, threat={"norm": "linf", "eps": 0.1})  # fmt: skip


def keys(entries: list[str]) -> list[str]:
    return [entry.partition("{")[2].partition(",")[0] for entry in entries]


def test_a_page_of_hag_on_csq_cites_both_and_no_other(tmp_path: Path) -> None:
    write_rows_page(rows_report(collect_rows([HAG])), tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert re.findall(r"@\w+\{(\w+),", text) == ["yang2020hag", "yuan2020csq", "hamguard"]
    assert text.index("Cite what you used") > text.index(">Remarks<")


def test_defenses_purifiers_guides_and_measures_are_cited() -> None:
    purified = Row(
        defense={"method": "purify", "with": "jpeg:75+bits:4", "before": {"method": "saat"}},
        attack={"method": "pgd", "guide": "anchor"},
    )
    found = keys(bibtex_for(used_names([purified, Row(metric="clever[bit]-median"), Row(method="pca")])))
    assert found == [
        "bai2020dhta", "yuan2023saat", "madry2018pgd", "das2017jpeg", "xu2018squeezing", "athalye2018obfuscated",
        "weng2018clever", "hamguard",
    ]  # fmt: skip
    assert keys(bibtex_for(used_names([Row(metric="map", value=0.5)]))) == ["hamguard"]


def test_parts_of_a_search_are_cited_where_they_were_used() -> None:
    search = {"nesterov": False, "translation": 5, "views": [{"kind": "Diverse"}, {"kind": "Noisy"}]}
    row = Row(attack={"method": "mifgsm", "values": {"kind": "Attack", "search": search}})
    assert keys(bibtex_for(used_names([row]))) == [
        "dong2018mifgsm",
        "xie2019diversity",
        "dong2019translation",
        "hamguard",
    ]
    plain = Row(attack={"method": "mifgsm", "values": {"search": {"nesterov": True, "translation": 0}}})
    assert keys(bibtex_for(used_names([plain]))) == ["dong2018mifgsm", "lin2020nesterov", "hamguard"]
    for odd in (None, [], {"search": []}, {"search": {"views": "plain"}}, {"search": {"views": ["plain"]}}):
        assert keys(bibtex_for(used_names([Row(attack={"method": "mifgsm", "values": odd})]))) == [
            "dong2018mifgsm",
            "hamguard",
        ]
