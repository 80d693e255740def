"""A model and the parts that it encodes, opened by names: here, and by every worker in the same way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hamguard.core.context import Context
from hamguard.data.opened import Data, DataPart
from hamguard.evaluation.model_data import open_for_model
from hamguard.models.store import AnyModel, Card, load_any


@dataclass(frozen=True)
class Opened:
    """What is encoded, and by what.

    Attributes:
        model: the model.
        card: what is known of it; None for a foreign one.
        data: the data.
        device: where the model computes.
        queries: only the first so many of the query part; None for all.
    """

    model: AnyModel
    card: Card | None
    data: Data
    device: str
    queries: int | None

    def part(self, role: str) -> DataPart:
        """The queries or the database."""
        return self.data.query.first(self.queries) if role == "query" else self.data.database


def open_for_encoding(
    model: str,
    data: str | None = None,
    *,
    root: str | Path | None = None,
    protocol: str | None = None,
    queries: int | None = None,
    device: str = "cpu",
    context: Context | None = None,
) -> Opened:
    """Load a model and open its data.

    Args:
        model: whatever names a model.
        data: a source; by default what the model was trained on.
        root: folder of the named data sets.
        protocol: named split; the model's own by default.
        queries: only the first so many of the query split.
        device: where to compute.
        context: how progress is shown.

    Raises:
        RequestError: no such model or data, or images that do not fit the model.
    """
    loaded, card = load_any(model, device)
    opened = open_for_model(card, loaded, data, root=root, protocol=protocol, context=context)
    return Opened(loaded, card, opened, device, queries)
