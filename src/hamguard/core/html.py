"""What says what it is, and short pieces of HTML for notebooks, in which everything is text and nothing is markup."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from hamguard.core.shown import shown


class Shown:
    """Whatever says what it is: its `summary` in one line, and as a card in a notebook."""

    @property
    def summary(self) -> Mapping[str, Any]:
        """The few facts that tell it from others; those that are None or empty are left out."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name} {shown(value)}' for name, value in _known(self).items())})"

    def __str__(self) -> str:
        return repr(self)

    def _repr_html_(self) -> str:
        return facts_html(type(self).__name__, _known(self))


def _known(what: Shown) -> dict[str, Any]:
    return {name: value for name, value in what.summary.items() if value is not None and value != ""}


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
