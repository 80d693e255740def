"""The nearest items of an index to images, words or codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hamguard.api.answers import SHOWN, Answer, Answers
from hamguard.api.arguments import checked
from hamguard.api.running import running
from hamguard.codes.bank import CodeBank
from hamguard.core.checks import check_range
from hamguard.core.errors import ImageError, RequestError, StaleError
from hamguard.core.types import Bytes
from hamguard.retrieval.engines import build_index
from hamguard.retrieval.index import Index
from hamguard.retrieval.stores.registry import store_of

if TYPE_CHECKING:
    from hamguard.core.context import Context
    from hamguard.data.opened import Data, DataPart
    from hamguard.models.cross_modal import CrossModel
    from hamguard.models.store import AnyModel, Card

__all__ = ["Answer", "Answers", "search"]


@checked
def search(
    where: str | Path | Index | CodeBank | AnyModel | CrossModel,
    query: Any = (),
    *,
    k: int = 10,
    radius: int | None = None,
    label: int | None = None,
    words: Sequence[str] = (),
    model: AnyModel | CrossModel | str | Path | None = None,
    data: Data | str | None = None,
    root: Path | str | None = None,
    pictures: bool = False,
    context: Context | None = None,
) -> Answers:
    """The nearest items to each query; equally near ones stand in the order of the index.

    Args:
        where: index folder, address of a data base, an index, or a bank of codes; or a model, whose database is that of `data`.
        query: a part of data such as `data.query.first(3)`; image files or folders of them (one or a list), or `query:N` for a
            query of the indexed data; images `(n, C, H, W)`; codes (a bank, or an .npz file of them).
        k: how many answers.
        radius: all items at most this many bits away instead.
        label: only items of this class, by its number from 0.
        words: words that ask, where the model has a text side.
        model: the model of the index, where the index does not know it.
        data: the indexed images, or their source; by default what the index says.
        root: folder of the named data sets.
        pictures: open the indexed images, so that answers can be drawn.
        context: device, and how progress is shown.

    Raises:
        RequestError: no query, no index, no model that belongs to it, or an image that cannot be read.
        StaleError: the index belongs to another model.
    """
    check_range("k", k, 1)
    asked = _asked(query, words)
    base = _base(where, model, data)
    if asked.codes is not None:
        bank = asked.codes
        if bank.model_hash and base.index.model_hash and bank.model_hash != base.index.model_hash:
            raise StaleError(
                f"the codes are of model {bank.model_hash}, {base.name} is of model {base.index.model_hash}; encode again"
            )
        queries = [Answer(str(name)) for name in bank.ids]
        return Answers(
            _found(base.index, queries, bank.packed, (k, radius, label)), len(base.index), base.index.bits, base.name
        )
    loaded = _loaded(base, asked, None if root is None else Path(root), pictures, running(context, base.model))
    queries, codes, broken = _encoded(loaded, asked)
    answers = _found(base.index, queries, codes, (k, radius, label))
    if loaded.texts is not None:
        answers = tuple(replace(one, texts=tuple(map(loaded.texts.get, one.ids))) for one in answers)
    from hamguard.models.trial import notes_of

    return Answers(
        answers, len(base.index), base.index.bits, base.name, tuple(broken), notes_of(loaded.model), loaded.data
    )


@dataclass(frozen=True)
class _Asked:
    """What asks: names of files and `query:N`, words, codes, a part of data, or images."""

    names: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    codes: CodeBank | None = None
    part: DataPart | None = None
    images: Any = None


def _asked(query: Any, words: Sequence[str]) -> _Asked:
    from hamguard.data.opened import Data, DataPart

    if isinstance(query, Data):
        raise RequestError("search takes a part of the data: data.query.first(3), for one")
    if isinstance(query, (str, Path)):
        query = (query,)
    if isinstance(query, CodeBank):
        found = _Asked(codes=query)
    elif isinstance(query, DataPart):
        found = _Asked(words=tuple(words), part=query)
    elif isinstance(query, Sequence) and all(isinstance(one, (str, Path)) for one in query):
        names = tuple(map(str, query))
        found = _Asked(names, tuple(words))
        if names and Path(names[0]).suffix.lower() == ".npz":
            from hamguard.evaluation.search.foreign_codes import read_bank

            if len(names) > 1:
                raise RequestError("one file of codes asks at a time, and nothing beside it")
            found = _Asked(codes=read_bank(names[0])[0])
    else:
        found = _Asked(words=tuple(words), images=query)
    if not (found.names or found.words) and all(one is None for one in (found.codes, found.part, found.images)):
        raise RequestError("give pictures to search for, or words")
    if found.codes is not None and words:
        raise RequestError("codes ask alone, without words")
    return found


@dataclass(frozen=True)
class _Base:
    """What is searched; `kept` in a folder or a data base, and `stranger` where that of anybody names the model."""

    index: Index
    name: str
    origin: dict[str, Any]
    model: AnyModel | CrossModel | str | Path | None
    data: Data | str | None
    kept: bool = False
    stranger: bool = False


def _base(where: Any, model: Any, data: Data | str | None) -> _Base:
    if isinstance(where, (str, Path)):
        return _kept_base(where, model, data)
    if isinstance(where, CodeBank):
        return _Base(build_index(where), "the bank", {}, model, data)
    if hasattr(where, "within"):
        return _Base(where, "the index", {}, model, data)
    from hamguard.data.opened import Data
    from hamguard.models.cross_modal import image_side
    from hamguard.models.foreign import check_face

    check_face(image_side(where))
    if model is not None and model is not where:
        raise RequestError("a model is searched with its own codes; leave out `model`, which goes with an index")
    if not isinstance(data, Data):
        raise RequestError("a model is searched on data: hg.search(model, query, data=hg.data(...))")
    from hamguard.api.encode import encode

    return _Base(build_index(encode(where, data.database)), "the database", {}, where, data)


def _kept_base(place: Path | str, model: Any, data: Data | str | None) -> _Base:
    """An index in a folder or a data base; of a stranger's, no name of a model is followed that would run code."""
    store = store_of(place)
    origin, index = store.origin(), store.open()
    return _Base(index, store.shown, origin, origin.get("model") if model is None else model, data, True, model is None)


@dataclass(frozen=True)
class _Loaded:
    """The model of an index, and the indexed images where they are needed."""

    model: AnyModel
    card: Card | None
    cross: CrossModel | None
    data: Data | None
    texts: dict[str, str] | None
    context: Context


def _loaded(base: _Base, asked: _Asked, root: Path | str | None, pictures: bool, context: Context) -> _Loaded:
    """The model, checked against the index; and the data."""
    from hamguard.data.opened import Data
    from hamguard.evaluation.model_data import open_for_model
    from hamguard.models.cross_modal import image_side
    from hamguard.models.foreign import check_face
    from hamguard.models.shipped import is_shipped
    from hamguard.models.store import load_any

    named, origin = base.model, base.origin
    if named is None:
        raise RequestError(f"{base.name} does not know its model; give the model")
    if base.stranger and not is_shipped(str(named)) and not Path(str(named)).is_dir():
        raise RequestError(f"{base.name} was made with {named}, which is no model folder here; give the model")
    if isinstance(named, (str, Path)):
        model, card = load_any(named, context.device)
    else:
        model, card = image_side(named), getattr(named, "card", None)
        check_face(model)
    of_texts = origin.get("modality") == "text"
    cross = _text_side(named, base.name) if asked.words or of_texts else None
    digest = cross.text.digest if cross and of_texts else model.digest
    if base.index.model_hash != digest and (base.kept or base.index.model_hash):
        raise StaleError(
            f"index {base.name} is stale: it belongs to model {base.index.model_hash or '(unknown)'}, the model is now {digest}; "
            "build it again"
        )
    data = base.data if isinstance(base.data, Data) else None
    if data is None:
        data = None if asked.part is None else Data(asked.part.dataset, asked.part.split)
        if pictures or of_texts or any(name.startswith("query:") for name in asked.names):
            root = root or (Path(origin["data_root"]) if origin.get("data_root") else None)
            source = base.data if isinstance(base.data, str) else origin.get("data")
            data = open_for_model(
                card,
                model,
                source,
                root=root,
                protocol=origin.get("protocol"),
                place=origin.get("own_data") or "",
                context=context,
            )
    texts = None
    if of_texts and data is not None:
        from hamguard.data.texts import texts_of

        texts = dict(zip(map(str, data.dataset.ids), texts_of(data.dataset), strict=True))
    return _Loaded(model, card, cross, data, texts, context)


def _text_side(named: Any, index: str) -> CrossModel:
    """The model with its text side.

    Raises:
        RequestError: the model has none.
    """
    from hamguard.models.cross_modal import CrossModel, has_texts, load_cross

    if isinstance(named, CrossModel):
        return named.freeze()
    if not isinstance(named, (str, Path)) or not has_texts(named):
        what = named if isinstance(named, (str, Path)) else "a model without a folder"
        raise RequestError(
            f"{index} belongs to {what}, which has no text side, so it cannot be asked with words; "
            "cross-modal models: hamguard train --method dcmh (or ssah)"
        )
    return load_cross(named)[0].freeze()


def _encoded(loaded: _Loaded, asked: _Asked) -> tuple[list[Answer], Bytes, list[ImageError]]:
    """Queries still without answers, their packed codes, and the images of folders that could not be read."""
    from hamguard.codes.binary import pack
    from hamguard.data.features import holds_features
    from hamguard.models.encode import codes_of
    from hamguard.training.encode import packed_codes

    model, context = loaded.model, loaded.context
    queries: list[Answer] = []
    codes: list[Bytes] = []
    broken: list[ImageError] = []
    if asked.part is not None or asked.images is not None:
        store, rows, names = _store(asked)
        codes.append(packed_codes(model, store, rows, device=context.device))
        own = asked.part is not None and loaded.data is not None and loaded.data.dataset is asked.part.dataset
        for number, (row, name) in enumerate(zip(rows, names, strict=True)):
            picture = store.pixels([int(row)])[0] if number < SHOWN and not store.missing else None
            queries.append(Answer(name, picture=picture, row=int(row) if own else None))
    names = [name for query in asked.names for name in _files(query, context)]
    with context.stage("encoding") as progress:
        for number, name in enumerate(names, 1):
            row = _query_row(name, loaded.data) if name.startswith("query:") else None
            if row is not None and loaded.data is not None and holds_features(loaded.data.dataset):
                codes.append(packed_codes(model, loaded.data.dataset.images, np.array([row]), device=context.device))
                queries.append(Answer(name, row=row))
                continue
            try:
                picture = _picture(name, row, loaded)
            except ImageError as error:
                if (
                    name in asked.names
                ):  # of the files of a folder, broken ones are named; one that is asked for must be one
                    raise
                broken.append(error)
                continue
            codes.append(codes_of(picture[None], model, context.device))
            queries.append(Answer(name, picture=picture if len(queries) < SHOWN else None, row=row))
            progress(number / len(names), f"{number:,} of {len(names):,}")
    if broken and not queries and not asked.words:
        raise (
            broken[0] if len(broken) == 1 else RequestError(f"none of {len(broken)} pictures can be read: {broken[0]}")
        )
    for word in asked.words:
        assert loaded.cross is not None
        codes.append(pack(loaded.cross.text.code(loaded.cross.encoder.bag_of_query(word))))
        queries.append(Answer(f'"{word}"'))
    return queries, np.concatenate(codes), broken


def _store(asked: _Asked) -> tuple[Any, Any, list[str]]:
    """Images of a part or of a tensor, the rows that ask, and their names."""
    if asked.part is not None:
        return asked.part.dataset.images, asked.part.part.index, list(asked.part.ids)
    from hamguard.data.given import image_store

    store, _ = image_store(asked.images)
    return store, np.arange(len(store)), [f"image {i}" for i in range(len(store))]


def _picture(name: str, row: int | None, loaded: _Loaded) -> Bytes:
    from hamguard.evaluation.search.pictures import read_picture

    if row is not None and loaded.data is not None:
        found: Bytes = loaded.data.dataset.images.pixels([row])[0]
        return found
    return read_picture(name, loaded.model, loaded.card)


def _files(text: str, context: Context) -> list[str]:
    """The pictures of a folder, or the word itself; what the folder holds besides is said."""
    if text.startswith("query:") or not Path(text).is_dir():
        return [text]
    from hamguard.images.folder import left_out_note, look_into, require_pictures

    found = look_into(text)
    names = [str(Path(text) / name) for name in require_pictures(text, found)]
    if note := left_out_note(found.left):
        context.tell(f"{text}: {note}")
    return names


def _query_row(text: str, data: Data | None) -> int:
    number = text.removeprefix("query:")
    assert data is not None  # it was opened because a query says so
    asked = data.split.query
    if not (number.isascii() and number.isdigit() and int(number) < len(asked)):
        raise RequestError(f"{text}: the query split has pictures query:0 to query:{len(asked) - 1}")
    return int(asked[int(number)])


def _found(
    index: Index, queries: Sequence[Answer], codes: Bytes, how: tuple[int, int | None, int | None]
) -> tuple[Answer, ...]:
    """The queries with their answers: `how` is how many, the radius, and the label."""
    k, radius, label = how
    if radius is None:
        near = index.search(codes, min(k, len(index)), label=label)
        pairs = [(ids[far >= 0], far[far >= 0]) for far, ids in zip(near.distances, near.ids, strict=True)]
    else:
        ball = index.within(codes, min(radius, index.bits), label=label)
        limits = zip(ball.limits[:-1], ball.limits[1:], strict=True)
        pairs = [(ball.ids[a:b], ball.distances[a:b]) for a, b in limits]
    return tuple(
        replace(query, ids=tuple(map(str, ids)), distances=tuple(map(int, far)))
        for query, (ids, far) in zip(queries, pairs, strict=True)
    )
