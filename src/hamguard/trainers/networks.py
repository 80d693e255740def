"""Untrained networks for the pictures at hand."""

from __future__ import annotations

from hamguard.core.errors import RequestError
from hamguard.core.seeds import torch_generator
from hamguard.core.types import Ints
from hamguard.data.dataset import Dataset, ImageStore
from hamguard.data.opened import Data
from hamguard.models.backbones import IMAGENET_MEAN, IMAGENET_STD, default_backbone, load_initial
from hamguard.models.hash_model import HashModel
from hamguard.trainers.job import ModelSection

FITS = {"fashion-products": "pad"}  # its pictures were padded to a square on white; all others were cropped


def pixel_statistics(images: ImageStore, index: Ints) -> tuple[list[float], list[float]]:
    """Mean and standard deviation per channel of the pictures of `index`, in [0, 1] units (at most 5,000 are read)."""
    step = max(1, len(index) // 5000)
    x = images.batch(index[::step]).double()  # (n, C, H, W)
    return x.mean((0, 2, 3)).tolist(), x.std((0, 2, 3)).clamp(min=1e-3).tolist()


def build_model(ask: ModelSection, seed: int, data: Data, features: int = 0) -> HashModel:
    """The untrained network that a job asks for.

    Args:
        ask: which network.
        seed: of its weights.
        data: pictures that it is for; the training part gives the normalization.
        features: units of a feature layer above the backbone, 0 for none.

    Raises:
        RequestError: unknown backbone, unfit weights, or pictures too small.
    """
    images = data.dataset.images
    name = ask.backbone or default_backbone(images.size)
    name = f"{name}+{features}" if features else name
    kind = ask.normalization
    if kind == "auto":
        kind = "imagenet" if ask.weights else "data"
    mean, std = [0.0], [1.0]
    if kind == "imagenet":
        mean, std = list(IMAGENET_MEAN), list(IMAGENET_STD)
    elif kind == "data":
        mean, std = pixel_statistics(images, data.split.train)
    model = HashModel(
        name,
        ask.bits,
        channels=images.channels,
        size=images.size,
        mean=mean,
        std=std,
        generator=torch_generator(seed, "weights"),
    )
    if ask.weights:
        load_initial(model.backbone, name, ask.weights)
    return model


def check_differ(dataset: Dataset, index: Ints, method: str) -> None:
    """Check that labels tell the training pictures apart.

    Raises:
        RequestError: all have the same.
    """
    labels = dataset.labels[index]
    if (labels == labels[0]).all():
        raise RequestError(
            f"all {len(labels):,} training pictures of {dataset.name} have the same labels; "
            f"{method} needs at least two kinds to tell apart"
        )
