"""Rows of a model's search as it is, with those of learned codes where its method has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hamguard.codes.bank import CodeBank
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row
from hamguard.evaluation.ground import Ground
from hamguard.evaluation.search.score import DEFAULT_METRICS, EXACT, Convention, score_rows
from hamguard.trainers.hash_model import LEARNED


def model_rows(
    ground: Ground,
    *,
    metrics: Sequence[str] = DEFAULT_METRICS,
    convention: Convention = EXACT,
    learned: bool | None = None,
    folder: Path | None = None,
) -> list[Row]:
    """Rows of a model on its data.

    Args:
        ground: the model on its data.
        metrics: what to measure.
        convention: ties, denominator, empty queries.
        learned: measure also against the codes that the method learned for its training pictures (ADSH's V), ADSH's other
            convention; None does so where there are any for this split. Such rows have the task `query->learned codes`,
            because that database is the training part only.
        folder: where learned codes are looked for; by default under the model's name.

    Raises:
        RequestError: undefined combination, or no learned codes.
        StaleError: the learned codes belong to another model.
    """
    banks, facts, seed = ground.search(), ground.base, ground.seed
    rows = score_rows(*banks, metrics=metrics, convention=convention, facts=facts, seed=seed)
    path = (folder or Path(ground.name)) / LEARNED
    if learned and not path.is_file():
        raise RequestError(
            f"{ground.name} has no learned codes; only ADSH learns codes of its training pictures directly"
        )
    if learned or (learned is None and path.is_file()):
        bank = CodeBank.load(path, model_hash=ground.model.digest)
        if learned is None and bank.split_hash != ground.split.digest:
            return rows  # other pictures than those it was trained on
        hashes = {**facts.hashes, "database_codes": bank.digest}
        other = replace(facts, task="query->learned codes", hashes=hashes)
        rows += score_rows(
            banks[0], bank, metrics=metrics, convention=convention, facts=other, seed=seed, reference=False
        )
    return rows
