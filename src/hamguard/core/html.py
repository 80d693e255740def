"""Short pieces of HTML for notebooks: lines, a block to copy, a table of facts. Everything in them is text, nothing is markup."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from hamguard.core.shown import shown


def text_html(text: object) -> str:
    """A text as it stands on a page."""
    return escape(shown(text))


def lines_html(lines: Iterable[str]) -> str:
    """Lines below each other."""
    return "<div>" + "<br>".join(map(text_html, lines)) + "</div>"


def block_html(text: str) -> str:
    """Lines as they stand, to be copied."""
    return "<pre>" + "\n".join(map(text_html, text.splitlines())) + "</pre>"


def facts_html(title: str, facts: Mapping[str, Any]) -> str:
    """A title, and a table with a line for each fact."""
    cells = "".join(
        f"<tr><th style='text-align:left'>{text_html(name)}</th><td style='text-align:left'>{text_html(value)}</td></tr>"
        for name, value in facts.items()
    )
    return f"<div><b>{text_html(title)}</b><table>{cells}</table></div>"
