"""A search index over packed codes: what every engine offers, and the facts that lie beside its file.

Each code is kept once, with the items that have it: learned codes collapse, and 60,000 items may lie on 5,000 codes. Items are
ranked by Hamming distance and then by age: of equally distant items the one added earlier stands first, and the same rule decides
which of them are kept at the k-th place. So every exact engine gives the same answer.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple, Protocol

from hamguard.codes.bank import CodeBank
from hamguard.core.archives import memory_bytes
from hamguard.core.checks import check_choice
from hamguard.core.errors import MissingFileError, RequestError, StaleError
from hamguard.core.files import read_sealed, write_sealed
from hamguard.core.types import Array, Bytes, Ints

FACTS = "index.json"
ENGINES = ("flat", "ivf")
"""`flat` compares with every code; `ivf` only with the codes of the nearest cells, and may miss neighbors."""


class Nearest(NamedTuple):
    """The k nearest items of each query.

    Attributes:
        distances: Hamming distances, `(Q, k)` int64, rising; -1 where an inexact engine found fewer than k.
        ids: their ids, `(Q, k)` strings; empty where the distance is -1.
    """

    distances: Ints
    ids: Array


class Ball(NamedTuple):
    """All items within a radius of each query; those of query i stand at `limits[i]:limits[i + 1]`, nearest first.

    Attributes:
        limits: `(Q + 1,)` int64.
        distances: Hamming distances, `(limits[-1],)` int64.
        ids: their ids, `(limits[-1],)` strings.
    """

    limits: Ints
    distances: Ints
    ids: Array


class Index(Protocol):
    """What every engine offers; queries are a `CodeBank`, or packed codes `(Q, ceil(bits / 8))` uint8."""

    @property
    def engine(self) -> str:
        """Name of the engine, one of `ENGINES`."""

    @property
    def bits(self) -> int:
        """Code length K."""

    @property
    def model_hash(self) -> str:
        """Hash of the model that made the codes; empty for foreign codes."""

    @property
    def ids(self) -> Array:
        """Ids in the order of insertion, `(N,)` strings."""

    def bank(self) -> CodeBank:
        """All items in the order of insertion: codes, labels where they were given, ids."""

    def __len__(self) -> int: ...

    def add(self, bank: CodeBank) -> None:
        """Add the items of a bank behind those present."""

    def remove(self, ids: Array) -> None:
        """Remove items by id."""

    def search(self, query: CodeBank | Bytes, k: int) -> Nearest:
        """The k nearest items of each query."""

    def within(self, query: CodeBank | Bytes, radius: int) -> Ball:
        """All items at most `radius` bits away from each query."""

    def save(self, folder: Path | str) -> None:
        """Write an index folder."""


@dataclass(frozen=True)
class IndexFacts:
    """Content of `index.json`.

    Attributes:
        engine: name of the engine.
        bits: code length K.
        count: number of items.
        distinct: number of codes that differ.
        classes: number of classes of their labels; 0 where nothing is labeled.
        file: name of the file of codes in the folder.
        file_hash: hash of its arrays.
        model_hash: hash of the model that made the codes; empty for foreign codes.
        split_hash: hash of the split the items came from.
        bank_digest: digest of the bank that the index was built from; empty once items were added or removed.
        ids: ids in the order of insertion.
    """

    engine: str
    bits: int
    count: int
    distinct: int
    classes: int
    file: str
    file_hash: str
    model_hash: str
    split_hash: str
    bank_digest: str
    ids: list[str]

    def save(self, folder: Path) -> None:
        """Write `index.json`.

        Raises:
            RunError: the folder cannot be written.
        """
        write_sealed(folder / FACTS, asdict(self))

    @classmethod
    def load(cls, folder: Path | str, *, model_hash: str | None = None, split_hash: str | None = None) -> IndexFacts:
        """Read `index.json` and refuse a stale or damaged one.

        Raises:
            RequestError: the folder holds no index, or `index.json` is damaged or contradicts itself.
            StaleError: the index belongs to another model or split than the one given.
        """
        path = Path(folder) / FACTS
        try:
            content = read_sealed(path, "index", limit=memory_bytes() // 4)
        except MissingFileError as error:
            raise RequestError(
                f"no index at {folder}: there is no {FACTS}; build one with `hamguard index build`"
            ) from error
        kinds = {"bits": int, "count": int, "distinct": int, "classes": int, "ids": list}
        names = [f.name for f in fields(cls)]
        if {*names} - {*content} == {"distinct", "classes"}:
            raise RequestError(
                f"index {folder} was written by an older hamguard, which kept the code of every item; "
                "build it again with `hamguard index build`"
            )
        if sorted(content) != sorted(names):
            raise RequestError(f"{path} is damaged: it must have the keys {', '.join(names)}")
        wrong = [name for name in names if not isinstance(content[name], kinds.get(name, str))]
        if wrong or not all(isinstance(i, str) for i in content["ids"]):
            raise RequestError(f"{path} is damaged: {', '.join(wrong or ['ids'])} has the wrong type")
        facts = cls(**content)
        check_choice(f"engine in {path}", facts.engine, ENGINES)
        if facts.file != Path(facts.file).name or facts.bits < 1 or facts.count != len(facts.ids):
            raise RequestError(
                f"{path} is damaged: file name, bits, or the count ({facts.count}) of {len(facts.ids)} ids"
            )
        if len(set(facts.ids)) != facts.count:
            raise RequestError(f"{path} is damaged: an id stands in it twice")
        for what, wanted, got in (("model", model_hash, facts.model_hash), ("split", split_hash, facts.split_hash)):
            if wanted is not None and wanted != got:
                raise StaleError(
                    f"index {folder} is stale: it belongs to {what} {got or '(unknown)'}, the {what} is now {wanted}; "
                    "build it again"
                )
        return facts
