"""Images to codes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hamguard.api.arguments import checked
from hamguard.api.running import running
from hamguard.codes.bank import CodeBank
from hamguard.core.context import Context
from hamguard.core.errors import RequestError
from hamguard.core.label_arrays import label_rows
from hamguard.data.given import image_store
from hamguard.data.opened import Data, DataPart
from hamguard.evaluation.model_data import open_for_model
from hamguard.evaluation.search.origin import origin_of
from hamguard.models.cross_modal import CrossModel, image_side
from hamguard.models.foreign import check_face
from hamguard.models.store import AnyModel, called, load_any
from hamguard.models.trial import notes_of
from hamguard.retrieval.origin import write_origin
from hamguard.training.encode import encode as encode_part
from hamguard.training.encode import packed_codes

__all__ = ["Banks", "encode", "encode_data"]


@checked
def encode(
    model: AnyModel | CrossModel | str | Path,
    part: DataPart | Any,
    labels: Any = None,
    *,
    batch_size: int = 256,
    context: Context | None = None,
) -> CodeBank:
    """Codes of images by a model, with their labels: `hg.encode(model, data.query)`.

    Args:
        model: a trained, loaded or wrapped model, or whatever `hg.load` takes; of a model of images and texts the image side asks.
        part: a part of data, such as `data.query`; or images as `hg.data` takes them.
        labels: of images: class numbers `(N,)` or multi-hot `(N, C)`; None for codes without labels.
        batch_size: images at once.
        context: where to compute, how progress is shown.

    Raises:
        RequestError: a bare module, images of another size than the model's, images without range or shape, a model that returns no
            `(B, K)`.
        RunError: the model returns NaN, or fails.
    """
    if isinstance(part, Data):
        raise RequestError("encode takes a part of the data: data.query, data.database, data.train or data.validation")
    context = running(context, model)
    side: AnyModel = load_any(model, context.device)[0] if isinstance(model, (str, Path)) else image_side(model)
    check_face(side)
    with context.stage(f"encoding with {called(side)}") as progress:
        if isinstance(part, DataPart):
            if labels is not None:
                raise RequestError("labels belong to images; a part of data has its own")
            return encode_part(
                side,
                part.dataset,
                part.split,
                part.part,
                batch_size=batch_size,
                device=context.device,
                progress=progress,
            )
        store, _ = image_store(part)
        packed = packed_codes(
            side, store, np.arange(len(store)), batch_size=batch_size, device=context.device, progress=progress
        )
    marks = np.zeros((len(store), 0), np.uint8) if labels is None else label_rows(labels)
    return CodeBank(packed, side.bits, marks, model_hash=side.digest)


@dataclass(frozen=True)
class Banks:
    """Banks that were written.

    Attributes:
        facts: file, role, count, bits, bytes and hashes of each.
        notes: what a reader of the model's codes must know.
        unread: images that could not be read.
    """

    facts: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]
    unread: tuple[str, ...]


def encode_data(
    model: str | Path,
    out: Path | str,
    *,
    data: str | None = None,
    root: Path | str | None = None,
    protocol: str | None = None,
    queries: int | None = None,
    batch_size: int = 256,
    context: Context | None = None,
) -> Banks:
    """Encode queries and database into `query.npz` and `database.npz` of a folder.

    Args:
        model: whatever names a model.
        out: the folder.
        data: a source; by default what the model was trained on.
        root: folder of the named data sets.
        protocol: named split; the model's own by default.
        queries: only the first so many of the query split.
        batch_size: images at once.
        context: device, and how progress is shown.

    Raises:
        RequestError: no such model or data, or images that do not fit the model.
        RunError: the model returns NaN, or the folder cannot be written.
    """
    context, out = running(context), Path(out)
    loaded, card = load_any(model, context.device)
    opened = open_for_model(card, loaded, data, root=root, protocol=protocol, context=context)
    facts = []
    for part in (opened.query.first(queries), opened.database):
        bank = encode(loaded, part, batch_size=batch_size, context=context)
        path = out / f"{part.role}.npz"
        bank.save(path)
        held = {
            "file": str(path),
            "role": part.role,
            "count": len(bank),
            "bits": bank.bits,
            "bytes": bank.packed.nbytes,
        }
        facts.append({**held, "digest": bank.digest, "model": bank.model_hash, "split": bank.split_hash})
    write_origin(out, origin_of(str(model), card, data, root, protocol, everything=False))
    return Banks(tuple(facts), notes_of(loaded), opened.dataset.unread)
