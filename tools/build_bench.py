"""Write docs/bench.md, the robust bench, from the row files in `results/`; it needs no model, no data and no torch.

uv run python tools/build_bench.py
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from figure_query import plain

from hamguard.core.files import write_text
from hamguard.core.rows import Row, read_rows
from hamguard.report.printers import as_markdown
from hamguard.report.table import Table

ROOT = Path(__file__).parent.parent
PAGE = Path("docs/bench.md")
TASKS = ("query->database", "image->text", "text->image")
NEEDED = ("dataset", "split", "model", "method", "backbone", "bits", "task", "value", "n", "hashes.model", "threat.eps")
OTHER_QUERIES, FEWER = "†", "‡"  # why a line must not be compared
FIRST = ("coco18",)  # data whose tables stand first: real photos, and networks as searches have them


@dataclass(frozen=True)
class Found:
    """A row with the words that the bench says for it.

    Attributes:
        row: the row.
        file: name of its file.
    """

    row: Row
    file: str

    @property
    def attack(self) -> Mapping[str, Any]:
        """The attack of the row."""
        return self.row.attack or {}

    @property
    def threat(self) -> Mapping[str, Any]:
        """The threat of the row."""
        return self.row.threat or {}

    @property
    def value(self) -> float:
        """The number."""
        return self.row.value or 0.0

    @property
    def method(self) -> str:
        """Name of the attack."""
        return str(self.attack.get("method") or "")

    @property
    def steps(self) -> int:
        """Gradients a picture."""
        return int(self.threat.get("steps") or self.row.backwards or 0)

    @property
    def external(self) -> str:
        """Where a result of others is from."""
        return next((note for note in self.row.notes if note.startswith("external:")), "")

    @cached_property
    def budget(self) -> str:
        """Radius in the unit of the threat."""
        eps = float(self.threat.get("eps") or 0)
        if self.threat.get("norm") == "words":
            return f"{eps:g} words"
        if str(self.threat.get("grid", "")).startswith("bag"):
            return f"{eps:g} of the bag"
        halves = eps * 255 * 2
        whole = eps < 0.1 and abs(halves - round(halves)) < 1e-3  # rows may have rounded eps
        return f"{self.threat.get('norm')} {f'{round(halves) / 2:g}/255' if whole else f'{eps:g}'}"

    @property
    def place(self) -> tuple[str, float]:
        """Norm and radius, by which tables are sorted."""
        return str(self.threat.get("norm")), float(self.threat.get("eps") or 0)

    @cached_property
    def name(self) -> str:
        """The attack in words: method, guide where it does not say it, what else it varies."""
        guide = self.attack.get("guide")
        words = [self.method if not guide or guide in (self.method, "pairs") else f"{self.method}, {guide}"]
        made = [one for one in self.attack.get("made_on") or [] if one != self.row.model]
        words += [f"made on {' and '.join(made)}"] if made and not self.attack.get("worst_of") else []
        words += [f"combined by {self.attack['combine']}"] if self.attack.get("combine") else []
        words += [f"intra {self.attack['intra']:g}"] if self.attack.get("intra") not in (None, 1.0) else []
        words += ["published form"] if self.threat.get("one_sided") else []
        words += [str(self.attack["cell"])] if self.attack.get("cell") and self.method != "dhta" else []
        words += ["worse of both"] if self.attack.get("worst_of") else []
        words += ["not adaptive"] if self.attack.get("adaptive") is False else []
        words += [self.external] if self.external else []
        return ", ".join(words)

    def figure(self) -> str:
        """The number with its interval."""
        low_high = self.row.ci95
        return f"{self.value:.3f}" + (f" ({low_high[0]:.3f} .. {low_high[1]:.3f})" if low_high else "")


def missing(row: Row) -> list[str]:
    """Which needed fields an attacked row lacks."""
    has = {
        **plain(row),
        "hashes.model": row.hashes.get("model"),
        "threat.eps": (row.threat or {}).get("eps"),
    }
    return [key for key in NEEDED if has[key] is None]


class Model:
    """All rows of one set of weights in one task.

    Args:
        rows: its rows, of all files.
        training: rows of trainings, by file and name of the model.
    """

    def __init__(self, rows: Sequence[Found], training: Mapping[tuple[str, str | None], str]) -> None:
        self.rows = rows
        self.training = training
        self.first = rows[0].row

    @property
    def words(self) -> str:
        """The first two cells of a line."""
        row = self.first
        defense = next((one.row.defense for one in self.rows if one.row.defense), None) or {}
        how = defense.get("with") or defense.get("method")
        name = str(row.model)
        named = f" ({name})" if name else ""
        return f"{row.method}, {row.bits} bits, {row.backbone}{named} | {how or 'none'}"

    def away(self, budget: str | None = None) -> list[Found]:
        """Attacks that leave the true labels, with their MAP."""
        return [
            one
            for one in self.rows
            if one.row.metric in ("map", "single") and one.method not in ("", "noise", "ideal-code")
            and not one.attack.get("toward") and (budget is None or one.budget == budget)
        ]  # fmt: skip

    def asked(self, budget: str) -> set[int]:
        """Numbers of queries that attacks at a budget had."""
        return {one.row.n or 0 for one in self.away(budget)}

    def pick(self, n: int | None, budget: str | None = None, **want: object) -> list[Found]:
        """Rows of so many queries at a budget; `metric` and `attack` as asked."""
        return [
            one
            for one in self.rows
            if (n is None or one.row.n == n) and (budget is None or one.budget == budget)
            and one.row.metric == want.get("metric") and one.method in want.get("attack", ("",))  # type: ignore[operator]
        ]  # fmt: skip

    def line(self, budget: str, usual: int) -> tuple[Found, list[str]]:
        """Cells of the bench at a budget, and the row that they are sorted by.

        Args:
            budget: radius as the table says it.
            usual: number of queries that most models of the table had; where this one had not, its largest is taken.
        """
        n = usual if usual in self.asked(budget) else max(self.asked(budget))
        worst = min((one for one in self.away(budget) if one.row.n == n), key=lambda one: one.value)
        clean = self.pick(n, metric="map") or self.pick(None, metric="map")
        noise = self.pick(n, budget, metric="map", attack=("noise",))
        audits = [
            one
            for one in self.pick(None, budget, metric="map", attack=("audit",))
            if one.attack.get("labels") == "aware"
        ]
        toward = [
            one for one in self.rows if one.row.metric == "t-map" and one.budget == budget and one.attack.get("toward")
        ]
        checks = [one for one in self.rows if one.row.metric == "check" and one.budget == budget]
        failed = sorted({str(one.attack.get("check")) for one in checks if one.attack.get("passed") is False})
        cost = next(
            (self.training[key] for one in self.rows if (key := (one.file, one.row.model)) in self.training), None
        )
        audit = max(audits, key=lambda one: one.row.n or 0, default=None)
        best = max(toward, key=lambda one: (one.row.n or 0, one.value), default=None)
        cells = [
            self.words,
            clean[0].figure() if clean else "not measured",
            f"{noise[0].value:.3f}" if noise else "",
            worst.figure(),
            f"{worst.name}, {worst.steps:,}" if worst.steps else worst.name,
            f"{audit.figure()}, {audit.row.n:,} queries" if audit else "",
            f"{best.value:.3f} {best.name}, {best.steps:,}" if best else "",
            ", ".join(failed) if failed else ("none" if checks else ""),
            cost or "",
            f"{n:,}",
            ", ".join(sorted({one.file for one in self.rows if one.budget == budget and one.row.n == n})),
        ]
        return worst, cells


HEAD = [
    "model", "defense", "clean MAP", "noise", "strongest attack in the rows: MAP", "which, gradients", "worst case of an audit",
    "t-MAP toward", "failed checks", "training, core-seconds", "queries", "rows", "compare",
]  # fmt: skip


def collect(root: Path = ROOT) -> tuple[list[Model], Counter[tuple[str, str]]]:
    """Models with attacked rows, and how many attacked rows of each file were left out, with the reason."""
    groups: dict[tuple[str, ...], list[Found]] = defaultdict(list)
    training: dict[tuple[str, str | None], str] = {}
    left: Counter[tuple[str, str]] = Counter()
    chance: dict[tuple[str, str], float] = {}  # MAP that random codes may have by their interval
    for path in sorted((root / "results").glob("*.jsonl")):
        for row in read_rows(path):
            one = Found(row, path.stem)
            if row.task == "training" and row.metric == "core-seconds":
                part = "at least " if any("stopped and resumed" in note for note in row.notes) else ""
                training[path.stem, row.model] = f"{part}{one.value:,.0f}"
            if row.metric == "random_map" and row.ci95:
                chance[str(row.dataset), str(row.split)] = row.ci95[1]
            if row.model == "random codes" or any("trade-off" in note for note in row.notes) or row.task == "training":
                continue
            attacked = row.metric in ("map", "single") and one.method not in ("", "noise", "ideal-code")
            if (row.defense or {}).get("method") == "detect":
                left[
                    path.stem,
                    "a detector may refuse the query, so MAP says nothing without the share that it lets pass",
                ] += attacked
                continue
            if attacked and one.attack.get("combine") == "sum":
                left[path.stem, "a sum of perturbations leaves the ball"] += 1
                continue
            if attacked and row.task not in TASKS and row.task != "query":
                if row.task not in ("image->image", "text->text"):
                    left[path.stem, "other task: a protector that changes the database too"] += 1
                continue
            if attacked and row.task in TASKS and (lacks := missing(row)):
                left[path.stem, f"lacks {', '.join(lacks)}"] += 1
                continue
            if row.task in TASKS or row.metric == "check":
                key = row.hashes.get("model") or str(row.model)
                tasks = TASKS[:1] if row.metric == "check" else (str(row.task),)
                groups[str(row.dataset), str(row.split), key, tasks[0]].append(one)
    kept = []
    for (dataset, split, *_), rows in groups.items():
        model = Model(rows, training)
        clean = next((one.row for one in model.pick(None, metric="map")), None)
        if clean is not None and clean.ci95 and clean.ci95[0] <= chance.get((dataset, split), -1.0):
            reason = "the model's codes are no better than random ones, so that an attack has nothing to take away"
            left[rows[0].file, reason] += len(model.away())
        elif any(one.row.metric != "check" for one in rows):
            kept.append(model)
    return kept, left


def tables(models: Iterable[Model]) -> list[str]:
    """A table for each data set, task and budget, those of real photos first; the most robust line of each stands first."""
    found: dict[tuple[str, str, str], list[Model]] = defaultdict(list)
    places: dict[str, tuple[str, float]] = {}
    for model in models:
        for one in model.away():
            places.setdefault(one.budget, one.place)
        for budget in dict.fromkeys(one.budget for one in model.away()):
            found[str(model.first.dataset), str(model.first.task), budget].append(model)
    lines: list[str] = []
    for dataset, task, budget in sorted(found, key=lambda key: (key[0] not in FIRST, *key[:2], places[key[2]])):
        counts = Counter(n for model in found[dataset, task, budget] for n in model.asked(budget))
        usual = max(counts, key=lambda n: (counts[n], n))
        own = sorted(
            (model.line(budget, usual) for model in found[dataset, task, budget]), key=lambda pair: -pair[0].value
        )
        most = max((one.steps for one, _ in own if one.method != "audit"), default=0)
        listed = []
        for worst, cells in own:
            signs = [OTHER_QUERIES] if worst.row.n != usual else []
            signs += [FEWER] if worst.steps < most and worst.method != "audit" else []
            listed.append([*" | ".join(cells).split(" | "), " ".join(signs)])  # a cell may hold two
        title = f"{dataset}, {task}, {budget}"
        lines += ["", f"### {title}", "", *as_markdown(Table.of(title, HEAD, listed))]
    return lines


def attack_table(models: Iterable[Model]) -> list[str]:
    """Attacks in order of strength, where at least two had the same model, queries, radius and number of gradients."""
    head = ["data, model", "task, budget", "gradients", "queries", "MAP that is left, strongest attack first"]
    lines = []
    for model in models:
        groups: dict[tuple[str, int, int], dict[str, Found]] = defaultdict(dict)
        for one in model.away():
            if one.method != "audit" and one.row.metric == "map" and one.steps:
                groups[one.budget, one.steps, one.row.n or 0].setdefault(one.name, one)
        for (budget, steps, n), attacks in groups.items():
            if len(attacks) > 1:
                strongest = sorted(attacks.values(), key=lambda one: one.value)
                listed = ", ".join(f"{one.name} {one.value:.3f}" for one in strongest)
                row = model.first
                name = f"{row.dataset}, {row.model}"
                lines.append([name, f"{row.task}, {budget}", f"{steps:,}", f"{n:,}", listed])
    order = sorted(lines, key=lambda cells: (*cells[:2], int(cells[2].replace(",", "")), cells[4]))
    return as_markdown(Table.of("", head, order))


INTRO = """# The robust bench

Which hash methods and which defenses hold, and at what clean cost. This page is made by `tools/build_bench.py` from the
[row files](../results/README.md) alone; no figure on it is typed by hand.

Each table holds one data set, task and budget, the most robust line first: the order is the MAP under the **strongest attack
that the rows hold**, named with its gradients. The worst case of an audit stands beside it, on its own number of queries.
t-MAP toward is the highest that an attack reached; lower is more robust. MAP is over the full ranking and expected over ties,
on 8-bit pictures, with 95% intervals over queries. Empty: not measured. Tables of real photos stand first."""

LIMITS = f"""## What the tables do not show

* **Not a ranking of methods.** Rows were made for other questions. Lines compare only where model size, code length, queries
  and attacks agree. {OTHER_QUERIES} marks a line with another number of queries than most of its table, {FEWER} one whose
  strongest attack had fewer gradients than others had. Differences inside the intervals are none.
* **An upper bound of robustness.** A line is as robust as the strongest attack that somebody ran, not as the strongest there
  is. A model that was attacked once, by a weak attack, stands too high. Where there is an audit, quote that; where a check
  failed, do not quote the line. Checks empty: nobody asked whether gradients are hidden.
* A high MAP under attack is worth little where the clean MAP is low: read both.
* One training seed a line. Spread over seeds, where it was measured, is in [hardening](hardening.md).
* Core-seconds are of the hardening on one machine, without the first training; other machines differ.
* A budget says nothing of other norms, larger radii, or of attacks that change what a picture shows."""

ADDING = """## How to add a stronger attack or a new defense

Attack a model whose lines stand above, on the same queries, and write the rows into a new file in `results/`:

```text
hamguard attack MODEL --data SOURCE --method NAME --eps 8/255 --steps 100 --queries 1000 --out results/NAME_DATA.jsonl
hamguard audit MODEL --eps 8/255 --out audits/NAME          # rows are in audits/NAME/rows.jsonl
hamguard harden MODEL --method NAME --eps 8/255 --budget 4 --audit 64 --out models/NAME --out-rows results/defense_NAME.jsonl
uv run python tools/build_bench.py
uv run python tools/build_figures.py
uv run pytest tests/test_figures.py
```

A new attack is one file in `src/hamguard/attacks/methods/`, a new defense one in `src/hamguard/defenses/`; see
[CONTRIBUTING](../CONTRIBUTING.md).

| field of a row | why it is needed |
|---|---|
| `dataset`, `split`, `hashes.split` | the same pictures: the split hash is that of the lines it is compared with |
| `model`, `method`, `backbone`, `bits`, `hashes.model` | one set of weights is one line, by its hash, not by its name |
| `attack` with `method`, `toward`, `guide`, `labels` | what was done; `adaptive: false` if it did not know the defense |
| `defense` | null for none; else `method` and its settings |
| `threat` with `norm`, `eps`, `steps`, `restarts`, `grid` | the budget; `8 bit` for pictures as files hold them |
| `task`, `metric` (`map`, `t-map`), `ties`, `value`, `ci95`, `n` | the figure, its interval, its queries |
| `forwards`, `backwards`, `seed`, `version` | what was spent, and how to make it again |
| `notes` | what a reader must know; results of others: `external: ` and who, where, with what code |

Beside the attack the file holds the clean row, the noise row and `ideal-code` of the same queries, as the commands write them.
Rows without these fields are left out and counted below. Add a line to [results/README.md](../results/README.md).

**What a reviewer checks**

1. Split hash, number of queries and hash of the weights are those of the lines it stands beside.
2. The budget is equal, or the line bears its sign: radius, gradients, restarts. More gradients are said as such.
3. The attack knows the defense, or its rows say `adaptive: false` and the page says *not adaptive*. A defense that no
   adaptive attack was tried on proves nothing.
4. A defense passes `hamguard sanity`, and has an audit. Its control (the same training without adversaries) stands beside it.
5. Saved pictures, encoded again, give the figure; an `external:` line links pictures or code with which that was tried.
6. The page is built again, and `tests/test_figures.py` passes."""


def page(root: Path = ROOT) -> str:
    """The whole page."""
    models, left = collect(root)
    lines = [INTRO, "", "## Models and defenses", *tables(models), "", LIMITS, "", "## Attacks at equal budget", ""]
    lines += [
        "Only attacks with the same model, queries, radius and gradients stand in one line.",
        "",
        *attack_table(models),
    ]
    lines += ["", ADDING, "", "## Rows that are left out", ""]
    lines += [f"* `results/{file}.jsonl`: {count} attacked rows, {why}." for (file, why), count in sorted(left.items())]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    write_text(ROOT / PAGE, page())
