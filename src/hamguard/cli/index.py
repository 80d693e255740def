"""`hamguard index build` and `hamguard index info`: codes made searchable."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hamguard.cli import options as opt
from hamguard.cli.common import context_of, name_unread, print_json, say, tell
from hamguard.core.files import read_text

if TYPE_CHECKING:
    from hamguard.api.index import KeptIndex

app = typer.Typer(help="Build a search index, add to it, remove from it, and look at it.", no_args_is_help=True)


SourceArgument = Annotated[
    str,
    typer.Argument(help="Code bank (.npz) written by `encode`, codes from elsewhere (.npz: codes, ids), or a model."),
]
OutOption = Annotated[
    str,
    typer.Option(
        "--out", help="Index folder to write, or address of a data base: postgresql://USER@HOST/DATABASE#NAME."
    ),
]
EverythingOption = Annotated[
    bool,
    typer.Option(
        "--everything", help="Index all pictures, not only the database part; the usual thing without labels."
    ),
]
ModalityOption = Annotated[
    str, typer.Option("--modality", help="image, or text: index the texts of a cross-modal model instead.")
]
EngineOption = Annotated[str, typer.Option("--engine", help="flat (exact) or ivf (nearest cells only, for millions).")]


@app.command("build")
def build(
    source: SourceArgument,
    out: OutOption,
    data: opt.Data = None,
    data_root: opt.Root = None,
    protocol: opt.OwnProtocol = None,
    everything: EverythingOption = False,
    modality: ModalityOption = "image",
    engine: EngineOption = "flat",
    batch_size: opt.BatchSize = 256,
    device: opt.Device = "auto",
    as_json: opt.Json = False,
) -> None:
    """Build an index from a code bank, or encode a data source with a model and index it.

    [bold]Examples[/bold]:

    hamguard index build codes/database.npz --out index

    hamguard index build models/mine --data folder:photos --everything --out index

    hamguard index build models/scenes --modality text --out texts

    hamguard index build codes/database.npz --out "postgresql://me@localhost/photos#fashion"
    """
    from hamguard.api.index import index

    made = index(
        source,
        data,
        out=out,
        root=data_root,
        protocol=protocol,
        everything=everything,
        modality=modality,
        engine=engine,
        batch_size=batch_size,
        context=context_of(device),
    )
    from_codes = Path(source).suffix == ".npz"
    _tell(made, as_json, on_error=not from_codes)
    if not as_json and (
        made.facts.model_hash or not from_codes
    ):  # codes from elsewhere have no model that reads a picture
        source = str(made.origin.get("data") or made.origin.get("own_data") or "")
        asked = "query:0" if source.startswith("features:") else "PICTURE"  # a text index is asked with pictures, too
        tell(f"Next: hamguard search {shlex.quote(made.place)} {asked}")
    name_unread(made)


CodesArgument = Annotated[
    Path, typer.Argument(help="Code bank (.npz) of `encode`, or codes from elsewhere, whose items are added.")
]


@app.command("add")
def add(
    index: opt.ChangedIndex,
    codes: CodesArgument,
    as_json: opt.Json = False,
) -> None:
    """Add the items of a code bank behind those of an index. Ids must be new; the bank must be of the same model.

    [bold]Example[/bold]: hamguard index add index codes/query.npz
    """
    from hamguard.api.index import add as run

    _tell(run(index, codes), as_json)


IdsArgument = Annotated[list[str], typer.Argument(help="Ids to remove, or @FILE with one id a line.", metavar="IDS...")]


@app.command("remove")
def remove(
    index: opt.ChangedIndex,
    ids: IdsArgument,
    as_json: opt.Json = False,
) -> None:
    """Remove items from an index by their ids; an id that is not there is refused, and nothing is removed then.

    [bold]Examples[/bold]:

    hamguard index remove index 17 cats/1.jpg

    hamguard index remove index @gone.txt
    """
    from hamguard.api.index import remove as run

    _tell(run(index, [name for word in ids for name in _ids_of(word)]), as_json)


def _ids_of(word: str) -> list[str]:
    if not word.startswith("@"):
        return [word]
    return [line for line in read_text(word[1:], "list of ids").splitlines() if line.strip()]


@app.command("info")
def info(
    index: opt.Index,
    as_json: opt.Json = False,
) -> None:
    """Say what an index holds and check that its files belong together.

    [bold]Example[/bold]: hamguard index info index
    """
    from hamguard.api.index import look

    _tell(look(index), as_json)


def _tell(made: KeptIndex, as_json: bool, *, on_error: bool = False) -> None:
    """What an index holds, and its notes, on standard error where `on_error` says so or the other holds JSON."""
    if as_json:
        print_json([made.json])
    else:
        for line in made.lines:
            tell(line)
    for note in made.notes:
        (say if as_json or on_error else tell)(f"Note: {note}")
