"""What the sentences must not say: that a control protects, or that one attacker's figure is another's."""

from __future__ import annotations

from typing import Any

from hamguard.core.rows import Row
from hamguard.report.collect import collect_rows
from hamguard.report.rows_page import rows_report
from tests.report.rows_helpers import attacked, row

SEARCHES = ("C->C", "C->A", "A->C", "A->A")


def party(method: str, values: tuple[float, float, float, float]) -> list[Row]:
    more: dict[str, Any] = {"train": "C", "attack": {"method": method}, "threat": {"norm": "linf", "eps": 0.1}}
    return [row(value, task=task, **more) for task, value in zip(SEARCHES, values, strict=True)]


def said_of(rows: list[Row], word: str) -> list[str]:
    return [sentence for sentence in rows_report(collect_rows(rows)).sentences if word in sentence]


def test_noise_is_the_control_of_a_protection_and_never_the_protection() -> None:
    noise, ppl = party("noise", (0.9, 0.1, 0.2, 0.3)), party("ppl", (0.9, 0.5, 0.6, 0.7))
    for rows in (noise + ppl, ppl + noise):
        (sentence,) = said_of([row(0.9), *rows], "protection by")
        assert "protection by ppl" in sentence and "C->A 0.500" in sentence and "widest gap" not in sentence
        assert sentence.endswith("; under noise of that budget C->A 0.100.")
    assert said_of([row(0.9), *noise], "protection by") == []
    (alone,) = said_of([row(0.9), *ppl], "protection by")
    assert "noise" not in alone


def test_a_defense_is_compared_under_the_same_attacker() -> None:
    hard: dict[str, Any] = {
        "model": "models/b", "defense": {"method": "saat"}, "hashes": {"model": "h2", "split": "s1"},
    }  # fmt: skip
    aware, free = {"method": "audit", "labels": "aware"}, {"method": "audit", "labels": "free"}
    rows = [
        row(0.9), attacked(0.2, attack=aware), attacked(0.3, attack=free), row(0.8, **hard),
        attacked(0.5, attack=aware, **hard), attacked(0.7, attack=free, **hard),
    ]  # fmt: skip
    (sentence,) = said_of(rows, "of all defenses")
    assert "leaves MAP 0.500" in sentence and "without defense 0.200" in sentence
