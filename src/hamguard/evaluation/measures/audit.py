"""Measures beside an audit: whether what they call robust is what survives the worst case that an audit found.

Over the queries of a model a measure is compared with the drop `clean AP - worst AP`. The drop and not the worst AP itself, because
a query that the search never answered has a low worst AP without being fragile; `spearman-worst-ap` rows say the other, too. Over
models the figures of the lines are compared with the worst-case MAP over the same queries; a handful of models says little.

The rank correlation is Spearman's, and its sign is turned so that +1 means: ranked as the audit ranks, more robust by the measure,
less lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hamguard.core.archives import read_npz
from hamguard.core.digests import digest_file
from hamguard.core.errors import DamagedError, RequestError, StaleError
from hamguard.core.files import read_sealed
from hamguard.core.noted import audit_note, models_note
from hamguard.core.rows import Row, levels_text
from hamguard.core.seeds import numpy_generator
from hamguard.core.types import Array, Floats
from hamguard.evaluation.ground import Ground
from hamguard.evaluation.measures.registry import Line, Robust
from hamguard.evaluation.measures.rows import noted

ARRAYS, FACTS = "worst.npz", "audit.json"
KEYS = ("ids", "clean_ap", "worst_ap", "floor_ap")
FEWEST = 3
"""Queries, or models, below which no rank correlation is told."""

RESAMPLES = 1000


@dataclass(frozen=True)
class AuditOf:
    """What an audit found on the queries that were measured.

    Attributes:
        clean: average precision of the clean queries, `(Q,)`.
        worst: the worst that was found, `(Q,)`.
        eps: budget of the audit, in pixel units.
        norm: its norm.
    """

    clean: Floats
    worst: Floats
    eps: float
    norm: str

    @property
    def drop(self) -> Floats:
        """What the worst case takes, `(Q,)`."""
        return self.clean - self.worst

    @property
    def map(self) -> float:
        """Worst-case MAP over these queries."""
        return float(self.worst.mean())


def read_audit(folder: Path, ground: Ground) -> AuditOf:
    """Read what `hamguard audit --out` wrote, for the queries of a ground.

    Args:
        folder: with `worst.npz` and `audit.json`.
        ground: the measured model; its queries are all or some of the audited ones.

    Raises:
        RequestError: missing or damaged files, other data, or a measured query that was not audited.
        StaleError: the audit is of another model.
    """
    facts = _read_facts(folder)
    arrays = read_npz(folder / ARRAYS, "audit", sealed=True)  # first of all: it may be a pipe, or have no end
    if digest_file(folder / ARRAYS) != facts["arrays"]:
        raise DamagedError(folder / ARRAYS, f"it is not the file that {FACTS} was written for")
    sizes = {name: arrays[name].shape for name in KEYS if name in arrays}
    if set(sizes) != set(KEYS) or len(set(sizes.values())) > 1 or arrays["ids"].ndim != 1:
        raise RequestError(
            f"{folder / ARRAYS} is damaged: it needs arrays {', '.join(KEYS)} of one length, got {sizes}"
        )
    model = ground.model.digest
    if facts["model_hash"] != model:
        raise StaleError(
            f"{folder} is the audit of another model: its hash is {facts['model_hash']}, that of {ground.name} is {model}"
        )
    if facts["dataset"] not in (ground.dataset.title, ground.dataset.name):
        raise RequestError(
            f"{folder} is an audit on {facts['dataset']}, {ground.name} is measured on {ground.dataset.title}"
        )
    place = {str(item): number for number, item in enumerate(arrays["ids"])}
    asked = [str(item) for item in ground.query.ids]
    missing = [item for item in asked if item not in place]
    if missing:
        raise RequestError(
            f"{folder} did not audit {len(missing)} of the {len(asked)} measured queries, e.g. {missing[0]}; "
            "audit as many queries as are measured, on the same data and seed of the split"
        )
    rows = np.array([place[item] for item in asked])
    clean, worst = (arrays[name][rows].astype(np.float64) for name in ("clean_ap", "worst_ap"))
    if not bool(np.isfinite(clean).all() and np.isfinite(worst).all()):
        raise RequestError(f"{folder / ARRAYS} is damaged: average precisions must be finite")
    return AuditOf(clean, worst, facts["eps"], facts["norm"])


def _read_facts(folder: Path) -> dict[str, Any]:
    for name in (FACTS, ARRAYS):
        if not (folder / name).is_file():
            raise RequestError(f"{folder} is no folder of `hamguard audit --out`: it has no {name}")
    path = folder / FACTS
    facts = read_sealed(path, "audit")
    try:
        found: dict[str, Any] = {name: str(facts[name]) for name in ("model_hash", "dataset", "norm")}
        found |= {"eps": float(facts["eps"]), "arrays": str(facts["files"][ARRAYS])}
    except (ValueError, KeyError, TypeError) as error:
        raise RequestError(f"{path} is damaged: it needs model_hash, dataset, eps, norm and files") from error
    return found


def rank_correlation(values: Array, result: Array, *, seed: int = 0) -> tuple[float, tuple[float, float] | None, int]:
    """Spearman's rank correlation of the pairs whose value is not NaN; infinite values count as largest.

    Args:
        values: of a measure, `(n,)`.
        result: to compare with, `(n,)`.
        seed: of the bootstrap over pairs.

    Returns:
        The correlation, its 95% percentile interval, and the number of pairs. The correlation is NaN and the interval None for
        fewer than three pairs, or where all values of a side are equal.

    Raises:
        RequestError: sides of different length.
    """
    from scipy.stats import rankdata, spearmanr

    if np.shape(values) != np.shape(result) or np.ndim(values) != 1:
        raise RequestError(f"a rank correlation needs two sides (n,), got {np.shape(values)} and {np.shape(result)}")
    kept = ~np.isnan(values)
    a, b = np.asarray(values, np.float64)[kept], np.asarray(result, np.float64)[kept]
    if len(a) < FEWEST or len(np.unique(a)) == 1 or len(np.unique(b)) == 1:
        return float("nan"), None, len(a)
    rho = float(spearmanr(a, b).statistic)
    draws = numpy_generator(seed, "bootstrap rank correlation").integers(0, len(a), (RESAMPLES, len(a)))
    x, y = (rankdata(side[draws], axis=1) for side in (a, b))  # (R, n)
    x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = (x * y).sum(1) / np.sqrt((x**2).sum(1) * (y**2).sum(1))
    drawn = drawn[np.isfinite(drawn)]  # a resample of equal values has none
    ends = np.quantile(drawn, [0.025, 0.975])
    return rho, (float(ends[0]), float(ends[1])), len(a)


def over_queries(line: Line, audit: AuditOf, *, seed: int = 0) -> list[Row]:
    """Rows `spearman-drop[LINE]` and `spearman-worst-ap[LINE]` of a line; none where it has no value a picture."""
    if line.values is None:
        return []
    rows = []
    for what, result in (("drop", -audit.drop), ("worst-ap", audit.worst)):  # both: higher is more robust
        rho, ends, n = rank_correlation(_turned(line.values, line.robust), result, seed=seed)
        row = replace(line.row, metric=f"spearman-{what}[{line.name}]", at=None, value=None, ci95=None, n=n, ties=None)
        row = noted(row, "spearman: +1 ranks queries as the audit does, more robust by the measure, less lost")
        row = noted(row, audit_note(f"{audit.norm}, eps {levels_text(audit.eps, '.4g')}"))
        if np.isfinite(rho):
            row = replace(row, value=rho, ci95=ends)
        else:
            row = noted(row, f"{row.metric}: fewer than {FEWEST} queries count, or all are equal")
        rows.append(row)
    return rows


def over_models(lines: Sequence[Line | None], audits: Sequence[AuditOf]) -> Row | None:
    """Row `spearman-models[LINE]`: figures of one line on several models against their worst-case MAPs.

    Args:
        lines: the line on each model, None where a model has none.
        audits: of the same models.

    Returns:
        The row, without an interval; without a value for fewer than three models. None where no model has the line.
    """
    pairs = [(line, audit) for line, audit in zip(lines, audits, strict=True) if line is not None]
    if not pairs:
        return None
    first = pairs[0][0]
    figures = np.array([_figure(line) for line, _ in pairs])
    rho, _, n = rank_correlation(_turned(figures, first.robust), np.array([audit.map for _, audit in pairs]))
    names = ", ".join(str(line.row.model) for line, _ in pairs)
    same = first.row
    row = Row(
        protocol=same.protocol,
        dataset=same.dataset,
        model=names,
        task="query",
        seed=same.seed,
        n=n,
        metric=f"spearman-models[{first.name}]",
        value=rho if np.isfinite(rho) else None,
    )
    return noted(row, models_note(n))


def rank_rows(models: Sequence[Mapping[str, Line]], audits: Sequence[AuditOf], *, seed: int = 0) -> list[Row]:
    """Rows of every line of every model against its audit, then of every line over the models.

    Args:
        models: lines of each model by their names.
        audits: of the same models.
        seed: of the bootstrap.
    """
    rows = []
    for lines, audit in zip(models, audits, strict=True):
        rows += [row for line in lines.values() for row in over_queries(line, audit, seed=seed)]
    for name in dict.fromkeys(name for lines in models for name in lines):
        row = over_models([lines.get(name) for lines in models], audits)
        rows += [row] if row else []
    return rows


def _figure(line: Line) -> float:
    """The printed figure; a quantile without a value is infinite."""
    if line.row.value is not None:
        return line.row.value
    return float("inf") if line.unit == "eps" else float("nan")


def _turned(values: Floats, robust: Robust) -> Floats:
    return values if robust == "higher" else -values
