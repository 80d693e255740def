"""Where the codes of a folder came from: `origin.json` beside banks and indexes, by which a search finds model and images."""

from __future__ import annotations

import json
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

from hamguard.core.errors import DamagedError, MissingFileError
from hamguard.core.files import read_sealed, write_sealed
from hamguard.models.shipped import is_shipped

if TYPE_CHECKING:
    from hamguard.models.store import Card

ORIGIN = "origin.json"
KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("model", "modality"), (str,)),
    **dict.fromkeys(("data", "own_data", "data_root", "protocol"), (str, NoneType)),
    "everything": (bool,),
}
"""What `origin.json` says, and of which type."""


def read_origin(folder: Path) -> dict[str, Any]:
    """Where the codes of a folder came from: model, data, protocol; empty where that was not written down.

    Raises:
        DamagedError: it was, and is not as it was written.
    """
    path = folder / ORIGIN
    try:
        content = read_sealed(path, "origin", old=lambda found: set(found) <= set(KINDS))
    except MissingFileError:
        return {}
    for key, value in content.items():
        if not isinstance(value, KINDS.get(key, ())):
            raise DamagedError(path, f"{key} cannot be {json.dumps(value, ensure_ascii=False)[:60]}")
    return content


def write_origin(
    folder: Path,
    model: str,
    card: Card | None,
    data: str | None,
    root: Path | str | None,
    protocol: str | None,
    everything: bool,
    modality: str = "image",
) -> None:
    """Write down where the codes of a folder came from."""
    from hamguard.evaluation.model_data import absolute_source  # it loads torch, which `index info` does not need

    path = Path(model)
    own = str(card.data.get("source") or "") if card else ""
    facts: dict[str, str | None] = {"model": str(path.resolve()) if path.exists() and not is_shipped(model) else model}
    facts |= {"data": absolute_source(data) if data else None, "own_data": absolute_source(own) if own else None}
    facts |= {"data_root": str(Path(root).resolve()) if root else None, "protocol": protocol}
    write_sealed(folder / ORIGIN, facts | {"everything": everything, "modality": modality})
