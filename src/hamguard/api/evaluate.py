"""Retrieval metrics of a model's search, or of codes that other software made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hamguard.api.arguments import checked
from hamguard.api.results import Rows
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row

if TYPE_CHECKING:  # codes of other software are scored without loading a network
    from hamguard.codes.bank import CodeBank
    from hamguard.core.context import Context
    from hamguard.core.types import Ints, Ties
    from hamguard.core.types import Norm as Denominator
    from hamguard.data.opened import Data
    from hamguard.evaluation.ground import Ground, Texts
    from hamguard.evaluation.search.copies import CopySearches
    from hamguard.evaluation.search.foreign_codes import ForeignCodes
    from hamguard.evaluation.search.score import Convention
    from hamguard.models.cross_modal import CrossModel
    from hamguard.models.store import AnyModel
    from hamguard.report.table import Table
    from hamguard.retrieval.metrics import Empty

__all__ = ["SearchRows", "evaluate"]

USUAL_VIEWS = ("jpeg:50", "resize:0.5", "crop:0.8")
"""Changed copies that a model is asked with where its images have no labels and nobody says which."""


@dataclass(frozen=True)
class Searched:
    """What rows of a search are of.

    Attributes:
        query: codes that ask.
        database: codes that are searched.
        own: which database item each query is, where that is left out of its answers, `(Q,)`.
        ground: the model on its data, None for codes alone.
        copies: searches with changed copies, None for others.
        unread: why images could not be read, a line each.
        seed: of random codes.
    """

    query: CodeBank
    database: CodeBank
    own: Ints | None = None
    ground: Ground | None = None
    copies: CopySearches | None = None
    unread: tuple[str, ...] = ()
    seed: int = 0


class SearchRows(Rows):
    """Rows of a search, with what they are of.

    Attributes:
        searched: codes, model and data.
    """

    def __init__(self, rows: Iterable[Row], searched: Searched) -> None:
        self.searched = searched
        super().__init__(rows)

    def _some(self, rows: Iterable[Row]) -> Rows:  # type: ignore[override]
        return Rows(rows)

    @property
    def unread(self) -> tuple[str, ...]:
        """Why images could not be read, a line each."""
        return self.searched.unread

    def tables(self) -> list[Table]:
        """The rows as one table."""
        from hamguard.report.plain_table import plain_table

        query, database, copies = self.searched.query, self.searched.database, self.searched.copies
        asked = f"{len(query):,} queries" if copies is None else f"{len(copies.rows):,} pictures copied"
        detail = f"{asked}, {len(database):,} database items, {query.bits} bits"
        return [plain_table(self, f"{self[0].dataset or 'foreign codes'}: {detail}")]

    def curves(self, path: Path | str, *, name: str = "") -> Path:
        """Draw precision over recall, and precision over N (.png, .svg, .pdf).

        Args:
            path: file to write.
            name: what the curves of a hash model are called; by default what rows call it.

        Raises:
            RunError: the file cannot be written.
        """
        from hamguard.evaluation.search.curves import measure_curves
        from hamguard.report.plots import draw_curves

        path, one, name = Path(path), self.searched, name or self[0].model or "foreign codes"
        if one.ground is not None and one.ground.cross:
            from hamguard.evaluation.search.cross_modal import cross_curves

            card, bits = one.ground.card, one.ground.model.bits
            title = f"{one.ground.dataset.title}: {card.title if card else one.ground.name}, {bits} bits"
            draw_curves(*cross_curves(one.ground), path, title=title)
            return path
        found = measure_curves(one.query, one.database, name=name, seed=one.seed, own=one.own)
        draw_curves(
            found.precision_recall,
            found.precision_at,
            path,
            within_radius=found.within_radius,
            title=self[0].dataset or name,
        )
        return path

    def sheet(self, path: Path | str) -> Path:
        """Draw changed copies and their answers (.png).

        Raises:
            RequestError: the search was not asked with changed copies.
            RunError: the file cannot be written.
        """
        from hamguard.api.sheets import draw_copies

        if self.searched.copies is None:
            raise RequestError("a sheet shows changed copies: give views, such as jpeg:50")
        draw_copies(Path(path), self.searched.copies)
        return Path(path)


@checked
def evaluate(
    model: str | Path | AnyModel | CrossModel | None = None,
    data: str | Data | None = None,
    *,
    query_codes: Path | str | CodeBank | None = None,
    database_codes: Path | str | CodeBank | None = None,
    index: Path | str | None = None,
    exclude_self: bool = False,
    metrics: Sequence[str] | None = None,
    ties: Ties = "expected",
    norm: Denominator = "relevant",
    empty: Empty = "zero",
    learned: bool | None = None,
    views: Sequence[str] = (),
    queries: int | None = None,
    protocol: str | None = None,
    root: Path | str | None = None,
    batch_size: int = 256,
    context: Context | None = None,
) -> SearchRows:
    """Score a model on the query and database parts of its data, or score codes: `hg.evaluate(model, data)`.

    MAP is exact under ties (the mean over all orders of equal distances), over the full ranking, with a bootstrap 95% interval over
    queries. The MAP of random codes stands beside it. A cross-modal model is scored in four searches.

    Args:
        model: a trained, loaded or wrapped model, or whatever `hg.load` takes; None for codes.
        data: what `hg.data` gave, or a source; None for what the model was trained on.
        query_codes: codes that ask, a file or a bank.
        database_codes: codes that are searched, in the same way.
        index: folder or address of an index that is searched: of the model's database, in the place of encoding it, or in the place
            of `database_codes`.
        exclude_self: codes in files: leave a query that is a database item out of its answers.
        metrics: `map`, `map@N`, `precision@N`, `recall@N`, `ndcg@N`, `ndcg-shared@N`, `radius-precision@R`, `radius-recall@R`; by
            default map, precision@100 and ndcg@100.
        ties: order of equal distances, `expected`, `stable`, `worst` or `best`.
        norm: denominator of map@N: `relevant`, `hits` or `min`.
        empty: queries without a hit: `zero` or `skip`.
        learned: also search the codes that ADSH learned for its training images; None where there are any.
        views: ask with changed copies instead: `jpeg:50`, `crop:216`, `resize:0.5`, ... as `verify` takes them; of images without
            labels three usual ones.
        queries: only the first so many queries.
        protocol: named split of a source; None for the model's own.
        root: folder of the named data sets.
        batch_size: images encoded at once.
        context: device, seed, and how progress is shown.

    Returns:
        Rows, and what they are of.

    Raises:
        RequestError: neither a model nor codes, an unknown metric or view, one that has no value, metrics of data without labels,
            or images that do not fit.
        RunError: the model returns NaN.
    """
    from hamguard.evaluation.search.score import DEFAULT_METRICS, Convention, parse_metric

    convention = Convention(ties, norm, empty)
    asked, metrics = bool(metrics), tuple(metrics or DEFAULT_METRICS)
    for text in metrics:
        parse_metric(text)
    if (model is None) == (query_codes is None and database_codes is None):
        raise RequestError("give either a `model`, or both `query_codes` and `database_codes` (or `index`)")
    if model is None:
        if views or data or root or protocol or learned:
            raise RequestError(
                "`data`, `root`, `protocol`, `learned` and `views` go with a `model`, not with foreign codes"
            )
        if index is not None and database_codes is not None:
            raise RequestError("`database_codes` and `index` are two databases; give one")
        pair = (query_codes, database_codes if index is None else _searched(index))
        return _of_codes(pair, metrics, convention, queries=queries, exclude=exclude_self, context=context)
    if exclude_self:
        raise RequestError("`exclude_self` goes with `query_codes` and `database_codes`")
    where: dict[str, Any] = {"root": root, "protocol": protocol, "queries": queries, "batch_size": batch_size}
    where |= {"index": index}
    how = (metrics if asked or learned else (), convention, learned)
    return _of_model(model, data, views, how, context=context, **where)


def _of_codes(
    pair: tuple[Any, Any],
    metrics: Sequence[str],
    convention: Convention,
    *,
    queries: int | None,
    exclude: bool,
    context: Context | None,
) -> SearchRows:
    """Rows of codes in files or banks."""
    import numpy as np

    from hamguard.codes.bank import CodeBank
    from hamguard.evaluation.search.foreign_codes import ForeignCodes, read_pair
    from hamguard.evaluation.search.score import score_rows

    seed, names = context.seed if context else 0, "codes"
    notes: tuple[str, ...] = ()
    own: Ints | None = None
    query, database = pair
    if query is None or database is None:
        raise RequestError("foreign codes need both `query_codes` and `database_codes`, or an `index`")
    if isinstance(query, CodeBank) and isinstance(database, ForeignCodes) and database.bank is not None:
        database = database.bank
    if isinstance(query, CodeBank) and isinstance(database, CodeBank):
        if exclude:
            raise RequestError("exclude_self goes with codes in files")
        query = query if queries is None else query.select(np.arange(min(queries, len(query))))
    elif isinstance(query, CodeBank) or isinstance(database, CodeBank):
        raise RequestError("give both codes as files, or both as banks")
    else:
        held = isinstance(database, ForeignCodes)
        names = ", ".join(str(one.path) if isinstance(one, ForeignCodes) else Path(one).name for one in pair)
        database = database if held else Path(database)
        query, database, own, notes = read_pair(Path(query), database, queries=queries, exclude=exclude)
    hashes = {"query_codes": query.digest, "database_codes": database.digest}
    facts = Row(model=names, seed=seed, hashes=hashes, notes=tuple(notes))
    rows = score_rows(query, database, metrics=metrics, convention=convention, facts=facts, seed=seed, own=own)
    return SearchRows(rows, Searched(query, database, own, seed=seed))


def _searched(index: Path | str) -> ForeignCodes:
    """The items of an index, in a folder or a data base."""
    from hamguard.evaluation.search.foreign_codes import codes_of_bank
    from hamguard.retrieval.stores.registry import store_of

    store = store_of(index)
    return codes_of_bank(store.open().bank(), store.shown)


def _of_model(
    model: str | Path | AnyModel | CrossModel,
    data: str | Data | None,
    views: Sequence[str],
    asked: tuple[Sequence[str], Convention, bool | None],
    *,
    root: Path | str | None,
    protocol: str | None,
    queries: int | None,
    batch_size: int,
    index: Path | str | None,
    context: Context | None,
) -> SearchRows:
    """Rows of a model's search, of the four searches of a cross-modal model, or of searches with changed copies."""
    from hamguard.api.running import running
    from hamguard.data.texts import has_text_side
    from hamguard.evaluation.ground import Ground, Loaded
    from hamguard.evaluation.model_data import open_for_model
    from hamguard.evaluation.search.copies import search_views
    from hamguard.evaluation.search.cross_modal import cross_rows
    from hamguard.evaluation.search.model_rows import model_rows
    from hamguard.evaluation.search.score import DEFAULT_METRICS, check_defined

    context = running(context, model)
    loaded = Loaded.open(model, texts="any", device=context.device)
    if data is None or isinstance(data, str):
        data = open_for_model(loaded.card, loaded.model, data, root=root, protocol=protocol, context=context)
    dataset, (metrics, convention, learned) = data.dataset, asked
    if index is not None and (views or learned):
        raise RequestError("`views` and `learned` search codes of their own; leave out `index`")
    if index is None and not (views or metrics or dataset.labels.any()):
        views = USUAL_VIEWS
        context.tell(f"{dataset.name} has no labels: asked with copies of its pictures, {', '.join(views)}")
    metrics = metrics or DEFAULT_METRICS
    if views:
        found = search_views(loaded, data, views, queries=queries, context=context.but(batch_size=batch_size))
        of = Searched(found.bank, found.bank, copies=found, unread=dataset.unread, seed=context.seed)
        return SearchRows([one.row for one in found.searches], of)
    for text in metrics:
        check_defined(text, convention, len(data.split.database))
    if not dataset.labels.any():
        raise RequestError(f"{dataset.name} has no labels, so nothing can be relevant; MAP needs labeled pictures")
    cross = loaded.cross is not None and has_text_side(dataset)
    if cross and learned:
        raise RequestError(
            f"{loaded.name} has no learned codes; only ADSH learns codes of its training pictures directly"
        )
    texts: Texts = "needed" if cross else "none"
    ground = Ground.open(
        loaded, data, queries=queries, batch_size=batch_size, texts=texts, pixels=False, index=index, context=context
    )
    if ground.cross:
        rows = cross_rows(ground, metrics=metrics, convention=convention)
    else:
        learned = False if index is not None else learned
        rows = model_rows(ground, metrics=metrics, convention=convention, learned=learned)
    return SearchRows(rows, Searched(*ground.search(), ground=ground, unread=dataset.unread, seed=ground.seed))
