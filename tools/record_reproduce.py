"""Record runs of `hamguard reproduce`: the comparison of each as `results/reproduce/NAME.json`, its rows as `NAME.jsonl`.

    uv run python tools/record_reproduce.py runs/hag-ablation-small [...]
    uv run python tools/record_reproduce.py runs/hag-examples-small --picture "HAG, 1,000 raw steps=runs/cells/dph-hag-SHEET.png"
    uv run python tools/record_reproduce.py runs/fashion --as ppl-table1-fashion --part "the Fashion-MNIST third"

NAME is that of the experiment, with `-photos` or `-paper` at these scales; an experiment may be recorded several times under
other names, which begin with its own. Values of single queries stay in the run's cells. Then: `uv run python
tools/build_reproduce.py`.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hamguard.core.errors import RequestError
from hamguard.core.files import read_json, write_json
from hamguard.core.rows import read_rows, write_rows
from hamguard.evaluation.attack.generators import placeless
from hamguard.evaluation.reproduce.experiment import EXPERIMENTS

ROOT = Path(__file__).parent.parent
RECORDED, PICTURES = Path("results/reproduce"), Path("docs/images/reproduce")


def record(
    run: Path, name: str = "", part: str = "", root: Path = ROOT, pictures: Mapping[str, Path] | None = None
) -> str:
    """Copy a run into the repository.

    Args:
        run: folder that `hamguard reproduce` wrote.
        name: of the recording; that of the experiment where not given.
        part: which part of the experiment it is, in words; all of it where not given.
        root: of the repository.
        pictures: sheets that the page shows, by what they are.

    Returns:
        Name of the recording.

    Raises:
        RequestError: no run of a known experiment, or a name that does not begin with it.
    """
    comparison: dict[str, Any] = read_json(run / "comparison.json", "comparison")
    experiment, scale = str(comparison["experiment"]), comparison["scale"]
    if experiment not in EXPERIMENTS:
        raise RequestError(f"{run} is of {experiment}, which is no experiment")
    name = name or (experiment if scale == "small" else f"{experiment}-{scale}")
    if not name.startswith(experiment):
        raise RequestError(f"a recording of {experiment} is called after it, e.g. {experiment}-part, got {name}")
    rows = [
        replace(row, attack=placeless(row.attack), hashes={k: v for k, v in row.hashes.items() if k != "values"})
        for row in read_rows(run / "rows.jsonl")
    ]
    folder = root / RECORDED
    write_rows(folder / f"{name}.jsonl", rows)
    shown = {caption: f"{name}-{number}.png" for number, caption in enumerate(pictures or {}, 1)}
    for caption, path in (pictures or {}).items():
        (root / PICTURES).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, root / PICTURES / shown[caption])
    facts = {**({"part": part} if part else {}), **({"pictures": shown} if shown else {})}
    write_json(folder / f"{name}.json", {**comparison, **facts})
    return name


def main() -> None:
    """Record the runs of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders that `hamguard reproduce` wrote")
    parser.add_argument("--as", dest="name", default="", help="name of the recording, for one run")
    parser.add_argument("--part", default="", help="which part of the experiment it is, in words")
    parser.add_argument("--picture", action="append", default=[], help="CAPTION=FILE: a sheet that the page shows")
    asked = parser.parse_args()
    if len(asked.runs) > 1 and (asked.name or asked.part or asked.picture):
        parser.error("--as, --part and --picture go with one run")
    pictures = {caption: Path(file) for caption, _, file in (one.partition("=") for one in asked.picture)}
    for run in asked.runs:
        print(record(run, asked.name, asked.part, pictures=pictures))  # noqa: T201 - a script


if __name__ == "__main__":
    main()
