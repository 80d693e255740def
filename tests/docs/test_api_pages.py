"""The Python reference is that of the code, has every public name, and every public function says what it takes."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import ModuleType

import pytest

import hamguard as hg

griffe = pytest.importorskip("griffe", reason="docstrings are read by griffe, which `uv sync` installs")
ROOT = Path(__file__).parents[2]


def public() -> dict[str, object]:
    """Functions and classes of the door by their name."""
    found: dict[str, object] = {}
    for name in hg.__all__:
        thing = getattr(hg, name)
        if isinstance(thing, ModuleType) and not callable(thing):
            found |= {f"{name}.{inner}": getattr(thing, inner) for inner in thing.__all__}
        elif callable(thing):
            found[name] = inspect.unwrap(thing)
    return found


@pytest.fixture(scope="module")
def written() -> dict[str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tools"))
        from build_api import pages

        return pages()


def test_pages_are_those_of_the_code(written: dict[str, str]) -> None:
    folder = ROOT / "docs" / "api"
    lying = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md")}
    assert lying == written, "run: uv run python tools/build_api.py"


def test_every_name_has_its_place(written: dict[str, str]) -> None:
    headings = {
        line.removeprefix("## ") for text in written.values() for line in text.splitlines() if line[:3] == "## "
    }
    assert {name.rpartition(".")[2] for name in public()} <= headings
    assert "prepared(\n    bank: CodeBank | None,\n    seed: int = 0," in written["values.md"], (
        "methods of values stand with them"
    )
    assert "threat: Threat = Linf(8 / 255)" in written["attacks.md"], "defaults stand as they were written"


@pytest.mark.parametrize("name", sorted(public()))
def test_docstrings_name_the_arguments(name: str) -> None:
    thing = public()[name]
    text = inspect.getdoc(thing)
    assert text, name
    if not inspect.isfunction(thing):
        return
    kinds = griffe.DocstringSectionKind
    parts = {part.kind: part.value for part in griffe.Docstring(text).parse("google", warnings=False)}
    if kinds.parameters in parts:  # one line says it all where there is none
        said = [item.name for item in parts[kinds.parameters]]
        assert said == [key for key in inspect.signature(thing).parameters if not key.startswith("_")]
