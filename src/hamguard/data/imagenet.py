"""`imagenet`: one picture for each of the 1,000 classes, or class folders of your own below `imagenet/`."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import numpy as np

from hamguard.core.archives import UNREADABLE, check_unpacked
from hamguard.core.digests import digest_file
from hamguard.core.errors import RequestError
from hamguard.core.files import read_text
from hamguard.data.cache import Progress, decode_all
from hamguard.data.dataset import Dataset, multi_hot
from hamguard.data.folder import read_folder
from hamguard.data.registry import source

SAMPLE = Path("imagenet_sample") / "images_256.zip"
CLASSES = Path("imagenet_sample") / "classes.csv"
SAMPLE_NOTES = (
    "one picture a class: no query has another picture of its class; use it for searches with changed copies",
    "whether a picture is from ImageNet's training or validation part is unknown",
)


def _has_folders(folder: Path) -> bool:
    return (folder / "imagenet").is_dir() and any(p.is_dir() for p in (folder / "imagenet").iterdir())


def has_imagenet(folder: Path) -> bool:
    """Whether the sample, or class folders, lie below a data folder."""
    return _has_folders(folder) or ((folder / SAMPLE).is_file() and (folder / CLASSES).is_file())


@source(
    "imagenet",
    "ImageNet class folders, or the sample of one picture for each of 1,000 classes",
    found=has_imagenet,
    need="imagenet_sample/images_256.zip and classes.csv, or class folders in imagenet/",
)
def read_imagenet(folder: Path, *, size: int | None = None, progress: Progress | None = None) -> Dataset:
    """Read `imagenet/CLASS/*.jpg` where it exists, else the sample of 1,000 pictures (256 pixels by default).

    Raises:
        RequestError: the list of classes does not match the pictures.
        ImageError: a picture is broken; the message names it.
    """
    if _has_folders(folder):
        found = read_folder(folder / "imagenet", size=size, progress=progress)
        return Dataset("imagenet", found.images, found.labels, found.class_names, found.ids, notes=found.notes)
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(folder / CLASSES, "list of classes"))))
    except csv.Error as error:
        raise RequestError(f"{folder / CLASSES} is not a readable table: {error}") from error
    if not rows or not {"index", "wnid", "name", "file"} <= rows[0].keys():
        raise RequestError(f"{folder / CLASSES} must have the columns index, wnid, name, file")
    if any(row[key] is None for row in rows for key in ("index", "wnid", "name", "file")):
        raise RequestError(f"{folder / CLASSES} has a row with fewer cells than columns")
    if wrong := next((row for row in rows if not (row["index"] or "").isdecimal()), None):
        raise RequestError(f"{folder / CLASSES}: index must be a class number from 0, got {wrong['index']!r}")
    try:
        archive = zipfile.ZipFile(folder / SAMPLE)
    except (OSError, zipfile.BadZipFile) as error:
        raise RequestError(f"{folder / SAMPLE} is not a readable zip file: {error}") from error
    with archive:
        if missing := sorted({row["file"] for row in rows} - set(archive.namelist())):
            raise RequestError(f"{folder / SAMPLE} lacks {len(missing)} pictures, first {', '.join(missing[:3])}")
        check_unpacked(folder / SAMPLE, sum(archive.getinfo(row["file"]).file_size for row in rows))
        try:
            content = [archive.read(row["file"]) for row in rows]
        except UNREADABLE as error:  # torn, or locked with a password
            raise RequestError(f"{folder / SAMPLE} cannot be unpacked: {error}") from error
    images = decode_all(
        [row["file"] for row in rows],
        content.__getitem__,
        digest_file(folder / SAMPLE),
        size=size,
        progress=progress,
    )
    numbers = np.array([int(row["index"]) for row in rows])
    names = tuple(row["name"] for row in sorted(rows, key=lambda row: int(row["index"])))
    return Dataset(
        name="imagenet",
        images=images,
        labels=multi_hot(numbers, len(names)),
        class_names=names,
        ids=np.array([row["wnid"] for row in rows]),
        notes=SAMPLE_NOTES,
    )
