"""Open several models that are asked with the same query pictures, each encoded on its data once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hamguard.cli.common import Bar, choose_device, require_source

if TYPE_CHECKING:
    from hamguard.data.dataset import Dataset
    from hamguard.data.split import Split
    from hamguard.evaluation.attack.measure import Ground
    from hamguard.models.store import AnyModel, Card


@dataclass(frozen=True)
class Asked:
    """What commands over several models share.

    Attributes:
        data: data source for all; None for each model's own.
        root: folder of the named data sets.
        protocol: named split; None for each model's own.
        queries: the first N of the query split; None for all.
        seed: seed of attacks, targets and bootstrap.
        batch_size: pictures attacked at once.
        device: its name.
    """

    data: str | None = None
    root: Path | None = None
    protocol: str | None = None
    queries: int | None = None
    seed: int = 0
    batch_size: int = 64
    device: str = "auto"


def open_grounds(names: Sequence[str], asked: Asked) -> list[Ground]:
    """Load models, open their data, check that the query pictures are the same, and encode.

    Raises:
        RequestError: a model or its data are not there, a model is named twice, or the models' query pictures differ.
        RunError: a model returns NaN.
    """
    from hamguard.cli.source import open_for_model
    from hamguard.evaluation.attack.measure import Ground
    from hamguard.evaluation.search.model_rows import model_banks
    from hamguard.evaluation.search.same_queries import check_same_queries
    from hamguard.models.store import load_any

    device = choose_device(asked.device)
    loaded: list[tuple[AnyModel, Card | None]] = []
    data: list[tuple[Dataset, Split]] = []
    for name in names:
        model, card = load_any(name, device)
        require_source(asked.data, card)
        dataset, split = open_for_model(card, model, asked.data, asked.root, asked.protocol)
        for other, parts in data:  # models of one data set share it in memory
            if other.digest == dataset.digest and parts.digest == split.digest:
                dataset, split = other, parts
        loaded.append((model, card))
        data.append((dataset, split))
    check_same_queries(names, data, queries=asked.queries)
    grounds = []
    for name, (model, card), (dataset, split) in zip(names, loaded, data, strict=True):
        with Bar(f"encoding with {name}") as bar:
            banks = model_banks(model, dataset, split, queries=asked.queries, device=device, progress=bar)
        grounds.append(
            Ground(
                name,
                model,
                card,
                dataset,
                split,
                *banks,
                seed=asked.seed,
                batch_size=asked.batch_size,
                device=device,
            )
        )
    return grounds
