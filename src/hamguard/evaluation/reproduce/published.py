"""The published figures that ours are printed beside: one line a figure, with its source, table and setting."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from hamguard.core.errors import RequestError


@dataclass(frozen=True)
class Published:
    """One printed figure.

    Attributes:
        source: paper, venue and year.
        table: where in it.
        dataset: data set.
        method: attack, defense or hash method, in the paper's words.
        network: hash method and network.
        bits: code length.
        train: what the model was trained on.
        metric: name and unit.
        value: the figure, MAP and t-MAP in [0, 1] whatever the paper's unit.
    """

    source: str
    table: str
    dataset: str
    method: str
    network: str
    bits: int
    train: str
    metric: str
    value: float


@lru_cache(maxsize=1)
def published() -> tuple[Published, ...]:
    """All figures that are kept."""
    text = (files("hamguard") / "recipes" / "published.csv").read_text(encoding="utf-8")
    found = []
    for line in csv.DictReader(text.splitlines()):
        percent = "%" in line["metric"]
        found.append(
            Published(
                line["source"],
                line["table"],
                line["dataset"],
                line["method"],
                line["network"],
                int(line["bits"] or 0),
                line["train"],
                line["metric"].replace("%", ""),
                round(float(line["value"]) / (100 if percent else 1), 6),
            )
        )
    return tuple(found)


NAMES = {
    "flickr25k": "FLICKR-25K",
    "nus-wide": "NUS-WIDE",
    "mscoco": "MS-COCO",
    "mirflickr": "MIRFlickr-25K",
    "coco18": "MS-COCO",  # a sample of its photos and labels
}
"""Our name of a data set, and the printed one."""


def data_beside(dataset: str | None, source: str, table: str, default: str) -> str:
    """The printed data set that rows stand beside: their own where the table has it, else the one that is given.

    Args:
        dataset: our name of it.
        source: as in `figure`.
        table: as in `figure`.
        default: what the table has in its place.
    """
    known = {one.dataset for one in published() if one.source.startswith(source) and one.table == table}
    name = NAMES.get(str(dataset), default)
    return name if name in known else default


def figure(source: str, table: str, **setting: object) -> float | None:
    """The printed figure of a setting; None where the paper prints none.

    Args:
        source: how the source begins, e.g. `PPL`.
        table: table of the paper.
        setting: further fields of `Published`; texts may be the beginning of the printed ones, where no method is named just so.

    Raises:
        RequestError: several figures fit.
    """
    near = [
        one
        for one in published()
        if one.source.startswith(source)
        and one.table == table
        and all(_same(getattr(one, key), value) for key, value in setting.items())
    ]
    exact = [
        one for one in near if all(getattr(one, key) == value for key, value in setting.items() if key == "method")
    ]
    found = exact or near
    if len(found) > 1:
        raise RequestError(f"{source}, {table}: {len(found)} printed figures fit {setting}")
    return found[0].value if found else None


def _same(printed: object, asked: object) -> bool:
    return printed.startswith(str(asked)) if isinstance(printed, str) else printed == asked
