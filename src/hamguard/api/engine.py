"""Whether a search engine answers Hamming searches right: `hg.engine_check("faiss-hnsw")`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hamguard.api.arguments import checked
from hamguard.api.results import Rows
from hamguard.core.checks import check_range, received
from hamguard.core.context import Context
from hamguard.core.errors import RequestError
from hamguard.core.files import check_writable, write_text
from hamguard.core.rows import Row
from hamguard.report.engine_table import engine_sentences, engine_tables, engines_of, is_broken, write_engine_page

if TYPE_CHECKING:
    from hamguard.codes.bank import CodeBank
    from hamguard.evaluation.search.held_codes import HeldCodes
    from hamguard.report.table import Table
    from hamguard.retrieval.forms.registry import MakeForm

__all__ = ["EngineRows", "engine_check"]

COLLAPSE = (0.0, 0.1, 0.9)
"""Shares of items that are copies of others: none, few, and as many as learned codes have."""
LARGEST = 100_000
"""Codes of one's own that are asked; the distances of all queries to all of them are held in memory."""
CODES = "codes.npz"
"""What files of faults call them."""


class EngineRows(Rows):
    """Rows of a check: one for each question, level of collapse and engine.

    Attributes:
        faults: file name to text, a file of Python for each fault that was found.
        codes: the codes that were given; files of faults in them read these.
    """

    def __init__(self, rows: Iterable[Row] = (), faults: Mapping[str, str] | None = None) -> None:
        super().__init__(rows)
        self.faults: dict[str, str] = dict(faults or {})
        self.codes: CodeBank | None = None

    def tables(self) -> list[Table]:
        """A table for each engine; of several, one of all before."""
        return engine_tables(self)

    @property
    def sentences(self) -> list[str]:
        """Three sentences for each engine."""
        return [line for name in engines_of(self) for line in engine_sentences(self.where(model=name))]

    @property
    def broken(self) -> Rows:
        """Rows of questions in which an engine broke its promise: not true, failed, or missed though it is exact."""
        return Rows(row for row in self if is_broken(row))

    def report(self, path: Path | str, *, title: str = "") -> Path:
        """Write the page: the sentences and the tables.

        Args:
            path: HTML file to write.
            title: of the page; it has its own.

        Raises:
            RequestError: there are no rows, or the file does not end in .html.
            RunError: the file cannot be written.
        """
        if not self:
            raise RequestError("there is no row to make a page of")
        write_engine_page(path, self)
        return Path(path)

    def write(self, folder: Path | str) -> list[Path]:
        """Write `rows.jsonl`, `report.html`, a file for each fault, and `codes.npz` where one needs it.

        Args:
            folder: to write them to.

        Raises:
            RunError: a file cannot be written.
        """
        place = Path(folder)
        written = [self.save(place / "rows.jsonl"), self.report(place / "report.html")]
        for name, text in self.faults.items():
            write_text(place / name, text)
            written.append(place / name)
        if self.codes is not None and any(CODES in text for text in self.faults.values()):
            self.codes.save(place / CODES)
            written.append(place / CODES)
        return written


@checked
def engine_check(
    engines: str | MakeForm | Sequence[str | MakeForm],
    *,
    codes: CodeBank | Path | str | None = None,
    collapse: Sequence[float] = COLLAPSE,
    items: int = 5_000,
    queries: int = 200,
    out: Path | str | None = None,
    context: Context | None = None,
) -> EngineRows:
    """Ask an engine twelve questions, and hold its answers against brute force.

    Distances at seven code lengths; the same bits turned everywhere; bits in another order; few items, one, none; equal codes; a
    label; radius; removal; a restart; more equal items than places; both orders of bits; a tenth added again. Each at every level
    of collapse, because learned codes collapse: many items share a code, and graphs lose some of them.

    Args:
        engines: a name that `hamguard engine check --list` lists, the address of an index (`postgresql://...`), `module:factory`,
            a factory, or several. A factory makes a value with the methods of `hamguard.retrieval.forms.registry.EngineForm`.
        codes: one's own, asked besides those that are drawn: a bank; a file of codes (.npz); or an index, a folder or an address.
            Of more than 100,000 so many are taken by the seed. Queries are drawn from them.
        collapse: shares of the drawn items that are copies of others, each at least 0 and below 1; with `codes` none may be given.
        items: codes that are drawn; of short codes fewer.
        queries: that are asked.
        out: folder for rows, page and a file of Python for each fault; None writes nothing.
        context: seed of the codes, and how progress is shown.

    Raises:
        RequestError: no such engine or codes, what it needs is not installed, or a number out of range.
        RunError: a file cannot be written.
    """
    from hamguard.evaluation.search.engine_fault import fault_script
    from hamguard.evaluation.search.engine_run import Drawing, check_form, row_of, shows_fault
    from hamguard.retrieval.forms.named import form_maker

    if not isinstance(engines, (str, list, tuple)) and not callable(engines):
        raise RequestError(f"engines must be a name, a factory, or a list of these, got {received(engines)}")
    check_range("items", items, 100)
    check_range("queries", queries, 1)
    if queries > items:
        raise RequestError(
            f"queries are drawn beside as many items at least, got {queries:,} queries and {items:,} items"
        )
    context = context or Context()
    for share in collapse:
        if not 0 <= share < 1:
            raise RequestError(f"collapse must be a share of at least 0 and below 1, got {share}")
    if not collapse and codes is None:
        raise RequestError("give a level of collapse; an empty list was given")
    given = [engines] if isinstance(engines, str) or callable(engines) else list(engines)
    makers = [(_shown(one), form_maker(one)) if isinstance(one, str) else (_name_of(one), one) for one in given]
    if not makers:
        raise RequestError("give an engine; an empty list was given")
    if out is not None:
        check_writable(Path(out) / "rows.jsonl")
    drawings = [Drawing(items, queries, share, context.seed) for share in collapse]
    found, own = EngineRows(), None if codes is None else _given(codes, context.seed)
    if own is not None:
        found.codes = own.bank
        check_range("items in codes", len(own.bank), max(100, queries))
        signs = np.unpackbits(own.bank.packed, axis=1, count=own.bank.bits, bitorder="little") > 0  # (N, K)
        drawings.append(Drawing.of(signs, queries, context.seed, own.name or "a bank"))
    for name, make in makers:
        with context.stage(f"asking {name}") as progress:
            for form, finding in check_form(make, drawings, progress):
                row = row_of(name, form, finding)
                if own is not None and finding.drawing.codes is not None:
                    row = replace(row, hashes=own.hashes, notes=(*row.notes, *own.notes))
                found.append(row)
                if shows_fault(form, finding) and finding.wrong:
                    found.faults[_file_name(found[-1])] = fault_script(name, form, finding)
    if out is not None:
        found.write(out)
    return found


def _given(codes: CodeBank | Path | str, seed: int) -> HeldCodes:
    """Codes of a person's own; of very many some."""
    from hamguard.evaluation.search.held_codes import held_codes

    given = held_codes(codes)
    if len(given.bank) <= LARGEST:
        return given
    chosen = np.sort(np.random.default_rng(seed).choice(len(given.bank), LARGEST, replace=False))
    notes = (*given.notes, f"{LARGEST:,} of {len(given.bank):,} codes")
    return given._replace(bank=given.bank.select(chosen), notes=notes)


def _shown(name: str) -> str:
    """What rows, pages and files call an engine that is named: of an address no password."""
    from hamguard.retrieval.stores.address import Address, is_address

    return Address.parse(name).shown if is_address(name) else name


def _name_of(make: MakeForm) -> str:
    return str(getattr(make, "__name__", type(make).__name__))


def _file_name(row: Row) -> str:
    """What the file of a fault is called: engine, question, and level of collapse."""
    facts = row.attack or {}
    level = "own codes" if "codes" in facts else f"{facts.get('collapse', 0):.0%}".rstrip("%")
    return re.sub(r"[^a-z0-9]+", "-", f"fault {row.model} {row.metric} {level}".lower()).strip("-") + ".py"
