"""The data base of a search as it stands in an index, in a folder or on a server, in the place of codes encoded anew."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hamguard.codes.bank import CodeBank
from hamguard.core.errors import RequestError, StaleError
from hamguard.data.opened import Data
from hamguard.retrieval.index import Index
from hamguard.retrieval.stores.registry import store_of

if TYPE_CHECKING:
    from hamguard.evaluation.ground import Ground, Loaded


@dataclass(frozen=True)
class Indexed:
    """An index that is searched.

    Attributes:
        shown: where it is kept, without a password.
        index: what answers.
        bank: all its items, in the order of insertion.
    """

    shown: str
    index: Index
    bank: CodeBank


def read_indexed(place: Path | str, loaded: Loaded, data: Data) -> Indexed:
    """Open the index that a model searches, and read it back, because exact figures need every item.

    Args:
        place: index folder, or address of a data base.
        loaded: the model.
        data: the images that ask, with the split that the index must be of.

    Raises:
        RequestError: no index there, one without labels or with labels of other classes, or a model that texts ask, too.
        StaleError: it belongs to another model or split, or does not say to which model.
        RunError: the data base cannot be reached, or fails.
    """
    store = store_of(place)
    if loaded.cross is not None:
        raise RequestError(
            f"an index holds the codes of one modality, and {loaded.name} is searched in four ways; leave out `index`"
        )
    index = store.open(model_hash=loaded.model.digest)
    facts, split = index.facts, data.split.digest
    if facts.split_hash != split:
        raise StaleError(
            f"index {store.shown} is stale: it belongs to split {facts.split_hash or '(unknown)'}, the queries to {split}; "
            "build it again, or give its own data and protocol"
        )
    classes = data.dataset.labels.shape[1]
    if facts.classes != classes and data.dataset.labels.any():
        held = f"labels of {facts.classes} classes" if facts.classes else "no labels"
        raise RequestError(
            f"index {store.shown} holds {held}, the queries have {classes} classes; build it of this model and data"
        )
    return Indexed(store.shown, index, index.bank())


def code_notes(ground: Ground) -> tuple[str, ...]:
    """Notes of rows on their codes: that the database was read from an index, and that every code is the same."""
    notes = [f"the database is the index {ground.indexed.shown}"] if ground.indexed else []
    banks = (ground.query, ground.database)
    codes = [*banks[0].packed[:1], *banks[1].packed[:1]]
    if len(codes) == 2 and all((bank.packed == codes[0]).all() for bank in banks):
        notes.insert(0, "every code is the same: all items are at the same distance, and figures are those of chance")
    return tuple(notes)
