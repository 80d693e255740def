"""Sentences of the documentation about what docs/reproduce.md judges, compared with it; `docs/facts.toml` says which these are.

uv run python tools/facts.py

A fact is a claim of a recorded experiment. Every sentence that speaks of it on another page leads to the experiment and says no
other verdict than the recorded one. Two pages that quote the same recorded row say the same sentence.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import reduce
from itertools import combinations
from pathlib import Path
from typing import Any

from build_figures import listed
from build_reproduce import VERDICTS, Recording, recorded
from figure_query import Query, read_facts

ROOT = Path(__file__).parent.parent
FACTS = Path("docs/facts.toml")
MADE = ("docs/reproduce.md", "docs/bench.md")  # the page of verdicts itself, and a list of figures without sentences
HIDDEN = re.compile(r"```[\s\S]*?```|<!--[\s\S]*?-->|^\|.*$|^#.*$", re.MULTILINE)
ENDS = re.compile(r"(?<=[.!?])\s+(?=[A-Z(*`\[])")
SAYS = (
    ("does not hold", re.compile(r"\b(does|do|did) not hold\b")),
    ("within the intervals", re.compile(r"\bwithin the intervals?\b")),
    ("not testable", re.compile(r"\b(not testable|cannot be tested)\b")),
    ("holds", re.compile(r"\bholds?\b")),
)


@dataclass(frozen=True)
class Sentence:
    """A sentence of a page, its line breaks taken out."""

    page: str
    text: str

    @property
    def verdict(self) -> str | None:
        """The verdict that it says, in the words of verdicts; None where it says none."""
        return next((verdict for verdict, words in SAYS if words.search(self.text)), None)


def sentences(root: Path = ROOT) -> Iterator[Sentence]:
    """Every sentence of README.md and of the pages below docs that are written by hand or made of rows; no tables, no code."""
    paths = [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
    for path in paths:
        page = path.relative_to(root).as_posix()
        if page in MADE or page.startswith("docs/api/") or not path.is_file():
            continue
        text = HIDDEN.sub("", path.read_text(encoding="utf-8"))
        for block in re.split(r"\n\s*\n|\n(?=\s*(?:\*|\d+\.) )", text):
            yield from (Sentence(page, one.strip()) for one in ENDS.split(" ".join(block.split())) if one.strip())


def known(root: Path = ROOT) -> list[dict[str, Any]]:
    """The facts of docs/facts.toml."""
    content = tomllib.loads((root / FACTS).read_text(encoding="utf-8"))
    return list(content.get("fact", []))


def judged(fact: Mapping[str, Any], found: Mapping[str, list[Recording]]) -> list[dict[str, Any]]:
    """Claims of the recordings that are the fact: those on photos where it is one on photos, else the others."""
    on_photos = fact.get("scale") == "photos"
    several = [
        one for name in fact["experiments"] for one in found.get(name, []) if (one.scale == "photos") == on_photos
    ]
    claims = [claim for one in several for claim in one.claims]
    return [claim for claim in claims if any(fnmatchcase(claim["claim"], form) for form in fact["claims"])]


def faults_of(fact: Mapping[str, Any], root: Path = ROOT) -> Iterator[str]:
    """Sentences of a fact that lead nowhere, or say something else than was recorded."""
    claims, other, used = judged(fact, recorded(root)), list(fact.get("other", [])), set()
    verdicts = {str(claim["verdict"]) for claim in claims}
    kept = [one for name in fact["experiments"] for one in recorded(root).get(name, [])]
    if kept and not claims:
        yield f"{fact['name']}: no recording of {', '.join(fact['experiments'])} has such a claim"
    for one in sentences(root):
        if not all(re.search(word, one.text) for word in fact["words"]):
            continue
        if begun := [text for text in other if one.text.startswith(text)]:
            used.update(begun)
            continue
        where = f"{fact['name']}: {one.page} says {one.text[:120]!r}"
        if not any(f"reproduce.md#{name}" in one.text for name in fact["experiments"]):
            yield f"{where} and does not lead to reproduce.md#{fact['experiments'][0]}"
        if one.verdict and {one.verdict} != verdicts:
            yield f"{where}, recorded is: {', '.join(sorted(verdicts, key=VERDICTS.index))}"
    yield from (f"{fact['name']}: no sentence begins with {text!r} any more" for text in other if text not in used)


def rows_of(spec: Mapping[str, Any], root: Path = ROOT) -> set[tuple[str, int]]:
    """The recorded rows that a sentence of docs/figures.toml quotes: file and number."""

    def queries(asked: str | list[Any]) -> Iterator[Query]:
        if isinstance(asked, str):
            yield reduce(Query.within, map(Query.parse, [asked, spec.get("rows", "")]))
        else:
            for part in asked[1:]:
                yield from queries(part)

    found = [one for value in spec["values"] for one in queries(value)]
    rows = [one for one in found if one.file and one.file != "published.csv" and not one.file.endswith(".md")]
    return {
        (str(one.file), number)
        for one in rows
        for number, row in enumerate(read_facts(str(one.file), root))
        if one.fits(row)
    }


def quoted_apart(root: Path = ROOT) -> Iterator[str]:
    """Pairs of pages that quote the same row in different words."""
    specs = [(spec, rows_of(spec, root)) for spec in listed(root).get("sentence", [])]
    for (one, rows), (other, others) in combinations(specs, 2):
        if one["page"] != other["page"] and rows & others and one["text"] != other["text"]:
            yield f"{one['page']} and {other['page']} quote the same row: {one['text'][:80]!r}, {other['text'][:80]!r}"


def faults(root: Path = ROOT) -> list[str]:
    """All that pages say differently of one fact."""
    return [*quoted_apart(root), *(fault for fact in known(root) for fault in faults_of(fact, root))]


if __name__ == "__main__":
    for line in faults():
        print(line)  # noqa: T201 - a script
