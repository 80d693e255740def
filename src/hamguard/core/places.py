"""Folders outside the package: where data and weights are looked for, and where what can be made again is kept."""

from __future__ import annotations

import os
import sys
from pathlib import Path

DATA = "HAMGUARD_DATA"


def cache_folder() -> Path:
    """Where what can be made again is kept: `HAMGUARD_CACHE`, or the platform's folder for caches."""
    if chosen := os.environ.get("HAMGUARD_CACHE"):
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "hamguard"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "hamguard"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hamguard"


def data_roots(root: Path | str | None = None) -> tuple[Path, ...]:
    """Folders that are searched for named data sets and weights, in order: the one given, else `HAMGUARD_DATA`; the cache's."""
    given = Path(root) if root is not None else (Path(p) if (p := os.environ.get(DATA)) else None)
    kept = cache_folder() / "data"
    return (kept,) if given is None else (Path(given), kept)


def places_said(folders: tuple[Path, ...]) -> str:
    """Folders of `data_roots` in words; where the one that was given is no folder, that is said, for it may be a slip."""
    first, *rest = folders
    slip = " (no such folder)" if rest and not first.is_dir() else ""
    return " or ".join((f"{first}{slip}", *map(str, rest)))
