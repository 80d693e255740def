"""Where the codes of an index came from: model and images, by which a search finds them; `origin.json` in a folder."""

from __future__ import annotations

import json
from pathlib import Path
from types import NoneType
from typing import Any

from hamguard.core.errors import DamagedError, MissingFileError
from hamguard.core.files import read_sealed, write_sealed

ORIGIN = "origin.json"
KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("model", "modality"), (str,)),
    **dict.fromkeys(("data", "own_data", "data_root", "protocol"), (str, NoneType)),
    "everything": (bool,),
}
"""What an origin says, and of which type."""


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
    return check_origin(content, path)


def check_origin(content: dict[str, Any], where: Path | str) -> dict[str, Any]:
    """An origin whose values are of the right types.

    Raises:
        DamagedError: one is not, or is none of an origin.
    """
    for key, value in content.items():
        if not isinstance(value, KINDS.get(key, ())):
            raise DamagedError(where, f"{key} cannot be {json.dumps(value, ensure_ascii=False)[:60]}")
    return content


def write_origin(folder: Path, origin: dict[str, Any]) -> None:
    """Write down where the codes of a folder came from; an empty origin leaves no file.

    Raises:
        RunError: it cannot be written.
    """
    if origin:
        write_sealed(folder / ORIGIN, origin)
    else:
        (folder / ORIGIN).unlink(missing_ok=True)
