"""Features of a network that stays as it is, kept so that no picture is encoded twice.

What is kept is known by the weights and normalization of the backbone, the kind of device, and the pixels of each picture: a
changed weight or picture is computed again, a picture that is added to a set costs itself alone. Features lie in blocks in the
folder of caches; a block is written whole, so a run that was killed goes on after the last one, and a damaged block is computed
again.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hamguard.core.archives import map_array
from hamguard.core.context import Progress
from hamguard.core.digests import digest_array, digest_bytes, digest_state
from hamguard.core.errors import RequestError, RunError
from hamguard.core.files import read_sealed, replacing, write_sealed
from hamguard.core.places import cache_folder
from hamguard.core.types import Array, Ints
from hamguard.data.dataset import ImageStore
from hamguard.models.hash_model import HashModel

VERSION = "1"
"""Part of every key; to be raised when what the network is given changes."""
BLOCK = 256
"""Pictures of a block, which is what a killed run may have to encode again."""
AT_ONCE = 64
LEAST = 4 * 2**20
"""Bytes of pixels of a set; features of smaller ones are computed at every start, which takes seconds."""


def backbone_digest(model: HashModel) -> str:
    """Content hash of what makes features of pictures: backbone and normalization, without the hash head."""
    state = {name: value for name, value in model.state_dict().items() if not name.startswith("head.")}
    return digest_bytes(model.name.encode(), digest_state(state).encode())


def features_folder(model: HashModel) -> Path:
    """Where the features of a backbone are kept."""
    kind = next(model.parameters()).device.type  # another kind of device rounds otherwise
    return cache_folder() / "features" / digest_bytes(VERSION.encode(), backbone_digest(model).encode(), kind.encode())


def is_kept(model: HashModel, images: ImageStore) -> bool:
    """Whether features of these pictures are kept: they are no larger than the pixels, and the set is not small."""
    each = images.array[:1].nbytes
    return images.array.nbytes > LEAST and 4 * model.features <= each


def has_features(model: HashModel, images: ImageStore) -> bool:
    """Whether the backbone is one whose features are kept already, so that those of these pictures are worth a look."""
    return is_kept(model, images) and features_folder(model).is_dir()


def frozen_features(model: HashModel, images: ImageStore, index: Ints, *, progress: Progress | None = None) -> Tensor:
    """What the backbone makes of the pictures of `index`, from the cache where they are there.

    Args:
        model: the network; it is put into evaluation mode, and its device is where the work happens.
        images: pictures of the data set.
        index: which of them, `(n,)`.
        progress: told the share that is done.

    Returns:
        `(n, D)` float32 on the CPU.

    Raises:
        RequestError: pictures of another size than the model's.
        RunError: the network returns NaN, or the cache cannot be written.
    """
    if tuple(images.size) != tuple(model.size):
        have, want = images.size, tuple(model.size)
        raise RequestError(f"the model takes pictures of {want[0]}x{want[1]} pixels, the data have {have[0]}x{have[1]}")
    model.eval()
    index, kept = np.asarray(index), is_kept(model, images)
    found = np.empty((len(index), model.features), np.float32)
    names = [digest_array(images.array[row]) for row in index] if kept else [str(i) for i in range(len(index))]
    wanted: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        wanted.setdefault(name, []).append(place)
    if kept:
        _take(features_folder(model), wanted, found)
    missing = [places[0] for places in wanted.values()]
    for start in range(0, len(missing), BLOCK):
        block = missing[start : start + BLOCK]
        found[block] = _computed(model, images, index[block])
        if kept:
            _keep(features_folder(model), [names[place] for place in block], found[block])
        if progress is not None:
            done = start + len(block)
            progress(done / len(missing), f"{done:,} of {len(missing):,} pictures")
    for places in wanted.values():
        found[places[1:]] = found[places[0]]
    return torch.from_numpy(found)


@torch.no_grad()
def _computed(model: HashModel, images: ImageStore, index: Ints) -> Array:
    """Features of a block, `(b, D)`."""
    device = next(model.parameters()).device
    batches = [
        model.features_of(images.batch(index[i : i + AT_ONCE]).to(device)).float().cpu()
        for i in range(0, len(index), AT_ONCE)
    ]
    features = torch.cat(batches)
    if not bool(features.isfinite().all()):
        raise RunError("the backbone returns NaN or infinite numbers; its weights or its input are broken")
    return features.numpy()


def _take(folder: Path, wanted: dict[str, list[int]], found: Array) -> None:
    """Fill in what is kept, and take it out of `wanted`."""
    for card in sorted(folder.glob("*.json")):
        if not wanted:
            return
        names = _names(card)
        if wanted.keys().isdisjoint(names):
            continue
        block = map_array(card.with_suffix(".npy"))
        if block is None or block[0].shape != (len(names), found.shape[1]) or block[0].dtype != np.float32:
            continue
        for name, features in zip(names, block[0], strict=True):
            found[wanted.pop(name, [])] = features


def _names(card: Path) -> list[str]:
    """Which pictures a block holds; none where that cannot be read."""
    try:
        return [str(name) for name in read_sealed(card, "list of pictures")["pictures"]]
    except (RequestError, KeyError, TypeError):
        return []


def _keep(folder: Path, names: list[str], features: Array) -> None:
    """Write a block; its list of pictures is written last and makes it whole."""
    path = folder / f"{digest_bytes(*(name.encode() for name in names))}.npy"
    with replacing(path) as temporary:
        np.save(temporary, features, allow_pickle=False)
    write_sealed(path.with_suffix(".json"), {"array": digest_array(features), "pictures": names})
