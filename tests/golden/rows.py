"""Rows without what may change: what is kept of a command, and where two of them differ."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KEPT = Path(__file__).parent / "rows"
PROBE = KEPT.parent / "probe.txt"
CLOCK = re.compile(r"seconds|minutes|per_second|memory|peak_bytes")
LASTED = re.compile(r"\b[0-9][0-9,.]* ?(s|seconds|minutes|ms)\b")
PROSE = ("notes", "sentences", "remarks", "findings")
"""Keys of words that quote computed numbers."""
FOUND = ("stage", "guide", "loss", "labels", "what", "id", "text", "query")
"""Keys of words that name the best of several, or an answer."""
HASH = re.compile(r"\b(?=[0-9a-f]*[0-9])(?:[0-9a-f]{64}|[0-9a-f]{40}|[0-9a-f]{32}|[0-9a-f]{16}|[0-9a-f]{12})\b")


@dataclass(frozen=True)
class Place:
    """Where a command ran.

    Attributes:
        root: folder of everything; names below it are kept.
        own: folder of the command below it.
    """

    root: Path
    own: Path

    def blank(self, text: str) -> str:
        """A text without places, hashes and times."""
        text = text.replace(f"{self.root}/", "").replace(str(self.root), "ROOT").replace(str(self.own), "PLACE")
        return LASTED.sub("TIME", HASH.sub("HASH", text))

    def row(self, value: Any, key: str = "") -> Any:
        """A value as it is kept."""
        if isinstance(value, dict):
            return {self.blank(name): self.row(one, name) for name, one in value.items()}
        if isinstance(value, list):
            return [self.row(one, key) for one in value]
        if isinstance(value, str) and key == "version":
            return "VERSION"
        if isinstance(value, str):
            return self.blank(value)
        if CLOCK.search(key) and isinstance(value, (int, float)) and not isinstance(value, bool):
            return "TIME"
        return value

    def rows(self, text: str) -> list[Any]:
        """The rows of a text of JSON lines; of those that differ in nothing but what is left out, the first."""
        kept = [self.row(json.loads(line)) for line in text.splitlines()]
        return list({json.dumps(row, sort_keys=True): row for row in kept}.values())


def load(name: str) -> list[Any]:
    """The kept rows of a command; the first says how it ended."""
    return [json.loads(line) for line in (KEPT / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def save(name: str, rows: list[Any]) -> None:
    """Keep the rows of a command."""
    KEPT.mkdir(exist_ok=True)
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (KEPT / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def differences(kept: Any, got: Any, exact: bool, where: str = "") -> Iterator[str]:
    """Where two values differ, a line each; without `exact`, what is computed is only compared in kind."""
    if type(kept) is not type(got):
        yield f"{where}: was {kept!r}, is {got!r}"
    elif isinstance(kept, dict):
        for key in sorted(kept.keys() ^ got.keys()):
            yield f"{where}.{key}: {'is new' if key in got else 'is gone'}: {(got if key in got else kept)[key]!r}"
        for key in kept:
            if key in got and (exact or key not in PROSE):
                yield from differences(kept[key], got[key], exact, f"{where}.{key}")
    elif isinstance(kept, list):
        if len(kept) != len(got):
            yield f"{where}: were {len(kept)}, are {len(got)}"
        for number, (one, other) in enumerate(zip(kept, got, strict=False)):
            yield from differences(one, other, exact, f"{where}[{number}]")
    elif kept != got and (exact or (isinstance(kept, str) and where.rpartition(".")[2] not in FOUND)):
        yield f"{where}: was {kept!r}, is {got!r}"
