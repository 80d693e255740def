"""The measures of several trained models in one table, and how they rank queries and models beside audits.

    uv run python benchmarks/measures.py MODEL MODEL MODEL --audit DIR --audit DIR --audit DIR [--queries 20] [--clever quick]

Folders of audits are those of `hamguard audit --out`, one a model in the same order; without them the second table is left out.
Rows go to `results/measures.jsonl`, tables to `results/measures.md`. About two core-minutes a 32-bit model on 32 pixels, and what
encoding its database takes; run with OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from hamguard.attacks.budget import Budget, Linf
from hamguard.core.checks import parse_eps
from hamguard.core.errors import HamguardError, RequestError
from hamguard.core.files import write_text
from hamguard.core.rows import Row, write_rows
from hamguard.evaluation.measures.audit import over_models, over_queries, read_audit
from hamguard.evaluation.measures.extreme import Draws
from hamguard.evaluation.measures.registry import Line
from hamguard.evaluation.measures.run import measure_model
from hamguard.evaluation.search.same_queries import open_grounds
from hamguard.report.measure_table import Figure, figure_text
from hamguard.report.wording import short_names

RESULTS = Path(__file__).parent.parent / "results"


def _figure(line: Line) -> str:
    """A figure with its interval."""
    return figure_text(Figure(line.name, line.means, line.robust, line.unit, line.row))


def measures_table(lines: Mapping[str, Mapping[str, Line]]) -> list[str]:
    """Markdown: a line a measure, a column a model."""
    names = list(dict.fromkeys(name for one in lines.values() for name in one))
    out = [f"| measure | more robust | {' | '.join(lines)} |", "|---|---|" + "---|" * len(lines)]
    for name in names:
        first = next(one[name] for one in lines.values() if name in one)
        cells = [_figure(one[name]) if name in one else "" for one in lines.values()]
        text = name if first.means in name else f"{name}: {first.means}"
        out.append(f"| {text} | {first.robust} | {' | '.join(cells)} |")
    return out


def ranks_table(
    lines: Mapping[str, Mapping[str, Line]], within: Sequence[Sequence[Row]], over: Sequence[Row]
) -> list[str]:
    """Markdown: rank correlation of each measure with the drop over queries, and with the worst-case MAP over models."""
    by_model = {row.metric: row for row in over}
    found = [{row.metric: row for row in rows} for rows in within]
    count = max((row.n or 0 for row in over), default=0)
    out = [f"| measure | {' | '.join(lines)} | models (n={count}) |", "|---|" + "---|" * (len(lines) + 1)]
    for name in dict.fromkeys(name for one in lines.values() for name in one):
        cells = [_rho(rows.get(f"spearman-drop[{name}]")) for rows in found]
        cells.append(_rho(by_model.get(f"spearman-models[{name}]")))
        if any(cells):
            out.append(f"| {name} | {' | '.join(cells)} |")
    return out


def _rho(row: Row | None) -> str:
    if row is None or row.value is None:
        return ""
    return f"{row.value:+.2f}" + (f" ({row.ci95[0]:+.2f} .. {row.ci95[1]:+.2f})" if row.ci95 else "")


def main() -> int:
    """Measure, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--audit", action="append", type=Path, default=[])
    parser.add_argument("--queries", type=int, default=20)
    parser.add_argument("--eps", default="8/255")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--clever", default="quick")
    parser.add_argument("--measure", action="append", default=[], help="only these; may be repeated")
    parser.add_argument("--data")
    parser.add_argument("--out", type=Path, default=RESULTS / "measures.jsonl")
    options = parser.parse_args()
    try:
        if options.audit and len(options.audit) != len(options.models):
            raise RequestError(f"{len(options.models)} models and {len(options.audit)} audits: give one audit a model")
        draws, budget = Draws.read(options.clever), Budget(Linf(parse_eps(options.eps)), steps=options.steps)
        own = {"clever": {"draws": draws}, "clever-guide": {"draws": draws}}
        grounds = open_grounds(options.models, options.data, queries=options.queries)
        audits = [
            read_audit(folder, ground) for folder, ground in zip(options.audit, grounds, strict=bool(options.audit))
        ]
        lines, rows, within = {}, [], []
        for number, (name, ground) in enumerate(zip(short_names(options.models), grounds, strict=True)):
            begun = time.process_time()
            found = measure_model(ground, budget, options.measure, options=own)
            print(f"{name}: {time.process_time() - begun:.0f} core-seconds", flush=True)
            lines[name] = {line.name: line for one in found.values() for line in one.lines}
            rows += [row for one in found.values() for row in one.rows]
            if audits:
                within.append([row for line in lines[name].values() for row in over_queries(line, audits[number])])
        names = dict.fromkeys(name for one in lines.values() for name in one)
        over = [over_models([one.get(name) for one in lines.values()], audits) for name in names] if audits else []
        told = [row for row in over if row]
        rows = list({row.json(): row for row in rows}.values())  # two attacks of a model share their clean figures
        write_rows(options.out, [*rows, *(row for one in within for row in one), *told])
        data = grounds[0].dataset.title
        page = [f"# Measures, {data}, {len(grounds[0].query)} queries, linf {options.eps}, {options.steps} gradients\n"]
        bits = "all bits" if draws.all_bits else "nearer half of the bits"
        page += [f"CLEVER: {draws.batches} batches of {draws.points} points, {bits}.\n"]
        page += measures_table(lines)
        if audits:
            page += ["\nSpearman's rank correlation with the audits, sign turned so that +1 ranks as the audit does. Queries: "
                     "against clean AP - worst AP. Models: against the worst-case MAP over the same queries.\n"]  # fmt: skip
            page += ranks_table(lines, within, told)
        write_text(options.out.with_suffix(".md"), "\n".join([*page, ""]))
        print("\n".join(page))
    except HamguardError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
