"""Open the data that belong to a model: its card says which source, split and size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hamguard.cli.common import Bar

if TYPE_CHECKING:
    from hamguard.data.dataset import Dataset
    from hamguard.data.split import Split
    from hamguard.models.store import AnyModel, Card


def open_for_model(
    card: Card | None, model: AnyModel, data: str | None, root: Path | None, protocol: str | None
) -> tuple[Dataset, Split]:
    """Data set and split for a model: those it was trained on, or another source at the model's picture size.

    Raises:
        RequestError: unknown source, or pictures that cannot be brought to the model's size.
    """
    from hamguard.data.sources import open_source

    facts = card.data if card else {}
    same = data is None or data == facts.get("source")
    source = str(facts.get("source")) if data is None else data
    own = facts if same else {}

    def open_at(size: int | None) -> tuple[Dataset, Split]:
        with Bar("reading pictures") as bar:
            return open_source(
                source, root=root, seed=int(own.get("split_seed", 0)), protocol=protocol or own.get("protocol"),
                drop_duplicates=bool(own.get("drop_duplicates", False)), size=size, progress=bar.count,
            )  # fmt: skip

    dataset, split = open_at(own.get("size"))
    height, width = model.size
    if tuple(dataset.images.size) != (height, width) and height == width and "size" not in own:
        dataset, split = open_at(height)
    return dataset, split
