"""A result is one row: what ran, on what, the number, its interval. `rows.jsonl` holds one JSON object a row."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from hamguard import __version__
from hamguard.core.archives import memory_bytes
from hamguard.core.digests import digest_bytes, digest_json
from hamguard.core.errors import DamagedError, RequestError
from hamguard.core.files import SEAL, open_ordinary, read_bytes, write_text
from hamguard.core.shown import shown

LONGEST = 8 << 20
"""Bytes of one row; a longer line is none."""
_HALF = re.compile("[\ud800-\udfff]")
DEEPEST = 32  # objects and lists inside each other that a fact of a row may have


@dataclass(frozen=True, slots=True)
class Row:
    """One measured cell; what does not apply is None. Rows that were read share equal objects, so none is ever changed.

    Attributes:
        protocol: named split.
        dataset: data set, with its defect in the name where it has one.
        split: content hash of the split.
        train: what the model was trained on.
        model: path or name of the model.
        method: hash method.
        backbone: network.
        bits: code length.
        attack: attack with `method` and parameters, None for clean.
        defense: defense, None for none.
        threat: norm, eps in pixel units, steps, restarts.
        task: `query->database`, `image->text`, ...
        metric: name of the metric.
        at: cut-off rank or radius.
        ties: tie policy.
        value: the number.
        ci95: bootstrap interval over queries.
        n: number of queries.
        seconds: time that the measurement took.
        forwards: forward passes spent by an attack on a picture, mean rounded up.
        backwards: backward passes spent by an attack on a picture, mean rounded up.
        seed: seed of the run.
        version: hamguard's version.
        hashes: content hashes of model, split and codes.
        notes: what a reader must know, e.g. a defect of the data or the number of unlabeled queries.
    """

    protocol: str | None = None
    dataset: str | None = None
    split: str | None = None
    train: str | None = None
    model: str | None = None
    method: str | None = None
    backbone: str | None = None
    bits: int | None = None
    attack: dict[str, Any] | None = None
    defense: dict[str, Any] | None = None
    threat: dict[str, Any] | None = None
    task: str | None = None
    metric: str | None = None
    at: int | None = None
    ties: str | None = None
    value: float | None = None
    ci95: tuple[float, float] | None = None
    n: int | None = None
    seconds: float | None = None
    forwards: int | None = None
    backwards: int | None = None
    seed: int | None = None
    version: str = __version__
    hashes: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def json(self) -> str:
        """One line of JSON; bytes of a name that were no UTF-8 stand in it as escapes that people can read."""
        text = json.dumps(asdict(self), ensure_ascii=False)
        return _HALF.sub(lambda found: shown(found.group()).replace("\\", "\\\\"), text)


OF_THREAT = ("eps", "norm", "steps", "one_sided")
OF_ATTACK = ("guide", "toward", "labels", "side", "view", "intra", "made_on", "check", "stage")
"""Facts of threat and attack that `Rows.where` is asked for by their own name."""


class Rows(list[Row]):
    """Rows that can be asked: `rows.where(metric="map", attack="hag").one()`; else a list."""

    def _some(self, rows: Iterable[Row]) -> Self:
        return type(self)(rows)

    def where(self, **facts: Any) -> Self:
        """The rows of which all facts are true.

        Args:
            facts: fields of `Row` with the value, or a tuple of values, that they must have. `attack` may be the name of a method,
                `defense` too; `eps`, `norm`, `steps` and `one_sided` are looked for in the threat, and those of `OF_ATTACK` in the
                attack (of `made_on` its first model); None asks for rows that have none.

        Raises:
            RequestError: a field that rows do not have.
        """
        unknown = set(facts) - {*KINDS, *OF_THREAT, *OF_ATTACK}
        if unknown:
            raise RequestError(
                f"rows have no {sorted(unknown)[0]}; they have {', '.join((*KINDS, *OF_THREAT, *OF_ATTACK))}"
            )
        return self._some(row for row in self if all(_is(row, key, want) for key, want in facts.items()))

    def one(self, metric: str | None = None) -> Row:
        """The only row there is; with `metric`, the only one of that metric.

        Raises:
            RequestError: there are none, or several.
        """
        found = self if metric is None else self.where(metric=metric)
        if len(found) != 1:
            raise RequestError(f"{len(found)} rows{f' of {metric}' if metric else ''} where one was asked for")
        return found[0]

    def first(self, metric: str | None = None) -> Row | None:
        """The first row, or the first of a metric; None where there is none."""
        return next((row for row in self if metric is None or row.metric == metric), None)

    def once(self) -> Self:
        """The rows in their order; of those that are equal in everything but the time, the first."""
        kept: dict[str, Row] = {}
        for row in self:
            kept.setdefault(replace(row, seconds=None).json(), row)
        return self._some(kept.values())


def _is(row: Row, key: str, want: Any) -> bool:
    if isinstance(want, tuple) and key not in ("ci95", "notes"):
        return any(_is(row, key, one) for one in want)
    if key in OF_THREAT or key in OF_ATTACK:
        found = ((row.threat if key in OF_THREAT else row.attack) or {}).get(key)
        if key == "made_on" and isinstance(found, (list, tuple)):
            found = found[0] if found else None
        return bool(bool(found) is want if key in ("one_sided", "toward") and isinstance(want, bool) else found == want)
    held: Any = getattr(row, key)
    if key in ("attack", "defense") and isinstance(want, str):
        held = held.get("method") if held else None
    return bool(held == want)


def levels_text(eps: float, form: str = "g") -> str:
    """A radius in gray levels of 255.

    >>> levels_text(8 / 255), levels_text(0.1, ".3g")
    ('8/255', '25.5/255')
    """
    return f"{eps * 255:{form}}/255"


def size_text(norm: str, eps: float) -> str:
    """A radius without its norm.

    >>> size_text("linf", 8 / 255), size_text("l2", 0.5), size_text("l0", 0.05)
    ('8/255', '0.5', '5% of the pixels')
    """
    share = f"{100 * eps:.3g}% of the pixels"
    return share if norm == "l0" else levels_text(eps, ".3g") if norm == "linf" else f"{eps:.3g}"


def eps_text(threat: Mapping[str, Any] | None) -> str:
    """A radius as people write it on a command line.

    >>> eps_text({"norm": "linf", "eps": 0.12549}), eps_text({"norm": "l2", "eps": 0.5}), eps_text({"norm": "l0", "eps": 0.1})
    ('linf 32/255', 'l2 0.5', 'l0 10% of the pixels')
    """
    if not threat:
        return "no budget"
    norm, eps = str(threat.get("norm", "?")), threat.get("eps")
    if not isinstance(eps, (int, float)) or isinstance(eps, bool):
        return f"{norm} budget" if eps is None else f"{norm} {eps}"
    if norm == "words":
        return f"at most {eps:g} word edits"
    levels = round(eps * 255)
    whole = norm == "linf" and levels > 0 and abs(eps * 255 - levels) < 2e-4  # rows round eps to six digits
    size = f"{levels}/255" if whole else size_text(norm, eps) if norm == "l0" else f"{eps:g}"
    return f"{norm} {size}"


def eps_words(threat: Mapping[str, Any] | None) -> str:
    """A radius as it stands on a page.

    >>> eps_words({"norm": "linf", "eps": 8 / 255}), eps_words({"norm": "l2", "eps": 0.5}), eps_words(None)
    ('Linf 8/255', 'L2 0.5', 'no budget')
    """
    text = eps_text(threat)
    return text[0].upper() + text[1:] if text.startswith(("linf", "l2", "l1", "l0")) else text


def write_rows(path: Path | str, rows: Iterable[Row], *, seal: Mapping[str, Any] | None = None) -> None:
    """Write rows as `rows.jsonl`.

    Args:
        path: the file.
        rows: one a line.
        seal: where given, a last line keeps these facts and the hash of the lines above it.

    Raises:
        RunError: the file cannot be written.
    """
    text = "".join(row.json() + "\n" for row in rows)
    if seal is not None:
        text += json.dumps({SEAL: _digest_of(text.encode("utf-8", "backslashreplace"), seal), **seal}) + "\n"
    write_text(path, text)


_SEAL_LINE = json.dumps({SEAL: ""})[:-2].encode()  # what the last line of a sealed file begins with


def _digest_of(lines: bytes, facts: Mapping[str, Any]) -> str:
    return digest_bytes(lines, digest_json(dict(facts)).encode())


def read_sealed_rows(path: Path | str) -> tuple[Rows, dict[str, Any]]:
    """Rows that `write_rows` sealed, and the facts in the seal.

    Raises:
        DamagedError: they are not what was written, or have no seal.
        RequestError: as `read_rows`.
    """
    lines, _, last = read_bytes(path, "rows", limit=memory_bytes()).removesuffix(b"\n").rpartition(b"\n")
    try:
        facts = json.loads(last)
        held = facts.pop(SEAL)
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise DamagedError(path, f"its last line is no {SEAL} of the others") from error
    if held != _digest_of(lines + b"\n" if lines else b"", facts):
        raise DamagedError(path, "its rows were changed after they were written")
    return read_rows(path), facts


def read_rows(path: Path | str) -> Rows:
    """Read `rows.jsonl`, line by line; a row that does not say its version has the version `unknown`.

    Raises:
        MissingFileError: there is no such file.
        RequestError: not an ordinary file, not UTF-8, no JSON object, a line of more than `LONGEST` bytes, NaN or Infinity, a key
            that no row has, or a value of a wrong type; the message names the line.
    """
    rows, shared, number = Rows(), _Shared(), 0
    with open_ordinary(path, "rows") as stream:
        while line := stream.readline(LONGEST + 1):
            number += 1
            where = f"{path}, line {number}"
            if len(line) > LONGEST:
                raise RequestError(f"{where}: longer than {LONGEST:,} bytes, no row")
            if line.strip() and not line.startswith(_SEAL_LINE):
                try:
                    rows.append(_row(line, where, shared))
                except UnicodeEncodeError as error:
                    raise RequestError(
                        f"{where}: {ascii(error.object)[:60]} holds half a character, no text"
                    ) from error
    return rows


def _row(line: bytes, where: str, shared: _Shared) -> Row:
    try:
        content = json.loads(line.decode("utf-8"), parse_constant=_refuse)
    except _ConstantError as error:
        raise RequestError(f"{where}: {error} is no JSON number; a value that does not exist is null") from error
    except (ValueError, RecursionError) as error:  # no UTF-8 is a ValueError, too
        raise RequestError(f"{where}: not a JSON object") from error
    if not isinstance(content, dict):
        raise RequestError(f"{where}: not a JSON object, got {_short(content)}")
    unknown = set(content) - set(KINDS)
    if unknown:
        raise RequestError(f"{where}: unknown keys {', '.join(sorted(unknown))}")
    for key, value in content.items():
        allowed, fits = KINDS[key]
        if value is not None and not fits(value):
            raise RequestError(f"{where}: {key} must be {allowed} or null, got {_short(value)}")
        if isinstance(value, dict):
            content[key] = found = shared.facts(value)
            if found is None:
                raise RequestError(f"{where}: {key} must hold finite numbers, not too deep, got {_short(value)}")
        elif isinstance(value, str):
            content[key] = shared.text(value)
    content["ci95"] = tuple(content["ci95"]) if content.get("ci95") is not None else None
    content["notes"] = shared.notes(content.get("notes") or ())
    content["hashes"] = content.get("hashes") or shared.facts({})
    content["version"] = content.get("version") or "unknown"
    return Row(**content)


class _Shared:
    """Equal texts, objects and notes of many rows, each kept once: rows differ in a few numbers, and are alike in the rest."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._facts: dict[int, dict[str, Any]] = {}
        self._notes: dict[tuple[str, ...], tuple[str, ...]] = {}

    def text(self, text: str) -> str:
        """The text, or an equal one that was seen before; it is written again as UTF-8, so it must be writable."""
        found = self._texts.get(text)
        if found is None:
            text.encode()
            self._texts[text] = found = text
        return found

    def notes(self, notes: Iterable[str]) -> tuple[str, ...]:
        """As a tuple, or an equal one that was seen before."""
        found = tuple(map(self.text, notes))
        return self._notes.setdefault(found, found)

    def facts(self, facts: dict[str, Any]) -> dict[str, Any] | None:
        """The object, or an equal one that was seen before; None where a number in it is infinite, or it is too deep."""
        key = hash(repr(facts))  # tells 1 from 1.0 and from true, which a page tells apart, too
        found = self._facts.get(key)
        if found is not None and found == facts:
            return found
        if not _is_finite(facts, DEEPEST):
            return None
        made: dict[str, Any] = self._inside(facts)
        self._facts[key] = made
        return made

    def _inside(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(key): self._inside(one) for key, one in value.items()}
        return list(map(self._inside, value)) if isinstance(value, list) else value


class _ConstantError(ValueError):
    """NaN or Infinity, which Python's JSON would take."""


def _refuse(name: str) -> float:
    raise _ConstantError(name)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_interval(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)) and value[0] <= value[1]


def _is_facts(value: Any) -> bool:
    return isinstance(value, dict)


def _is_finite(value: Any, depth: int) -> bool:
    if isinstance(value, (dict, list)):
        inner = value.values() if isinstance(value, dict) else value
        return depth > 0 and all(_is_finite(one, depth - 1) for one in inner)
    return not isinstance(value, (int, float)) or abs(value) <= sys.float_info.max


def _are_hashes(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(
        ("protocol", "dataset", "split", "train", "model", "method", "backbone", "task", "metric", "ties", "version"),
        ("text", lambda value: isinstance(value, str)),
    ),
    **dict.fromkeys(("attack", "defense", "threat"), ("an object", _is_facts)),
    **dict.fromkeys(("bits", "at", "n", "forwards", "backwards"), ("a whole number of at least 0", _is_count)),
    "value": ("a finite number", _is_number),
    "ci95": ("two finite numbers, the lower one first,", _is_interval),
    "seconds": ("a finite number of at least 0", lambda value: _is_number(value) and value >= 0),
    "seed": ("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    "hashes": ("an object of texts", _are_hashes),
    "notes": ("a list of texts", _are_texts),
}
"""What each key of a row may hold, in words and as a check; the keys are those of `Row`."""
assert set(KINDS) == {one.name for one in fields(Row)}
