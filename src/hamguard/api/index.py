"""Codes made searchable: build an index, add to it, remove from it, look at it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hamguard.api.arguments import checked
from hamguard.api.running import running
from hamguard.codes.bank import CodeBank
from hamguard.core.checks import check_choice
from hamguard.core.errors import RequestError, StaleError
from hamguard.core.html import lines_html
from hamguard.evaluation.search.origin import origin_of
from hamguard.retrieval.index import ENGINES, IndexFacts
from hamguard.retrieval.origin import read_origin
from hamguard.retrieval.stores.registry import Store, store_of

if TYPE_CHECKING:
    from hamguard.core.context import Context
    from hamguard.data.opened import Data
    from hamguard.evaluation.ground import Loaded, Texts
    from hamguard.models.cross_modal import CrossModel
    from hamguard.models.store import AnyModel

__all__ = ["KeptIndex", "add", "index", "look", "remove"]


@dataclass(frozen=True)
class KeptIndex:
    """An index in a folder or a data base.

    Attributes:
        place: where it is kept; of an address without the password.
        facts: engine, bits, count, hashes.
        bytes: size of the codes and items that are kept.
        origin: model and data that the codes came from; empty where nobody wrote it down.
        notes: what a reader must know of the codes.
        unread: images that could not be read when it was built.
    """

    place: str
    facts: IndexFacts
    bytes: int
    origin: dict[str, Any]
    notes: tuple[str, ...] = ()
    unread: tuple[str, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return self.facts.count

    @property
    def json(self) -> dict[str, Any]:
        """Everything but the ids."""
        facts = {name: value for name, value in vars(self.facts).items() if name != "ids"}
        return {"index": self.place, **facts, "bytes": self.bytes, "origin": self.origin}

    @property
    def lines(self) -> list[str]:
        """What it holds, as lines."""
        facts = self.facts
        lines = [
            f"{self.place}: {facts.engine} index, {facts.count:,} codes of {facts.bits} bits, {facts.distinct:,} different, "
            f"{self.bytes:,} bytes",
            f"model {facts.model_hash or '(unknown)'}, split {facts.split_hash or '(unknown)'}",
        ]
        if self.origin:
            lines.append(f"made with {self.origin.get('model')}, data {self.origin.get('data') or 'of that model'}")
        return lines

    def __repr__(self) -> str:
        return f"KeptIndex({self.lines[0]})"

    def _repr_html_(self) -> str:
        return lines_html([*self.lines, *(f"Note: {note}" for note in self.notes)])


def look(place: Path | str) -> KeptIndex:
    """What an index holds; of a folder after a check that its files belong together.

    Raises:
        RequestError: there is no index, or it is damaged.
        RunError: a data base cannot be reached, or fails.
    """
    store = store_of(place)
    return KeptIndex(store.shown, store.open().facts, store.bytes(), store.origin())


@checked
def index(
    source: CodeBank | AnyModel | CrossModel | str | Path,
    data: Data | str | None = None,
    *,
    out: Path | str,
    root: Path | str | None = None,
    protocol: str | None = None,
    everything: bool = False,
    modality: str = "image",
    engine: str = "flat",
    batch_size: int = 256,
    context: Context | None = None,
) -> KeptIndex:
    """Build an index of a bank of codes, or of data encoded with a model.

    Args:
        source: a bank; a file of one (.npz), or of codes from elsewhere; or a model, or whatever names one. An index of a model
            that lies in no folder does not know it: give the model to `hg.search`, too.
        data: of a model: data, or the name of a source; by default those it was trained on.
        out: folder to write, or the address of a data base: `postgresql://user@host/database#name`.
        root: folder of the named data sets.
        protocol: named split of a source; by default the model's own.
        everything: index all images, not only the database part; images without any label are all indexed anyway.
        modality: `image`, or `text` for the texts of a cross-modal model.
        engine: `flat` (exact) or `ivf` (nearest cells only, for millions).
        batch_size: images encoded at once.
        context: device, and how progress is shown.

    Raises:
        RequestError: unknown engine or modality, codes or ids that make no index, or no such model, data or kind of address.
        RunError: a data base cannot be reached, or fails.
    """
    check_choice("engine", engine, ENGINES)
    check_choice("modality", modality, ("image", "text"))
    store, root = store_of(out), None if root is None else Path(root)
    named = str(source) if isinstance(source, (str, Path)) else ""
    if isinstance(source, CodeBank) or Path(named).suffix == ".npz":
        if data or root or protocol or everything or modality != "image":
            raise RequestError(
                "a code bank brings its own items; data, its folder, protocol, modality and everything go with a model"
            )
        return _of_codes(source, store, engine)
    context = running(context, source)
    loaded, opened = _opened(source, data, root, protocol, modality, context)
    everything = everything or not opened.dataset.labels.any()  # nothing is measured by labels, so no query is kept out
    bank, notes = _encoded(loaded, opened, everything, modality, batch_size, context)
    origin = {}
    if place := named or str(getattr(source, "place", "")):
        of = data if isinstance(data, str) else None
        origin = origin_of(place, loaded.card, of, root, protocol, everything, modality)
    store.write(bank, engine=engine, origin=origin)
    return replace(look(out), notes=notes, unread=opened.dataset.unread)


def _of_codes(source: Any, store: Store, engine: str) -> KeptIndex:
    """An index of a bank, or of a file of one, with what stands beside it of where its codes came from."""
    from hamguard.evaluation.search.foreign_codes import read_bank

    file = isinstance(source, (str, Path))
    bank, notes = read_bank(source) if file else (source, ())
    store.write(bank, engine=engine, origin=read_origin(Path(source).parent) if file else {})
    return KeptIndex(store.shown, store.open().facts, store.bytes(), store.origin(), tuple(notes))


def _opened(
    source: Any, data: Data | str | None, root: Path | None, protocol: str | None, modality: str, context: Context
) -> tuple[Loaded, Data]:
    """A model, with its text side where texts are indexed, and its data."""
    from hamguard.evaluation.ground import Loaded
    from hamguard.evaluation.model_data import open_for_model

    own = None if isinstance(source, (str, Path)) else getattr(source, "card", None)
    texts: Texts = "needed" if modality == "text" else "none"
    loaded = Loaded.open(source, card=own, texts=texts, device=context.device)
    if modality == "text" and loaded.cross is None:
        raise RequestError(f"texts are indexed by a model of images and texts, which {loaded.name} is not")
    if data is None or isinstance(data, str):
        data = open_for_model(loaded.card, loaded.model, data, root=root, protocol=protocol, context=context)
    return loaded, data


def _encoded(
    loaded: Loaded, opened: Data, everything: bool, modality: str, batch_size: int, context: Context
) -> tuple[CodeBank, tuple[str, ...]]:
    """The codes to index, and what a reader must know of them."""
    from hamguard.models.trial import notes_of
    from hamguard.training.encode import encode, text_bank

    part = opened.everything if everything else opened.database
    of, device = (opened.dataset, opened.split, part.part), context.device
    with context.stage("encoding") as progress:
        if modality == "text":
            assert loaded.cross is not None
            return text_bank(loaded.cross, *of, device), ()
        bank = encode(loaded.model, *of, batch_size=batch_size, device=device, progress=progress)
    return bank, notes_of(loaded.model)


def add(place: Path | str, codes: Path | str) -> KeptIndex:
    """Add the items of a file of codes behind those of an index, in one step.

    Args:
        place: index folder, or address of a data base.
        codes: a file of codes.

    Raises:
        RequestError: an id is there already, or the codes are no codes.
        StaleError: they are of another model, or do not say of which.
        RunError: the index cannot be written; nothing is added then.
    """
    from hamguard.evaluation.search.foreign_codes import read_bank

    store = store_of(place)
    bank, notes = read_bank(codes)
    model = store.open().model_hash
    if not bank.model_hash and model:
        raise StaleError(f"{store.shown} belongs to model {model}, {codes} does not say which model made it")
    store.add(bank)
    return replace(look(place), notes=notes)


def remove(place: Path | str, ids: Sequence[str]) -> KeptIndex:
    """Remove items from an index by their ids, in one step.

    Args:
        place: index folder, or address of a data base.
        ids: of the items.

    Raises:
        RequestError: no ids, one that is not there (nothing is removed then), or all that there are.
        RunError: the index cannot be written; nothing is removed then.
    """
    import numpy as np

    names = list(dict.fromkeys(ids))
    if not names:
        raise RequestError("there is no id to remove")
    store_of(place).remove(np.array(names))
    return look(place)
