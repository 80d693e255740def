"""Transferability: what pictures made on one model do to another, as raw MAPs and as a normalized score (H.2; definition ours).

`T(A -> B) = (M_B(clean) - M_B(x'_A)) / (M_B(clean) - M_B(x'_B))` with the MAP M_B of victim B: 0 is none, 1 as good as attacking B
itself, and more than 1 better. Toward a target M is minus the t-MAP, and the two signs cancel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from hamguard.codes.bank import CodeBank
from hamguard.core.checks import check_range
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row
from hamguard.core.types import Bytes, Floats, Ties
from hamguard.evaluation.measures.rows import noted
from hamguard.evaluation.per_query import averaged
from hamguard.retrieval.intervals import ratio_interval
from hamguard.retrieval.metrics import average_precision, metric_name, with_labels

LEAST = 1e-9  # of MAP that the white-box attack must gain; less is rounding


def transfer_score(clean: float, moved: float, white: float, *, toward: bool = False) -> float:
    """`T(A -> B)` of three figures of the victim.

    Args:
        clean: MAP of clean queries (toward: their t-MAP under the target labels).
        moved: of the pictures made on the source.
        white: of the pictures made on the victim itself.
        toward: the figures are t-MAPs, which the attack raises.

    Returns:
        The score; NaN where the white-box attack gained nothing, so that there is nothing to compare with.

    Raises:
        RequestError: a figure outside [0, 1].

    >>> transfer_score(0.75, 0.5, 0.25), transfer_score(0.25, 0.375, 0.5, toward=True)
    (0.5, 0.5)
    """
    for name, value in (("clean", clean), ("moved", moved), ("white", white)):
        check_range(name, value, 0.0, 1.0)
    sign = -1 if toward else 1
    reach = sign * (clean - white)
    return sign * (clean - moved) / reach if reach > LEAST else float("nan")


@dataclass(frozen=True)
class TransferMatrix:
    """Average precision of every victim's queries, clean and made on every source; sources in rows.

    Attributes:
        sources: S models that pictures were made on.
        victims: V models that are asked.
        clean: average precision of the clean queries, `(V, Q)`.
        attacked: of the attacked ones, `(S, V, Q)`.
        toward: whether the labels are those of targets, so that the means are t-MAPs.
        metric: name of the means.
    """

    sources: tuple[str, ...]
    victims: tuple[str, ...]
    clean: Floats
    attacked: Floats
    toward: bool
    metric: str

    @property
    def maps(self) -> Floats:
        """MAP (or t-MAP) of the attacked queries, `(S, V)`."""
        return np.asarray(self.attacked.mean(2))

    @property
    def clean_maps(self) -> Floats:
        """MAP (or t-MAP) of the clean queries, `(V,)`."""
        return np.asarray(self.clean.mean(1))

    @property
    def scores(self) -> Floats:
        """`T(A -> B)`, `(S, V)`; NaN for a victim that was not attacked itself, or not with success."""
        maps, clean = self.maps, self.clean_maps
        found = np.full(maps.shape, np.nan)
        for v, victim in enumerate(self.victims):
            if victim in self.sources:
                white = float(maps[self.sources.index(victim), v])
                for s in range(len(self.sources)):
                    found[s, v] = transfer_score(float(clean[v]), float(maps[s, v]), white, toward=self.toward)
        return found


def transfer_matrix(
    clean: Mapping[str, CodeBank],
    attacked: Mapping[str, Mapping[str, CodeBank]],
    databases: Mapping[str, CodeBank],
    *,
    targets: Bytes | None = None,
    at: int | None = None,
    ties: Ties = "expected",
) -> TransferMatrix:
    """The matrix of a table of code banks.

    Args:
        clean: clean queries as each victim encodes them.
        attacked: for each source the pictures made on it, as each victim encodes them. A source need not be a victim.
        databases: clean database of each victim; lengths of codes may differ between victims.
        targets: target labels, `(Q, C)`, of attacks toward a target.
        at: only the first `at` ranks count; None for all.
        ties: as in `average_precision`.

    Raises:
        RequestError: no source or victim, a table with holes, or banks of different numbers of queries.
    """
    victims, sources = tuple(clean), tuple(attacked)
    if not victims or not sources:
        raise RequestError(f"a transfer matrix needs sources and victims, got {len(sources)} and {len(victims)}")
    queries = len(clean[victims[0]])
    for name, banks in (("database", databases), ("clean", clean), *((f"made on {s}", attacked[s]) for s in sources)):
        missing = [victim for victim in victims if victim not in banks]
        if missing:
            raise RequestError(f"the transfer table lacks codes ({name}) of {', '.join(missing)}")
        sizes = {len(banks[victim]) for victim in victims}
        if name != "database" and sizes != {queries}:
            raise RequestError(f"codes ({name}) are of {sorted(sizes)} queries, expected {queries} of each victim")

    def scored(bank: CodeBank, victim: str) -> Floats:
        query = bank if targets is None else with_labels(bank, targets)
        return average_precision(query, databases[victim], at=at, ties=ties)

    return TransferMatrix(
        sources,
        victims,
        np.stack([scored(clean[v], v) for v in victims]),
        np.stack([np.stack([scored(attacked[s][v], v) for v in victims]) for s in sources]),
        toward=targets is not None,
        metric=("t-" if targets is not None else "") + metric_name("map", at=at, ties=ties),
    )


def transfer_rows(
    matrix: TransferMatrix, base: Row, *, facts: Mapping[str, Row] | None = None, seed: int = 0
) -> list[Row]:
    """Two rows a pair of source and victim: the MAP under attack, and the score `transfer` with its interval over queries.

    Args:
        matrix: what was measured.
        base: data, attack and threat; `made_on` of the attack names the source.
        facts: the row of each victim where it differs from `base`, e.g. its bits and hashes.
        seed: of the bootstrap.
    """
    rows = []
    scores, sign = matrix.scores, -1 if matrix.toward else 1
    for s, source in enumerate(matrix.sources):
        for v, victim in enumerate(matrix.victims):
            own = replace((facts or {}).get(victim, base), model=victim, n=matrix.clean.shape[1])
            own = replace(
                own, attack={**(own.attack or base.attack or {}), "made_on": [source]}, threat=own.threat or base.threat
            )
            got = matrix.attacked[s, v]
            rows.append(averaged(replace(own, metric=matrix.metric), got, seed=seed))
            row = replace(own, metric="transfer")
            if not np.isfinite(scores[s, v]):
                rows.append(noted(row, f"transfer: no attack made on {victim} itself gained anything to compare with"))
                continue
            gained = sign * (matrix.clean[v] - got)
            white = sign * (matrix.clean[v] - matrix.attacked[matrix.sources.index(victim), v])
            ends = ratio_interval(gained, white, seed=seed)
            rows.append(replace(row, value=float(scores[s, v]), ci95=ends))
    return rows
