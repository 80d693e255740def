"""`cifar10` and `fashion-mnist`: small sets kept as uint8, from our layout or from torchvision's folders.

torchvision's CIFAR-10 files are pickles. They are read by an unpickler that admits NumPy arrays and plain
containers only, so that a prepared file cannot run code.
"""

from __future__ import annotations

import codecs
import gzip
import io
import math
import pickle
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from hamguard.core.archives import read_at_most
from hamguard.core.digests import digest_bytes, digest_file
from hamguard.core.errors import RequestError
from hamguard.core.files import open_ordinary, read_bytes
from hamguard.core.label_arrays import read_label_array
from hamguard.core.types import Array, Bytes
from hamguard.data.arrays import check_offsets, encoded_images, reading
from hamguard.data.cache import Progress, fit_array
from hamguard.data.dataset import Dataset, ImageStore
from hamguard.data.registry import source

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
JPEG_NOTE = "JPEG copy of CIFAR-10 (lossy, about 30 dB), figures are not CIFAR-10 figures"
_RECONSTRUCT = np.ndarray.__reduce__(np.empty(0))[0]  # NumPy's own, wherever this version keeps it
_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("_codecs", "encode"): codecs.encode,
}


class _PlainUnpickler(pickle.Unpickler):
    """Reads containers, strings, numbers and NumPy arrays; any other name in the file is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"names {module}.{name}, which is not admitted")
        return _ADMITTED[module, name]


def plain_unpickle(path: Path) -> Any:
    """Read a pickle of plain containers and NumPy arrays.

    Raises:
        RequestError: the file is broken, or names anything else.
    """
    content = read_bytes(path, "CIFAR-10 batch")
    try:
        return _PlainUnpickler(io.BytesIO(content), encoding="bytes").load()
    except MemoryError:  # a damaged length; the cause is left out, so that the file is named and not the memory
        raise RequestError(f"{path} is not a plain CIFAR-10 batch: it asks for more memory than there is") from None
    except Exception as error:  # a damaged pickle makes the reader raise almost anything
        raise RequestError(f"{path} is not a plain CIFAR-10 batch: {error}") from error


def has_cifar10(folder: Path) -> bool:
    """Whether either layout of CIFAR-10 lies below a folder."""
    jpeg = folder / "cifar10"
    batches = folder / "cifar-10-batches-py"
    return all((jpeg / f"{part}_jpeg.npz").is_file() for part in ("train", "test")) or (
        (batches / "test_batch").is_file() and (batches / "data_batch_1").is_file()
    )


@source(
    "cifar10",
    "60,000 photos of 32 x 32 pixels, ten classes",
    protocol="official",
    found=has_cifar10,
    need="cifar10/train_jpeg.npz and cifar10/test_jpeg.npz, or torchvision's cifar-10-batches-py",
)
def read_cifar10(folder: Path, *, size: int | None = None, progress: Progress | None = None) -> Dataset:
    """Read CIFAR-10, 50,000 training images first; the lossless torchvision folder is preferred where both exist.

    Raises:
        RequestError: a file is broken or its arrays do not agree.
        ImageError: a picture is broken; the message says which one.
    """
    batches = folder / "cifar-10-batches-py"
    if (batches / "test_batch").is_file():
        parts = [batches / f"data_batch_{i}" for i in range(1, 6)] + [batches / "test_batch"]
        read = [_batch(path) for path in parts]
        numbers = np.concatenate([labels for _, labels in read])
        images = ImageStore(fit_array(np.concatenate([pixels for pixels, _ in read]), size))
        return _official("cifar10", images, numbers, sum(len(n) for _, n in read[:-1]), CIFAR10)
    data, offsets, numbers_list, digests = [], [np.zeros(1, np.int64)], [], []
    for part in ("train", "test"):
        path = folder / "cifar10" / f"{part}_jpeg.npz"
        with reading(path) as arrays:
            _need(arrays, "data", "offsets", "labels")
            rising = check_offsets(arrays["offsets"], arrays["data"])
            _check_numbers(arrays["labels"], len(rising) - 1)
        data.append(arrays["data"])
        offsets.append(rising[1:] + offsets[-1][-1])
        numbers_list.append(arrays["labels"])
        digests.append(digest_file(path).encode())
    images = encoded_images(
        np.concatenate(data),
        np.concatenate(offsets),
        digest_bytes(*digests),
        size=size,
        name="cifar10",
        progress=progress,
    )
    numbers = np.concatenate(numbers_list)
    return _official("cifar10", images, numbers, len(numbers_list[0]), CIFAR10, notes=(JPEG_NOTE,), defect="JPEG copy")


def _batch(path: Path) -> tuple[Bytes, Array]:
    if not path.is_file():
        raise RequestError(f"file {path} does not exist; the folder needs data_batch_1 to data_batch_5 and test_batch")
    found = plain_unpickle(path)
    try:
        flat, labels = np.asarray(found[b"data"], np.uint8), np.asarray(found[b"labels"], np.int64)
        pixels = flat.reshape(len(labels), 3, 32, 32).transpose(0, 2, 3, 1)  # (N, 32, 32, 3)
        _check_numbers(labels, len(pixels))
    except (KeyError, TypeError, ValueError) as error:
        raise RequestError(f"{path} is not a plain CIFAR-10 batch: {error}") from error
    return np.ascontiguousarray(pixels), labels


def has_fashion_mnist(folder: Path) -> bool:
    """Whether either layout of Fashion-MNIST lies below a folder."""
    ours = folder / "fashion_mnist"
    if all((ours / f"{part}.npz").is_file() for part in ("train", "test")):
        return True
    return all(_idx_path(folder, f"{part}-{kind}") for part in ("train", "t10k") for kind in _IDX)


LARGEST_IDX = 1 << 30  # bytes; the training images of Fashion-MNIST are 47 MB
_IDX = ("images-idx3-ubyte", "labels-idx1-ubyte")


def _idx_path(folder: Path, stem: str) -> Path | None:
    raw = folder / "FashionMNIST" / "raw"
    return next((path for path in (raw / stem, raw / f"{stem}.gz") if path.is_file()), None)


@source(
    "fashion-mnist",
    "70,000 gray product pictures of 28 x 28 pixels, ten classes",
    protocol="ppl",
    found=has_fashion_mnist,
    need="fashion_mnist/train.npz and fashion_mnist/test.npz, or torchvision's FashionMNIST/raw",
)
def read_fashion_mnist(folder: Path, *, size: int | None = None, progress: Progress | None = None) -> Dataset:
    """Read Fashion-MNIST, 60,000 training images first.

    Raises:
        RequestError: a file is broken or its arrays do not agree.
    """
    del progress  # nothing to decode
    images, numbers = [], []
    ours = folder / "fashion_mnist"
    for part, stem in (("train", "train"), ("test", "t10k")):
        if (ours / f"{part}.npz").is_file():
            with reading(ours / f"{part}.npz") as arrays:
                _need(arrays, "images", "labels")
                _check_numbers(arrays["labels"], len(arrays["images"]))
            images.append(arrays["images"])
            numbers.append(arrays["labels"])
        else:
            found = [_idx_path(folder, f"{stem}-{kind}") for kind in _IDX]
            pixels, labels = (_read_idx(path) for path in found if path is not None)
            if len(pixels) != len(labels):
                raise RequestError(f"{found[0]}: {len(pixels):,} pictures, {len(labels):,} labels")
            try:
                _check_numbers(labels, len(pixels))
            except RequestError as error:
                raise RequestError(f"{found[1]}: {error}") from error
            images.append(pixels)
            numbers.append(labels)
    store = ImageStore(fit_array(np.concatenate(images), size))
    return _official("fashion-mnist", store, np.concatenate(numbers), len(numbers[0]), FASHION)


def _read_idx(path: Path) -> Bytes:
    """Read an IDX file of bytes: magic `0 0 8 ndim`, then the sizes as big-endian 32-bit, then the values."""
    try:
        with open_ordinary(path, "IDX file", limit=LARGEST_IDX) as file:
            content = read_at_most(gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file, LARGEST_IDX, path)
    except (OSError, EOFError, zlib.error) as error:
        raise RequestError(f"{path} cannot be read: {error}") from error
    if len(content) < 4 or content[:3] != b"\x00\x00\x08" or len(content) < 4 + 4 * content[3]:
        raise RequestError(f"{path} is not an IDX file of bytes")
    ndim = content[3]
    shape = np.frombuffer(content, ">u4", ndim, 4).tolist()
    body = np.frombuffer(content, np.uint8, offset=4 + 4 * ndim)
    if len(body) != math.prod(shape):
        raise RequestError(f"{path} is truncated: {math.prod(shape):,} bytes announced, {len(body):,} found")
    return body.reshape(shape)


def _need(arrays: dict[str, Array], *names: str) -> None:
    if missing := [name for name in names if name not in arrays]:
        raise RequestError(f"needs the arrays {', '.join(names)}; missing: {', '.join(missing)}")


def _check_numbers(labels: Array, N: int) -> None:
    """Check that N pictures have one of ten class numbers each."""
    if labels.shape != (N,):
        raise RequestError(f"labels must match the pictures: {N:,} pictures, labels of shape {labels.shape}")
    if labels.dtype.kind not in "iu":
        raise RequestError(f"labels must be whole numbers from 0 to 9, got {labels.dtype}")
    if N and not 0 <= int(labels.min()) <= int(labels.max()) <= 9:
        raise RequestError(f"labels must be whole numbers from 0 to 9, got {labels.min()} to {labels.max()}")


def _official(
    name: str,
    images: ImageStore,
    numbers: Array,
    n_train: int,
    names: tuple[str, ...],
    *,
    notes: tuple[str, ...] = (),
    defect: str = "",
) -> Dataset:
    """Training images first, then test images; ids say which and count from 0 in each."""
    n_test = len(numbers) - n_train
    ids = [f"train/{i}" for i in range(n_train)] + [f"test/{i}" for i in range(n_test)]
    native = np.repeat(np.array([3, 2], np.uint8), [n_train, n_test])
    labels = read_label_array(numbers, f"labels of {name}").multi_hot(len(names))
    return Dataset(name, images, labels, names, np.array(ids), notes=notes, native=native, defect=defect)
