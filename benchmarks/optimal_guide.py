"""Every guide's own code and the attack that follows it, away from labels and toward targets, on several models.

    uv run python benchmarks/optimal_guide.py --model MODEL [MODEL ...] [--queries 200] [--eps 8/255] [--out FILE.jsonl]

The search is the adaptive one with the inner product everywhere; only the guide differs. The code's own score needs no picture.
Seconds a query are what the guide took for all queries, its training included, over their number. Models that stand in the file
are not measured again.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from hamguard.core.checks import parse_eps
from hamguard.core.files import write_text
from hamguard.core.rows import Row, read_rows, write_rows
from hamguard.evaluation.attack.measure import measure_attack
from hamguard.evaluation.attack.spec import AttackSpec
from hamguard.evaluation.ground import Ground, Loaded

RESULTS = Path(__file__).parent.parent / "results"
AWAY = ("own", "center", "mainstay", "prototype", "optimal")
TOWARD = ("p2p", "anchor", "center", "mainstay", "prototype", "optimal")


def ground_of(name: str, queries: int) -> Ground:
    """A model on its own data."""
    return Ground.open(Loaded.open(name, name=Path(name).name), queries=queries)


def measured(name: str, arguments: argparse.Namespace) -> list[Row]:
    """The guide's own row and the attacked row, for each guide and both directions."""
    ground, rows = ground_of(name, arguments.queries), []
    for guides, targets, metric in ((AWAY, None, "map"), (TOWARD, "no-overlap", "t-map")):
        for guide in guides:
            plan = AttackSpec.read(
                "adaptive", guide=guide, eps=parse_eps(arguments.eps), steps=arguments.steps, targets=targets
            )
            found = measure_attack(ground, plan, context=ground.context.but(work=arguments.work))
            for row in found.rows:
                if row.metric == metric and row.attack and row.attack["method"] in ("ideal-code", "adaptive"):
                    attack = {"method": row.attack["method"], "guide": guide, "toward": targets is not None}
                    rows.append(replace(row, attack=attack))
            print(
                ground.name,
                metric,
                guide,
                [round(row.value or 0, 4) for row in rows[-2:]],
                rows[-2].seconds,
                flush=True,
            )
    return rows


def table(rows: list[Row]) -> str:
    """The figures as Markdown, a line a model and direction."""
    guides = ("own", "p2p", "anchor", "center", "mainstay", "prototype", "optimal")
    lines = [
        "| model | direction | queries | " + " | ".join(guides) + " | optimal, s a query |",
        "|---|---|---|" + "---|" * (len(guides) + 1),
    ]
    for model in dict.fromkeys(str(row.model) for row in rows):
        for toward in (False, True):
            cells, seconds, count = [], "", 0
            for guide in guides:
                own, attacked = (
                    next(
                        (
                            row for row in rows
                            if row.model == model and row.attack == {"method": method, "guide": guide, "toward": toward}
                        ),
                        None,
                    )
                    for method in ("ideal-code", "adaptive")
                )  # fmt: skip
                if own is None or attacked is None:
                    cells.append("")
                    continue
                assert attacked.ci95 and own.n and own.seconds is not None
                cells.append(f"{own.value:.4f} / {attacked.value:.4f}")
                count = own.n
                if guide == "optimal":
                    seconds = f"{own.seconds / own.n:.4f}"
            what = "toward, t-MAP" if toward else "away, MAP"
            lines.append(f"| {model} | {what} | {count} | " + " | ".join(cells) + f" | {seconds} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", required=True)
    parser.add_argument("--eps", default="8/255")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--work", type=Path, default=Path("guides"))
    parser.add_argument("--out", type=Path, default=RESULTS / "optimal_guide.jsonl")
    arguments = parser.parse_args()
    rows = read_rows(arguments.out) if arguments.out.is_file() else []
    for name in arguments.model:
        if not any(row.model == Path(name).name for row in rows):
            rows += measured(name, arguments)
            write_rows(arguments.out, rows)
            write_text(arguments.out.with_suffix(".md"), table(rows))
    print("Each cell: the guide's own code / the attack that follows it.")
    print(table(rows))


if __name__ == "__main__":
    main()
