"""One fact has one sentence: what docs/reproduce.md judges is said in no other way elsewhere; a row is quoted in one wording."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import facts  # noqa: E402

from hamguard.evaluation.reproduce.experiment import EXPERIMENTS  # noqa: E402

FACT = """
[[fact]]
name = "the schedule"
experiments = ["hag-alpha"]
claims = ["The schedule lowers *"]
words = ["schedule", "lower|better|worth"]
other = ["A schedule is better explained"]
"""


def test_pages_say_of_a_fact_what_was_recorded() -> None:
    assert facts.faults() == []
    assert {name for fact in facts.known() for name in fact["experiments"]} <= set(EXPERIMENTS)
    for fact in facts.known():  # each is spoken of somewhere: a fact without a sentence watches nothing
        assert any(all(facts.re.search(word, one.text) for word in fact["words"]) for one in facts.sentences()), fact[
            "name"
        ]


def place(root: Path, text: str, *verdicts: str, figures: str = "") -> Path:
    """A repository with one page, one fact and its record."""
    (root / "docs").mkdir(exist_ok=True)
    (root / "README.md").write_text("# R\n", encoding="utf-8")
    (root / "docs" / "facts.toml").write_text(FACT, encoding="utf-8")
    (root / "docs" / "figures.toml").write_text(figures, encoding="utf-8")
    (root / "docs" / "attacks.md").write_text(
        f"# A\n\nA schedule is better explained\nin its card.\n\n{text}\n", encoding="utf-8"
    )
    folder = root / "results" / "reproduce"
    folder.mkdir(parents=True, exist_ok=True)
    claims = [{"claim": f"The schedule lowers it, {n}", "verdict": v, "figures": "", "kind": "claim", "printed": ""}
              for n, v in enumerate(verdicts)]  # fmt: skip
    record = {"experiment": "hag-alpha", "scale": "small", "lines": [], "relations": claims}
    (folder / "hag-alpha.json").write_text(json.dumps(record), encoding="utf-8")
    return root


LINK = "[hag-alpha](reproduce.md#hag-alpha)"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (f"That the schedule lowers it holds: {LINK}.", ""),
        (f"What the schedule is worth, {LINK} judges.", ""),
        ("The schedule lowers\nit here.", "does not lead to reproduce.md#hag-alpha"),
        (f"That the schedule\nlowers it does not hold: {LINK}.", "recorded is: holds"),
        (f"The schedule is worth little: it is within the intervals, {LINK}.", "recorded is: holds"),
        ("```sh\nthe schedule lowers it\n```\n\n| the schedule lowers it |", ""),
    ],
)
def test_a_sentence_that_says_something_else_is_found(tmp_path: Path, text: str, fault: str) -> None:
    found = facts.faults(place(tmp_path, text, "holds"))
    assert (fault in found[0] and len(found) == 1) if fault else found == []


def test_where_records_differ_no_sentence_gives_one_verdict(tmp_path: Path) -> None:
    text = f"That the schedule lowers it holds: {LINK}."
    (fault,) = facts.faults(place(tmp_path, text, "holds", "does not hold"))
    assert fault.endswith("recorded is: holds, does not hold")
    assert "no recording of hag-alpha has such a claim" in facts.faults(place(tmp_path, LINK))[0]
    root = place(tmp_path, LINK, "holds")
    (root / "docs" / "attacks.md").write_text("# A\n", encoding="utf-8")
    assert facts.faults(root) == ["the schedule: no sentence begins with 'A schedule is better explained' any more"]


def test_what_is_judged_on_photos_counts_for_facts_on_photos_alone(tmp_path: Path) -> None:
    root = place(tmp_path, f"That the schedule lowers it holds: {LINK}.", "holds")
    folder = root / "results" / "reproduce"
    record = json.loads((folder / "hag-alpha.json").read_text(encoding="utf-8"))
    record["scale"], record["relations"][0]["verdict"] = "photos", "does not hold"
    (folder / "hag-alpha-photos.json").write_text(json.dumps(record), encoding="utf-8")
    assert facts.faults(root) == []
    (root / "docs" / "facts.toml").write_text(FACT + 'scale = "photos"\n', encoding="utf-8")
    (fault,) = facts.faults(root)
    assert fault.endswith("recorded is: does not hold")


def test_a_row_is_quoted_in_one_wording(tmp_path: Path) -> None:
    def entry(page: str, text: str) -> str:
        return f"[[sentence]]\npage = '{page}'\ntext = '{text}'\nvalues = ['toy metric=map']\n"

    root = place(
        tmp_path,
        LINK,
        "holds",
        figures=entry("README.md", "gets {:.3f}.") + entry("docs/attacks.md", "only {:.3f}."),
    )
    (root / "results" / "toy.jsonl").write_text('{"metric": "map", "value": 0.5}\n', encoding="utf-8")
    (fault,) = facts.faults(root)
    assert "quote the same row" in fault and "README.md and docs/attacks.md" in fault
