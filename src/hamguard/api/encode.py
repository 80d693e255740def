"""Images to codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hamguard.api.running import running
from hamguard.codes.bank import CodeBank
from hamguard.core.context import Context
from hamguard.core.errors import RequestError
from hamguard.core.label_arrays import label_rows
from hamguard.data.given import image_store
from hamguard.data.opened import Data, DataPart
from hamguard.models.foreign import check_face
from hamguard.models.store import AnyModel, called, load_any
from hamguard.training.encode import encode as encode_part
from hamguard.training.encode import packed_codes

__all__ = ["encode"]


def encode(
    model: AnyModel | str | Path,
    part: DataPart | Any,
    labels: Any = None,
    *,
    batch_size: int = 256,
    context: Context | None = None,
) -> CodeBank:
    """Codes of images by a model, with their labels: `hg.encode(model, data.query)`.

    Args:
        model: a trained, loaded or wrapped model, or whatever `hg.load` takes.
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
    if isinstance(model, (str, Path)):
        model = load_any(model, context.device)[0]
    check_face(model)
    with context.stage(f"encoding with {called(model)}") as progress:
        if isinstance(part, DataPart):
            if labels is not None:
                raise RequestError("labels belong to images; a part of data has its own")
            return encode_part(
                model,
                part.dataset,
                part.split,
                part.part,
                batch_size=batch_size,
                device=context.device,
                progress=progress,
            )
        store, _ = image_store(part)
        packed = packed_codes(
            model, store, np.arange(len(store)), batch_size=batch_size, device=context.device, progress=progress
        )
    marks = np.zeros((len(store), 0), np.uint8) if labels is None else label_rows(labels)
    return CodeBank(packed, model.bits, marks, model_hash=model.digest)
