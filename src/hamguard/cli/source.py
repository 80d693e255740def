"""Open the data that belong to a model: its card says which source, split and size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hamguard.cli.common import Bar, require_source, say
from hamguard.core.errors import RequestError, RunError

if TYPE_CHECKING:
    from hamguard.data.dataset import Dataset
    from hamguard.data.split import Split
    from hamguard.models.store import AnyModel, Card


SAID = 20  # broken pictures that are named


def name_unread(*datasets: Dataset) -> None:
    """Name pictures that could not be read, once the rest is done.

    Raises:
        RunError: there are some, so that a script notices.
    """
    lines = [line for dataset in datasets for line in dataset.unread]
    for line in lines[:SAID]:
        say(line)
    if len(lines) > SAID:
        say(f"and {len(lines) - SAID:,} more")
    if lines:
        what = "picture" if len(lines) == 1 else "pictures"
        raise RunError(f"{len(lines):,} {what} could not be read; the rest is done")


def source_path(source: str) -> Path:
    """The path inside `folder:PATH`, `arrays:FILE` or `lists:DIR#NAME`; the source itself where it is a name."""
    return Path(source.partition(":")[2].partition("#")[0] or source).expanduser()


def absolute_source(source: str) -> str:
    """The same source with its path written from the root of the file system, so that it means the same anywhere.

    >>> absolute_source("digits"), absolute_source("folder:/photos")
    ('digits', 'folder:/photos')
    """
    kind, colon, path = source.partition(":")
    if not colon:
        return source
    path, mark, name = path.partition("#")
    return f"{kind}:{Path(path).expanduser().resolve()}{mark}{name}"


def open_for_model(
    card: Card | None, model: AnyModel, data: str | None, root: Path | None, protocol: str | None, place: str = ""
) -> tuple[Dataset, Split]:
    """Data set and split for a model: those it was trained on, or another source at the model's picture size.

    Args:
        card: the model's card, if it has one.
        model: the model, for its picture size.
        data: source that the person asked for; None for the model's own.
        root: folder of the named data sets.
        protocol: named split; None for the model's own.
        place: where the model's own source lies, where that is known better than from the card.

    Raises:
        RequestError: unknown source, or pictures that cannot be brought to the model's size.
    """
    from hamguard.data.sources import open_source

    facts = card.data if card else {}
    if not place:
        require_source(data, card)
    named = str(facts.get("source") or "")
    same = data is None or (named != "" and absolute_source(data) == absolute_source(named))
    source = data or place or named
    own = facts if same else {}
    if data is None and not place and absolute_source(named) != named and not source_path(named).exists():
        raise RequestError(
            f"the model was trained on {named}, which is not there as seen from {Path.cwd()}; give --data SOURCE"
        )

    def open_at(size: int | None) -> tuple[Dataset, Split]:
        with Bar("reading pictures") as bar:
            return open_source(
                source,
                root=root,
                seed=int(own.get("split_seed") or 0),
                protocol=protocol or own.get("protocol"),
                drop_duplicates=bool(own.get("drop_duplicates", False)),
                size=size,
                progress=bar.count,
            )

    dataset, split = open_at(own.get("size"))
    height, width = model.size
    if tuple(dataset.images.size) != (height, width) and height == width and "size" not in own:
        dataset, split = open_at(height)
    return dataset, split
