"""Heat maps and panels of curves: what is drawn, and what is refused."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hamguard.core.errors import RequestError, RunError
from hamguard.report.heatmap import MOST, HeatMap, draw_heat_maps
from hamguard.report.plots import Panel, Stroke, draw_panels

MAP = HeatMap("scores", ["a", "b"], ["x", "y", "z"], np.array([[0.0, 0.5, 1.0], [np.nan, 0.2, 2.0]]))


def read(path: Path) -> np.ndarray:
    with Image.open(path) as stored:
        return np.asarray(stored.convert("RGB")).astype(int)


def blue(pixels: np.ndarray) -> float:
    """Mean darkness."""
    return float(255 - pixels.mean())


def test_larger_values_are_darker(tmp_path: Path) -> None:
    pale, dark = replace(MAP, values=np.full((2, 3), 0.1)), replace(MAP, values=np.full((2, 3), 0.9))
    for name, one in (("pale", pale), ("dark", dark), ("beyond", replace(dark, values=np.full((2, 3), 9.0)))):
        draw_heat_maps([[one]], tmp_path / f"{name}.png")
    assert (
        blue(read(tmp_path / "pale.png")) + 20
        < blue(read(tmp_path / "dark.png"))
        <= blue(read(tmp_path / "beyond.png"))
    )


def test_lines_of_maps_with_any_names(tmp_path: Path) -> None:
    name = r"a$\frac{$ [red]_b"
    odd = replace(MAP, title=name, rows=[name, "_b"], rule=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_heat_maps([[odd, MAP], [MAP, odd]], tmp_path / "four.png", title=name)
        draw_heat_maps([[MAP]], tmp_path / "one.png")
    four, one = read(tmp_path / "four.png"), read(tmp_path / "one.png")
    assert four.shape[0] > 1.5 * one.shape[0] and four.shape[1] > 1.5 * one.shape[1]
    draw_heat_maps([[MAP]], tmp_path / "one.svg")
    assert (tmp_path / "one.svg").read_text().lstrip().startswith("<?xml")


def test_what_cannot_be_a_heat_map(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"written as \.png, \.svg or \.pdf, got h\.gif"):
        draw_heat_maps([[MAP]], tmp_path / "h.gif")
    for grid in ([], [[]], [[MAP], [MAP, MAP]]):
        with pytest.raises(RequestError, match="stand in lines of one length"):
            draw_heat_maps(grid, tmp_path / "h.png")
    large = replace(MAP, rows=["r"] * (MOST + 1), values=np.zeros((MOST + 1, 3)))
    for one in (replace(MAP, rows=["a"]), large, replace(MAP, rows=[], columns=[], values=np.zeros((0, 0)))):
        with pytest.raises(RequestError, match="a heat map of .* has values"):
            draw_heat_maps([[one]], tmp_path / "h.png")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write"):
        draw_heat_maps([[MAP]], tmp_path / "file" / "h.png")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_panels_of_strokes(tmp_path: Path) -> None:
    x = np.linspace(0, 1, 9)
    panel = Panel([Stroke("_up", x, x), Stroke("$down", x, 1 - x, 1, ":")], "eps", "share", right=0.5)
    draw_panels([panel], tmp_path / "one.png")
    draw_panels([panel, Panel([], "eps", "share")], tmp_path / "two.png", title="two")
    assert read(tmp_path / "two.png").shape[1] > 1.8 * read(tmp_path / "one.png").shape[1]
    with pytest.raises(RequestError, match="curves need at least one panel, got none"):
        draw_panels([], tmp_path / "none.png")
    with pytest.raises(RequestError, match=r"got p\.jpg"):
        draw_panels([panel], tmp_path / "p.jpg")
