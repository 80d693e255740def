"""Ask the recorded runs for a figure: one line of text names a file of `results/`, conditions, and what to take.

`attacks_cifar10 attack=hag eps=2/255 metric=map` is the value of the one row that fits; `... | mean`, `sd`, `seeds`, `spread`,
`min`, `max`, `count` joins several; `... | mean seconds` takes another field than the value, `... | x255` scales.
`key~pattern|pattern` compares with wildcards, `key=none` asks that the key is not set, `key=*` drops a condition that came before.
Files: `NAME` is `results/NAME.jsonl`, `NAME.md` the tables of `results/NAME.md`, and `published.csv` what papers print.
"""

from __future__ import annotations

import csv
import json
import math
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from fractions import Fraction
from functools import cache
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from hamguard.core.errors import RequestError
from hamguard.core.rows import Row, read_rows

Facts = Mapping[str, Any]


def plain(row: Row) -> dict[str, Any]:
    """The fields of a row by name; what they hold is not copied."""
    return {one.name: getattr(row, one.name) for one in fields(row)}


@dataclass(frozen=True)
class Seeds:
    """Mean and standard deviation over training seeds; of one seed, its value.

    Attributes:
        mean: over seeds.
        sd: sample standard deviation, None for one seed.
    """

    mean: float
    sd: float | None

    def __format__(self, spec: str) -> str:
        return f"{self.mean:{spec}}" if self.sd is None else f"{self.mean:{spec}} ± {self.sd:{spec}}"


def _seeds(values: Sequence[float]) -> Seeds:
    return Seeds(mean(values), stdev(values) if len(values) > 1 else None)


JOIN: dict[str, Callable[[Sequence[float]], float | Seeds]] = {
    "mean": mean,
    "sd": stdev,
    "seeds": _seeds,
    "min": min,
    "max": max,
    "spread": lambda values: max(values) - min(values),
    "count": len,
}
CALC: dict[str, Callable[..., float]] = {
    "less": lambda a, b: a - b,
    "over": lambda a, b: a / b,
    "mean": lambda *several: mean(several),
}


def facts(row: Row) -> dict[str, Any]:
    """A row as one flat dictionary, so that a condition can name any of its fields.

    `attack` and `defense` are the names of their methods; a key of an attack stands under its own name, one of a defense under
    `defense.KEY`. Where names meet, the threat model goes before the row, the row before the attack.
    """
    flat: dict[str, Any] = {}
    attack, defense = row.attack or {}, row.defense or {}
    values = attack.get("values") or {}
    flat |= {key: value for key, value in values.items() if isinstance(value, (str, int, float))}
    for key in ("search", "loss"):
        part = values.get(key)
        flat[key] = part.get("kind") if isinstance(part, dict) else part
    flat |= {key: "+".join(map(str, v)) if isinstance(v, list) else v for key, v in attack.items()}
    flat |= {f"defense.{key}": value for key, value in (defense.get("settings") or {}).items()}
    flat |= {f"defense.{key}": value for key, value in defense.items()}
    own = {key: value for key, value in plain(row).items() if key not in ("attack", "defense", "threat", "hashes")}
    flat |= {**own, "attack": attack.get("method"), "defense": defense.get("method"), **(row.threat or {})}
    flat["low"], flat["high"] = row.ci95 or (None, None)
    return flat


def _markdown(text: str) -> list[dict[str, Any]]:
    """Each line of each table as a dictionary; blanks of column names become underscores."""
    found: list[dict[str, Any]] = []
    head: list[str] | None = None
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else None
        if cells is None:
            head = None
        elif head is None:
            head = [cell.replace(" ", "_") for cell in cells]
        elif not set("".join(cells)) <= set("-: "):
            found.append(dict(zip(head, cells, strict=True)))
    return found


@cache
def read_facts(name: str, root: Path) -> tuple[Facts, ...]:
    """Everything that a file says.

    Raises:
        RequestError: there is no such file.
    """
    if name == "published.csv":
        path = root / "docs" / name
        if path.is_file():
            return tuple(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    elif name.endswith(".md"):
        path = root / "results" / name
        if path.is_file():
            return tuple(_markdown(path.read_text(encoding="utf-8")))
    else:
        return tuple(facts(row) for row in read_rows(root / "results" / f"{name}.jsonl"))
    raise RequestError(f"no recorded run at {path}")


@dataclass(frozen=True)
class Query:
    """A file, conditions, and what to take of the rows that fit.

    Attributes:
        file: name of the file, None where an outer query names it.
        conditions: key to (`=` or `~`, value).
        join: how several rows become one figure, None where one row is asked for.
        take: the field.
        scale: factor of the figure.
    """

    file: str | None = None
    conditions: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    join: str | None = None
    take: str | None = None
    scale: int = 1

    @classmethod
    def parse(cls, text: str) -> Query:
        """Read a query.

        Raises:
            RequestError: a word that is no condition.
        """
        asked, _, after = text.partition(" | ")
        file, conditions = None, {}
        for number, word in enumerate(shlex.split(asked)):
            condition = re.fullmatch(r"([\w.-]+?)([=~])(.*)", word)
            if condition:
                conditions[condition[1]] = (condition[2], condition[3])
            elif number == 0:
                file = word
            else:
                raise RequestError(f"{word!r} in {text!r} is no condition; write key=value or key~pattern")
        words = after.split()
        join = words.pop(0) if words and words[0] in JOIN else None
        scales = [int(word[1:]) for word in words if re.fullmatch(r"x\d+", word)]
        words = [word for word in words if not re.fullmatch(r"x\d+", word)]
        return cls(file, conditions, join, words[0] if words else None, scales[0] if scales else 1)

    def within(self, outer: Query) -> Query:
        """This query after another one; what both say, this one decides. A file of its own forgets the other's."""
        if self.file and outer.file and self.file != outer.file:
            return self
        return Query(
            self.file or outer.file,
            {**outer.conditions, **self.conditions},
            self.join or outer.join,
            self.take or outer.take,
            self.scale,
        )

    def fits(self, row: Facts) -> bool:
        """Whether a row meets all conditions."""
        return all(_meets(row.get(key), sign, value) for key, (sign, value) in self.conditions.items())

    def values(self, root: Path) -> list[float]:
        """The asked field of all rows that fit."""
        if self.file is None:
            raise RequestError(f"no file is named beside {self}")
        found = [row.get(self.take or "value") for row in read_facts(self.file, root) if self.fits(row)]
        return [self.scale * number(value) for value in found if value is not None and value != ""]

    def ask(self, root: Path) -> float | Seeds | None:
        """The figure; None where no row fits.

        Raises:
            RequestError: several rows fit that do not agree, and nothing says how to join them.
        """
        values = self.values(root)
        if not values:
            return None
        if self.join:
            return JOIN[self.join](values)
        if len({round(value, 9) for value in values}) > 1:
            raise RequestError(
                f"{self} names {len(values)} rows that differ: {', '.join(f'{v:.4g}' for v in values[:6])}"
            )
        return values[0]

    def __str__(self) -> str:
        said = " ".join(f"{key}{sign}{value}" for key, (sign, value) in self.conditions.items())
        return f"{self.file} {said}".strip() + (f" | {self.join or ''} {self.take or ''}".rstrip(" |"))


def number(value: object) -> float:
    """A number as rows and tables write it: 0.5, 1,000, 8/255, "0.278 adaptive, center", "12.5 (11 .. 14)".

    Raises:
        RequestError: it begins with no number.
    """
    if isinstance(value, (int, float)):
        return float(value)
    first = str(value).split()[0].replace(",", "") if str(value).split() else ""
    try:
        return float(Fraction(first))
    except (ValueError, ZeroDivisionError) as error:
        raise RequestError(f"{value!r} is no number") from error


def _meets(have: object, sign: str, want: str) -> bool:
    if sign == "=" and want == "*":
        return True
    if want == "none":
        return have is None or have == ""
    if have is None:
        return False
    if sign == "~":
        return any(fnmatchcase(str(have), one) for one in want.split("|"))
    if isinstance(have, bool):
        return str(have).lower() == want
    if isinstance(have, (int, float)):
        try:
            return math.isclose(float(have), float(Fraction(want)), rel_tol=1e-6)
        except ValueError:
            return False
    return (have if isinstance(have, str) else json.dumps(have)) == want
