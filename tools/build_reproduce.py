"""Write docs/reproduce.md from the recorded comparisons in `results/reproduce/`; a test compares it with what lies there.

uv run python tools/build_reproduce.py
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hamguard.core.files import write_text
from hamguard.evaluation.reproduce.experiment import EXPERIMENTS, Experiment, Scale
from hamguard.report.printers import as_markdown
from hamguard.report.table import Table

ROOT = Path(__file__).parent.parent
PAGE, RECORDED = Path("docs/reproduce.md"), Path("results/reproduce")
MOST = 24  # lines of a block that the page shows; the record has all
VERDICTS = ("holds", "within the intervals", "does not hold", "not testable")
SCALES: dict[Scale, str] = {"small": "small scale", "photos": "photos", "paper": "paper scale"}

INTRO = """# Published tables, run again

`hamguard reproduce NAME` runs a table or figure of five papers on attacks on learned hash codes, and on defenses, again. This page
has them all, published figures beside ours, and says of each claim of the papers whether it holds here.

* [What came of it](#what-came-of-it): all claims with their verdicts, each with a link to its figures and rows.
* [How verdicts come about](#how-verdicts-come-about), and how to [run an experiment](#run-one-yourself).
* Then every experiment: published figures beside ours, with difference, interval, and the reason where one differs.
"""

METHOD = """## How verdicts come about

A claim speaks of one or several pairs of figures, such as the clean and the attacked MAP at every code length. Both figures of
a pair are means over the same queries, so they are compared query by query: a paired bootstrap gives the interval of their
difference. Where a recipe has several seeds, a resample draws seeds first, then queries. Intervals are joint over all pairs of
a claim (95% for all of them together, after Bonferroni).

| verdict | when |
|---|---|
| **holds** | every pair stands in the printed order, beyond its interval |
| **within the intervals** | no pair contradicts the claim, but at least one difference may be chance |
| **does not hold** | at least one pair stands the other way, beyond its interval |
| **not testable** | a figure is missing, or a person must look |

* That two figures are *alike* holds where the whole interval of their difference lies within what is stated, and does not hold
  where it lies outside.
* A claim on a defense has a control, the same network trained on without adversaries. It holds only where the defended figure
  is beyond the undefended one and beyond the control.
* Seconds have no queries: one must be twice the other.
* *We ask* marks a question of this project, and *not the paper's* a sentence that is ascribed to a paper and that its own
  printed cells contradict. Neither counts as a claim.
"""

USE = """## Run one yourself

```sh
hamguard reproduce --list
hamguard reproduce ppl-table1
hamguard reproduce saat-table1 --scale photos
hamguard reproduce prosgan-table1 --scale paper --show-recipe
```

`--scale small`, the default, ends within the stated minutes on two cores. Its data, networks and budgets are not the published
ones, so that a difference in figures says little; what it tests are the claims. `--scale photos` has the published radii on
`coco18`, 8,000 photos of MS-COCO at 112 pixels (`HAMGUARD_DATA` says where they lie), where hash heads learn on frozen networks
of ImageNet; where a paper prints a figure of MS-COCO, it stands beside ours. PPL, ablations and some figures have no such form.
`--scale paper` has the published data, networks and budgets; it needs the data (`hamguard data list` says which files go where)
and mostly a GPU. Sections below say which scale was recorded.

Rows, both figures as CSV and LaTeX, and one page with everything lie in `runs/NAME-SCALE`. A run that was stopped goes on with
the same command; experiments share trained models and finished attacks in `runs/cells`.
"""

AFTER = """## What this does not show

* At small scale and on photos the queries are few, and the intervals say how much that leaves open. Few seeds say little of
  training: an interval over three seeds is too narrow rather than too wide.
* A claim that fails here may hold on the published data, and the reverse.
* HAG and CMLA are specified by slides and code: budgets and cut-offs that these do not name are ours, and stand in the recipes.
"""


@dataclass(frozen=True)
class Recording:
    """A run that is kept.

    Attributes:
        name: of its files.
        experiment: what was run.
        content: of the comparison.
        rows: whether its rows are kept, too.
    """

    name: str
    experiment: str
    content: dict[str, Any]
    rows: bool

    @property
    def scale(self) -> Scale:
        """`small`, `photos` or `paper`."""
        scale: Scale = self.content.get("scale", "small")
        return scale

    @property
    def heading(self) -> str:
        """Scale and part, in words."""
        part = self.content.get("part")
        return SCALES[self.scale] + (f", {part}" if part else "")

    @property
    def place(self) -> str:
        """Link to the rows, or to the comparison where there are none."""
        return f"[rows](../{RECORDED}/{self.name}.json{'l' if self.rows else ''})"

    @property
    def old(self) -> bool:
        """Whether its verdicts were given before intervals decided."""
        return any("kind" not in relation for relation in self.content["relations"])

    @property
    def relations(self) -> list[dict[str, Any]]:
        """Relations in the words of today."""
        return [_as_today(one) for one in self.content["relations"]]

    @property
    def claims(self) -> list[dict[str, Any]]:
        """Relations that are claims of the paper."""
        return [one for one in self.relations if one["kind"] == "claim"]


def _as_today(relation: dict[str, Any]) -> dict[str, Any]:
    """A relation of an older record, which did not say whose it is and gave a verdict without intervals."""
    claim = str(relation["claim"])
    kind = relation.get("kind") or ("ours" if claim.startswith("Ours: ") else "claim")
    verdict = str(relation["verdict"]).removesuffix(" at this scale")
    return {"printed": "", **relation, "claim": claim.removeprefix("Ours: "), "kind": kind, "verdict": verdict}


def recorded(root: Path = ROOT) -> dict[str, list[Recording]]:
    """Recordings by experiment, in the order of scales."""
    found: dict[str, list[Recording]] = {}
    for path in sorted((root / RECORDED).glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        one = Recording(path.stem, str(content["experiment"]), content, path.with_suffix(".jsonl").is_file())
        found.setdefault(one.experiment, []).append(one)
    order = list(SCALES)
    return {
        name: sorted(several, key=lambda one: (order.index(one.scale), one.name)) for name, several in found.items()
    }


def paper(experiment: Experiment) -> str:
    """Short name of a paper: `HAG` of `Authors: HAG, journal`."""
    return experiment.source.partition(": ")[2].partition(",")[0] or experiment.source


def summary(known: dict[str, Experiment], found: dict[str, list[Recording]]) -> Iterator[str]:
    """How many claims hold, by paper and in all; then every claim with its verdict."""
    judged = [(paper(known[name]), name, one) for name in known for one in found.get(name, [])]
    counts = {title: Counter[str]() for title, *_ in judged}
    for title, _, one in judged:
        counts[title].update(claim["verdict"] for claim in one.claims)
    whole = sum(counts.values(), Counter[str]())
    hold, within, fail, open_ = (whole[verdict] for verdict in VERDICTS)
    yield "## What came of it"
    yield ""
    yield (
        f"Claims of the papers: **{hold} hold, {within} are within the intervals, {fail} do not hold, {open_} cannot be tested.** "
        "A claim that was judged at several scales counts for each."
    )
    yield ""
    columns = ("paper", "claims", "hold", "within the intervals", "do not hold", "cannot be tested")
    lines = [
        [title, str(sum(own.values())), *(str(own[verdict]) for verdict in VERDICTS)] for title, own in counts.items()
    ]
    yield from as_markdown(
        Table.of("", columns, [*lines, ["all", str(sum(whole.values())), *(str(whole[v]) for v in VERDICTS)]])
    )
    yield ""
    if old := [f"`{one.name}`" for *_, one in judged if one.old]:
        yield from (f"Recorded before intervals decided, so that *holds* says less: {', '.join(old)}.", "")
    for title in counts:
        own = [(name, one) for short, name, one in judged if short == title]
        rows = [
            [claim["claim"], claim["verdict"], f"[{name}](#{name}), {one.heading}", one.place]
            for name, one in own
            for claim in one.claims
        ]
        if rows:
            yield from (
                f"### Claims of {title}",
                "",
                *as_markdown(Table.of("", ("claim", "verdict", "experiment", "rows"), rows)),
                "",
            )
    missing = [f"`{name}`" for name in known if name not in found]
    if missing:
        yield from (f"Not recorded yet: {', '.join(missing)}.", "")


def section(experiment: Experiment, recordings: Sequence[Recording]) -> Iterator[str]:
    """Figures and relations of one experiment, recording by recording; a word where there is none."""
    yield from (f"## {experiment.name}", "", f"**{experiment.what}.** {experiment.source}.", "")
    if not recordings:  # its place is there, so that other pages can lead to it
        yield from (f"{_differs(experiment, experiment.scales[0])} Not recorded yet.".strip(), "")
    for one in recordings:
        if len(recordings) > 1 or one.scale != "small":
            yield from (f"### {experiment.name}, {one.heading}", "")
        if differs := _differs(experiment, one.scale):
            yield from (differs, "")
        if one.old:
            yield from (
                "Recorded before verdicts took intervals into account: the order of the figures alone decided.",
                "",
            )
        for relation in one.relations:
            yield from _relation(relation)
        yield ""
        if why := one.content.get("why"):
            yield from (f"Why ours differ: {why}", "")
        for caption, file in (one.content.get("pictures") or {}).items():
            yield from (f"![{caption}](images/reproduce/{file})", "", f"{caption}.", "")
        if one.scale == "photos" and any(other.content.get("pictures") for other in recordings):
            yield from (
                "The sheets that this command writes show photos of MS-COCO, which are not ours to publish.",
                "",
            )
        yield from _tables(one)
        yield from (
            f"All figures: [comparison](../{RECORDED}/{one.name}.json){', ' + one.place if one.rows else ''}.",
            "",
        )


def _differs(experiment: Experiment, scale: Scale) -> str:
    """How the form of a scale differs from the published one, as a sentence."""
    differs = experiment.differs(scale)
    return f"{SCALES[scale].capitalize()}: {differs}." if differs else ""


def _relation(relation: dict[str, Any]) -> Iterator[str]:
    """A verdict with its sentence, and below it the figures that it rests on."""
    who = {"claim": "", "ours": "*we ask*: ", "contradicted": "*not the paper's*: "}[relation["kind"]]
    yield f"* **{relation['verdict']}**: {who}{relation['claim']}"
    yield from (f"    * {figures}" for figures in _parts(relation["figures"]))
    if relation["printed"]:
        yield f"    * printed: {relation['printed']}"


def _parts(figures: str) -> list[str]:
    """Figures of a relation; those beside the control on a line of their own."""
    own, control, rest = figures.partition("; beside ")
    return [own, *([f"beside {rest}"] if control else [])]


def _tables(recording: Recording) -> Iterator[str]:
    """The lines block by block."""
    known = [line for line in recording.content["lines"] if line["ours"] is not None]
    reasons = recording.content.get("block_why") or {}
    for block in dict.fromkeys(line.get("block", "") for line in known):
        own = [line for line in known if line.get("block", "") == block]
        if block:
            yield from (f"**{block[0].upper()}{block[1:]}.** {reasons.get(block, '')}".rstrip(), "")
        whys = any(line.get("why") for line in own)
        columns = ("setting", "published", "ours", "difference", "95% interval", *(["why it differs"] if whys else []))
        yield from as_markdown(Table.of("", columns, [_cells(line, whys) for line in own[:MOST]]))
        yield ""
        if len(own) > MOST:
            yield from (f"{len(own) - MOST} further lines stand in the comparison.", "")


def _cells(line: dict[str, Any], whys: bool) -> list[str]:
    places = line.get("digits", 3)

    def text(value: float | None, sign: str = "") -> str:
        return "" if value is None else format(value, f"{sign}.{places}f")

    span = f"{line['ci95'][0]:.{places}f} to {line['ci95'][1]:.{places}f}" if line["ci95"] else ""
    ours = text(line["ours"]) + (f" ({line['seeds']} seeds)" if (line.get("seeds") or 1) > 1 else "")
    cells = [line["setting"], text(line["published"]), ours, text(line["difference"], "+"), span]
    return [*cells, *([line.get("why") or ""] if whys else [])]


def listed(known: dict[str, Experiment], found: dict[str, list[Recording]]) -> Iterator[str]:
    """All experiments: what they are and how long their forms take."""
    yield from ("## Experiments", "")
    lines = []
    for name, one in known.items():
        own = found.get(name, [])
        scales = ", ".join(recording.heading for recording in own) or "not recorded"
        minutes = [str(one.minutes), str(one.minutes_at("photos") or "")]
        lines.append([f"[{name}](#{name})", f"{paper(one)}: {one.what}", *minutes, scales])
    columns = ("experiment", "what", "minutes, small", "minutes, photos", "recorded")
    yield from as_markdown(Table.of("", columns, lines))
    yield ""


def page(root: Path = ROOT) -> str:
    """The whole page."""
    known, found = dict(EXPERIMENTS), recorded(root)
    lines = [INTRO, *summary(known, found), METHOD, USE, *listed(known, found)]
    for name, one in known.items():
        lines += section(one, found.get(name, []))
    return "\n".join([*lines, AFTER])


if __name__ == "__main__":
    write_text(ROOT / PAGE, page())
