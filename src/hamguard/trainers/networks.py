"""Untrained networks for the pictures at hand."""

from __future__ import annotations

from torch import Tensor, nn

from hamguard.core.context import Context
from hamguard.core.errors import RequestError
from hamguard.core.seeds import torch_generator
from hamguard.core.types import Ints
from hamguard.data.dataset import Dataset, ImageStore
from hamguard.data.features import NAME, holds_features
from hamguard.data.opened import Data
from hamguard.models.backbones import build_backbone, check_backbone, load_initial, scratch_backbone
from hamguard.models.hash_model import HashModel
from hamguard.models.pretrained import IMAGENET_MEAN, IMAGENET_STD, NONE, PRETRAINED, weights_of
from hamguard.trainers.job import Job, ModelSection
from hamguard.training.distributed import wait
from hamguard.training.features import frozen_features
from hamguard.training.recipe import Recipe

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
        RequestError: unknown backbone, unfit weights, pictures too small, or a backbone for features.
    """
    images = data.dataset.images
    if holds_features(data.dataset):
        return _on_features(ask, seed, data, features)
    base = ask.backbone or scratch_backbone(images.size)
    weights = ask.weights if ask.given else None
    kind = ask.normalization
    if kind == "auto":
        kind = "imagenet" if weights else "data"
    mean, std = [0.0], [1.0]
    if weights == PRETRAINED and ask.normalization == "auto":
        known = weights_of(base)
        mean, std = list(known.mean), list(known.std)
    elif kind == "imagenet":
        mean, std = list(IMAGENET_MEAN), list(IMAGENET_STD)
    elif kind == "data":
        mean, std = pixel_statistics(images, data.split.train)
    name = f"{base}+{features}" if features else base
    model = HashModel(
        name,
        ask.bits,
        channels=images.channels,
        size=images.size,
        mean=mean,
        std=std,
        generator=torch_generator(seed, "weights"),
    )
    if weights:
        model.initial_weights = load_initial(model.backbone, name, weights)
    return model


def features_of(ask: ModelSection, data: Data) -> int:
    """Number of features D that the hash head of a network would see; no weights are read.

    Raises:
        RequestError: unknown backbone, or pictures too small for it.
    """
    images = data.dataset.images
    if holds_features(data.dataset):
        return images.size[1]
    base = ask.backbone or scratch_backbone(images.size)
    return build_backbone(base, images.channels, images.size, torch_generator(0, "weights"))[1]


def _on_features(ask: ModelSection, seed: int, data: Data, features: int) -> HashModel:
    """The network of features that are there already: a hash head, and a feature layer below it where one is asked for."""
    for name, value in (("backbone", ask.backbone), ("weights", ask.weights)):
        if value not in (None, NAME, NONE):
            raise RequestError(f"{data.dataset.name} holds features already; leave out {name}={value}")
    return HashModel(
        f"{NAME}+{features}" if features else NAME,
        ask.bits,
        channels=1,
        size=data.dataset.images.size,
        generator=torch_generator(seed, "weights"),
    )


def check_frozen(job: Job, data: Data) -> None:
    """Check what a backbone that stays as it is goes with.

    Raises:
        RequestError: there is no such backbone, or its weights are drawn at random.
    """
    if job.network.backbone:
        check_backbone(job.network.backbone)
    drawn = job.network.weights is None and not holds_features(data.dataset)
    if job.training.freeze and drawn:
        raise RequestError(
            "a backbone that stays as it is needs weights, and this one is drawn at random; give weights, a backbone that has "
            "some, or weights=none for a trial on random features"
        )


def check_views(recipe: Recipe, *, of_features: bool = False) -> None:
    """Check that a backbone that stays as it is sees whole pictures.

    Args:
        recipe: how it is trained.
        of_features: whether what is trained takes views of features (`augment=drop`).

    Raises:
        RequestError: random views are asked for that there are none of.
    """
    if recipe.augment == "drop" and not (of_features and recipe.freeze):
        raise RequestError("augment=drop is for hash heads that learn on features (freeze=true); give other views")
    if recipe.freeze and not recipe.finetune and recipe.augment not in ("none", "drop"):
        instead = ", or give augment=drop, which makes views of features" if of_features else ""
        raise RequestError(
            f"a frozen backbone sees each picture once, without random views; leave out augment={recipe.augment}{instead}"
        )


def thaw(trunk: nn.Module, share: float) -> None:
    """Let the last layers of a backbone learn: those that hold this share of its weights, in the order in which they are written.

    No gradient goes through what comes before, which costs most: the last 92% of EfficientNet-Lite0's weights take a third of the
    time of all of them, as its first layers have few weights and many pixels.

    Args:
        trunk: in forward order, none of whose weights learns.
        share: in (0, 1].
    """
    weights = list(trunk.parameters())
    whole, before = sum(one.numel() for one in weights), 0
    for one in weights:
        one.requires_grad_(before >= (1 - share) * whole)
        before += one.numel()


def kept_features(model: HashModel, data: Data, index: Ints, context: Context) -> Tensor:
    """Features of some pictures, `(n, D)`, from the cache where they are there; the leading process encodes the others.

    Raises:
        RunError: the backbone returns NaN, or the cache cannot be written.
    """
    group = context.process_group
    if not group.leads:
        wait(group)
    with context.stage(f"features of {model.name}") as progress:
        features = frozen_features(model, data.dataset.images, index, progress=progress if group.leads else None)
    if group.leads:
        wait(group)
    return features


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
