"""The page of a proof of effect: nothing from outside, nothing lost, nothing taken as markup."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hamguard.core.errors import RequestError, RunError
from hamguard.report.effect_page import LISTED, Card, EffectPage, Shown, write_effect_page
from hamguard.report.table import Table

NAME = 'a<script src="https://example.org/x.js">&.jpg'


def jpeg(level: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.full((6, 8, 3), level, np.uint8)).save(out, "JPEG")
    return out.getvalue()


def page() -> EffectPage:
    rows = [["as saved", "50.0% (10 to 90)"], ["noise", "0.0%"]]
    table = Table.of(NAME, ["copy", "lost"], rows, tag="never seen", strong=0)
    shown = [
        Shown(caption, jpeg(level), 8, 6) for level, caption in enumerate(("original", "protected", "difference × 15"))
    ]
    card = Card(NAME, True, "lost: the original stands at 40 of 60", shown, "SSIM 0.9", table)
    cards = [("The worst", [card, replace(card, lost=False, verdict="found")]), ("none here", [])]
    return EffectPage("Title", f"in against {NAME}", ["First sentence."], [table], ["How to read."], cards, "Factor 15.",
                      ["A person who looks."], [f"{NAME} is broken"], "hamguard")  # fmt: skip


class Seen(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def read(path: Path) -> tuple[str, Seen]:
    text, seen = path.read_text(encoding="utf-8"), Seen()
    seen.feed(text)
    return text, seen


def test_the_page_asks_for_nothing_from_outside(tmp_path: Path) -> None:
    write_effect_page(page(), tmp_path / "report.html")
    text, seen = read(tmp_path / "report.html")
    kinds = {tag for tag, _ in seen.tags}
    assert not kinds & {"script", "link", "iframe", "object", "embed", "base", "form", "audio", "video", "svg"}
    for tag, attributes in seen.tags:
        for key, value in attributes.items():
            if key in ("src", "href", "srcset", "action", "data", "poster", "background"):
                assert tag == "img" and (value or "").startswith("data:image/jpeg;base64,")
    style = "".join(re.findall(r"<style>(.*?)</style>", text, re.DOTALL))
    assert "url(" not in style and "@import" not in style and "https:" not in style
    assert "default-src 'none'" in text, "a browser refuses the rest"
    assert "prefers-color-scheme: dark" in style and "@media print" in style and "max-width" in style
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in seen.tags


def test_everything_stands_on_it_in_order(tmp_path: Path) -> None:
    write_effect_page(page(), tmp_path / "report.html")
    text, seen = read(tmp_path / "report.html")
    body = seen.text
    order = ["First sentence.", "50.0% (10 to 90)", "How to read.", "The worst", "Factor 15.", "✓ lost: the original", "✗ found",
             "What this does not protect against", "A person who looks.", "no guarantee", "is broken"]  # fmt: skip
    places = [body.index(word) for word in order]
    assert places == sorted(places) and "none here" not in body
    assert NAME in body and "<script" not in text, "a name is text"
    images = [attributes["src"] for tag, attributes in seen.tags if tag == "img"]
    assert len(images) == 6 and base64.b64decode(str(images[1]).partition(",")[2]) == jpeg(1)
    assert text.count('class="strong"') == 3


def test_parts_stand_at_their_own_size_with_the_word_for_each(tmp_path: Path) -> None:
    whole = page()
    heading, cards = whole.cards[0]
    parts = [(Shown("even ground", jpeg(7), 64, 60), Shown("protected", jpeg(9), 64, 60))]
    with_parts = replace(whole, cards=[(heading, [replace(cards[0], details=parts), cards[1]])])
    write_effect_page(with_parts, tmp_path / "report.html")
    text, seen = read(tmp_path / "report.html")
    assert text.count('<details class="parts">') == 1 and "Parts at full size" in seen.text
    images = [attributes for tag, attributes in seen.tags if tag == "img"]
    assert len(images) == 8 and [one["width"] for one in images].count("64") == 2
    assert f"{NAME}: even ground, protected" in [one["alt"] for one in images]
    assert ".parts img { width: auto" in text


def test_long_lists_of_problems_are_cut(tmp_path: Path) -> None:
    many = [f"file {i} is broken" for i in range(LISTED + 7)]
    write_effect_page(replace(page(), problems=many, cards=[]), tmp_path / "r.html")
    text = read(tmp_path / "r.html")[1].text
    assert f"file {LISTED - 1} is" in text and f"file {LISTED} is" not in text and "and 7 more" in text
    write_effect_page(replace(page(), problems=[]), tmp_path / "r.html")
    assert "could not be compared" not in read(tmp_path / "r.html")[1].text


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"written as \.html, got r\.pdf"):
        write_effect_page(page(), tmp_path / "r.pdf")
    with pytest.raises(RequestError, match="a table of 2 columns has a line of 1 cells"):
        Table.of("", ["a", "b"], [["1"]])
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write"):
        write_effect_page(page(), tmp_path / "file" / "r.html")
