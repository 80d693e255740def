"""Features of a network that stays as it is, kept so that no picture is encoded twice.

What is kept is known by the weights and normalization of the backbone, the kind of device, and the pixels of each picture: a
changed weight or picture is computed again, a picture that is added to a set costs itself alone. Features lie in the folder of
caches, as `core/kept.py` says.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hamguard.core.context import Progress
from hamguard.core.digests import digest_array, digest_bytes, digest_state
from hamguard.core.errors import RequestError, RunError
from hamguard.core.kept import kept_rows
from hamguard.core.places import cache_folder
from hamguard.core.types import Array, Ints
from hamguard.data.dataset import ImageStore
from hamguard.data.features import FeatureStore
from hamguard.models.hash_model import HashModel, check_images, takes_features
from hamguard.models.store import AnyModel

VERSION = "1"
"""Part of every key; to be raised when what the network is given changes."""
BLOCK = 256
"""Pictures of a block, which is what a killed run may have to encode again."""
AT_ONCE = 64
LEAST = 4 * 2**20
"""Bytes of pixels of a set; features of smaller ones are computed at every start, which takes seconds."""


def backbone_digest(model: HashModel) -> str:
    """Content hash of what makes features of pictures: trunk and normalization, without feature layer and hash head."""
    state = {f"backbone.{name}": value for name, value in model.trunk.state_dict().items()}
    state |= {"mean": model.mean, "std": model.std}
    return digest_bytes(model.name.partition("+")[0].encode(), digest_state(state).encode())


def features_folder(model: HashModel) -> Path:
    """Where the features of a backbone are kept."""
    kind = next(model.parameters()).device.type  # another kind of device rounds otherwise
    return cache_folder() / "features" / digest_bytes(VERSION.encode(), backbone_digest(model).encode(), kind.encode())


def is_kept(model: HashModel, images: ImageStore) -> bool:
    """Whether features of these pictures are kept: they are no larger than the pixels, and the set is not small."""
    each = images.array[:1].nbytes
    return images.array.nbytes > LEAST and 4 * model.trunk_features <= each


def has_features(model: HashModel, images: ImageStore) -> bool:
    """Whether the backbone is one whose features are kept already, so that those of these pictures are worth a look."""
    return is_kept(model, images) and features_folder(model).is_dir()


def check_fits(model: AnyModel, images: ImageStore) -> None:
    """Check that a model takes such images.

    Raises:
        RequestError: pictures for a model that learned on features, features for one that takes pictures, or another size.
    """
    have, want = tuple(images.size), tuple(model.size)
    given = isinstance(images, FeatureStore)
    if not given:
        check_images(model)
    elif isinstance(model, HashModel) and not takes_features(model):
        raise RequestError("the model takes pictures, the data hold features")
    if have == want:
        return
    if given:
        raise RequestError(f"the model takes {want[1]:,} features of a picture, the data have {have[1]:,}")
    raise RequestError(f"the model takes pictures of {want[0]}x{want[1]} pixels, the data have {have[0]}x{have[1]}")


def frozen_features(model: HashModel, images: ImageStore, index: Ints, *, progress: Progress | None = None) -> Tensor:
    """What the backbone, without a feature layer, makes of the pictures of `index`, from the cache where they are there.

    Args:
        model: the network; it is put into evaluation mode, and its device is where the work happens.
        images: pictures of the data set.
        index: which of them, `(n,)`.
        progress: told the share that is done.

    Returns:
        `(n, D)` float32 on the CPU.

    Raises:
        RequestError: images that the model does not take, see `check_fits`.
        RunError: the network returns NaN, or the cache cannot be written.
    """
    check_fits(model, images)
    model.eval()
    index, kept = np.asarray(index), is_kept(model, images)
    names = [digest_array(images.array[row]) for row in index] if kept else [str(i) for i in range(len(index))]
    rows = kept_rows(
        features_folder(model) if kept else None,
        names,
        model.trunk_features,
        lambda places: _computed(model, images, index[places]),
        block=BLOCK,
        what="pictures",
        progress=progress,
    )
    return torch.from_numpy(rows)


@torch.no_grad()
def _computed(model: HashModel, images: ImageStore, index: Ints) -> Array:
    """Features of a block, `(b, D)`."""
    device = next(model.parameters()).device
    batches = [
        model.trunk_of(images.batch(index[i : i + AT_ONCE]).to(device)).float().cpu()
        for i in range(0, len(index), AT_ONCE)
    ]
    features = torch.cat(batches)
    if not bool(features.isfinite().all()):
        raise RunError("the backbone returns NaN or infinite numbers; its weights or its input are broken")
    return features.numpy()
