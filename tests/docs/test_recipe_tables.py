"""The page on recipes has the keys of the code, and its recipe is one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hamguard.evaluation.study.grid_recipe import SECTIONS, GridRecipe
from hamguard.evaluation.study.plan import expand
from hamguard.evaluation.study.recipe import read_study

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "evaluate.md"


def test_keys_are_those_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    from build_recipes import filled, key_lines

    text = PAGE.read_text(encoding="utf-8")
    assert text == filled(text), "run: uv run python tools/build_recipes.py"
    for kind in (GridRecipe, *SECTIONS.values()):
        assert all(field.description for name, field in kind.model_fields.items() if name not in SECTIONS), kind
    lines = key_lines(SECTIONS["models"])
    assert "| `data` (list) | none | names of data tables; all of them where not given |" in lines
    assert "| `bits` (list) | `32` | code length |" in lines
    with pytest.raises(ValueError, match="evaluate.md needs the lines"):
        filled("nothing")


def test_the_recipe_of_the_page_is_one(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    (tmp_path / "page.toml").write_text(text)
    recipe = read_study(tmp_path / "page.toml")
    plan = expand(recipe)
    assert [cell.name for cell in plan.models] == ["csq-16", "csq-32"]
    assert [cell.name for cell in plan.attacks] == ["mainstay-0.03137", "mainstay-0.25"]


def test_the_shipped_recipe_shows_every_table() -> None:
    recipe = read_study(ROOT / "recipes" / "grid-digits.toml")
    plan = expand(recipe)
    assert [cell.name for cell in plan.models] == ["csq-16", "csq-32", "dpsh-16", "dpsh-32"]
    assert len({cell.spec.name for cell in plan.attacks}) == 3
    assert len([cell for cell in plan.attacks if cell.table == "mainstay"]) == 3, "a curve over eps"
    for name in SECTIONS:
        assert "." in name or getattr(recipe, name), name
    assert recipe.curves and recipe.compare.attacks and recipe.transfer and recipe.transfer.joint
