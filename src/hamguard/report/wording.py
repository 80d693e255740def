"""Facts of a row in words: attack, defense, budget, what an attacker sees, and figures as people write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from hamguard.core.rows import Row, eps_words

FIXED = ("hag", "sdha", "center", "mainstay", "p2p", "dhta", "tha", "nag", "prosgan", "cmla", "cmla-words", "noise")
"""Methods of one guide, which everybody knows by their name; the guide of any other stands beside it."""
FACTORS = {"linf": 255.0, "rmse": 100.0, "changed": 100.0}
HEADS = {
    "map": "MAP", "t-map": "t-MAP", "random_map": "random codes", "random_t-map": "random codes", "gain": "gain", "t-gain": "gain",
    "bits-moved": "bits moved", "linf": "Linf/255", "rmse": "RMSE x100", "l2": "L2", "ssim": "SSIM", "psnr": "PSNR dB",
    "changed": "% changed", "pixels": "pixels changed", "reached": "goal reached", "l2-reached": "L2 where reached",
    "core-seconds": "core seconds", "core-seconds-a-picture": "core seconds a picture",
    "core-seconds-a-gradient": "core seconds a picture and gradient", "core-seconds-floor-share": "share of the floor",
}  # fmt: skip
DIGITS = {
    "linf": 1,
    "rmse": 2,
    "l2": 2,
    "psnr": 1,
    "changed": 1,
    "pixels": 1,
    "l2-reached": 2,
    "bits-moved": 1,
    "core-seconds": 1,
    "D": 4,
    "edits": 1,
}


SCORES = {"map": "MAP", "t-map": "t-MAP", "found": "share found"}
"""What a search is scored by, in words: with labels, toward a target, and without labels."""


def is_score(row: Row) -> bool:
    """Whether a row scores a search, which `found` does where the query itself is what is to be found, and not beside a MAP."""
    return row.metric in SCORES and (row.metric != "found" or row.task == "query->database")


def metric_head(row: Row) -> str:
    """A metric as a column names it, with its cut."""
    name = HEADS.get(row.metric or "", row.metric or "no metric")
    return name if row.at is None else f"{name}@{row.at:,}"


def scaled(row: Row) -> tuple[float, float | None, float | None] | None:
    """Value and interval in the unit of the column; None where the row has no value."""
    if row.value is None:
        return None
    factor = FACTORS.get(row.metric or "", 1.0)
    low, high = (None, None) if row.ci95 is None else (row.ci95[0] * factor, row.ci95[1] * factor)
    return row.value * factor, low, high


def number(value: float, metric: str | None) -> str:
    """A figure with as many digits as it is worth.

    >>> number(0.81546, "map"), number(14.801, "bits-moved"), number(0.00158, "core-seconds-a-picture"), number(1234.5, "x")
    ('0.815', '14.8', '0.0016', '1,234')
    """
    digits = DIGITS.get(metric or "")
    if digits is None:
        if abs(value) >= 1000:
            return f"{value:,.0f}"
        if metric and (metric.endswith("seconds-a-picture") or (0 < abs(value) < 0.0005)):
            return f"{value:.2g}"
        digits = 3 if abs(value) < 10 else 1
    return f"{value:,.{digits}f}"


def budget_words(threat: Mapping[str, Any] | None) -> str:
    """Radius, gradients and starts."""
    if not threat:
        return "-"
    words = [eps_words(threat)]
    steps, restarts = threat.get("steps"), threat.get("restarts")
    if steps:
        words.append(f"{steps} step{'' if steps == 1 else 's'}")
    if isinstance(restarts, int) and restarts > 1:
        words.append(f"{restarts} starts")
    if threat.get("one_sided"):
        words.append("one-sided")
    if threat.get("grid") == "none":
        words.append("not rounded")
    return ", ".join(words)


def defense_words(defense: Mapping[str, Any] | None) -> str:
    """A defense by its method and what it is made with.

    >>> defense_words({"method": "purify", "with": "jpeg:75"}), defense_words(None)
    ('purify jpeg:75', 'none')
    """
    if not defense:
        return "none"
    words = str(defense.get("method", "defense"))
    return f"{words} {defense['with']}" if defense.get("with") else words


def attack_words(row: Row) -> str:
    """An attack by its method with what differs from its defaults."""
    facts = row.attack
    if not facts:
        return "clean"
    method, guide = str(facts.get("method", "attack")), facts.get("guide")
    words = [f"code itself, {guide}" if method == "ideal-code" else method]
    if facts.get("preset") not in (None, "default"):
        words.append(f"preset {facts['preset']}")
    if method not in FIXED and method != "ideal-code" and guide and str(guide) not in str(method):
        words.append(f"{guide} guide")
    if facts.get("side") and method != "cmla-words":
        words.append(f"{facts['side']}s")
    if facts.get("intra") not in (None, 1, 1.0):
        words.append(f"intra weight {facts['intra']:g}" if is_number(facts["intra"]) else f"intra {facts['intra']}")
    for key in ("cell", "stage", "check", "view", "views", "size"):
        if facts.get(key) and str(facts[key]).lower() not in words[0].lower():
            words.append(listed(facts[key]))
    if "eps" in facts and not row.threat:
        words.append(f"eps {facts['eps']}")
    if facts.get("asked") is not None:
        words.append(f"{facts['asked']} asked")
    made = made_on(row)
    if made == (row.model,):
        words += ["made on the plain model"] if row.defense else []
    elif made:
        words.append(f"made on {listed(made)}" if len(made) <= 2 else f"made on {len(made)} models")
    if facts.get("combine"):
        words.append(str(facts["combine"]))
    if facts.get("adaptive") is not None:
        words.append("knows the defense" if facts["adaptive"] else "does not know the defense")
    if facts.get("worst_of"):
        words.append("worst of both")
    return ", ".join(words)


def made_on(row: Row) -> tuple[str, ...]:
    """Models that attacked pictures were made on, where the row names them."""
    found = (row.attack or {}).get("made_on")
    if not found:
        return ()
    return tuple(map(str, found)) if isinstance(found, (list, tuple)) else (str(found),)


def listed(value: Any) -> str:
    """One thing, or several with commas."""
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def is_number(value: Any) -> bool:
    """Whether a fact of a row is a number, and no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def goes_toward(row: Row) -> bool:
    """Whether an attack approaches a target; its score is t-MAP then."""
    return bool((row.attack or {}).get("toward")) or (row.metric or "").startswith("t-")


def sees_words(row: Row) -> str:
    """Who sees what: gradients, answers, labels, and of which model."""
    facts, threat = row.attack or {}, row.threat or {}
    method = str(facts.get("method", ""))
    labels = {"free": "no label", "aware": "labels of the query or its target"}.get(str(facts.get("labels")), "")
    others = [name for name in made_on(row) if name != row.model]
    if method == "noise":
        seen = "nothing: pixels move at random"
        return seen
    if method == "query-only":
        seen = "answers of the search only"
    elif others:
        seen = f"gradients of {listed(others)}, not of the scored model"
    elif method == "transfer":
        seen = "gradients of a substitute, not of the scored model"
    elif method in ("ppl", "features", "protect", "prosgan"):
        seen = "a trained generator, one pass a picture"
    elif threat.get("steps") == 0:
        seen = "no gradient"
    else:
        seen = "weights and gradients of the model"
    if facts.get("adaptive") is not None:
        seen += ", and the defense" if facts["adaptive"] else ", not the defense"
    return f"{seen}; {labels}" if labels else seen


def threat_words(row: Row) -> list[str]:
    """Norm and eps, steps, starts, grid, what is seen, what is spent: one cell each."""
    threat = row.threat or {}
    spent = "-" if row.backwards is None and row.forwards is None else f"{row.forwards or 0:,} / {row.backwards or 0:,}"
    return [
        eps_words(threat),
        "-" if threat.get("steps") is None else str(threat["steps"]),
        "-" if threat.get("restarts") is None else str(threat["restarts"]),
        str(threat.get("grid", "-")) + (", one-sided" if threat.get("one_sided") else ""),
        sees_words(row),
        spent,
    ]


def short_names(names: Sequence[str]) -> list[str]:
    """Last part of each path, or as many parts as tell them apart.

    >>> short_names(["models/a", "models/b"]), short_names(["x/m", "y/m", "z"]), short_names(["nets:one"])
    (['a', 'b'], ['x/m', 'y/m', 'z'], ['nets:one'])
    """
    parts = [PurePath(name).parts or (name,) for name in names]
    shown = []
    for own in parts:
        depth = 1
        while depth < len(own) and sum(other[-depth:] == own[-depth:] for other in parts) > 1:
            depth += 1
        shown.append("/".join(own[-depth:]))
    return shown
