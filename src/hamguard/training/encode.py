"""Pictures and texts to code banks: batches through a model, signed, packed, with the hashes of model and split."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import pack, sign
from hamguard.core.checks import check_range
from hamguard.core.errors import RequestError, RunError
from hamguard.core.types import Bytes, Ints
from hamguard.data.dataset import Dataset, ImageStore
from hamguard.data.split import Part, Split
from hamguard.data.texts import texts_of
from hamguard.models.cross_modal import CrossModel
from hamguard.models.foreign import check_face
from hamguard.models.hash_model import HashModel
from hamguard.models.store import AnyModel
from hamguard.models.text_encoders import TextEncoder
from hamguard.models.text_model import TextModel
from hamguard.training.features import check_fits, frozen_features, has_features

Progress = Callable[[float, str], None]
STEP = 4096  # texts at once


PIXELS = 64 * 224 * 224
"""Of a batch at most, whatever was asked for: what a network makes of more takes gigabytes, and is not faster."""


def fits(model: AnyModel, images: ImageStore) -> bool:
    """Whether pictures have the size that the model was made for."""
    return tuple(images.size) == tuple(model.size)


@torch.no_grad()
def packed_codes(
    model: AnyModel,
    images: ImageStore,
    index: Ints,
    *,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> Bytes:
    """Codes of the pictures of `index`, `(n, ceil(K / 8))` uint8; of large pictures fewer than `batch_size` at once.

    Raises:
        RequestError: images that the model does not take (see `check_fits`), the model is a bare module, or it returns something
            else than `(B, K)`.
        RunError: the model returns NaN.
    """
    check_face(model)
    check_fits(model, images)
    check_range("batch_size", batch_size, 1)
    height, width = images.size
    batch_size = min(batch_size, max(1, PIXELS // (height * width)))
    out = np.empty((len(index), -(-model.bits // 8)), dtype=np.uint8)
    for start in range(0, len(index), batch_size):
        rows = index[start : start + batch_size]
        z = model.logits(images.batch(rows).to(device))  # (b, K)
        if z.shape != (len(rows), model.bits):
            raise RequestError(f"the model must return ({len(rows)}, {model.bits}) numbers, got {tuple(z.shape)}")
        if not bool(z.isfinite().all()):
            raise RunError("the model returns NaN or infinite numbers; its weights or its input are broken")
        out[start : start + len(rows)] = pack(sign(z))
        if progress:
            progress((start + len(rows)) / len(index), f"{start + len(rows):,} of {len(index):,} pictures")
    return out


def encode(
    model: AnyModel,
    dataset: Dataset,
    split: Split,
    part: Part,
    *,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> CodeBank:
    """The code bank of one part of a split; a backbone whose features are kept sees only pictures that it has not seen yet.

    Raises:
        RequestError: as `packed_codes`.
        RunError: the model returns NaN.
    """
    images = dataset.images
    if isinstance(model, HashModel) and has_features(model, images) and not model.training:
        features = frozen_features(model, images, part.index, progress=progress)
        with torch.no_grad():
            packed = pack(sign(model.tail(features.to(device))))
    else:
        packed = packed_codes(model, images, part.index, batch_size=batch_size, device=device, progress=progress)
    return CodeBank(
        packed, model.bits, dataset.labels[part.index], dataset.ids[part.index].astype(str), model.digest, split.digest
    )


def text_bags(encoder: TextEncoder, dataset: Dataset, index: Ints) -> Tensor:
    """What a text net takes of some rows of a data set, `(n, D)`.

    Raises:
        RequestError: the data set has no texts, or no text features of this width where the text side learned on such.
    """
    if encoder.name != "features":
        texts = texts_of(dataset)
        return encoder.bag([texts[i] for i in index])
    held = dataset.text_features
    if held is None or held.shape[1] != len(encoder):
        have = "none" if held is None else f"{held.shape[1]} numbers"
        raise RequestError(f"the text side takes text features of {len(encoder)} numbers, {dataset.name} has {have}")
    return torch.from_numpy(held[index])


@torch.no_grad()
def text_codes(net: TextModel, bags: Tensor, device: torch.device | str = "cpu") -> Bytes:
    """Packed codes of bags `(n, D)`, `(n, ceil(K / 8))`.

    Raises:
        RunError: the model returns NaN.
    """
    parts = []
    for part in torch.split(bags, STEP):
        z = net.logits(part.to(device))
        if not bool(z.isfinite().all()):
            raise RunError("the text side returns NaN or infinite numbers; its weights are broken")
        parts.append(pack(sign(z)))
    return np.concatenate(parts)


def text_bank(
    model: CrossModel, dataset: Dataset, split: Split, part: Part, device: torch.device | str = "cpu"
) -> CodeBank:
    """The code bank of the texts of one part.

    Raises:
        RequestError: the data set has no texts.
        RunError: the model returns NaN.
    """
    packed = text_codes(model.text, text_bags(model.encoder, dataset, part.index), device)
    ids = dataset.ids[part.index].astype(str)
    return CodeBank(packed, model.bits, dataset.labels[part.index], ids, model.text.digest, split.digest)
