"""The panel as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hamguard.report.table import Table

COLUMNS = ("matcher", "network", "family", "head", "here", "bits", "MAP", "JPEG copies found", "with noise")


def panel_table(matchers: Sequence[Mapping[str, Any]]) -> Table:
    """Matchers with their networks and how well they search; what is missing stands below."""
    lines = [
        (
            one["name"],
            one["network"],
            one["family"],
            one["head"],
            "yes" if one["here"] else "no",
            str(one["bits"]),
            "" if one["precision"] is None else f"{one['precision']:.3f}",
            *("" if one[name] is None else f"{100 * one[name]:.1f}%" for name in ("copies", "noise")),
        )
        for one in matchers
    ]
    lost: dict[str, list[str]] = {}
    for one in matchers:
        if one["missing"]:
            lost.setdefault(one["missing"], []).append(one["name"])
    notes = [
        "MAP is that of 1,500 photos of MS-COCO against 6,500. JPEG copies (quality 85) are searched for among the "
        "same 6,500 and 200 more: the share whose original is among the first ten answers. With noise: the same for copies "
        "whose every value moves by 8 of 255; a search that loses half of them is not counted as one that protection passed.",
        *(f"For {', '.join(names)}: {how}" for how, names in lost.items()),
    ]
    return Table.of("The panel (--matcher, and wherever a MODEL is named)", COLUMNS, lines, names=5, notes=notes)
