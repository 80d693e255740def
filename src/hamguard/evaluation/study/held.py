"""What presets and paper recipes hold: the value of a setting, found where a training or an attack would take it from.

A place is a preset, `KIND:METHOD:PRESET` (`model:dph:saat`, `attack:sdha:code`), or a table of a recipe, `RECIPE:PATH`
(`saat-table1:models.dph`, `saat-*:attacks.hag`), where names may have `*`. A table of models, attacks, defenses or protections is
spelled out as a study would, so that what its preset says is found, too; what is no part of that is looked for in the table
itself (`bits`, `targets`), and without a path in the recipe (`metrics`). A generator is one for each data set
(`prosgan-table1:attacks.prosgan.generator`), or that of one of them (`...generator.flickr25k`).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from hamguard.attacks.methods.registry import ATTACKS
from hamguard.core.checks import parse_eps
from hamguard.core.errors import RequestError
from hamguard.evaluation.study.grid_recipe import GridRecipe
from hamguard.evaluation.study.plan import StudyPlan, expand, generator_request, parties, protector_request
from hamguard.evaluation.study.recipe import StudyRecipe, read_study
from hamguard.trainers.job import Job

SPELLED_OUT = ("settings", "training", "model", "guide", "loss", "search", "threat", "toward", "fidelity")
"""First words of settings that a table has once it is spelled out: of a `Job`, or of an `Attack`."""


def held(setting: str, place: str) -> list[Any]:
    """Values of a setting in one place, one for each cell that has it.

    Args:
        setting: path of the value, `training.lr`.
        place: a preset or a table of recipes.

    Returns:
        The values, at least one.

    Raises:
        RequestError: no such preset, recipe or table, or one that has no such setting.
    """
    if place.count(":") == 2:
        return [_value(_preset(*place.split(":")), setting, place)]
    name, _, table = place.partition(":")
    found = [path for path in paper_recipes() if fnmatchcase(path.stem, name)]
    if not found:
        raise RequestError(f"{place}: no paper recipe is called {name}")
    return [value for path in found for value in _in_recipe(*_opened(path), table, setting, f"{path.stem}:{table}")]


def paper_recipes() -> list[Path]:
    """Recipe files of the published form."""
    return sorted(Path(str(files("hamguard") / "recipes" / "paper")).glob("*.toml"))


def same(published: Any, ours: Any) -> bool:
    """Whether a value is the published one.

    >>> same("8/255", 8 / 255), same(["map"], ("map",)), same(32, (32,)), same("none", None), same(1, True)
    (True, True, True, True, False)
    """
    if isinstance(published, list):
        return isinstance(ours, Sequence) and len(published) == len(ours) and all(map(same, published, ours))
    if isinstance(ours, list | tuple) and len(ours) == 1:
        return same(published, ours[0])
    if isinstance(published, bool) or isinstance(ours, bool):
        return published is ours
    if isinstance(ours, int | float):
        number = parse_eps(published) if isinstance(published, str) and "/" in published else published
        return isinstance(number, int | float) and math.isclose(number, ours, rel_tol=1e-9)
    if isinstance(ours, str):
        return bool(published == ours)
    if ours is None:
        return bool(published == "none")
    return bool(published == getattr(ours, "__name__", type(ours).__name__))  # a function, or a value by its class


def _preset(kind: str, method: str, preset: str) -> Any:
    if kind != "attack":
        return Job(kind=kind, method=method, preset=preset)
    return ATTACKS[method]() if preset == "default" else ATTACKS[method](preset=preset)


@lru_cache(maxsize=32)
def _opened(path: Path) -> tuple[StudyRecipe, StudyPlan]:
    recipe = read_study(path)
    return recipe, expand(recipe)


def _in_recipe(recipe: StudyRecipe, plan: StudyPlan, table: str, setting: str, place: str) -> list[Any]:
    spelled_out = setting.partition(".")[0] in SPELLED_OUT
    things = _cells(recipe, plan, table) if spelled_out else [_table(recipe, table, place)]
    if not things:
        raise RequestError(f"{place}: nothing there is spelled out, so that nothing has {setting}")
    return [_value(thing, setting, place) for thing in things]


def _cells(recipe: StudyRecipe, plan: StudyPlan, table: str) -> list[Any]:
    """Trainings and attacks that a table stands for."""
    kind, _, rest = table.partition(".")
    name, _, inner = rest.partition(".")
    if kind == "models":
        return [cell.request for cell in plan.models if cell.table == name and cell.request]
    if kind == "defenses":  # of pairs of nets they have no table of their own
        jobs = [(one.table or one.request.method, one.request) for cell in plan.models for one in cell.defenses]
        return [job for title, job in jobs if title == name]
    if kind == "attacks" and not inner:
        return [cell.spec.attack for cell in plan.attacks if cell.table == name]
    if not isinstance(recipe, GridRecipe):
        return []
    data = next(iter(recipe.data.values()))
    if kind == "attacks" and name in recipe.attacks:
        generator, (kind, _, on) = recipe.attacks[name].generator, inner.partition(".")
        if generator is None or kind != "generator":
            return []
        return [generator_request(generator, where, one, 0) for where, one in recipe.data.items() if on in ("", where)]
    if kind == "protections" and name in recipe.protections:
        part = recipe.protections[name]
        if inner == "parties":
            return [job for job, _ in parties(part, data, 0)]
        return [] if inner else [protector_request(part, data, eps, 0) for eps in part.eps]
    return []


def _table(recipe: StudyRecipe, table: str, place: str) -> Any:
    """A table of a recipe as it is written."""
    return _value(recipe, table, place) if table else recipe


def _value(thing: Any, path: str, place: str) -> Any:
    for word in path.split("."):
        try:
            thing = thing[word] if isinstance(thing, Mapping) else getattr(thing, word)
        except (KeyError, AttributeError) as error:
            raise RequestError(f"{place} has no {path}") from error
    if inspect.ismethod(thing):  # what a thing does is no setting of it
        raise RequestError(f"{place} has no {path}")
    return thing
