"""A notebook as a page: its prose, its code, and what the code showed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat

FENCE = "```"


def shown(output: Any) -> str:
    """What one output of a cell looks like on a page: the table or picture where it has one, else its text."""
    if output.output_type == "stream":
        return f"{FENCE}text\n{output.text.rstrip()}\n{FENCE}"
    data = output.get("data", {})
    if "image/png" in data:
        return f'<img alt="What the cell shows" src="data:image/png;base64,{data["image/png"].strip()}">'
    if "text/html" in data:
        html = re.sub(r"\n\s*\n", "\n", data["text/html"].strip())  # a blank line would end it
        return f"<div>\n{html}\n</div>"
    return f"{FENCE}text\n{data.get('text/plain', '').rstrip()}\n{FENCE}"


def notebooks_as_pages(text: str) -> str:
    """Links to notebooks lead to their pages."""
    return re.sub(r"\.ipynb(?=[)#])", ".md", text)


def notebook_page(path: Path) -> str:
    """The page of a notebook file."""
    parts = [f"[This page as a notebook]({path.name})"]
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            parts.append(notebooks_as_pages(cell.source))
        elif cell.cell_type == "code":
            parts.append(f"{FENCE}python\n{cell.source}\n{FENCE}")
            parts += [shown(output) for output in cell.outputs]
    head, *rest = parts[1:]
    return "\n\n".join([head, parts[0], *rest]) + "\n"
