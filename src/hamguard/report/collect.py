"""Rows of several files as one set: equal rows once, and what does not fit together marked and said."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from hamguard import __version__
from hamguard.core.digests import digest_file
from hamguard.core.errors import RequestError
from hamguard.core.files import read_json
from hamguard.core.rows import Row, read_rows
from hamguard.report.pictures import Picture, read_pictures

K = TypeVar("K")
FOREIGN, OLD, DISPUTED = "foreign", "other version", "disputed"
OUTCOMES = (
    "worst_map_after",
    "worst_found_after",
    "held",
    "passed",
    "kept_of_each",
    "reference_codes",
)  # found by a run, not asked of it


@dataclass(frozen=True, slots=True)
class Entry:
    """A row with where it came from.

    Attributes:
        number: its place among all, from 0.
        row: the row.
        sources: files that hold it.
        marks: of `FOREIGN`, `OLD`, `DISPUTED`.
    """

    number: int
    row: Row
    sources: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Collected:
    """Rows of several files.

    Attributes:
        entries: every different row, in the order of the files.
        sources: file and how many rows it holds.
        duplicates: rows left out because an equal one stands there already.
        remarks: what a reader must know about the set.
        pictures: those that stand beside the files.
    """

    entries: tuple[Entry, ...]
    sources: tuple[tuple[str, int], ...]
    duplicates: int
    remarks: tuple[str, ...]
    pictures: tuple[Picture, ...] = ()

    @property
    def rows(self) -> list[Row]:
        """The rows alone."""
        return [entry.row for entry in self.entries]


def rows_file(path: Path | str) -> Path:
    """The rows file that a path stands for: itself, or `rows.jsonl` of a folder.

    Raises:
        RequestError: there is none.
    """
    path = Path(path)
    found = path / "rows.jsonl" if path.is_dir() else path
    if not found.exists():
        raise RequestError(f"no rows at {found}")
    return found


def collect(paths: Iterable[Path | str], *, models: Sequence[Path | str] = (".",)) -> Collected:
    """Read rows files and the pictures beside them.

    Args:
        paths: rows files, or folders that hold `rows.jsonl`; at least one.
        models: folders, beside those of the files, in which a model's `card.json` is looked for under its name.

    Raises:
        RequestError: no path, a missing, broken or empty file, or a broken `pictures.json`.
    """
    files = list(dict.fromkeys(rows_file(path) for path in paths))
    if not files:
        raise RequestError("a report needs at least one rows file, got none")
    read: list[tuple[str, Row]] = []
    sources = []
    for file in files:
        rows = read_rows(file)
        if not rows:
            raise RequestError(f"{file} holds no row")
        sources.append((str(file), len(rows)))
        read += [(str(file), row) for row in rows]
    pictures = _pictures(files)
    cards = _cards(read, [Path(folder) for folder in models])
    return _joined(read, sources, pictures, cards)


def _pictures(files: Sequence[Path]) -> list[Picture]:
    """Pictures of the folders of rows files: those of all rows there, and those that were drawn for what these files hold."""
    found = []
    for folder, own in by_folder(files).items():
        listed = read_pictures(folder)
        held = {"", *(digest_file(file) for file in own)} if any(one.rows for one in listed) else {""}
        found += [one for one in listed if one.rows in held]
    return found


def by_folder(files: Iterable[Path]) -> dict[Path, list[Path]]:
    """Files in the folders that they lie in, in the order they come."""
    folders: dict[Path, list[Path]] = {}
    for file in files:
        folders.setdefault(file.parent, []).append(file)
    return folders


def collect_rows(rows: Iterable[Row], *, source: str = "these rows", pictures: Iterable[Picture] = ()) -> Collected:
    """Rows that are in memory already, as a set.

    Raises:
        RequestError: there is none.
    """
    read = [(source, row) for row in rows]
    if not read:
        raise RequestError("a report needs at least one row, got none")
    return _joined(read, [(source, len(read))], list(pictures), {})


def brief(facts: Any) -> bytes:
    """Sixteen bytes that are equal for equal facts, whatever their length: what rows are grouped by."""
    return hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16).digest()


def by(entries: Iterable[Entry], key: Callable[[Entry], K]) -> dict[K, list[Entry]]:
    """Rows in groups, in the order they come."""
    groups: dict[K, list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[key(entry)].append(entry)
    return groups


def question(row: Row) -> bytes:
    """Everything that was asked, in brief: equal for two rows that should have one answer."""
    facts = {key: value for key, value in (row.attack or {}).items() if key not in OUTCOMES} if row.attack else None
    hashes = {key: value for key, value in row.hashes.items() if not key.endswith("_codes")}
    return brief([*(getattr(row, key) for key in ASKED), facts, hashes])


KEYS = tuple(one.name for one in fields(Row))
ASKED = tuple(
    key
    for key in KEYS
    if key not in ("value", "ci95", "seconds", "forwards", "backwards", "version", "notes", "attack", "hashes")
)
TOLD = tuple(key for key in KEYS if key != "seconds")  # two machines take their own time


def _joined(
    read: Sequence[tuple[str, Row]],
    sources: Sequence[tuple[str, int]],
    pictures: Sequence[Picture],
    cards: Mapping[tuple[str, str], str],
) -> Collected:
    kept: dict[bytes, int] = {}
    rows: list[Row] = []
    holders: list[tuple[str, ...]] = []
    shared: dict[tuple[str, ...], tuple[str, ...]] = {}  # few sets of files hold all rows
    for source, row in read:
        number = kept.setdefault(brief([getattr(row, key) for key in TOLD]), len(rows))
        if number == len(rows):
            rows.append(row)
            holders.append(())
        if source not in holders[number]:
            found = (*holders[number], source)
            holders[number] = shared.setdefault(found, found)
    unique = list(zip(rows, holders, strict=True))
    del kept
    marks: list[tuple[str, ...]] = [()] * len(unique)
    remarks: list[str] = []
    dropped = len(read) - len(unique)
    remarks += _mark_foreign(unique, marks, cards)
    remarks += _mark_old(unique, marks)
    remarks += _mark_disputed(unique, marks)
    if dropped:
        one = dropped == 1
        remarks.append(
            f"{dropped:,} {'row stands' if one else 'rows stand'} more than once, equal in everything but the time; "
            f"{'it is' if one else 'they are'} shown once"
        )
    entries = tuple(Entry(number, row, found, marks[number]) for number, (row, found) in enumerate(unique))
    return Collected(entries, tuple(sources), dropped, tuple(remarks), tuple(pictures))


def _cards(read: Sequence[tuple[str, Row]], models: Sequence[Path]) -> dict[tuple[str, str], str]:
    """Weights hash of each model folder that is there, by source and model name."""
    found: dict[tuple[str, str], str] = {}
    seen: set[tuple[str, str]] = set()
    for source, row in read:
        key = (source, row.model or "")
        if not row.model or key in seen:
            continue
        seen.add(key)
        for base in (Path(source).parent, *models):
            try:
                digest = read_json(base / row.model / "card.json", "card", limit=CARD).get("weights_hash")
            except (OSError, ValueError):  # a model may have any name, and a card may be anything
                continue
            if isinstance(digest, str) and digest:
                found[key] = digest
                break
    return found


def _mark_foreign(
    unique: Sequence[tuple[Row, tuple[str, ...]]],
    marks: list[tuple[str, ...]],
    cards: Mapping[tuple[str, str], str],
) -> list[str]:
    groups: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for number, (row, _) in enumerate(unique):
        if row.model and row.hashes.get("model"):
            front = str((row.defense or {}).get("purifier", ""))  # a purifier in front makes a model of its own
            groups[row.model, row.dataset, row.split, front].append(number)
    remarks = []
    for (model, dataset, _, front), members in groups.items():
        counts = Counter(unique[number][0].hashes["model"] for number in members)
        files = [cards[key] for number in members for key in _keys(unique[number]) if key in cards and not front]
        if len(counts) == 1 and not files:
            continue
        home = files[0] if files else counts.most_common(1)[0][0]
        strange = [number for number in members if not _same(unique[number][0].hashes["model"], home)]
        for number in strange:
            marks[number] += (FOREIGN,)
        if strange:
            others = Counter(unique[number][0].hashes["model"] for number in strange)
            said = some([f"{count:,} of {digest}" for digest, count in others.items()], LISTED)
            against = f"its card says {home}" if files else f"{counts[home]:,} rows are of {home}"
            remarks.append(
                f"foreign: {model} on {dataset}: {against}, but {_rows(len(strange))} of other weights, or of a part of "
                f"the model ({said})"
            )
    return _first(remarks, "foreign", "models with rows of other weights")


def _keys(one: tuple[Row, tuple[str, ...]]) -> list[tuple[str, str]]:
    return [(source, one[0].model or "") for source in one[1]]


def _same(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def _rows(count: int) -> str:
    return "1 row is" if count == 1 else f"{count:,} rows are"


def _mark_old(unique: Sequence[tuple[Row, tuple[str, ...]]], marks: list[tuple[str, ...]]) -> list[str]:
    counts: Counter[tuple[str, tuple[str, ...]]] = Counter()
    for number, (row, found) in enumerate(unique):
        if row.version != __version__:
            marks[number] += (OLD,)
            counts[row.version, found] += 1
    remarks = [
        f"other version: {_rows(count)} of hamguard {version}, this is {__version__} ({some(found, SETS)})"
        for (version, found), count in counts.items()
    ]
    return _first(remarks, "other version", "versions and files")


def _first(remarks: list[str], kind: str, what: str) -> list[str]:
    """Remarks of a kind; of very many the first, and how many more."""
    left = len(remarks) - SETS
    return [*remarks[:SETS], f"{kind}: and {left:,} more {what}; the tables mark all"] if left > 0 else remarks


def some(values: Sequence[str], most: int = 4) -> str:
    """A few values; of many, how many more."""
    return ", ".join(values[:most]) + (f" and {len(values) - most:,} more" if len(values) > most else "")


def _mark_disputed(unique: Sequence[tuple[Row, tuple[str, ...]]], marks: list[tuple[str, ...]]) -> list[str]:
    groups: dict[bytes, list[int]] = defaultdict(list)
    for number, (row, _) in enumerate(unique):
        if not (row.metric or "").startswith("random_"):  # random codes are drawn anew
            groups[question(row)].append(number)
    disputed = [
        members
        for members in groups.values()
        if len({unique[number][0].value for number in members}) > 1
        and len({unique[number][1] for number in members}) > 1
    ]
    remarks = []
    for members in disputed:
        for number in members:
            marks[number] += (DISPUTED,)
    for members in disputed[:LISTED]:
        row = unique[members[0]][0]
        said = " against ".join(
            f"{unique[number][0].value} ({some(unique[number][1], SETS)})" for number in members[:LISTED]
        )
        said += f" and {len(members) - LISTED:,} more" if len(members) > LISTED else ""
        attack = f", {(row.attack or {}).get('method', 'attack')}" if row.attack else ""
        remarks.append(
            f"disputed: {row.model} on {row.dataset}{attack}, {row.task} {row.metric}: {said}; all are shown"
        )
    if len(disputed) > LISTED:
        remarks.append(f"disputed: and {len(disputed) - LISTED:,} more questions with several answers; all are shown")
    return remarks


CARD = 1 << 20  # bytes of a model's card
LISTED = 8  # disputes that are said one by one, and answers to one of them; the tables mark all
SETS = 40  # models, or sets of files, that are said one by one
