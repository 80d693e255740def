"""Which protected copy belongs to which original, and what the protector said about its run.

A folder of protected copies keeps relative paths and stems; a suffix may change. `protect.jsonl` in it names each pair;
what it does not name is paired by its relative path, then by its relative path without suffix.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hamguard.core.errors import DamagedError, MissingFileError, RequestError
from hamguard.core.files import read_bytes, read_sealed
from hamguard.images.folder import left_out_note, list_pictures, look_into, require_pictures
from hamguard.images.kinds import without_suffix
from hamguard.models.families import family_of
from hamguard.privacy.manifest import LINES, LINES_LIMIT, SETTINGS, read_line

NEVER_SEEN = "never seen"
"""Of a matcher whose weights, network and family the protector did not meet: the only ones that say something about strangers."""


@dataclass(frozen=True)
class Pair:
    """An original and its protected copy.

    Attributes:
        name: path of the original inside its folder.
        original: its file.
        protected: the copy's file.
        written: hash of the copy that protect wrote, see `digest_content`; empty where that is not known.
    """

    name: str
    original: Path
    protected: Path
    written: str = ""


@dataclass(frozen=True)
class Pairing:
    """All pairs of two folders.

    Attributes:
        pairs: in the order of their names.
        alone: originals without a copy, by name; they are searched all the same.
        problems: one line for each file that has no partner, or several; every name in `alone` has one.
        notes: what else a reader must know.
    """

    pairs: list[Pair]
    alone: dict[str, Path]
    problems: list[str]
    notes: tuple[str, ...] = ()


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
        networks: backbones of the surrogates; empty where they are not told.
        refined: backbones of the models that refined the pictures.
    """

    found: bool
    protector: str
    protector_hash: str
    eps: float | None
    surrogates: frozenset[str]
    ensemble: frozenset[str]
    settings: dict[str, Any]
    networks: frozenset[str] = frozenset()
    refined: frozenset[str] = frozenset()

    def saw(self, digest: str, network: str = "") -> str:
        """Whether the protector knew the model of that hash, or its network.

        Args:
            digest: content hash of the model.
            network: name of its backbone; empty where it is not known.

        Returns:
            `in the ensemble` where the pictures were refined against it or its network, `surrogate` where the protector learned
            against either, `same family` where it met a relative of the network, else `never seen`; `unknown` where no
            settings say it.
        """
        network = network.partition("+")[0]
        if digest in self.ensemble or network in self.refined:
            return "in the ensemble"
        if digest in self.surrogates or network in self.networks:
            return "surrogate"
        if network and family_of(network) in {family_of(one) for one in self.networks | self.refined}:
            return "same family"
        return NEVER_SEEN if self.found else "unknown"


def find_pairs(source: Path, out: Path) -> Pairing:
    """Pair originals with protected copies.

    Args:
        source: folder of originals, or one file.
        out: folder of copies; for one original also its copy.

    Raises:
        RequestError: one of them is missing or neither file nor folder, both are the same, a folder stands against a file, a
            record is damaged, or there is not a single pair.
    """
    for place in (source, out):
        if not place.exists():
            raise RequestError(f"{place} does not exist; give the originals and their protected copies")
        if not place.is_file() and not place.is_dir():
            raise RequestError(f"{place} is not an ordinary file; give the originals and their protected copies")
    if source.resolve() == out.resolve():
        raise RequestError(f"originals and protected copies are both {source}; give two places")
    if out.is_file():
        if source.is_dir():
            raise RequestError(f"{source} is a folder and {out} a file; give two folders or two files")
        written = read_record(out.parent).get(source.name, {})
        known = written.get("copy_hash") if written.get("out") == out.name else None
        return Pairing([Pair(source.name, source, out, known or "")], {}, [])
    single = source.is_file()
    base = source.parent if single else source
    notes: tuple[str, ...] = ()
    if single:
        originals = [source]
    else:
        found = look_into(source)
        originals = _outside([source / name for name in require_pictures(source, found)], source, out)
        left = [one for one in found.left if _outside([source / one.file], source, out)]
        notes = (f"{note}; without a copy",) if (note := left_out_note(left)) else ()
    copies = _outside(list_pictures(out), out, source)
    pairing = _pair(
        {path.relative_to(base).as_posix(): path for path in originals},
        {path.relative_to(out).as_posix(): path for path in copies},
        read_record(out),
        out,
        notes,
        others=not single,
    )
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
    originals: dict[str, Path],
    copies: dict[str, Path],
    record: dict[str, dict[str, Any]],
    out: Path,
    notes: tuple[str, ...],
    *,
    others: bool,
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
    told_by = set(pairs)  # paired by the record, which may have hashes
    free = [name for name in copies if name not in told_of]
    rest = [name for name in originals if name not in pairs and name not in problems]
    pairs |= {name: name for name in set(rest) & set(free)}
    taken = set(pairs.values())
    by_stem: dict[str, list[str]] = defaultdict(list)
    asking: dict[str, list[str]] = defaultdict(list)
    for name in free:
        if name not in taken:
            by_stem[without_suffix(name)].append(name)
    for name in rest:
        if name not in pairs:
            asking[without_suffix(name)].append(name)
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
    hashes = {name: str(record[name].get("copy_hash") or "") if name in told_by else "" for name in pairs}
    unsure = sum(not hashes[name] for name in told_by)
    if unsure:
        notes = (
            *notes,
            f"{out / LINES} has no hash of {unsure:,} copies (an older hamguard wrote it), so it is not known whether they "
            "are as protect wrote them",
        )
    return Pairing(
        [Pair(name, originals[name], copies[pairs[name]], hashes[name]) for name in originals if name in pairs],
        {name: path for name, path in originals.items() if name not in pairs},
        lines,
        notes,
    )


def read_record(out: Path) -> dict[str, dict[str, Any]]:
    """What `protect.jsonl` says of each original, by its path; the last line of a picture counts.

    Raises:
        DamagedError: a line is no object with `file` and `status`, or was changed after it was written. A torn last line, as a
            stopped run leaves it, is left out.
    """
    path = out / LINES
    try:
        content = read_bytes(path, "lines of protect", limit=LINES_LIMIT)
    except MissingFileError:
        return {}
    lines = content.split(b"\n")
    found = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = read_line(path, number, line)
        except DamagedError:
            if number == len(lines):
                break
            raise
        if not isinstance(entry.get("file"), str) or "status" not in entry:
            raise DamagedError(path, f"line {number}: an object with file and status is needed")
        found[entry["file"]] = entry
    return found


def read_protection(out: Path) -> Protection:
    """What `protect.json` says, in the folder of protected copies, or beside one.

    Raises:
        DamagedError: it is damaged, or was changed after it was written.
    """
    path = (out if out.is_dir() else out.parent) / SETTINGS
    try:
        told = read_sealed(path, "settings of protect", old=lambda content: "edition" not in content)
    except MissingFileError:
        return Protection(False, "", "", None, frozenset(), frozenset(), {})
    return protection_of(told)


def protection_of(told: dict[str, Any]) -> Protection:
    """What settings of protect say, as `protect.json` holds them."""
    named = told.get("protector")
    protector = named if isinstance(named, dict) else {}
    eps = told.get("eps")
    return Protection(
        True,
        str(protector.get("name") or ""),
        str(protector.get("hash") or ""),
        float(eps) if isinstance(eps, int | float) else None,
        _hashes(told.get("surrogate")) | _hashes(told.get("surrogates")),
        _hashes(told.get("matchers")),
        told,
        _words(told.get("networks")),
        _words([one.get("network") for one in _listed(told.get("matchers")) if isinstance(one, dict)]),
    )


def _hashes(told: Any) -> frozenset[str]:
    """Hashes as one word, a list of words, or a list of objects with `hash`."""
    return _words([one.get("hash") if isinstance(one, dict) else one for one in _listed(told)])


def _listed(told: Any) -> list[Any]:
    return told if isinstance(told, list) else [told]


def _words(told: Any) -> frozenset[str]:
    """What is text of a list, without the feature layers of networks."""
    return frozenset(word.partition("+")[0] for word in _listed(told) if isinstance(word, str) and word)
