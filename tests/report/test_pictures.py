"""Sheets and curves: the files that are written are pictures, whatever stands in the names."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hamguard.core.errors import RequestError, RunError
from hamguard.report.plots import draw_curves
from hamguard.report.sheets import MOST_ROWS, SheetItem, SheetRow, draw_sheet

GREEN, RED = (0x2A, 0x9D, 0x5C), (0xC8, 0x44, 0x3C)


def picture(seed: int, color: bool = True) -> np.ndarray:
    shape = (16, 24, 3) if color else (16, 24)
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def read(path: Path) -> np.ndarray:
    with Image.open(path) as stored:
        assert stored.format == "PNG"
        return np.asarray(stored.convert("RGB"))


def has(pixels: np.ndarray, color: tuple[int, int, int]) -> bool:
    return bool((pixels == color).all(2).any())


def test_an_answer_says_how_far_it_lies() -> None:
    assert [SheetItem.at(n, None, "dog", True).title for n in np.array([0, 1, 12])] == ["0 bits", "1 bit", "12 bits"]


def test_a_sheet_frames_what_is_relevant(tmp_path: Path) -> None:
    for relevant, green, red in ((True, True, False), (False, False, True), (None, False, False)):
        row = SheetRow(
            SheetItem(picture(0, color=False), "query", "cat"), [SheetItem(picture(1), "3 bits", "dog", relevant)]
        )
        draw_sheet([row], tmp_path / "s.png", title="answers", footer="small words")
        pixels = read(tmp_path / "s.png")
        assert pixels.std() > 10 and (has(pixels, GREEN), has(pixels, RED)) == (green, red)


def test_a_sheet_holds_rows_of_any_length(tmp_path: Path) -> None:
    rows = [SheetRow(SheetItem(picture(0)), [SheetItem(picture(i)) for i in range(n)]) for n in (0, 3, 1)]
    draw_sheet(rows, tmp_path / "below" / "s.png")
    alone = [SheetRow(SheetItem(picture(0)), [])]
    draw_sheet(alone, tmp_path / "alone.png")
    assert read(tmp_path / "below" / "s.png").shape[0] > 2 * read(tmp_path / "alone.png").shape[0]


def test_dollars_and_brackets_in_names_are_only_characters(tmp_path: Path) -> None:
    name = r"a$\frac{$ [red]_b"
    row = SheetRow(SheetItem(picture(0), name, name), [SheetItem(picture(1), name, name)])
    draw_sheet([row], tmp_path / "s.png", title=name, footer=name)
    line = (np.linspace(0, 1, 5), np.linspace(1, 0, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_curves({name: line, "_hidden": line}, {name: line, "_hidden": line}, tmp_path / "c.png", title=name)
    assert read(tmp_path / "s.png").std() > 5 and read(tmp_path / "c.png").std() > 5


def test_words_stand_where_a_query_has_no_picture(tmp_path: Path) -> None:
    """Words are drawn, cut where they would leave their cell, and are only characters; the sheet keeps its size."""

    def sheet(words: str) -> np.ndarray:
        row = SheetRow(SheetItem(None, "query", words), [SheetItem(picture(1), "3 bits", "dog", True)])
        draw_sheet([row], tmp_path / "s.png")
        return read(tmp_path / "s.png")

    blank, red, blue, hard = sheet(""), sheet("red circle"), sheet("blue circle"), sheet(r"$\frac{$ [red]" + "\n_b")
    other = [sheet_of != blank for sheet_of in (red, blue, hard)]
    assert all(pixels.any(2).sum() > 50 for pixels in other) and (red != blue).any() and has(red, GREEN)
    dark = (blank[:, : blank.shape[1] // 2] == (0x24, 0x28, 0x2F)).all(2)  # the frame of the query
    (top, *_, bottom), (left, *_, right) = (np.nonzero(dark.sum(axis) > 100)[0] for axis in (1, 0))
    for words in ("many words " * 500, "a" * 300, "W" * 14, "\u8d64\u4e38" * 40, "\n" * 50 + "x"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            pixels = sheet(words)
        rows, columns = np.nonzero((pixels != blank).any(2))
        assert pixels.shape == blank.shape and len(rows) > 20
        assert top < rows.min() and rows.max() < bottom and left < columns.min() and columns.max() < right
    assert (sheet("red " + "many words " * 99) != sheet("old " + "many words " * 99)).any()  # the beginning is kept
    without = SheetRow(SheetItem(picture(0), "query"), [SheetItem(None, "3 bits", "an answer of words", False)])
    draw_sheet([without], tmp_path / "a.png")
    assert has(read(tmp_path / "a.png"), RED)


def test_curves_show_every_line(tmp_path: Path) -> None:
    up, down = (np.linspace(0, 1, 9), np.linspace(0, 1, 9)), (np.linspace(0, 1, 9), np.linspace(1, 0, 9))
    draw_curves({"one": up}, {"one": up}, tmp_path / "one.png")
    draw_curves({"one": up, "two": down}, {"one": up, "two": down}, tmp_path / "two.png")
    one, two = read(tmp_path / "one.png"), read(tmp_path / "two.png")
    assert one.shape == two.shape and (two != one).any(2).sum() > 500
    draw_curves({}, {}, tmp_path / "none.svg")
    assert (tmp_path / "none.svg").read_text().lstrip().startswith("<?xml")


def test_what_cannot_be_drawn(tmp_path: Path) -> None:
    row = SheetRow(SheetItem(picture(0)), [])
    with pytest.raises(RequestError, match="a sheet needs at least one query"):
        draw_sheet([], tmp_path / "s.png")
    with pytest.raises(RequestError, match=r"written as \.png, \.svg or \.pdf, got s\.gif"):
        draw_sheet([row], tmp_path / "s.gif")
    with pytest.raises(RequestError, match=r"at most 100 queries of 50 answers, got 101 of 0"):
        draw_sheet([row] * (MOST_ROWS + 1), tmp_path / "s.png")
    with pytest.raises(RequestError, match=r"written as \.png, \.svg or \.pdf, got c\.jpg"):
        draw_curves({}, {}, tmp_path / "c.jpg")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write"):
        draw_sheet([row], tmp_path / "file" / "s.png")
    with pytest.raises(RunError, match="cannot write"):
        draw_curves({}, {}, tmp_path / "file" / "c.png")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
