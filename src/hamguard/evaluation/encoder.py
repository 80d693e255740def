"""A model that learned on features, joined to the encoder that made them, so that it takes pictures and can be attacked."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from hamguard.core.context import Context
from hamguard.core.errors import RequestError, RunError
from hamguard.core.types import Ints
from hamguard.data.dataset import ImageStore
from hamguard.data.features import holds_features
from hamguard.data.opened import Data
from hamguard.evaluation.ground import Loaded
from hamguard.evaluation.model_data import open_for_model
from hamguard.models.cross_modal import CrossModel
from hamguard.models.foreign import ForeignModel
from hamguard.models.hash_model import HashModel, takes_features
from hamguard.models.store import AnyModel, called
from hamguard.training.features import AT_ONCE, frozen_features

CHECKED = 10
"""Pictures whose features are compared."""
AGREE = 1e-2
"""Largest difference that features of one picture may have, in root mean squares of the features: machines round differently."""


def behind_encoder(
    model: str | Path | AnyModel | CrossModel,
    encoder: str | Path | AnyModel | None,
    data: str | Data | None,
    *,
    protocol: str | None = None,
    root: Path | str | None = None,
    context: Context,
) -> tuple[str | Path | AnyModel | CrossModel | Loaded, str | Data | None]:
    """What names a model on features, behind its encoder, on pictures, see `with_encoder`; without one both as they are.

    Raises:
        RequestError: no pictures are given, or something does not fit.
    """
    if encoder is None:
        return model, data
    if data is None:
        raise RequestError("an encoder needs the pictures that the features were made of; give `data=SOURCE`")
    first = Loaded.open(encoder, device=context.device)
    if isinstance(data, str):
        data = open_for_model(first.card, first.model, data, root=root, protocol=protocol, context=context)
    return with_encoder(Loaded.open(model, device=context.device), first, data, root=root, context=context)


def with_encoder(
    model: Loaded,
    encoder: Loaded,
    pictures: Data,
    *,
    root: Path | str | None = None,
    context: Context | None = None,
) -> tuple[Loaded, Data]:
    """The model behind its encoder, and its own data with pictures in the place of features.

    Args:
        model: one that learned on `features:` data, which its card names.
        encoder: a hash model, of which the backbone counts, or a foreign network whose outputs are the features.
        pictures: a data set with a picture for every row of the features, by the same ids.
        root: folder of the named data sets.
        context: device of the encoder, and how progress is shown.

    Returns:
        The joined model under the name of the first, and data with the labels, texts and split of the features.

    Raises:
        RequestError: the model learned on pictures; pictures are missing or of another size than the encoder's; or features of ten
            pictures are not those of the file.
    """
    if not takes_features(model.model):
        raise RequestError(f"{model.name} takes pictures itself; an encoder belongs to models that learned on features")
    context = context or Context()
    data = open_for_model(model.card, model.model, root=root, context=context)
    if not holds_features(data.dataset):
        raise RequestError(f"{model.name} learned on features, {data.dataset.name} holds pictures")
    rows = _rows_of(data, pictures)
    store = pictures.dataset.images
    if tuple(store.size) != tuple(encoder.model.size):
        have, want = store.size, encoder.model.size
        raise RequestError(
            f"{encoder.name} takes pictures of {want[0]}x{want[1]} pixels, {pictures.dataset.name} has {have[0]}x{have[1]}"
        )
    _check_agree(encoder, store, rows, data)
    joined = _joined(model, encoder.model)
    images = store if np.array_equal(rows, np.arange(len(store))) else ImageStore(store.pixels(rows))
    dataset = replace(data.dataset, images=images, opened=None)
    return replace(model, model=joined), Data(dataset, replace(data.split, content=dataset.digest))


def _rows_of(data: Data, pictures: Data) -> Ints:
    """Row of the picture of every row of the features."""
    places = {str(name): row for row, name in enumerate(pictures.dataset.ids)}
    missing = [str(name) for name in data.dataset.ids if str(name) not in places]
    if missing:
        raise RequestError(
            f"{pictures.dataset.name} lacks {len(missing):,} of {len(data.dataset):,} pictures of {data.dataset.name}, "
            f"e.g. {missing[0]}; features and pictures are matched by their ids"
        )
    return np.array([places[str(name)] for name in data.dataset.ids], np.int64)


@torch.no_grad()
def _check_agree(encoder: Loaded, store: ImageStore, rows: Ints, data: Data) -> None:
    """Compare features of ten pictures, spread over the set.

    Raises:
        RequestError: other numbers, or another number of them.
    """
    chosen = np.unique(np.linspace(0, len(rows) - 1, CHECKED).astype(np.int64))
    net, wanted = encoder.model, data.dataset.images.batch(chosen).flatten(1)  # (m, D)
    found = features_by(net, store.batch(rows[chosen]).to(_device(net))).cpu()
    if found.shape != wanted.shape:
        raise RequestError(
            f"{encoder.name} makes {found.shape[1]} features of a picture, {data.dataset.name} has {wanted.shape[1]}"
        )
    far = (found - wanted).abs().amax(1) / wanted.square().mean().sqrt().clamp(min=1e-12)  # (m,)
    if not bool((far <= AGREE).all()):
        worst = int(far.nan_to_num(torch.inf).argmax())
        raise RequestError(
            f"{encoder.name} did not make the features of {data.dataset.name}: those of {data.dataset.ids[chosen[worst]]} differ"
        )


def features_by(net: AnyModel, x: Tensor) -> Tensor:
    """What an encoder makes of pictures, `(B, C, H, W)` to `(B, D)`: features of a hash model, outputs of a foreign network."""
    return (net.features_of(x) if isinstance(net, HashModel) else net.logits(x)).float()


def _device(net: AnyModel) -> torch.device:
    return next((value.device for value in net.parameters()), torch.device("cpu"))


def _joined(model: Loaded, encoder: AnyModel) -> AnyModel:
    """One network of the encoder and the head of the model."""
    assert isinstance(model.model, HashModel)
    head = copy.deepcopy(model.model)
    if isinstance(encoder, HashModel):
        whole = copy.deepcopy(encoder)
        whole.head = head.tail.to(_device(encoder))  # type: ignore[assignment]  # a feature layer may stand below it
        whole.bits, whole.card = head.bits, None
        return whole.eval().requires_grad_(False)
    joined = nn.Sequential(encoder.module, nn.Flatten(), head.tail)
    return ForeignModel(joined, called(model.model), encoder.size, encoder.channels)


def encoded_by(encoder: Loaded, data: Data, context: Context) -> Tensor:
    """Features of all pictures of a data set, `(N, D)` float32; those of a hash model come from the cache where they are there.

    Raises:
        RequestError: features in the place of pictures, or pictures of another size than the encoder's.
        RunError: the encoder returns NaN.
    """
    images, net = data.dataset.images, encoder.model
    if holds_features(data.dataset):
        raise RequestError(f"{data.dataset.name} holds features already")
    if tuple(images.size) != tuple(net.size):
        have, want = images.size, net.size
        raise RequestError(
            f"{encoder.name} takes pictures of {want[0]}x{want[1]} pixels, {data.dataset.name} has {have[0]}x{have[1]}"
        )
    index = np.arange(len(data.dataset))
    with context.stage(f"features of {encoder.name}") as progress:
        if isinstance(net, HashModel):
            found = frozen_features(net, images, index, progress=progress)
            with torch.no_grad():
                above: Tensor = net.neck(found.to(_device(net)))
            return above.cpu()
        parts = []
        for start in range(0, len(index), AT_ONCE):
            rows = index[start : start + AT_ONCE]
            with torch.no_grad():
                parts.append(features_by(net, images.batch(rows).to(_device(net))).cpu())
            progress((start + len(rows)) / len(index), f"{start + len(rows):,} of {len(index):,} pictures")
    found = torch.cat(parts)
    if not bool(found.isfinite().all()):
        raise RunError(f"{encoder.name} returns NaN or infinite numbers; its weights or its input are broken")
    return found
