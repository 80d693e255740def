"""Networks as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hamguard.report.table import Table

WEIGHTS = {True: "here", False: "missing", None: "none known"}


def models_table(networks: Sequence[Mapping[str, Any]]) -> Table:
    """Networks with weights, size, known accuracy and speed; what is missing stands below."""
    timed = any(one["images_per_second"] is not None for one in networks)
    columns = (
        "network",
        "weights",
        "top-1 of",
        "top-1 %",
        "input px",
        "parameters",
        "MB",
        *(("pictures/s",) if timed else ()),
    )
    lines = [(*_line(one), *((_number(one["images_per_second"]),) if timed else ())) for one in networks]
    notes = [f"{one['name']}: {one['why']}" for one in networks if one["why"]]
    best = [one["known"][0] for one in networks if one["known"]]
    sources = dict.fromkeys(f"{known['on']}: {known['source']}" for known in best)
    said = [f"Accuracy is that of the weights as published, on {'; '.join(sources)}."] if sources else []
    return Table.of("Networks (--backbone)", columns, lines, names=3, notes=[*said, *notes])


def _line(one: Mapping[str, Any]) -> tuple[str, ...]:
    count = "" if one["parameters"] is None else f"{one['parameters']:,}"
    return (
        one["name"],
        _weights(one),
        one["learned_from"],
        _number(one["known"][0]["percent"] if one["known"] else None),
        str(one["size"]),
        count,
        _number(one["megabytes"]),
    )


def _weights(one: Mapping[str, Any]) -> str:
    if not one["usable"]:
        return "cannot be built"
    return "by download" if one["pretrained"] is None and one["weights"] else WEIGHTS[one["pretrained"]]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
