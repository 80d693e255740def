"""The page of a proof of effect: one self-contained HTML file, light and dark, for a screen, a phone and paper."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hamguard.report.folding import fitted
from hamguard.report.page import render_page
from hamguard.report.table import Table

LISTED = 100  # problems on the page; the JSON files hold all


@dataclass(frozen=True)
class Shown:
    """A picture on the page.

    Attributes:
        caption: what stands below it.
        jpeg: a JPEG file.
        width, height: of that file, in pixels.
    """

    caption: str
    jpeg: bytes
    width: int
    height: int

    @property
    def uri(self) -> str:
        """The picture as text, so that the page needs no other file."""
        return "data:image/jpeg;base64," + base64.b64encode(self.jpeg).decode()


@dataclass(frozen=True)
class Card:
    """One picture with its protected copy.

    Attributes:
        name: of the original.
        lost: whether no matcher that counts finds the original any more.
        verdict: the same in words.
        pictures: original, protected, difference.
        facts: how the copy looks.
        table: figures of each kind of copy.
        details: parts of original and protected copy at full size.
    """

    name: str
    lost: bool
    verdict: str
    pictures: Sequence[Shown]
    facts: str
    table: Table
    details: Sequence[tuple[Shown, Shown]] = ()


@dataclass(frozen=True)
class EffectPage:
    """Everything on the page.

    Attributes:
        title: its heading.
        subject: one line on what was compared.
        words: the outcome in sentences, the most important first.
        further: less important sentences.
        overview: all searches in one table; None where there are few.
        tables: one table a matcher.
        reading: how the tables are to be read.
        cards: headings with their cards; no card, no section.
        pictures: how the pictures were made, with the factor of the difference.
        limits: what the protection does not protect against.
        problems: files that could not be compared.
        footer: version and settings.
        bibtex: what is to be cited for protector and matchers, and hamguard's own.
    """

    title: str
    subject: str
    words: Sequence[str]
    tables: Sequence[Table]
    reading: Sequence[str]
    cards: Sequence[tuple[str, Sequence[Card]]]
    pictures: str
    limits: Sequence[str]
    problems: Sequence[str]
    footer: str
    bibtex: Sequence[str] = ()
    further: Sequence[str] = ()
    overview: Table | None = None


def write_effect_page(page: EffectPage, path: Path | str) -> None:
    """Write the page; it asks for nothing from outside itself.

    Args:
        page: what stands on it; text is text, never markup.
        path: HTML file to write.

    Raises:
        RequestError: the file does not end in .html.
        RunError: the file cannot be written.
    """
    render_page("effect.html", path, fit=fitted, page=page, listed=LISTED)
