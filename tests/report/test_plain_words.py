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
        (sentence,) = said_of([row(0.9), *rows], "protected by")
        assert sentence.startswith(
            "Pictures protected by ppl, which changes no pixel by more than 0.1, it finds with 0.500"
        )
        assert sentence.endswith("; random noise of the same size leaves 0.100.")
    assert said_of([row(0.9), *noise], "protected by") == []
    (alone,) = said_of([row(0.9), *ppl], "protected by")
    assert alone.endswith("it finds with 0.500; no noise of that size was measured.")


def test_a_defense_is_compared_under_the_same_attacker() -> None:
    hard: dict[str, Any] = {
        "model": "models/b", "defense": {"method": "saat"}, "hashes": {"model": "h2", "split": "s1"},
    }  # fmt: skip
    aware, free = {"method": "audit", "labels": "aware"}, {"method": "audit", "labels": "free"}
    rows = [
        row(0.9), attacked(0.2, attack=aware), attacked(0.3, attack=free), row(0.8, **hard),
        attacked(0.5, attack=aware, **hard), attacked(0.7, attack=free, **hard),
    ]  # fmt: skip
    (sentence,) = said_of(rows, "nder the same attack")
    assert "models/b (saat) scores 0.500, models/a without defense 0.200" in sentence


def test_the_most_important_of_every_data_set_comes_before_more_of_one() -> None:
    own = [row(0.9), attacked(0.2)]
    check = {"task": "audit", "metric": "check", "attack": {"check": "transfer", "passed": False}}
    other = [row(0.7, dataset="shop", split="s2"), row(1.0, dataset="shop", split="s2", **check)]
    report = rows_report(collect_rows([*own, attacked(0.1, seed=2), *other]))
    assert [text.partition(":")[0] for text in report.sentences if "shop" in text] == ["shop", "shop"]
    assert report.sentences[-1].startswith(
        "shop: 1 of 1 checks failed, which ask whether attacks are as strong as they can be"
    )
    assert report.further == list(report.sentences[len(report.opening.sentences) :])


def test_without_labels_shares_of_pictures_are_said() -> None:
    found: dict[str, Any] = {"metric": "found", "at": 10}
    rows = [
        row(1.0, **found), row(0.05, metric="random_found", at=10, model="random codes", hashes={}), attacked(0.25, **found),
        attacked(0.975, attack={"method": "noise", "labels": "free"}, **found),
        attacked(0.125, attack={"method": "audit", "labels": "free", "stages": 4, "held": 1}, **found),
    ]  # fmt: skip
    report = rows_report(collect_rows(rows))
    clean, away, audit = report.sentences
    assert clean.endswith("finds 100.0% of unchanged pictures among its first 10 answers; random codes find 5.0%.")
    assert "lowers that to 25.0%; random noise of the same size leaves 97.5%" in away
    assert "models/a 12.5% in place of 100.0%" in audit
    assert report.opening.chart is not None and report.opening.chart.caption.startswith("share found: ")
    (table,) = [table for table in report.tables if table.title.startswith("Attacks on models/a")]
    assert table.title.endswith("away: pictures whose original is among the first answers")


def test_a_radius_that_was_measured_is_said_in_levels() -> None:
    for eps, words in ((0.177516, "more than 45.3/255"), (0.1, "more than 0.1"), (8 / 255, "more than 8/255")):
        threat = {"norm": "linf", "eps": eps, "grid": "8 bit"}
        rows = [row(0.9), attacked(0.3, threat=threat)]
        assert any(words in sentence for sentence in rows_report(collect_rows(rows)).sentences), words
