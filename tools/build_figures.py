"""Write the figures of README.md and docs/*.md from the recorded runs; a test compares them with what stands there.

    uv run python tools/build_figures.py

`docs/figures.toml` says which rows a figure comes from. A **table** stands in its page between `<!-- figures: NAME -->` and
`<!-- end of figures -->` and is made anew. A **sentence** is given with a place for each figure; it is looked for in the page, and
its figures are put in. An **exception** is a number that is no recorded figure, with the reason.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, reduce
from pathlib import Path
from statistics import mean
from typing import Any

from figure_query import CALC, Query, Seeds
from hash_tables import caltech_heads, coco_heads

from hamguard.core.errors import RequestError
from hamguard.core.files import write_text
from hamguard.core.rows import Row, read_rows
from hamguard.report.cross_modal import cross_report
from hamguard.report.engine_table import engines_table
from hamguard.report.printers import as_markdown
from hamguard.report.table import Table

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- figures: {} -->", "<!-- end of figures -->"
BLOCK = re.compile(r"<!-- figures: ([\w-]+) -->.*?<!-- end of figures -->", re.DOTALL)
PLACE = re.compile(r"\{(:[^{}]*)\}")
NUMBER = r"[-+]?\d[\d,]*(?:\.\d+)?(?: ± \d+\.\d+)?%?"
MEASURED = re.compile(r"(?<![\w./])[-+]?(?:\d+\.\d+%?|\d+%)(?![\d/]|\.\d)")
CODE = re.compile(r"```.*?```|`[^`\n]*`|\]\([^)]*\)|<!--.*?-->", re.DOTALL)
TASKS = ("image->text", "text->image", "image->image", "text->text")


def training_table(rows: list[Row]) -> list[str]:
    """Mean and spread of each search over seeds, by data and method."""
    lines = []
    for dataset, method in dict.fromkeys((row.dataset, row.method) for row in rows if row.method):
        own = [row for row in rows if (row.dataset, row.method) == (dataset, method) and row.metric == "map"]
        floor = mean(row.value or 0.0 for row in rows if row.dataset == dataset and row.metric == "random_map")
        cells = []
        for task in TASKS:
            values = [row.value or 0.0 for row in own if row.task == task]
            cells.append(f"{mean(values):.3f} ({min(values):.3f}-{max(values):.3f})")
        seeds = len({row.seed for row in own})
        seconds = mean(row.seconds or 0.0 for row in own)
        lines.append([f"{dataset}, {method}", *cells, f"{floor:.3f}", f"{seeds}", f"{seconds:,.0f}"])
    return as_markdown(Table.of("", ("data, method", *TASKS, "random codes", "seeds", "core-seconds"), lines))


def cross_modal(root: Path) -> list[str]:
    """The part of docs/cross-modal.md that is a report of its own."""
    report = cross_report(read_rows(root / "results/cmla-small.jsonl"), title="", models=["dcmh", "ssah"])
    lines = ["Mean (least to most) over seeds, 32 bits, all queries, full ranking:", ""]
    lines += training_table(read_rows(root / "results/cross_modal.jsonl"))
    lines += ["", "The study `recipes/cmla-small.toml`, one seed:", "", report.subject, ""]
    lines += [f"* {sentence}" for sentence in report.sentences]
    for table in report.tables:
        lines += ["", f"### {table.title}", "", *as_markdown(table)]
    return lines


def engine_check(name: str) -> Callable[[Path], list[str]]:
    """A line for each engine that was checked."""
    return lambda root: as_markdown(engines_table(read_rows(root / f"results/{name}.jsonl")))


MADE = {
    "cross-modal": cross_modal,
    "engine-check": engine_check("engine_check"),
    "engine-check-codes": engine_check("engine_check_codes"),
    "coco-heads": coco_heads,
    "caltech-heads": caltech_heads,
}  # blocks that are more than a table


@cache
def listed(root: Path = ROOT) -> dict[str, Any]:
    """What docs/figures.toml says."""
    return tomllib.loads((root / "docs" / "figures.toml").read_text(encoding="utf-8"))


def figure(asked: str | list[str], outers: Sequence[str], root: Path) -> float | Seeds | None:
    """One figure: a query after others, or `[calculation, query, ...]`; None where no row fits."""
    if isinstance(asked, str):
        return reduce(Query.within, map(Query.parse, [asked, *outers])).ask(root)
    parts = [figure(one, outers, root) for one in asked[1:]]
    return None if None in parts else CALC[asked[0]](*parts)


def figures(asked: list[str | list[str]], outer: str, root: Path) -> list[float | Seeds]:
    """Several figures, all of them.

    Raises:
        RequestError: no row fits.
    """
    found = [figure(one, [outer], root) for one in asked]
    for one, value in zip(asked, found, strict=True):
        if value is None:
            raise RequestError(f"no row fits {one!r} in {outer!r}")
    return [value for value in found if value is not None]


def cell(spec: Mapping[str, Any], line: list[Any], column: list[Any], root: Path) -> str:
    """One cell of a table: its figures in its format, or the words that the line gives for this column.

    Raises:
        RequestError: no row fits and the table has no blank cells.
    """
    said = (line[2] if len(line) > 2 else {}).get(column[0])
    if isinstance(said, str):
        return said
    asked = said or ([column[1]] if isinstance(column[1], str) else column[1])
    form = column[2] if len(column) > 2 else spec.get("format", "{:.3f}")
    if isinstance(asked[-1], str) and "{" in asked[-1]:
        asked, form = asked[:-1], asked[-1]
    if asked == [""]:
        return ""
    values = [figure(one, [line[1], spec["rows"]], root) for one in asked]
    if None in values:
        if spec.get("blank"):
            return ""
        raise RequestError(f"no row fits table {spec['name']}, line {line[0]!r}, column {column[0]!r}")
    return str(form.format(*values))


def made_table(spec: Mapping[str, Any], root: Path) -> list[str]:
    """A table of docs/figures.toml as Markdown."""
    lines = []
    for line in spec["lines"]:
        said = line[2] if len(line) > 2 else {}
        label = line[0].format(*figures(said.get("label", []), spec["rows"], root))
        cells = [cell(spec, line, column, root) for column in spec["columns"]]
        if not any(cells):
            raise RequestError(f"no row fits table {spec['name']}, line {line[0]!r}")
        lines.append([label, *cells])
    return as_markdown(Table.of("", [spec["head"], *(column[0] for column in spec["columns"])], lines))


def block(name: str, root: Path = ROOT) -> str:
    """What stands between the markers of a name, with the markers.

    Raises:
        RequestError: no table has this name, or it asks for rows that are not there.
    """
    tables = {spec["name"]: spec for spec in listed(root).get("table", [])}
    if name not in MADE and name not in tables:
        raise RequestError(
            f"the marker {name!r} names no table; docs/figures.toml has {', '.join(sorted([*tables, *MADE]))}"
        )
    lines = MADE[name](root) if name in MADE else made_table(tables[name], root)
    return "\n".join([BEGIN.format(name), "", *lines, "", END])


def sentence_pattern(text: str) -> re.Pattern[str]:
    """Finds a sentence in a page, whatever its figures are and wherever its lines break."""
    parts = PLACE.split(text)[::2]
    escaped = [r"\s+".join(re.escape(word) for word in re.split(r"\s+", part)) for part in parts]
    return re.compile(f"({NUMBER})".join(escaped))


def sentence_figures(spec: Mapping[str, Any], root: Path) -> list[str]:
    """The figures of a sentence, as they have to stand in it.

    Raises:
        RequestError: no row fits, or the sentence has another number of places.
    """
    outer = spec.get("rows", "")
    forms = PLACE.findall(spec["text"])
    if len(forms) != len(spec["values"]):
        raise RequestError(f"{len(spec['values'])} figures for {len(forms)} places in {spec['text']!r}")
    return [
        f"{{{form}}}".format(value) for form, value in zip(forms, figures(spec["values"], outer, root), strict=True)
    ]


def pages(root: Path = ROOT) -> list[Path]:
    """All hand-written pages; docs/bench.md and docs/reproduce.md are made whole by scripts of their own."""
    whole = ("bench.md", "reproduce.md")
    return [root / "README.md", *(path for path in sorted((root / "docs").glob("*.md")) if path.name not in whole)]


def rewritten(name: str, text: str, root: Path = ROOT) -> str:
    """A page with the figures of the rows.

    Args:
        name: of the page, from the root.
        text: of the page.
        root: of the repository.

    Raises:
        RequestError: a marker or a sentence names no row, or the page has no such sentence.
    """
    text = BLOCK.sub(lambda found: block(found[1], root), text)
    for spec in listed(root).get("sentence", []):
        if spec["page"] != name:
            continue
        found = sentence_pattern(spec["text"]).search(text)
        if not found:
            raise RequestError(f"{name} has no sentence {spec['text']!r}")
        for place, value in reversed(list(enumerate(sentence_figures(spec, root), 1))):
            text = text[: found.start(place)] + value + text[found.end(place) :]
    return text


def unmarked(name: str, text: str, root: Path = ROOT) -> list[str]:
    """Decimals and percentages of a page that come from no table, no sentence and no exception, each with its line."""

    def hide(found: re.Match[str]) -> str:
        return re.sub(r"\S", "~", found[0])

    rest = BLOCK.sub(hide, text)
    for spec in [*listed(root).get("sentence", []), *listed(root).get("exception", [])]:
        if spec["page"] == name:
            rest = sentence_pattern(spec["text"]).sub(hide, rest)
    rest = CODE.sub(hide, rest)
    return [
        f"{line.strip()[:100]!r} has {found[0]}"
        for line, left in zip(text.splitlines(), rest.splitlines(), strict=True)
        for found in MEASURED.finditer(left)
    ]


def page_faults(name: str, text: str, root: Path = ROOT) -> Iterator[str]:
    """What a page says and the rows do not, or says without a row.

    Args:
        name: of the page, from the root.
        text: of the page.
        root: of the repository.
    """
    if text.count("<!-- figures:") != len(BLOCK.findall(text)):
        yield f"{name}: a marker of figures has no name or no end"
    try:
        made = rewritten(name, text, root)
    except RequestError as error:
        yield f"{name}: {error}"
        return
    if len(text.splitlines()) != len(made.splitlines()):
        yield f"{name}: its tables have another number of lines than the rows give"
    else:
        for line, wanted in zip(text.splitlines(), made.splitlines(), strict=True):
            if line != wanted:
                yield f"{name}: says {line.strip()!r}, rows say {wanted.strip()!r}"
    for rest in unmarked(name, text, root):
        yield f"{name}: {rest}, which comes from no row and is no exception"
    for spec in listed(root).get("exception", []):
        if spec["page"] == name and not sentence_pattern(spec["text"]).search(text):
            yield f"{name}: has no {spec['text']!r} any more; take the exception out of docs/figures.toml"
    for spec in listed(root).get("table", []):
        if spec["page"] == name and BEGIN.format(spec["name"]) not in text:
            yield f"{name}: has no marker for the table {spec['name']}"


def faults(root: Path = ROOT) -> list[str]:
    """All that does not agree between pages, docs/figures.toml and rows."""
    texts = {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in pages(root)}
    found = [fault for name, text in texts.items() for fault in page_faults(name, text, root)]
    entries = [spec for kind in ("table", "sentence", "exception") for spec in listed(root).get(kind, [])]
    return found + [
        f"docs/figures.toml names the page {spec['page']}, which is none"
        for spec in entries
        if spec["page"] not in texts
    ]


if __name__ == "__main__":
    for path in pages():
        before = path.read_text(encoding="utf-8")
        after = rewritten(str(path.relative_to(ROOT)), before)
        if after != before:
            write_text(path, after)
