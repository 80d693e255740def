"""`hamguard index build` and `hamguard index info`: codes made searchable."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hamguard.cli.common import (
    Bar,
    BatchOption,
    DataOption,
    DeviceOption,
    JsonOption,
    OwnProtocolOption,
    RootOption,
    choose_device,
    context_of,
    name_unread,
    print_json,
    say,
    say_notes,
    tell,
)
from hamguard.core.errors import DamagedError, MissingFileError, RequestError, StaleError
from hamguard.core.files import read_sealed, read_text, updating, write_sealed

if TYPE_CHECKING:
    from hamguard.codes.bank import CodeBank
    from hamguard.data.dataset import Dataset
    from hamguard.models.store import Card

app = typer.Typer(help="Build a search index, add to it, remove from it, and look at it.", no_args_is_help=True)

ORIGIN = "origin.json"
KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("model", "modality"), (str,)),
    **dict.fromkeys(("data", "own_data", "data_root", "protocol"), (str, NoneType)),
    "everything": (bool,),
}
"""What `origin.json` says, and of which type."""


def read_origin(folder: Path) -> dict[str, Any]:
    """Where the codes of a folder came from: model, data, protocol; empty where that was not written down.

    Raises:
        DamagedError: it was, and is not as it was written.
    """
    path = folder / ORIGIN
    try:
        content = read_sealed(path, "origin", old=lambda found: set(found) <= set(KINDS))
    except MissingFileError:
        return {}
    for key, value in content.items():
        if not isinstance(value, KINDS.get(key, ())):
            raise DamagedError(path, f"{key} cannot be {json.dumps(value, ensure_ascii=False)[:60]}")
    return content


def write_origin(
    folder: Path,
    model: str,
    card: Card | None,
    data: str | None,
    root: Path | None,
    protocol: str | None,
    everything: bool,
    modality: str = "image",
) -> None:
    """Write down where the codes of a folder came from, so that `search` finds model and pictures by itself."""
    from hamguard.models.shipped import is_shipped

    path = Path(model)
    own = str(card.data.get("source") or "") if card else ""
    facts: dict[str, str | None] = {"model": str(path.resolve()) if path.exists() and not is_shipped(model) else model}
    from hamguard.evaluation.model_data import absolute_source

    facts |= {"data": absolute_source(data) if data else None, "own_data": absolute_source(own) if own else None}
    facts |= {"data_root": str(root.resolve()) if root else None, "protocol": protocol}
    write_sealed(folder / ORIGIN, facts | {"everything": everything, "modality": modality})


@app.command("build")
def build(
    source: Annotated[
        str,
        typer.Argument(
            help="Code bank (.npz) written by `encode`, codes from elsewhere (.npz: codes, ids), or a model."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Index folder to write.")],
    data: DataOption = None,
    data_root: RootOption = None,
    protocol: OwnProtocolOption = None,
    everything: Annotated[
        bool, typer.Option("--everything", help="Index all pictures, not only the database part.")
    ] = False,
    modality: Annotated[
        str, typer.Option("--modality", help="image, or text: index the texts of a cross-modal model instead.")
    ] = "image",
    engine: Annotated[
        str, typer.Option("--engine", help="flat (exact) or ivf (nearest cells only, for millions).")
    ] = "flat",
    batch_size: BatchOption = 256,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Build an index from a code bank, or encode a data source with a model and index it.

    [bold]Examples[/bold]:

    hamguard index build codes/database.npz --out index

    hamguard index build models/mine --data folder:photos --everything --out index

    hamguard index build models/scenes --modality text --out texts
    """
    from hamguard.core.checks import check_choice
    from hamguard.evaluation.search.foreign_codes import read_bank
    from hamguard.retrieval.engines import build_index
    from hamguard.retrieval.index import ENGINES

    check_choice("engine", engine, ENGINES)
    check_choice("modality", modality, ("image", "text"))
    path = Path(source)
    dataset: Dataset | None = None
    if path.suffix == ".npz":
        if data or data_root or protocol or everything or modality != "image":
            raise RequestError(
                "a code bank brings its own items; --data, --data-root, --protocol, --modality and --everything go with a model"
            )
        (bank, notes), card, origin = read_bank(path), None, read_origin(path.parent)
    else:
        bank, card, dataset = _encode(source, data, data_root, protocol, everything, batch_size, device, modality)
        origin, notes = {}, ()
    index = build_index(bank, engine=engine)
    index.save(out)
    if origin:
        write_sealed(out / ORIGIN, origin)
    elif path.suffix != ".npz":
        write_origin(out, source, card, data, data_root, protocol, everything, modality)
    _tell(out, as_json)
    _say_notes(notes, as_json)
    if not as_json and (
        bank.model_hash or path.suffix != ".npz"
    ):  # codes from elsewhere have no model that reads a picture
        tell(f"Next: hamguard search {shlex.quote(str(out))} PICTURE")  # a text index is asked with pictures, too
    if dataset is not None:
        name_unread(dataset)


def _encode(
    model: str,
    data: str | None,
    root: Path | None,
    protocol: str | None,
    everything: bool,
    batch_size: int,
    device: str,
    modality: str = "image",
) -> tuple[CodeBank, Card | None, Dataset]:
    import numpy as np

    from hamguard.data.split import Part
    from hamguard.evaluation.encode import encode
    from hamguard.evaluation.model_data import open_for_model
    from hamguard.models.store import load_any

    chosen = choose_device(device)
    loaded, card = load_any(model, chosen)
    opened = open_for_model(card, loaded, data, root=root, protocol=protocol, context=context_of(device))
    dataset, split = opened.dataset, opened.split
    part = Part("database", np.arange(len(dataset))) if everything else split.part("database")
    if modality == "text":
        from hamguard.evaluation.encode import text_bank
        from hamguard.models.cross_modal import load_cross

        return text_bank(load_cross(model)[0].freeze(), dataset, split, part), card, dataset
    with Bar("encoding") as bar:
        bank = encode(loaded, dataset, split, part, batch_size=batch_size, device=chosen, progress=bar)
    say_notes(loaded)
    return bank, card, dataset


@app.command("add")
def add(
    index: Annotated[Path, typer.Argument(help="Index folder; it is changed in one step.")],
    codes: Annotated[
        Path, typer.Argument(help="Code bank (.npz) of `encode`, or codes from elsewhere, whose items are added.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Add the items of a code bank behind those of an index. Ids must be new; the bank must be of the same model.

    [bold]Example[/bold]: hamguard index add index codes/query.npz
    """
    from hamguard.evaluation.search.foreign_codes import read_bank
    from hamguard.retrieval.engines import open_index

    bank, notes = read_bank(codes)
    with updating(index):
        found = open_index(index)
        if not bank.model_hash and found.model_hash:
            raise StaleError(f"{index} belongs to model {found.model_hash}, {codes} does not say which model made it")
        found.add(bank)
        found.save(index)
    _tell(index, as_json)
    _say_notes(notes, as_json)


def _say_notes(notes: Sequence[str], as_json: bool) -> None:
    for note in notes:
        say(f"Note: {note}") if as_json else tell(f"Note: {note}")


@app.command("remove")
def remove(
    index: Annotated[Path, typer.Argument(help="Index folder; it is changed in one step.")],
    ids: Annotated[list[str], typer.Argument(help="Ids to remove, or @FILE with one id a line.", metavar="IDS...")],
    as_json: JsonOption = False,
) -> None:
    """Remove items from an index by their ids; an id that is not there is refused, and nothing is removed then.

    [bold]Examples[/bold]:

    hamguard index remove index 17 cats/1.jpg

    hamguard index remove index @gone.txt
    """
    import numpy as np

    from hamguard.retrieval.engines import open_index

    names = list(dict.fromkeys(name for word in ids for name in _ids_of(word)))
    if not names:
        raise RequestError("there is no id to remove")
    with updating(index):
        found = open_index(index)
        if len(names) == len(found) and set(names) == set(found.ids.tolist()):
            raise RequestError(f"these are all {len(found):,} items of {index}; an index keeps at least one")
        found.remove(np.array(names))
        found.save(index)
    _tell(index, as_json)


def _ids_of(word: str) -> list[str]:
    if not word.startswith("@"):
        return [word]
    return [line for line in read_text(word[1:], "list of ids").splitlines() if line.strip()]


@app.command("info")
def info(
    index: Annotated[Path, typer.Argument(help="Index folder.")],
    as_json: JsonOption = False,
) -> None:
    """Say what an index holds and check that its files belong together.

    [bold]Example[/bold]: hamguard index info index
    """
    _tell(index, as_json)


def _tell(folder: Path, as_json: bool) -> None:
    from hamguard.retrieval.engines import open_index
    from hamguard.retrieval.index import IndexFacts

    open_index(folder)  # reads the engine's file and compares its hash
    facts, origin = IndexFacts.load(folder), read_origin(folder)
    size = (folder / facts.file).stat().st_size
    if as_json:
        content = {key: value for key, value in vars(facts).items() if key != "ids"}
        print_json([{"index": str(folder), **content, "bytes": size, "origin": origin}])
        return
    tell(f"{folder}: {facts.engine} index, {facts.count:,} codes of {facts.bits} bits, {size:,} bytes")
    tell(f"model {facts.model_hash or '(unknown)'}, split {facts.split_hash or '(unknown)'}")
    if origin:
        tell(f"made with {origin.get('model')}, data {origin.get('data') or 'of that model'}")
