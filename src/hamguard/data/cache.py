"""Decode many pictures once into one uint8 array: in memory where small, memory-mapped in the cache where large."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

import numpy as np

from hamguard.core.archives import map_array, seal_array
from hamguard.core.digests import digest_array, digest_bytes
from hamguard.core.errors import ImageError
from hamguard.core.files import replacing
from hamguard.core.places import cache_folder
from hamguard.core.types import Bytes
from hamguard.data.dataset import ImageStore
from hamguard.images.io import MAX_PIXELS, Probe, decode, probe
from hamguard.images.views import fit_image

Progress: TypeAlias = Callable[[int, int], None]
"""Called with `(done, total)` pictures while a large set is decoded."""

VERSION = "1"  # part of every key; raise it when decoding or fitting changes
IN_MEMORY = 32 * 2**20  # bytes decoded; smaller sets are decoded at every start, which takes about a second
CHUNK = 512
LARGEST_NATIVE = 256  # pictures of one size up to this keep it; others are fitted to DEFAULT_SIZE
DEFAULT_SIZE = 224


def decode_all(
    names: Sequence[str],
    read: Callable[[int], bytes],
    content: str,
    *,
    size: int | None = None,
    progress: Progress | None = None,
    max_pixels: int = MAX_PIXELS,
) -> ImageStore:
    """Decode pictures to one size.

    Args:
        names: how errors call the pictures, N of them.
        read: gives the bytes of picture i.
        content: content hash of all the bytes; with `size` it is the key of the cache.
        size: height and width; None keeps the pictures' own size where all share one of at most 256 pixels, and
            fits them to 224 pixels otherwise. Fitting scales until the square is covered and cuts out the middle.
        progress: called with `(done, total)`.
        max_pixels: larger pictures are refused.

    Returns:
        Gray `(N, H, W)` where all pictures are gray, else `(N, H, W, 3)`.

    Raises:
        ImageError: a picture cannot be decoded; the message names it.
        RunError: the cache cannot be written.
    """
    key = digest_bytes(VERSION.encode(), content.encode(), str(size).encode(), str(max_pixels).encode())
    path = cache_folder() / "images" / f"{key}.npy"
    if (kept := _load(path)) is not None:
        return kept
    shape = _shape(names, read, size, max_pixels)
    if int(np.prod(shape)) <= IN_MEMORY:
        array = np.empty(shape, np.uint8)
        _fill(array, names, read, progress, max_pixels)
        return ImageStore(array)
    with replacing(path) as temporary:
        mapped = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
        if hasattr(os, "posix_fallocate"):  # a disk that fills up behind a memory map would kill the process
            with temporary.open("r+b") as stream:
                os.posix_fallocate(stream.fileno(), 0, temporary.stat().st_size)
        _fill(mapped, names, read, progress, max_pixels)
        mapped.flush()
        digest = digest_array(mapped)
        del mapped
    seal_array(path, digest)
    store = _load(path)
    assert store is not None  # written a moment ago
    return store


def _load(path: Path) -> ImageStore | None:
    """The cached pictures, or None where the cache is absent, incomplete or damaged."""
    found = map_array(path)
    return ImageStore(found[0], known_digest=found[1]) if found else None


def _shape(names: Sequence[str], read: Callable[[int], bytes], size: int | None, max_pixels: int) -> tuple[int, ...]:
    """Shape of the decoded array, from the pictures' headers."""

    def look(i: int) -> Probe:
        return probe(read(i), name=names[i], max_pixels=max_pixels)

    with ThreadPoolExecutor(_workers()) as pool:
        seen = list(pool.map(look, range(len(names))))
    sizes = {(one.height, one.width) for one in seen}
    if size is not None:
        height = width = size
    elif len(sizes) == 1 and max(next(iter(sizes))) <= LARGEST_NATIVE:
        height, width = next(iter(sizes))
    else:
        height = width = DEFAULT_SIZE
    gray = all(one.gray for one in seen)
    return (len(names), height, width) if gray else (len(names), height, width, 3)


def _fill(
    array: Bytes, names: Sequence[str], read: Callable[[int], bytes], progress: Progress | None, max_pixels: int
) -> None:
    target = (array.shape[1], array.shape[2])

    def one(i: int) -> None:
        image = decode(read(i), name=names[i], gray=array.ndim == 3, max_pixels=max_pixels)
        array[i] = fit_image(image, target)

    total = len(names)
    with ThreadPoolExecutor(_workers()) as pool:  # Pillow decodes outside the interpreter lock
        for chunk in _chunks(total):
            for _ in pool.map(one, chunk):
                pass
            if progress is not None:
                progress(chunk.stop, total)


def _chunks(total: int) -> Iterator[range]:
    for start in range(0, total, CHUNK):
        yield range(start, min(total, start + CHUNK))


def _workers() -> int:
    return min(8, os.cpu_count() or 1)


def fit_array(images: Bytes, size: int | None) -> Bytes:
    """Bring an array of pictures to another size; `None`, or the size they have, changes nothing."""
    if size is None or images.shape[1:3] == (size, size):
        return images
    if len(images) == 0:
        raise ImageError("there are no pictures to resize")
    return np.stack([fit_image(image, size) for image in images])
