"""Write docs/reproduce.md from the recorded comparisons in `results/reproduce/`; a test compares it with what lies there.

uv run python tools/build_reproduce.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hamguard.core.files import write_text
from hamguard.evaluation.reproduce.experiment import EXPERIMENTS, Experiment
from hamguard.report.printers import as_markdown
from hamguard.report.table import Table

ROOT = Path(__file__).parent.parent
PAGE, RECORDED = Path("docs/reproduce.md"), Path("results/reproduce")
MOST = 24  # lines of a comparison that the page shows; the record has all

INTRO = """# Published tables, run again

`hamguard reproduce NAME` runs a published experiment and prints its figures beside ours, with difference and interval, and for each
relation that the paper claims whether it holds here. Every experiment has two recipes:

* `--scale small` (the default) ends within the stated minutes on two cores. Its data, networks and budgets are not the published
  ones, so differences in figures say little; what it tests are the relations.
* `--scale paper` has the published data, networks and budgets. It needs the data (`hamguard data list` says which files go where)
  and a GPU. It has not been run by the project: the figures below are all of the small scale.

```sh
hamguard reproduce --list
hamguard reproduce ppl-table1
hamguard reproduce prosgan-table1 --scale paper --show-recipe
```

Rows, both figures as CSV and LaTeX, and one page with everything lie in `runs/NAME-SCALE`. A run that was stopped goes on with the
same command; experiments share trained models and finished attacks in `runs/cells`.

A relation *holds* where every pair of figures that it speaks of stands in the published order; *within the intervals* says that the
two intervals overlap, so that the order may be chance. *Not testable* stands where a figure is missing or a person must look.
"""

AFTER = """## What this does not show

* One seed an experiment. At small scale the queries are few, and the intervals say how much that leaves open.
* A relation that fails here may hold on the published data, and the reverse.
* HAG and CMLA are specified by slides and code: budgets and cut-offs that these do not name are ours, and stand in the recipes.
"""


def recorded(root: Path = ROOT) -> dict[str, dict[str, Any]]:
    """Recorded comparisons by experiment."""
    found = {}
    for path in sorted((root / RECORDED).glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        found[str(content["experiment"])] = content
    return found


def table(known: dict[str, Experiment], found: dict[str, dict[str, Any]]) -> list[str]:
    """All experiments: what they are, how long the small form takes, how many relations hold."""
    lines = []
    for name, one in known.items():
        judged = found.get(name, {}).get("relations")
        held = "not recorded" if judged is None else f"{sum(r['verdict'] == 'holds' for r in judged)} of {len(judged)}"
        lines.append([f"`{name}`", f"{one.source}: {one.what}", str(one.minutes), held])
    return as_markdown(Table.of("", ("experiment", "what", "minutes, small", "relations that hold"), lines))


def section(experiment: Experiment, found: dict[str, Any]) -> list[str]:
    """Figures and relations of one experiment."""
    lines = [
        f"## {experiment.name}: {experiment.what}",
        "",
        f"{experiment.source}. Small scale: {experiment.small}.",
        "",
    ]
    for one in found["relations"]:
        lines.append(f"* **{one['verdict']}**: {one['claim']} ({one['figures']}).")
    known = [line for line in found["lines"] if line["ours"] is not None]
    if known:
        columns = ("setting", "published", "ours", "difference", "95% interval")
        lines += ["", *as_markdown(Table.of("", columns, map(_cells, known[:MOST])))]
    if len(known) > MOST:
        lines += ["", f"{len(known) - MOST} further lines stand in `results/reproduce/{experiment.name}.json`."]
    return [*lines, ""]


def _cells(line: dict[str, Any]) -> list[str]:
    def text(value: float | None, form: str = ".3f") -> str:
        return "" if value is None else format(value, form)

    span = f"{line['ci95'][0]:.3f} to {line['ci95'][1]:.3f}" if line["ci95"] else ""
    return [line["setting"], text(line["published"]), text(line["ours"]), text(line["difference"], "+.3f"), span]


def page(root: Path = ROOT) -> str:
    """The whole page."""
    known, found = EXPERIMENTS, recorded(root)
    lines = [INTRO, *table(known, found), ""]
    for name, one in known.items():
        if name in found:
            lines += section(one, found[name])
    return "\n".join([*lines, AFTER])


if __name__ == "__main__":
    write_text(ROOT / PAGE, page())
