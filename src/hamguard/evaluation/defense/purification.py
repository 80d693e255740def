"""A model with purifiers before it, each attacked twice: by pictures made on the plain model, and through the purifier itself.

The first attacker does not know the defense, and what survives it proves nothing. The second takes gradients through the purifier
(straight through what has none, averaged over the draws of a random one), with its own codes of the database and of the training
pictures. Query and database pictures are purified alike. What is claimed is the worse of the two for every query, because gradients
straight through a step may mislead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hamguard.attacks.budget import BUDGET, Budget
from hamguard.codes.binary import hamming_pairs
from hamguard.core.context import always
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row, Rows
from hamguard.core.types import Floats
from hamguard.defenses.purify import DRAWS, Chain, Purified
from hamguard.evaluation.attack.measure import Measured, measure_attack
from hamguard.evaluation.attack.spec import AttackSpec
from hamguard.evaluation.audit.plan import STEPS
from hamguard.evaluation.ground import Ground, Loaded
from hamguard.evaluation.per_query import averaged
from hamguard.retrieval.metrics import average_precision

NOT_ADAPTIVE = "not adaptive: made on the plain model, by an attacker who does not know the purifier"
NONE = "none"  # the plain model's name among the purifiers


@dataclass(frozen=True)
class PurifierLine:
    """One purifier.

    Attributes:
        purifier: its words, `none` for the plain model.
        metric: what the attacks are scored by: `map`, or `bits-moved` where there are no labels.
        clean: MAP of the clean pictures, None without labels.
        unaware: score of the pictures made on the plain model.
        adaptive: score of those made through the purifier.
        worst: mean over queries of the worse of the two; the claim.
        seconds: time of the attack through the purifier.
        rows: all that was measured.
    """

    purifier: str
    metric: str
    clean: float | None
    unaware: float
    adaptive: float
    worst: float
    seconds: float
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Purification:
    """A model without and with each purifier.

    Attributes:
        budget: threat and gradients of both attacks.
        lines: the plain model's, then one a purifier.
    """

    budget: Budget
    lines: tuple[PurifierLine, ...]

    @property
    def rows(self) -> Rows:
        """All rows; what purifiers share (random codes) stands once."""
        return Rows(row for line in self.lines for row in line.rows).once()


def measure_purifiers(
    ground: Ground, purifiers: Sequence[Chain], budget: Budget = BUDGET, *, draws: int = DRAWS
) -> Purification:
    """Measure a model without and with each purifier.

    Args:
        ground: the plain model on its data.
        purifiers: what to put before it.
        budget: threat and gradients of both attacks.
        draws: draws of a random purifier that each gradient is averaged over.

    Raises:
        RequestError: a purifier named twice, or one that does not fit the model.
        RunError: NaN gradients, or a full disk.
        StoppedError: a person stopped it; finished batches stay.
    """
    words = [one.word for one in purifiers]
    for word in words:
        if words.count(word) > 1:
            raise RequestError(f"purifier {word} is named twice")
    budget = budget.filled(steps=STEPS)
    guarded = [  # a misfit costs no work
        Purified(ground.model, one, draws=draws, seed=ground.seed).to(ground.device) for one in purifiers
    ]
    threat, labeled = budget.threat, ground.labeled
    attack = AttackSpec.read("mainstay" if labeled else "hag", eps=threat.eps, norm=threat.norm, steps=budget.steps)

    def measured(on: Ground, spec: AttackSpec, where: str) -> Measured:
        with ground.context.stage(f"{spec.name} {where}") as progress:
            return measure_attack(on, spec, context=ground.context.but(stage=always(progress)))

    own = measured(ground, attack, "on the plain model")
    lines = [_line(NONE, attack.name, own.rows, own.rows, None)]
    for model, chain in zip(guarded, purifiers, strict=True):
        behind = Ground.open(
            Loaded(ground.name, model, ground.card), ground.data, queries=len(ground.query), context=ground.context
        )
        made_on = replace(attack, sources=(ground.loaded,))
        scored = f"on the plain model, scored behind {chain.word}"
        unaware = measured(behind, made_on, scored)
        adaptive = measured(behind, attack, f"through {chain.word}")
        each = np.stack([_scores(behind, one, labeled=labeled) for one in (unaware, adaptive)])  # (2, Q)
        defense = _facts(model, chain, ground)
        lines.append(
            _line(
                chain.word,
                attack.name,
                [_told(row, attack.name, defense, model.draws, adaptive=False) for row in unaware.rows],
                [_told(row, attack.name, defense, model.draws, adaptive=True) for row in adaptive.rows],
                (each.min(0) if labeled else each.max(0)),
            )
        )
    return Purification(budget, tuple(lines))


def _scores(behind: Ground, attacked: Measured, *, labeled: bool) -> Floats:
    """Average precision of each attacked query, or bits moved where there are no labels, `(Q,)`."""
    if labeled:
        return average_precision(attacked.sides.attacked, behind.database)
    return hamming_pairs(attacked.sides.attacked.packed, behind.query.packed).astype(np.float64)


def _facts(model: Purified, chain: Chain, ground: Ground) -> dict[str, Any]:
    """What rows say of the defense; what the model itself was hardened by stays in it."""
    facts: dict[str, Any] = {"method": "purify", "with": chain.word, "purifier": chain.digest}
    if chain.random:
        facts["seed"] = model.seed
    inner = ground.card.defense if ground.card else None
    return {**facts, "before": inner} if inner else facts


def _told(row: Row, method: str, defense: dict[str, Any], draws: int, *, adaptive: bool) -> Row:
    """A row that says which defense it is of, and whether its attack knew of it."""
    if row.model == "random codes":
        return row
    row = replace(row, defense=defense)
    if row.attack is None or row.attack["method"] != method:
        return row  # of the clean picture, noise, or the guide's code: nobody attacked
    facts = {**row.attack, "adaptive": adaptive}
    if not adaptive:
        return replace(row, attack=facts, notes=(*row.notes, NOT_ADAPTIVE))
    notes = row.notes
    if draws > 1:
        notes = (*notes, f"a gradient is the mean over {draws} draws: {draws} passes of the network count as one")
    return replace(row, attack={**facts, "draws": draws}, notes=notes)


def _line(word: str, method: str, unaware: Sequence[Row], adaptive: Sequence[Row], each: Floats | None) -> PurifierLine:
    """The cells of one purifier; rows that both attacks share stand once. `each` is the worse score of every query."""
    clean = Rows(adaptive).where(attack=None).first("map")
    metric = "map" if clean else "bits-moved"
    cells = [Rows(rows).where(attack=method).first(metric) for rows in (unaware, adaptive)]
    assert cells[0] and cells[1] and cells[0].value is not None and cells[1].value is not None
    rows = tuple(Rows((*unaware, *adaptive)).once())
    worst = cells[1]
    if each is not None:
        facts = {**(worst.attack or {}), "worst_of": ["made on the plain model", "made through the purifier"]}
        worst = averaged(replace(worst, attack=facts), each, seed=worst.seed or 0)
        rows = (*rows, worst)
    assert worst.value is not None
    return PurifierLine(
        word,
        metric,
        clean.value if clean else None,
        cells[0].value,
        cells[1].value,
        worst.value,
        cells[1].seconds or 0.0,
        rows,
    )
