"""Models inside the package, under names of their own: `shipped:digits` is never a folder, and no folder hides it."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from hamguard.core.checks import suggest
from hamguard.core.errors import RequestError

PREFIX = "shipped:"
MODELS = ("digits", "digits-hard")
"""Hash models; a protector is named without prefix, see `models.protector_store`."""


def is_shipped(name: Path | str) -> bool:
    """Whether a name asks for a model inside the package, be there one or not.

    >>> is_shipped("shipped:digits"), is_shipped("models/digits"), is_shipped("./shipped:digits")
    (True, False, False)
    """
    return str(name).startswith(PREFIX)


def model_place(name: Path | str) -> Path:
    """Folder of a model: inside the package for `shipped:NAME`, else the path itself.

    Raises:
        RequestError: no model of that name ships with hamguard; the message lists those that do.
    """
    if not is_shipped(name):
        return Path(name)
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
