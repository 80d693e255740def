"""Data sources by name: one registry, one function `open_source` that gives a data set and its split.

Named sets are looked for under the folder given, else under `HAMGUARD_DATA`, then in the user cache. Nothing is
downloaded; where files are missing the error says which to put where.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from hamguard.core.checks import check_range, suggest
from hamguard.core.errors import DataMissingError, RequestError
from hamguard.core.places import DATA, data_roots, places_said
from hamguard.data.cache import Progress
from hamguard.data.check import drop_duplicates as without_duplicates
from hamguard.data.dataset import Dataset, Opened
from hamguard.data.list_files import find_lists
from hamguard.data.protocols import make_split, usual_protocol
from hamguard.data.registry import SOURCES, Source
from hamguard.data.split import Split


def parse(text: str) -> tuple[Source, str]:
    """Part `name` or `name:PATH` into the source and the path.

    Raises:
        RequestError: unknown name (with the nearest one), a path missing, or a path where none is taken.
    """
    name, colon, path = text.partition(":")
    written = [f"{s.name}:PATH" if s.takes_path else s.name for s in SOURCES.values()]
    if name not in SOURCES:
        near = _meant(text) or suggest(name, SOURCES)
        raise RequestError(f"unknown data source {text!r}; allowed: {', '.join(written)}{near}")
    source = SOURCES[name]
    if source.takes_path and not path:
        raise RequestError(f"data source {name} needs a path: {name}:PATH, got {text!r}")
    if colon and not source.takes_path:
        raise RequestError(f"data source {name} takes no path, got {text!r}; use `root` for its folder")
    return source, path


def _meant(text: str) -> str:
    """What a person means who gives a path alone; empty where nothing lies there."""
    path = Path(text).expanduser()
    if path.is_dir():
        return f"; did you mean folder:{text}?"
    return f"; did you mean arrays:{text} or features:{text}?" if path.suffix == ".npz" and path.is_file() else ""


def locate(source: Source, root: Path | str | None = None) -> Path:
    """The folder that holds a named set.

    Raises:
        DataMissingError: none does; the message says which files to put where.
    """
    searched = data_roots(root)
    for place in searched:
        if source.found(place):
            return place
    hint = "" if root is not None or os.environ.get(DATA) else ", or set HAMGUARD_DATA or `root`"
    raise DataMissingError(f"data set {source.name} is not here; put {source.need} below {places_said(searched)}{hint}")


def open_source(
    text: str,
    *,
    root: Path | str | None = None,
    seed: int = 0,
    protocol: str | None = None,
    drop_duplicates: bool = False,
    size: int | None = None,
    progress: Progress | None = None,
    pictures: bool = True,
) -> tuple[Dataset, Split]:
    """Open a data source and its split.

    Args:
        text: a name such as `digits`, or `folder:PATH`, `arrays:FILE.npz`, `features:FILE.npz`, `lists:DIR`.
        root: data folder; by default `HAMGUARD_DATA`, then the user cache.
        seed: seed of the split.
        protocol: name of the split's rule; by default the source's own.
        drop_duplicates: take copies of other pictures out of database and training.
        size: height and width of the pictures; None keeps the source's usual size.
        progress: called with `(done, total)` while a large set is decoded for the first time.
        pictures: False lets lists without their pictures pass, for checks of labels and splits.

    Raises:
        RequestError: unknown source or protocol, or data that do not agree with themselves.
        DataMissingError: the data are not on this machine; the message says which files to put where.
        ImageError: a picture is broken; the message names it.
    """
    source, path = parse(text)
    if size is not None:
        check_range("size", size, 8, 4096)
    place = Path(path).expanduser() if source.takes_path else locate(source, root)
    if source.open is not None:
        if protocol is not None and protocol not in {"listed", f"prosgan-{source.name}", "prosgan"}:
            raise RequestError(f"data source {source.name} has its split in its lists, got protocol {protocol!r}")
        dataset, split = source.open(place, size=size, progress=progress, seed=seed, pictures=pictures)
    else:
        assert source.read is not None  # a source has one of the two
        dataset = source.read(place, size=size, progress=progress)
        split = make_split(dataset, protocol or source.protocol or usual_protocol(dataset), seed)
    if drop_duplicates:
        split = without_duplicates(dataset, split)
    opened = Opened(text, protocol, seed, size, drop_duplicates, dataset.digest, split.digest)
    return replace(dataset, opened=opened), split


def list_sources(root: Path | str | None = None) -> list[dict[str, Any]]:
    """All sources: name, what it is, whether it is found, and where (or which files to put where)."""
    rows = []
    for source in sorted(SOURCES.values(), key=lambda s: (s.takes_path, bool(s.need), s.name)):
        where: str
        found: bool | None = True
        if source.takes_path:
            found, where = None, "the path given"
        elif not source.need:
            where = "no files needed"
        else:
            holder = next((place for place in data_roots(root) if source.found(place)), None)
            found = holder is not None
            where = f"put {source.need} below {data_roots(root)[0]}" if holder is None else str(holder)
            if holder is not None and (remark := source.remark(holder)):
                where = f"{where} ({remark})"
        written = f"{source.name}:PATH" if source.takes_path else source.name
        rows.append({"name": written, "about": source.about, "found": found, "where": where})
    return rows


def expand(text: str) -> list[str]:
    """The sources that a text means: itself, or one for each set where `lists:DIR` holds the lists of several.

    Raises:
        RequestError: unknown source, or a folder without lists.
    """
    source, path = parse(text)
    if source.name != "lists" or "#" in path:
        return [text]
    return [f"lists:{path}#{name}" for name in find_lists(Path(path).expanduser())] or [text]
