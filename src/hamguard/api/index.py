"""Codes made searchable: build an index, add to it, remove from it, look at it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hamguard.api.arguments import checked
from hamguard.api.running import running
from hamguard.core.checks import check_choice
from hamguard.core.errors import RequestError, StaleError
from hamguard.core.files import updating, write_sealed
from hamguard.core.html import lines_html
from hamguard.evaluation.search.origin import ORIGIN, read_origin, write_origin
from hamguard.retrieval.engines import build_index, open_index
from hamguard.retrieval.index import ENGINES, IndexFacts

if TYPE_CHECKING:
    from hamguard.codes.bank import CodeBank
    from hamguard.core.context import Context
    from hamguard.data.opened import Data
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
        """Size of the engine's file."""
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
            f"{self.folder}: {facts.engine} index, {facts.count:,} codes of {facts.bits} bits, {self.bytes:,} bytes",
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
    open_index(folder)  # reads the engine's file and compares its hash
    return IndexFolder(Path(folder), IndexFacts.load(folder), read_origin(Path(folder)))


@checked
def index(
    source: CodeBank | str | Path,
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
        source: a bank; a file of one (.npz), or of codes from elsewhere; or whatever names a model.
        data: of a model: data, or the name of a source; by default those it was trained on.
        out: folder to write.
        root: folder of the named data sets.
        protocol: named split of a source; by default the model's own.
        everything: index all images, not only the database part.
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
    if not isinstance(source, (str, Path)):
        build_index(source, engine=engine).save(out)
        return look(out)
    unread: tuple[str, ...] = ()
    if Path(source).suffix == ".npz":
        from hamguard.evaluation.search.foreign_codes import read_bank

        if data or root or protocol or everything or modality != "image":
            raise RequestError(
                "a code bank brings its own items; data, its folder, protocol, modality and everything go with a model"
            )
        bank, notes = read_bank(source)
        build_index(bank, engine=engine).save(out)
        if origin := read_origin(Path(source).parent):
            write_sealed(out / ORIGIN, origin)
    else:
        model, card, opened = _opened(str(source), data, root, protocol, context := running(context))
        part = opened.everything if everything else opened.database
        with context.stage("encoding") as progress:
            if modality == "text":
                from hamguard.models.cross_modal import load_cross
                from hamguard.training.encode import text_bank

                pair = load_cross(str(source))[0].freeze()
                bank, notes = text_bank(pair, opened.dataset, opened.split, part.part), ()
            else:
                from hamguard.models.trial import notes_of
                from hamguard.training.encode import encode

                bank = encode(
                    model,
                    opened.dataset,
                    opened.split,
                    part.part,
                    batch_size=batch_size,
                    device=context.device,
                    progress=progress,
                )
                notes = notes_of(model)
        build_index(bank, engine=engine).save(out)
        named = data if isinstance(data, str) else None
        write_origin(out, str(source), card, named, root, protocol, everything, modality)
        unread = opened.dataset.unread
    made = look(out)
    return IndexFolder(out, made.facts, made.origin, tuple(notes), unread)


def _opened(
    source: str, data: Data | str | None, root: Path | str | None, protocol: str | None, context: Context
) -> tuple[AnyModel, Any, Data]:
    """A model with its card, and its data."""
    from hamguard.evaluation.model_data import open_for_model
    from hamguard.models.store import load_any

    model, card = load_any(source, context.device)
    if data is None or isinstance(data, str):
        data = open_for_model(card, model, data, root=root, protocol=protocol, context=context)
    return model, card, data


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
