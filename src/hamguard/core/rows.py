"""A result is one row: what ran, on what, the number, its interval. `rows.jsonl` holds one JSON object a row."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from hamguard import __version__
from hamguard.core.errors import RequestError
from hamguard.core.files import write_text


@dataclass(frozen=True)
class Row:
    """One measured cell; what does not apply is None.

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
        """One line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)


def write_rows(path: Path | str, rows: Iterable[Row]) -> None:
    """Write rows as `rows.jsonl`.

    Raises:
        RunError: the file cannot be written.
    """
    write_text(path, "".join(row.json() + "\n" for row in rows))


def read_rows(path: Path | str) -> list[Row]:
    """Read `rows.jsonl`.

    Raises:
        RequestError: missing, no JSON, or a key that no row has; the message names the line.
    """
    path = Path(path)
    if not path.is_file():
        raise RequestError(f"no rows at {path}")
    known = {f.name for f in fields(Row)}
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
            unknown = set(content) - known
        except (json.JSONDecodeError, TypeError) as error:
            raise RequestError(f"{path}, line {number}: not a JSON object") from error
        if unknown:
            raise RequestError(f"{path}, line {number}: unknown keys {', '.join(sorted(unknown))}")
        content["ci95"] = tuple(content["ci95"]) if content.get("ci95") else None
        content["notes"] = tuple(content.get("notes") or ())
        rows.append(Row(**content))
    return rows
