"""Write the method cards of `docs/methods/` from the registries; a test compares them with what lies there.

uv run python docs/build_cards.py
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

from hamguard.hashing.objective import REGISTRY, Objective, objective_type
from hamguard.training.recipe import Recipe

FOLDER = Path(__file__).parent / "methods"


def cell(value: object) -> str:
    """A value as a table cell."""
    return str(value).replace("|", "\\|")


def card(kind: type[Objective]) -> str:
    """The card of one hash method: what its file says, its settings, its presets, its training defaults."""
    module = inspect.getdoc(inspect.getmodule(kind)) or ""
    lines = [
        f"# {kind.name}: {kind.title}",
        "",
        module,
        "",
        "## Settings",
        "",
        "| setting | default | meaning |",
        "|---|---|---|",
    ]
    for name, field in kind.settings_type.model_fields.items():
        lines.append(f"| `{name}` | {cell(field.default)} | {cell(field.description or '')} |")
    if kind.presets:
        lines += [
            "",
            "## Presets",
            "",
            "`--preset NAME` takes the printed form; what is not listed keeps its default.",
            "",
        ]
        for name, values in kind.presets.items():
            listed = ", ".join(f"{key} = {value}" for key, value in values.items())
            lines.append(f"* `{name}`: {listed}")
    lines += ["", "## Training defaults", "", "What differs from the common recipe:", ""]
    common = Recipe()
    for key, value in kind.training.items():
        lines.append(f"* `{key}` = {value} (common: {getattr(common, key)})")
    lines += [
        "",
        "```bash",
        f"hamguard train --data digits --method {kind.name} --bits 32 --out models/digits-{kind.name}",
        "```",
        "",
    ]
    return "\n".join(lines)


def cards() -> dict[str, str]:
    """File name to content of every card, and of their list."""
    objective_type("csq")  # fills the registry
    pages = {f"{name}.md": card(REGISTRY[name]) for name in sorted(REGISTRY)}
    lines = [
        "# Hash methods",
        "",
        "Written by `docs/build_cards.py` from the code.",
        "",
        "| method | source |",
        "|---|---|",
    ]
    lines += [f"| [{name}]({name}.md) | {REGISTRY[name].title} |" for name in sorted(REGISTRY)]
    lines += [
        "| lsh | random hyperplanes around the mean (Charikar, STOC 2002); needs no labels |",
        "| itq | iterative quantization (Gong and Lazebnik, CVPR 2011); needs no labels |",
        "| pca | signs of the principal components; needs no labels |",
        "",
        "The last three fit a head to the features of a backbone: "
        "`hamguard train --method itq --backbone squeezenet1_0 --weights FILE.safetensors ...`",
        "",
    ]
    return {**pages, "README.md": "\n".join(lines)}


def main() -> int:
    """Write all cards."""
    FOLDER.mkdir(exist_ok=True)
    for name, content in cards().items():
        (FOLDER / name).write_text(content, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
