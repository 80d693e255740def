"""Recipes of studies, read and checked as a whole before any work."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from hamguard.core.checks import suggest
from hamguard.core.errors import RequestError
from hamguard.evaluation.study import cross_recipe, grid_recipe
from hamguard.evaluation.study.cross_recipe import CrossRecipe, check_pair_names
from hamguard.evaluation.study.grid_recipe import GridRecipe, check_names
from hamguard.evaluation.study.recipe_section import parse_study
from hamguard.trainers.words import read_recipe

StudyRecipe: TypeAlias = GridRecipe | CrossRecipe
KINDS = ("grid", "cross-modal")
"""What `study` may be in a recipe: hash models of one modality, or models of images and texts."""


def read_study(recipe: Path | str | Mapping[str, Any]) -> StudyRecipe:
    """Read and check a recipe; the models, attacks and defenses that it names are checked where it is spelled out.

    Args:
        recipe: a TOML file, or its content.

    Raises:
        RequestError: missing, no TOML, of another kind, or with a wrong key, name or value; the first fault is named.
    """
    content, path = (recipe, "recipe") if isinstance(recipe, Mapping) else (read_recipe(recipe), recipe)
    kind = content.get("study")
    if kind == "grid":
        found = parse_study(GridRecipe, content, path, grid_recipe.SECTIONS)
        check_names(found, path)
        return found
    if kind == "cross-modal":
        pairs = parse_study(CrossRecipe, content, path, cross_recipe.SECTIONS)
        check_pair_names(pairs, path)
        return pairs
    raise RequestError(
        f"{path} is no study: its first line must be study = one of {', '.join(KINDS)}, got {kind!r}"
        f"{suggest(str(kind), KINDS)}; recipes of one model go to hamguard train"
    )
