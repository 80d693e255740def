"""Models inside the package, under names of their own: `shipped:digits` is never a folder, and no folder hides it.

Names of the panel, `panel:NAME`, are such names, too; see `models.panel`.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from hamguard.core.checks import suggest
from hamguard.core.errors import RequestError

PREFIX, PANEL = "shipped:", "panel:"
MODELS = ("digits", "digits-hard")
"""Hash models; a protector is named without prefix, see `models.protector_store`."""


def is_shipped(name: Path | str) -> bool:
    """Whether a name asks for a model inside the package, be there one or not.

    >>> is_shipped("shipped:digits"), is_shipped("panel:alexnet-itq"), is_shipped("models/digits"), is_shipped("./shipped:digits")
    (True, True, False, False)
    """
    return str(name).startswith((PREFIX, PANEL))


def is_panel(name: Path | str) -> bool:
    """Whether a name asks for a matcher of the panel."""
    return str(name).startswith(PANEL)


def model_place(name: Path | str) -> Path:
    """Folder of a model: inside the package for `shipped:NAME`, else the path itself.

    Raises:
        RequestError: no model of that name ships with hamguard; the message lists those that do.
    """
    if not is_shipped(name):
        return Path(name)
    if is_panel(name):  # its parts; what else a model folder may hold is not there
        return shipped_folder("panel")
    word = str(name).removeprefix(PREFIX)
    if word not in MODELS:
        allowed = ", ".join(PREFIX + one for one in MODELS)
        raise RequestError(
            f"no model {str(name)!r} ships with hamguard; there are {allowed}{suggest(str(name), [PREFIX + one for one in MODELS])}"
        )
    return shipped_folder(word)


def shipped_folder(name: str) -> Path:
    """A folder inside the package."""
    return Path(str(files("hamguard"))) / "shipped" / name
