"""A model on a split: its two banks, and its rows with what the card knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from hamguard.codes.bank import CodeBank
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row
from hamguard.data.dataset import Dataset
from hamguard.data.split import Split
from hamguard.evaluation.encode import encode
from hamguard.evaluation.search.score import DEFAULT_METRICS, EXACT, Convention, score_rows
from hamguard.models.store import AnyModel, Card
from hamguard.models.trial import notes_of
from hamguard.training.train import LEARNED

Banks = tuple[CodeBank, CodeBank]


def model_banks(
    model: AnyModel,
    dataset: Dataset,
    split: Split,
    *,
    queries: int | None = None,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
    progress: Callable[[float, str], None] | None = None,
) -> Banks:
    """Query and database banks of a model on a split, both encoded by the network.

    Raises:
        RequestError: the pictures do not fit the model.
        RunError: the model returns NaN.
    """
    rest = {"batch_size": batch_size, "device": device}
    query = encode(model, dataset, split, split.part("query").first(queries), **rest)  # type: ignore[arg-type]
    return query, encode(model, dataset, split, split.part("database"), progress=progress, **rest)  # type: ignore[arg-type]


def base_row(
    name: str, model: AnyModel, card: Card | None, dataset: Dataset, split: Split, banks: Banks, seed: int
) -> Row:
    """The facts that every row of this model on this split carries."""
    trained = None
    if card and (known := card.data.get("split")):
        trained = f"{card.data.get('name') or card.data.get('source')}, {known['train']:,} pictures"
    return Row(
        protocol=split.protocol,
        dataset=dataset.title,
        split=split.digest,
        train=trained,
        model=name,
        method=card.method if card else None,
        backbone=card.backbone if card else None,
        bits=model.bits,
        defense=card.defense or None if card else None,
        seed=seed,
        hashes={
            "model": model.digest,
            "split": split.digest,
            "query_codes": banks[0].digest,
            "database_codes": banks[1].digest,
        },
        notes=(*dataset.notes, *split.notes, *notes_of(model), *_alike(banks)),
    )


def _alike(banks: Banks) -> tuple[str, ...]:
    """A note where every code is the same, so that no answer is nearer than another."""
    query, database = banks
    codes = [*query.packed[:1], *database.packed[:1]]
    alike = len(codes) == 2 and all((bank.packed == codes[0]).all() for bank in banks)
    return (
        ("every code is the same: all items are at the same distance, and figures are those of chance",)
        if alike
        else ()
    )


def model_rows(
    name: str,
    model: AnyModel,
    card: Card | None,
    dataset: Dataset,
    split: Split,
    banks: Banks,
    *,
    metrics: Sequence[str] = DEFAULT_METRICS,
    convention: Convention = EXACT,
    seed: int = 0,
    learned: bool | None = None,
) -> list[Row]:
    """Rows of a model whose codes are `banks`.

    Args:
        name: what the rows call the model; where it is a folder, learned codes are looked for in it.
        model: the network.
        card: its card, None for foreign models.
        dataset: the pictures.
        split: their parts.
        banks: query and database codes.
        metrics: what to measure.
        convention: ties, denominator, empty queries.
        seed: seed of the bootstrap.
        learned: measure also against the codes that the method learned for its training pictures (ADSH's V), ADSH's other
            convention; None does so where there are any for this split. Such rows have the task `query->learned codes`,
            because that database is the training part only.

    Raises:
        RequestError: undefined combination, or no learned codes.
        StaleError: the learned codes belong to another model.
    """
    facts = base_row(name, model, card, dataset, split, banks, seed)
    rows = score_rows(*banks, metrics=metrics, convention=convention, facts=facts, seed=seed)
    path = Path(name) / LEARNED
    if learned and not path.is_file():
        raise RequestError(f"{name} has no learned codes; only ADSH learns codes of its training pictures directly")
    if learned or (learned is None and path.is_file()):
        bank = CodeBank.load(path, model_hash=model.digest)
        if learned is None and bank.split_hash != split.digest:
            return rows  # other pictures than those it was trained on
        hashes = {**facts.hashes, "database_codes": bank.digest}
        other = replace(facts, task="query->learned codes", hashes=hashes)
        rows += score_rows(
            banks[0], bank, metrics=metrics, convention=convention, facts=other, seed=seed, reference=False
        )
    return rows
