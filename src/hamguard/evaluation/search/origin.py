"""Where codes came from, in words that another run on this machine understands; `retrieval/origin.py` keeps it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hamguard.models.shipped import is_shipped

if TYPE_CHECKING:
    from hamguard.models.store import Card


def origin_of(
    model: str,
    card: Card | None,
    data: str | None,
    root: Path | str | None,
    protocol: str | None,
    everything: bool,
    modality: str = "image",
) -> dict[str, Any]:
    """Model, data and protocol that codes came from, with full paths."""
    from hamguard.evaluation.model_data import absolute_source  # it loads torch, which `index info` does not need

    path = Path(model)
    own = str(card.data.get("source") or "") if card else ""
    facts: dict[str, Any] = {"model": str(path.resolve()) if path.exists() and not is_shipped(model) else model}
    facts |= {"data": absolute_source(data) if data else None, "own_data": absolute_source(own) if own else None}
    facts |= {"data_root": str(Path(root).resolve()) if root else None, "protocol": protocol}
    return facts | {"everything": everything, "modality": modality}
