"""Rows as the commands write them, small."""

from __future__ import annotations

from typing import Any

from hamguard.core.rows import Row

LINF = {"norm": "linf", "eps": 8 / 255, "steps": 10, "restarts": 1, "grid": "8 bit"}


def row(value: float | None = 0.8, *, metric: str = "map", model: str | None = "models/a", **more: Any) -> Row:
    facts: dict[str, Any] = {
        "dataset": "digits", "split": "s1", "bits": 16, "task": "query->database", "ties": "expected", "n": 100, "seed": 0,
        "hashes": {"model": "h1", "split": "s1"},
    }  # fmt: skip
    ci95 = None if value is None else (value - 0.02, value + 0.02)
    return Row(**{**facts, "value": value, "ci95": ci95, "metric": metric, "model": model, **more})


def attacked(value: float, *, metric: str = "map", method: str = "mainstay", **more: Any) -> Row:
    facts = {"method": method, "preset": "default", "toward": False, "labels": "aware", "guide": "mainstay"}
    task = "query->database" if metric in ("map", "gain", "t-map", "found") else "query"
    return row(value, **{"metric": metric, "attack": facts, "threat": LINF, "task": task, **more})


def study() -> list[Row]:
    """A clean model, its floor, noise, an ideal code, an attack with its figures, a defended model, and its cost."""
    noise = {"method": "noise", "preset": "default", "toward": False, "labels": "free", "guide": None}
    ideal = {"method": "ideal-code", "toward": False, "labels": "aware", "guide": "mainstay"}
    defense = {"method": "saat", "eps": 8 / 255}
    small = {"norm": "linf", "eps": 8 / 255, "grid": "8 bit"}
    hard = {"model": "h2", "split": "s1"}
    return [
        row(0.8123),
        row(0.1011, metric="random_map", model="random codes", hashes={}),
        row(0.7934, attack=noise, threat=small),
        row(0.0511, attack=ideal),
        attacked(0.2101),
        attacked(0.7921, metric="gain"),
        attacked(9.04, metric="bits-moved"),
        attacked(8 / 255, metric="linf"),
        attacked(0.9102, metric="ssim"),
        attacked(0.0213, metric="rmse"),
        row(0.7012, model="models/b", defense=defense, hashes=hard),
        attacked(0.5503, model="models/b", defense=defense, hashes=hard),
        row(12.5, metric="core-seconds", task="training", model="models/b", defense=defense, hashes=hard, ties=None),
        row(0.4321, metric="a new figure", task="a new task"),
    ]
