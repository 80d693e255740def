"""Codes made searchable: build an index, add to it, remove from it, look at it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hamguard.api.arguments import checked
from hamguard.api.running import running
from hamguard.codes.bank import CodeBank
from hamguard.core.checks import check_choice
from hamguard.core.errors import RequestError, StaleError
from hamguard.core.files import updating, write_sealed
from hamguard.core.html import lines_html
from hamguard.evaluation.search.origin import ORIGIN, read_origin, write_origin
from hamguard.retrieval.engines import build_index, open_index
from hamguard.retrieval.index import ENGINES, IndexFacts

if TYPE_CHECKING:
    from hamguard.core.context import Context
    from hamguard.data.opened import Data
    from hamguard.evaluation.ground import Loaded, Texts
    from hamguard.models.cross_modal import CrossModel
    from hamguard.models.store import AnyModel
    from hamguard.retrieval.index import Index

__all__ = ["IndexFolder", "add", "index", "look", "remove"]


@dataclass(frozen=True)
class IndexFolder:
    """An index in a folder.

    Attributes:
        folder: where it lies.
        facts: engine, bits, count, hashes, and ids.
        origin: model and data that the codes came from; empty where nobody wrote it down.
        notes: what a reader must know of the codes.
        unread: images that could not be read when it was built.
    """

    folder: Path
    facts: IndexFacts
    origin: dict[str, Any]
    notes: tuple[str, ...] = ()
    unread: tuple[str, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return self.facts.count

    @property
    def bytes(self) -> int:
        """Size of the file of codes."""
        return (self.folder / self.facts.file).stat().st_size

    @property
    def json(self) -> dict[str, Any]:
        """Everything but the ids."""
        content = {key: value for key, value in vars(self.facts).items() if key != "ids"}
        return {"index": str(self.folder), **content, "bytes": self.bytes, "origin": self.origin}

    @property
    def lines(self) -> list[str]:
        """What it holds, as lines."""
        facts = self.facts
        lines = [
            f"{self.folder}: {facts.engine} index, {facts.count:,} codes of {facts.bits} bits, {facts.distinct:,} different, "
            f"{self.bytes:,} bytes",
            f"model {facts.model_hash or '(unknown)'}, split {facts.split_hash or '(unknown)'}",
        ]
        if self.origin:
            lines.append(f"made with {self.origin.get('model')}, data {self.origin.get('data') or 'of that model'}")
        return lines

    def __repr__(self) -> str:
        return f"IndexFolder({self.lines[0]})"

    def _repr_html_(self) -> str:
        return lines_html([*self.lines, *(f"Note: {note}" for note in self.notes)])


def look(folder: Path | str) -> IndexFolder:
    """What an index holds, after a check that its files belong together.

    Raises:
        RequestError: there is no index, or it is damaged.
    """
    open_index(folder)  # reads the file of codes and compares its hash
    return IndexFolder(Path(folder), IndexFacts.load(folder), read_origin(Path(folder)))


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
) -> IndexFolder:
    """Build an index of a bank of codes, or of data encoded with a model.

    Args:
        source: a bank; a file of one (.npz), or of codes from elsewhere; or a model, or whatever names one. An index of a model
            that lies in no folder does not know it: give the model to `hg.search`, too.
        data: of a model: data, or the name of a source; by default those it was trained on.
        out: folder to write.
        root: folder of the named data sets.
        protocol: named split of a source; by default the model's own.
        everything: index all images, not only the database part; images without any label are all indexed anyway.
        modality: `image`, or `text` for the texts of a cross-modal model.
        engine: `flat` (exact) or `ivf` (nearest cells only, for millions).
        batch_size: images encoded at once.
        context: device, and how progress is shown.

    Raises:
        RequestError: unknown engine or modality, codes or ids that make no index, or no such model or data.
    """
    check_choice("engine", engine, ENGINES)
    check_choice("modality", modality, ("image", "text"))
    out, root = Path(out), None if root is None else Path(root)
    named = str(source) if isinstance(source, (str, Path)) else ""
    if isinstance(source, CodeBank) or Path(named).suffix == ".npz":
        if data or root or protocol or everything or modality != "image":
            raise RequestError(
                "a code bank brings its own items; data, its folder, protocol, modality and everything go with a model"
            )
        return _of_codes(source, out, engine)
    context = running(context, source)
    loaded, opened = _opened(source, data, root, protocol, modality, context)
    everything = everything or not opened.dataset.labels.any()  # nothing is measured by labels, so no query is kept out
    bank, notes = _encoded(loaded, opened, everything, modality, batch_size, context)
    build_index(bank, engine=engine).save(out)
    if place := named or str(getattr(source, "place", "")):
        of = data if isinstance(data, str) else None
        write_origin(out, place, loaded.card, of, root, protocol, everything, modality)
    made = look(out)
    return IndexFolder(out, made.facts, made.origin, notes, opened.dataset.unread)


def _of_codes(source: Any, out: Path, engine: str) -> IndexFolder:
    """An index of a bank, or of a file of one, with what stands beside it of where its codes came from."""
    from hamguard.evaluation.search.foreign_codes import read_bank

    bank, notes = read_bank(source) if isinstance(source, (str, Path)) else (source, ())
    build_index(bank, engine=engine).save(out)
    if isinstance(source, (str, Path)) and (origin := read_origin(Path(source).parent)):
        write_sealed(out / ORIGIN, origin)
    made = look(out)
    return IndexFolder(out, made.facts, made.origin, tuple(notes))


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


def add(folder: Path | str, codes: Path | str) -> IndexFolder:
    """Add the items of a file of codes behind those of an index, in one step.

    Raises:
        RequestError: an id is there already, or the codes are no codes.
        StaleError: they are of another model, or do not say of which.
    """
    from hamguard.evaluation.search.foreign_codes import read_bank

    bank, notes = read_bank(codes)
    with updating(Path(folder)):
        found = open_index(folder)
        if not bank.model_hash and found.model_hash:
            raise StaleError(f"{folder} belongs to model {found.model_hash}, {codes} does not say which model made it")
        found.add(bank)
        found.save(folder)
    made = look(folder)
    return IndexFolder(made.folder, made.facts, made.origin, notes)


def remove(folder: Path | str, ids: Sequence[str]) -> IndexFolder:
    """Remove items from an index by their ids, in one step.

    Raises:
        RequestError: no ids, one that is not there (nothing is removed then), or all that there are.
    """
    import numpy as np

    names = list(dict.fromkeys(ids))
    if not names:
        raise RequestError("there is no id to remove")
    with updating(Path(folder)):
        found: Index = open_index(folder)
        if len(names) == len(found) and set(names) == set(found.ids.tolist()):
            raise RequestError(f"these are all {len(found):,} items of {folder}; an index keeps at least one")
        found.remove(np.array(names))
        found.save(folder)
    return look(folder)
