"""What a search answered: ids and distances of each query; drawn as a sheet of images where these are at hand."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from hamguard.core.errors import HamguardError, ImageError, RequestError
from hamguard.core.html import lines_html
from hamguard.core.types import Array
from hamguard.report.page import picture_uri
from hamguard.report.table import Table, as_html

if TYPE_CHECKING:
    from hamguard.data.opened import Data

SHOWN = 24
"""Most queries on a sheet."""
FIRST = 10
"""Answers of a query on a sheet."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What one query found, nearest first.

    Attributes:
        query: name of the query: file, `query:N`, words, or id.
        ids: ids of the items.
        distances: their Hamming distances in bits.
        texts: their texts, in an index of texts.
        picture: the query as the model saw it, None for words and codes.
        row: row of the data set that the query is, where it is one.
    """

    query: str
    ids: tuple[str, ...] = ()
    distances: tuple[int, ...] = ()
    texts: tuple[str | None, ...] | None = None
    picture: Array | None = field(default=None, repr=False)
    row: int | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        nearest = f", nearest {self.ids[0]} at {self.distances[0]} bits" if self.ids else ""
        return f"Answer({self.query}: {len(self)} items{nearest})"

    @property
    def json(self) -> list[dict[str, Any]]:
        """One object an item."""
        rows = [
            {"query": self.query, "rank": rank, "id": name, "distance": distance}
            for rank, (name, distance) in enumerate(zip(self.ids, self.distances, strict=True), 1)
        ]
        return (
            rows if self.texts is None else [{**row, "text": text} for row, text in zip(rows, self.texts, strict=True)]
        )


@dataclass(frozen=True, eq=False)
class Answers(Sequence[Answer]):
    """Answers to several queries, one each.

    Attributes:
        answers: in the order of the queries.
        size: number of items of the index.
        bits: code length K.
        name: of the index.
        broken: images of folders that could not be read.
        notes: what a reader of the model's codes must know.
        data: the indexed images, where they were opened.
    """

    answers: tuple[Answer, ...]
    size: int
    bits: int
    name: str
    broken: tuple[ImageError, ...] = ()
    notes: tuple[str, ...] = ()
    data: Data | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.answers)

    @overload
    def __getitem__(self, place: int) -> Answer: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Answer]: ...

    def __getitem__(self, place: int | slice) -> Answer | Sequence[Answer]:
        return self.answers[place]

    def __iter__(self) -> Iterator[Answer]:
        return iter(self.answers)

    def table(self, answer: Answer, most: int | None = None) -> Table:
        """The answers to one query, all of them or the first `most`."""
        names = ("rank", "id", "distance", "text")[: 3 if answer.texts is None else 4]
        lines = [["" if row[name] is None else str(row[name]) for name in names] for row in answer.json[:most]]
        return Table.of(f"{answer.query}: {len(answer)} answers of {self.size:,}", names, lines)

    def draw(
        self, path: Path | str, *, title: str = "", footer: str = "", names: Mapping[str, str] | None = None
    ) -> None:
        """Draw queries and answers, the first 24 with ten answers each.

        Args:
            path: file to write: .png, .svg or .pdf.
            title: line above; by default what was searched.
            footer: line below; by default what it is made of.
            names: what to call queries, by their name; `query` where there is none.

        Raises:
            RequestError: the indexed images were not given, or are others than those that were indexed.
            RunError: the file cannot be written.
        """
        from hamguard.evaluation.search.answers import sheet_entry
        from hamguard.report.sheets import SheetItem, SheetRow, draw_sheet

        if self.data is None:
            raise RequestError("a sheet needs the images that were indexed; give data")
        dataset = self.data.dataset
        place = {str(i): row for row, i in enumerate(dataset.ids)}
        lines = []
        for answer in self.answers[:SHOWN]:
            found: list[SheetItem] = []
            for item, distance in zip(answer.ids[:FIRST], answer.distances, strict=False):
                if item not in place:
                    raise RequestError(
                        f"item {item} of {self.name} is not in {dataset.name}; give the `data` that was indexed"
                    )
                entry = sheet_entry(dataset, place[item], answer.row)
                found.append(SheetItem.at(distance, entry.picture, entry.caption, entry.relevant))
            plain = answer.query if answer.picture is None else Path(answer.query).name  # words may hold a slash
            caption = plain if answer.row is None else sheet_entry(dataset, answer.row, None).caption
            called = (names or {}).get(answer.query, "query")
            lines.append(SheetRow(SheetItem(answer.picture, called, caption), found))
        kind = "synthetic data" if dataset.synthetic else f"{len(dataset):,} pictures"
        draw_sheet(
            lines,
            path,
            title=title or f"{dataset.title}: nearest by Hamming distance, {self.bits} bits",
            footer=footer or f"{kind}; green frame and tick: shares a label with the query; gray: unknown",
        )

    def __repr__(self) -> str:
        return f"Answers({len(self)} queries of {self.name}: {self.size:,} items, {self.bits} bits)"

    def _repr_html_(self) -> str:
        if self.data is not None and self.answers:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    self.draw(Path(folder) / "sheet.png")
                except HamguardError as error:
                    return lines_html([str(error)]) + self._lists
                return f"<img src='{picture_uri(Path(folder) / 'sheet.png')}' alt='queries and their answers'>"
        return self._lists

    @property
    def _lists(self) -> str:
        return "".join(as_html(self.table(one, FIRST)) for one in self.answers[:SHOWN])
