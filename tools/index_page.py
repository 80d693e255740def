"""Tables of all methods, and the index of all pages; `build_cards.py` writes them."""

from __future__ import annotations

import json
import re
from pathlib import Path

from hamguard.attacks.guides.registry import GUIDES, guide_named
from hamguard.attacks.methods.registry import ATTACKS, method_facts
from hamguard.defenses.registry import DEFENSES
from hamguard.hashing.registry import CROSS_METHODS, OBJECTIVES
from hamguard.report.printers import as_markdown
from hamguard.report.table import Table


def cell(value: object) -> str:
    """A value as a table cell."""
    return str(value).replace("|", "\\|")


DIRECTIONS = {
    "toward": "always toward a target",
    "away": "always away from a code",
    "either": "away, or toward a target with `--targets`",
    "none": "no guide",
}


def any_guide() -> str:
    """The names of all guides in a sentence."""
    *names, last = GUIDES.names()
    return f"{', '.join(names)} or {last}"


def guide_table() -> list[str]:
    """What every guide is."""
    lines = []
    for name in GUIDES:
        written_as = f"`{name}`" + (f" or `{name}:{word}`" if (word := GUIDES.facts(name)["word"]) else "")
        needs = "yes" if guide_named(name).needs_labels else "no"
        lines.append((written_as, cell(GUIDES.title(name)), needs))
    return as_markdown(Table.of("", ("guide", "what it is", "needs labels"), lines))


def attack_table(folder: str = "") -> list[str]:
    """What every attack is, with links to the cards in a folder."""
    lines = []
    for name in ATTACKS:
        facts = method_facts(name)
        direction, presets = DIRECTIONS[facts.direction], ", ".join(facts.presets)
        lines.append((f"[{name}]({folder}{name}.md)", cell(facts.title), direction, presets))
    return as_markdown(Table.of("", ("attack", "what it is", "direction", "presets"), lines))


def defense_table(folder: str = "") -> list[str]:
    """What every defense is, with links to the cards in a folder."""
    lines = []
    for name in DEFENSES:
        kind = DEFENSES[name]
        lines.append((f"[{name}]({folder}{name}.md)", cell(kind.title), "yes" if kind.needs_labels else "no"))
    return as_markdown(Table.of("", ("defense", "what it is", "needs labels"), lines))


FITTED = {
    "lsh": "random hyperplanes around the mean (Charikar, STOC 2002); needs no labels",
    "itq": "iterative quantization (Gong and Lazebnik, CVPR 2011); needs no labels",
    "hashing-baseline": "principal components, rotated at random (Moummad et al., 2025); needs no labels",
    "pca": "signs of the principal components; needs no labels",
}
"""Methods that fit a head to features; they have no card."""


def method_table(folder: str = "") -> list[str]:
    """Where every hash method is from, with links to the cards in a folder."""
    lines = []
    for name, kind in OBJECTIVES.items():
        free = "" if kind.settings_type().needs_labels else "; needs no labels"
        lines.append((f"[{name}]({folder}{name}.md)", cell(kind.title) + free))
    return as_markdown(Table.of("", ("method", "source"), [*lines, *FITTED.items()]))


def cross_method_table(folder: str = "") -> list[str]:
    """The same of methods for pictures and texts."""
    lines = [(f"[{name}]({folder}{name}.md)", cell(CROSS_METHODS[name].title)) for name in CROSS_METHODS]
    return as_markdown(Table.of("", ("method", "source"), lines))


def first_sentence(page: str) -> str:
    """The first sentence of a page that stands in a paragraph; links and bold type become plain text."""
    text = re.sub(r"```.*?```", "", page, flags=re.DOTALL)
    paragraphs = (" ".join(part.split()) for part in text.split("\n\n"))
    prose = next((part for part in paragraphs if part and part[0] not in "#|!<*"), "")
    plain = re.sub(r"\*\*|\[([^\]]*)\]\([^)]*\)", lambda found: found[1] or "", prose)
    return re.split(r"(?<=[.?!])\s+(?=[A-Z`])", plain, maxsplit=1)[0].removesuffix(":")


def notebooks(folder: Path) -> list[tuple[str, str]]:
    """File name and title of every notebook."""
    found = []
    for path in sorted(folder.glob("*.ipynb")):
        first = json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"]
        found.append((path.name, "".join(first).partition("\n")[0].removeprefix("# ")))
    return found


def index(folder: Path) -> str:
    """The list of all pages of a folder, each with its title and first sentence, and of all methods."""
    lines = ["# Documentation", "", "Written by `tools/build_cards.py`. What hamguard is: [README](../README.md).", ""]
    lines += ["## Pages", "", "| page | it begins with |", "|---|---|"]
    for path in sorted(folder.glob("*.md")):
        if path.name != "README.md":
            text = path.read_text(encoding="utf-8")
            title = text.partition("\n")[0].removeprefix("# ")
            lines.append(f"| [{cell(title)}]({path.name}) | {cell(first_sentence(text))} |")
    lines += [
        "",
        "## From Python",
        "",
        "Every command is a function, too: the [Python reference](api/README.md) has them all.",
    ]
    lines += ["", *(f"* [{title}](notebooks/{name})" for name, title in notebooks(folder / "notebooks")), ""]
    lines += ["## Hash methods", "", *method_table("methods/")]
    lines += ["", "For pictures and texts:", "", *cross_method_table("methods/")]
    lines += ["", "## Attacks", "", *attack_table("attacks/")]
    lines += ["", "Guides, which say what code an attack leaves or approaches:", "", *guide_table()]
    lines += ["", "## Defenses", "", *defense_table("defenses/"), ""]
    lines += ["Cross-modal models have [their own three](defenses/cross-modal.md).", ""]
    lines += ["## Protection", "", "[ppl](protectors/ppl.md), proactive privacy-preserving learning.", ""]
    return "\n".join(lines)
