"""The data that belong to a model: its card says which source, split and size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hamguard.core.context import Context, counted
from hamguard.core.errors import RequestError
from hamguard.core.shown import shown
from hamguard.data.features import holds_features
from hamguard.data.opened import Data
from hamguard.models.store import AnyModel, Card


def require_source(data: str | None, card: Card | None) -> None:
    """Check that a model's data can be found: by what was asked for, or by its card.

    Raises:
        RequestError: neither says where, or the card says that they were made in Python.
    """
    if data is not None or (card is not None and card.data.get("source")):
        return
    if card is not None and card.data.get("name"):
        raise RequestError(
            f"the model was trained on data made in Python ({shown(card.data['name'])}), which are found under no name; "
            "give `data=SOURCE`"
        )
    raise RequestError("this model has no card that names its data; give `data=SOURCE`")


def source_path(source: str) -> Path:
    """The path inside `folder:PATH`, `arrays:FILE`, `features:FILE` or `lists:DIR#NAME`; the source itself where it is a name."""
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


def opening(facts: Mapping[str, Any]) -> dict[str, Any]:
    """How the data of a card are opened again, beside their source: arguments of `Data.open`.

    Args:
        facts: the part `data` of the card; the usual way of the source where it is empty.
    """
    return {
        "protocol": facts.get("protocol"),
        "split_seed": int(facts.get("split_seed") or 0),
        "size": facts.get("size"),
        "drop_duplicates": bool(facts.get("drop_duplicates", False)),
    }


def open_for_model(
    card: Card | None,
    model: AnyModel,
    data: str | None = None,
    *,
    root: Path | str | None = None,
    protocol: str | None = None,
    place: str = "",
    context: Context | None = None,
) -> Data:
    """Data for a model: those it was trained on, or another source at the model's picture size.

    Args:
        card: the model's card, if it has one.
        model: the model, for its picture size.
        data: source that the person asked for; None for the model's own.
        root: folder of the named data sets.
        protocol: named split; None for the model's own.
        place: where the model's own source lies, where that is known better than from the card.
        context: how progress is shown.

    Raises:
        RequestError: the model's data are found nowhere, unknown source, or pictures that cannot be brought to the model's size.
    """
    facts = card.data if card else {}
    if not place:
        require_source(data, card)
    named = str(facts.get("source") or "")
    same = data is None or (named != "" and absolute_source(data) == absolute_source(named))
    source = data or place or named
    own = facts if same else {}
    if data is None and not place and absolute_source(named) != named and not source_path(named).exists():
        raise RequestError(
            f"the model was trained on {named}, which is not there as seen from {Path.cwd()}; give `data=SOURCE`"
        )

    asked = opening(own) | ({"protocol": protocol} if protocol else {})

    def open_at(size: int | None) -> Data:
        with (context or Context()).stage("reading pictures") as progress:
            return Data.open(source, root=root, **asked | {"size": size}, progress=counted(progress))

    opened = open_at(asked["size"])
    height, width = model.size
    if holds_features(opened.dataset):
        return opened  # they have no size
    if tuple(opened.dataset.images.size) != (height, width) and height == width and "size" not in own:
        opened = open_at(height)
    return opened
