"""From words to a `Job`: recipe file, flags and `--set` put together, checked as a whole, every fault named at once."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hamguard.core.checks import suggest
from hamguard.core.errors import RequestError
from hamguard.core.files import read_toml
from hamguard.trainers.job import KINDS, SECTIONS, Job, complete, explain, kind_of
from hamguard.trainers.kind import Kind


def read_recipe(path: Path | str) -> dict[str, Any]:
    """Read a TOML recipe.

    Raises:
        RequestError: missing, not an ordinary file, or no TOML; the message has line and column.
    """
    return read_toml(path, "recipe")


def parse_value(text: str) -> Any:
    """The value of `--set key=value`: TOML where it is TOML, else the text itself.

    >>> parse_value("0.1"), parse_value("true"), parse_value("bank")
    (0.1, True, 'bank')
    """
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def read_job(
    recipe: Mapping[str, Any] | None = None,
    flags: Mapping[str, Any] | None = None,
    sets: Sequence[str] | Mapping[str, Any] = (),
    *,
    kind: str = "",
) -> Job:
    """Put recipe, flags and `--set` together; later ones win. Defaults of the method and its preset lie below all three.

    Args:
        recipe: content of a recipe file with the fields of `Job`.
        flags: dotted key to value, None where the flag was not given, e.g. `{"model.bits": 16}`.
        sets: `key=value` words, or keys and values; a key is dotted, or the bare name of a setting or recipe field.
        kind: what is trained; by default what the method trains.

    Raises:
        RequestError: one or more faults; all of them are named.
    """
    words, faults = _split(sets)
    recipe, flags = dict(recipe or {}), {key: value for key, value in (flags or {}).items() if value is not None}
    chosen = [value for key, value in words if key == "method"]  # it decides which other keys there are
    if chosen and (not kind or "" in KINDS[kind]().reach):
        flags["method"], words = chosen[-1], [(key, value) for key, value in words if key != "method"]
    method = flags.get("method", recipe.get("method"))
    trainer = KINDS[kind]() if kind else kind_of("csq" if method is None else method)
    assert isinstance(trainer, Kind)
    method = trainer.default if method is None else method
    merged: dict[str, Any] = {"kind": trainer.name}
    if method in trainer.methods():
        sections = _sections(trainer, method)
        merged |= _known_part(recipe, sections, trainer.in_recipe, faults)
        for key, value in flags.items():
            if key.removeprefix("training.") in trainer.idle:
                faults.append(f"{method} takes no {key.removeprefix('training.')}")
            _put(merged, key, value)
        reached = {section: names for section, names in sections.items() if section in trainer.reach}
        for key, value in words:
            full = _full_key(key, reached)
            if full:
                _put(merged, full, value)
            else:
                faults.append(_unknown(key, trainer.of(method), [name for names in reached.values() for name in names]))
        faults += trainer.refused(method, merged)
    else:
        merged["method"] = method
    filled, wrong = complete(merged)
    faults += wrong
    try:
        job = Job(**(filled if wrong else merged))  # what was asked for, so that the job knows it
    except ValidationError as error:
        faults += explain(error, (), list(Job.model_fields))
    if faults:
        raise RequestError(faults[0] if len(faults) == 1 else f"{len(faults)} faults: {' | '.join(faults)}")
    trainer.check(job)
    return job


def _split(sets: Sequence[str] | Mapping[str, Any]) -> tuple[list[tuple[str, Any]], list[str]]:
    """Keys and values of `--set`, and the faults."""
    if isinstance(sets, Mapping):
        return list(sets.items()), []
    words, faults = [], []
    for word in sets:
        key, equals, text = (part.strip() for part in word.partition("="))
        if equals and key and text:
            words.append((key, parse_value(text)))
        else:
            faults.append(f"--set {word}: must be key=value")
    return words, faults


def _sections(trainer: Kind, method: str) -> dict[str, list[str]]:
    """Names that mean something, by section; those of `Job` itself under the empty text."""
    alike = ("method", "preset", "seed", "eps", "norm", "data", "model", "settings", "training")
    sections = {
        "": [name for name in alike if name in trainer.own or name not in ("eps", "norm", "model")],
        "settings": list(trainer.settings_type(method).model_fields),
    }
    for name, kind in SECTIONS.items():
        if name in sections[""]:
            sections[name] = [field for field in kind.model_fields if name != "training" or field not in trainer.idle]
    return sections


def _known_part(
    recipe: Mapping[str, Any], sections: Mapping[str, Sequence[str]], where: str, faults: list[str]
) -> dict[str, Any]:
    """The part of a recipe file that has a meaning; the rest is added to the faults."""
    known: dict[str, Any] = {}
    placed = {name: f"{section}.{name}" for section, names in sections.items() if section for name in names}
    for key, value in recipe.items():
        if key not in sections[""]:
            near = difflib.get_close_matches(key, [*sections[""], *placed], n=1, cutoff=0.6)
            meant = (
                f"; did you mean {placed.get(near[0], near[0])}?" if near else ""
            )  # a bare key may belong to a table
            faults.append(f"unknown key {key}{where}{meant or '; allowed: ' + ', '.join(sections[''])}")
        elif key not in sections:
            known[key] = value
        elif not isinstance(value, Mapping):
            faults.append(f"{key}: must be a table of key = value, got {value!r}")
        else:
            known[key] = {name: inner for name, inner in value.items() if name in sections[key]}
            faults += [_unknown(f"{key}.{name}", where, sections[key]) for name in value if name not in sections[key]]
    return known


def _unknown(key: str, where: str, allowed: Sequence[str]) -> str:
    hint = suggest(key.rpartition(".")[2], allowed) or f"; allowed: {', '.join(allowed)}"
    return f"unknown key {key}{where}{hint}"


def _put(target: dict[str, Any], key: str, value: Any) -> None:
    head, _, tail = key.partition(".")
    if not tail:
        target[head] = value
    else:
        inner = target.setdefault(head, {})
        if isinstance(inner, dict):
            inner[tail] = value


def _full_key(key: str, sections: Mapping[str, Sequence[str]]) -> str | None:
    """`lr` to `training.lr`, `eta` to `settings.eta`, a dotted key as it is; None where it means nothing."""
    head, dot, tail = key.rpartition(".")
    if dot:
        return key if tail in sections.get(head, ()) else None
    found = next((section for section, names in sections.items() if key in names), None)
    return None if found is None else f"{found}.{key}".lstrip(".")
