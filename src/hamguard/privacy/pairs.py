"""Which protected copy belongs to which original, and what the protector said about its run.

A folder of protected copies keeps relative paths and stems; a suffix may change. `protect.jsonl` in it names each pair;
what it does not name is paired by its relative path, then by its relative path without suffix.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from hamguard.core.errors import RequestError
from hamguard.images.folder import list_pictures

SETTINGS, RECORD = "protect.json", "protect.jsonl"


@dataclass(frozen=True)
class Pair:
    """An original and its protected copy.

    Attributes:
        name: path of the original inside its folder.
        original: its file.
        protected: the copy's file.
    """

    name: str
    original: Path
    protected: Path


@dataclass(frozen=True)
class Pairing:
    """All pairs of two folders.

    Attributes:
        pairs: in the order of their names.
        alone: originals without a copy, by name; they are searched all the same.
        problems: one line for each file that has no partner, or several.
    """

    pairs: list[Pair]
    alone: dict[str, Path]
    problems: list[str]


@dataclass(frozen=True)
class Protection:
    """What `protect.json` says; empty where there is none.

    Attributes:
        found: whether there is one.
        protector: name of the protector; empty for none.
        protector_hash: content hash of its weights.
        eps: bound of the change, in pixel units.
        surrogates: hashes of the models that the protector learned against.
        ensemble: hashes of the models that refined the pictures.
        settings: all of it.
    """

    found: bool
    protector: str
    protector_hash: str
    eps: float | None
    surrogates: frozenset[str]
    ensemble: frozenset[str]
    settings: dict[str, Any]

    def saw(self, digest: str) -> str:
        """Whether the protector knew the model of that hash.

        Returns:
            `in the ensemble`, `surrogate`, `never seen`, or `unknown` where no settings say it.
        """
        if digest in self.ensemble:
            return "in the ensemble"
        if digest in self.surrogates:
            return "surrogate"
        return "never seen" if self.found else "unknown"


def find_pairs(source: Path, out: Path) -> Pairing:
    """Pair originals with protected copies.

    Args:
        source: folder of originals, or one file.
        out: folder of copies; for one original also its copy.

    Raises:
        RequestError: one of them is missing, both are the same, a folder stands against a file, a record is damaged, or there
            is not a single pair.
    """
    for place in (source, out):
        if not place.exists():
            raise RequestError(f"{place} does not exist; give the originals and their protected copies")
    if source.resolve() == out.resolve():
        raise RequestError(f"originals and protected copies are both {source}; give two places")
    if out.is_file():
        if source.is_dir():
            raise RequestError(f"{source} is a folder and {out} a file; give two folders or two files")
        return Pairing([Pair(source.name, source, out)], {}, [])
    single = source.is_file()
    base = source.parent if single else source
    originals = [source] if single else _outside(list_pictures(source), source, out)
    copies = _outside(list_pictures(out), out, source)
    pairing = _pair(
        {path.relative_to(base).as_posix(): path for path in originals},
        {path.relative_to(out).as_posix(): path for path in copies}, read_record(out), out, others=not single,
    )  # fmt: skip
    if not pairing.pairs:
        first = f": {pairing.problems[0]}" if pairing.problems else ""
        raise RequestError(f"no picture of {source} has a protected copy in {out}{first}")
    return pairing


def _outside(paths: Iterable[Path], folder: Path, other: Path) -> list[Path]:
    """Paths of a folder without those of the other one, where that lies inside it."""
    place = other.resolve()
    if not place.is_relative_to(folder.resolve()):
        return list(paths)
    return [path for path in paths if not path.resolve().is_relative_to(place)]


def _pair(
    originals: dict[str, Path], copies: dict[str, Path], record: dict[str, dict[str, Any]], out: Path, *, others: bool
) -> Pairing:
    pairs: dict[str, str] = {}  # name of the original to name of its copy
    told_of: set[str] = set()
    problems: dict[str, str] = {}
    for name in originals:
        entry = record.get(name)
        if entry is None:
            continue
        told = str(entry.get("out") or "")
        if told in told_of:
            problems[name] = f"{name}: its protected copy {told} is that of another picture, too"
        elif entry["status"] == "done" and told in copies:
            pairs[name] = told
            told_of.add(told)
        elif entry["status"] == "done":
            problems[name] = f"{name}: its protected copy {told or 'without a name'} is not in {out}"
        else:
            problems[name] = f"{name} was not protected: {entry.get('reason') or 'no reason given'}"
    free = [name for name in copies if name not in told_of]
    rest = [name for name in originals if name not in pairs and name not in problems]
    pairs |= {name: name for name in set(rest) & set(free)}
    taken = set(pairs.values())
    by_stem: dict[str, list[str]] = defaultdict(list)
    asking: dict[str, list[str]] = defaultdict(list)
    for name in free:
        if name not in taken:
            by_stem[_stem(name)].append(name)
    for name in rest:
        if name not in pairs:
            asking[_stem(name)].append(name)
    for stem, names in asking.items():
        found = by_stem.get(stem, [])
        if len(names) == len(found) == 1:
            pairs[names[0]] = found[0]
            taken.add(found[0])
            continue
        for name in names:
            if not found:
                problems[name] = f"{name} has no protected copy in {out}"
            elif len(found) > 1:
                problems[name] = f"{name} has several copies in {out}: {', '.join(found)}"
            else:
                rivals = ", ".join(other for other in names if other != name)
                problems[name] = f"{name} and {rivals} share the copy {found[0]} in {out}"
        taken.update(found)
    strays = [name for name in free if name not in taken] if others else []
    lines = [problems[name] for name in originals if name in problems]
    lines += [f"{name} in {out} has no original" for name in strays]
    return Pairing(
        [Pair(name, originals[name], copies[pairs[name]]) for name in originals if name in pairs],
        {name: path for name, path in originals.items() if name not in pairs},
        lines,
    )


def _stem(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix()


def read_record(out: Path) -> dict[str, dict[str, Any]]:
    """What `protect.jsonl` says of each original, by its path; the last line of a picture counts.

    Raises:
        RequestError: a line is no object with `file` and `status`. A torn last line, as a stopped run leaves it, is left out.
    """
    path = out / RECORD
    if not path.is_file():
        return {}
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise RequestError(f"{path} is damaged: it is no text") from error
    found = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):
                break
            raise RequestError(f"{path}, line {number}: not a JSON object") from error
        if not isinstance(entry, dict) or not isinstance(entry.get("file"), str) or "status" not in entry:
            raise RequestError(f"{path}, line {number}: an object with file and status is needed")
        found[entry["file"]] = entry
    return found


def read_protection(out: Path) -> Protection:
    """What `protect.json` says, in the folder of protected copies, or beside one.

    Raises:
        RequestError: it is damaged.
    """
    path = (out if out.is_dir() else out.parent) / SETTINGS
    if not path.is_file():
        return Protection(False, "", "", None, frozenset(), frozenset(), {})
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"{path} is damaged: it is no JSON") from error
    if not isinstance(told, dict):
        raise RequestError(f"{path} is damaged: an object is needed, got {type(told).__name__}")
    named = told.get("protector")
    protector = named if isinstance(named, dict) else {}
    eps = told.get("eps")
    return Protection(
        True, str(protector.get("name") or ""), str(protector.get("hash") or ""),
        float(eps) if isinstance(eps, int | float) else None,
        _hashes(told.get("surrogate")) | _hashes(told.get("surrogates")), _hashes(told.get("matchers")), told,
    )  # fmt: skip


def _hashes(told: Any) -> frozenset[str]:
    """Hashes as one word, a list of words, or a list of objects with `hash`."""
    listed = told if isinstance(told, list) else [told]
    words = [one.get("hash") if isinstance(one, dict) else one for one in listed]
    return frozenset(word for word in words if isinstance(word, str) and word)
