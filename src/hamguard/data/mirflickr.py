"""`mirflickr`: MIRFlickr-25K with its tags as texts, chosen as the cross-modal papers (DCMH, SSAH, CMLA) choose.

Of 25,000 pictures, 20,015 have a label and one of the 1,386 tags that at least 20 pictures carry; the others are left
out. Labels are the 24 potential concepts, i.e. the annotation files without `_r1`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hamguard.core.errors import DataMissingError, RequestError
from hamguard.core.types import Bytes
from hamguard.data.cache import Progress
from hamguard.data.dataset import Dataset
from hamguard.data.lines import filled_lines
from hamguard.data.pictures import decode_files
from hamguard.data.registry import source
from hamguard.data.tags import JOINT

LEAST = 20  # pictures that a tag must stand in; 1,386 tags of the real set do (its doc/common_tags.txt)
LARGEST_FILE = 1 << 20  # bytes of one file of tags or of one concept; the longest real one lists some 10,000 pictures
PUBLISHED = (20_015, 24, 1386)  # pictures, labels and tags of the papers
ANNOTATIONS = "mirflickr25k_annotations_v080"
_PICTURE = re.compile(r"im([1-9][0-9]{0,6})\.jpg")
_NUMBER = re.compile(r"[1-9][0-9]{0,6}")


def find_mirflickr(folder: Path) -> tuple[Path, Path, Path] | None:
    """Folders of pictures, of tags and of annotations below a data folder, or None where one of them is missing."""
    home = folder / "mirflickr"
    pictures = next((place for place in (home, home / "mirflickr") if any(place.glob("im[0-9]*.jpg"))), None)
    if pictures is None:
        return None
    tags = next((place for top in (pictures, home) if (place := top / "meta" / "tags").is_dir()), None)
    concepts = next((place for top in (home, pictures, folder) if (place := top / ANNOTATIONS).is_dir()), None)
    return None if tags is None or concepts is None else (pictures, tags, concepts)


@source(
    "mirflickr",
    "MIRFlickr-25K with its tags as texts, 24 labels (20,015 pairs of DCMH, SSAH, CMLA)",
    protocol="dcmh-mirflickr",
    found=lambda folder: find_mirflickr(folder) is not None,
    need=f"im1.jpg and the others, meta/tags/tags1.txt and the others, and the folder {ANNOTATIONS} into mirflickr/",
)
def read_mirflickr(folder: Path, *, size: int | None = None, progress: Progress | None = None) -> Dataset:
    """Read the original archives below `mirflickr/` of a data folder.

    Args:
        folder: the data folder.
        size: height and width; 224 by default.
        progress: called with `(done, total)` while pictures are decoded.

    Raises:
        RequestError: no picture has both a tag and a label, no concepts, or a line that is no picture number.
        DataMissingError: folders or files of tags are not here.
        ImageError: a picture is broken; the message names it.
    """
    places = find_mirflickr(folder)
    if places is None:
        raise DataMissingError(f"MIRFlickr-25K is not below {folder / 'mirflickr'}")
    pictures, tag_folder, concepts = places
    numbers = sorted(int(match[1]) for path in pictures.iterdir() if (match := _PICTURE.fullmatch(path.name)))
    tags = read_tags(tag_folder, numbers)
    names, labels, strangers = read_concepts(concepts, numbers)
    counts = Counter(tag for found in tags for tag in found)
    frequent = {tag for tag, n in counts.items() if n >= LEAST}
    texts = [JOINT.join(tag for tag in found if tag in frequent) for found in tags]
    tagged, labeled = np.array([text != "" for text in texts], np.bool_), labels.any(1)
    kept = np.flatnonzero(tagged & labeled)
    if len(kept) == 0:
        raise RequestError(
            f"no picture of {pictures} is left: of {len(numbers):,}, {int(tagged.sum()):,} have a tag that at least "
            f"{LEAST} pictures carry, {int(labeled.sum()):,} have a label, none has both"
        )
    notes = [
        f"texts are tags that at least {LEAST} pictures carry, counted over all pictures, queries included, as the field does"
    ]
    if left := len(numbers) - len(kept):
        notes.append(
            f"{left:,} of {len(numbers):,} pictures are left out: {int((~tagged & labeled).sum()):,} without such a tag, "
            f"{int((tagged & ~labeled).sum()):,} without a label, {int((~tagged & ~labeled).sum()):,} without both"
        )
    if broken := sum("\ufffd" in tag for tag in frequent):
        notes.append(f"{broken:,} of the tags hold bytes that are no UTF-8")
    if strangers:
        notes.append(f"{strangers:,} annotated pictures are not here")
    if (found := (len(kept), len(names), len(frequent))) != PUBLISHED:
        (N, C, D), (n, c, d) = PUBLISHED, found
        notes.append(f"the papers have {N:,} pictures, {C} labels and {D:,} tags, this copy {n:,}, {c} and {d:,}")
    ids = [f"im{numbers[row]}.jpg" for row in kept]
    paths = [pictures / name for name in ids]
    return Dataset(
        name="mirflickr",
        images=decode_files(paths, size=size, progress=progress, names=ids),
        labels=labels[kept],
        class_names=names,
        ids=np.array(ids),
        texts=tuple(texts[row] for row in kept),
        notes=tuple(notes),
    )


def read_tags(folder: Path, numbers: Sequence[int]) -> list[tuple[str, ...]]:
    """Tags of each picture in lower case, in the order of its file, each once; bytes that are no UTF-8 become U+FFFD.

    Raises:
        DataMissingError: a picture has no file of tags; one without tags has an empty file.
        RequestError: a file cannot be read, or is too long.
    """
    paths = [folder / f"tags{number}.txt" for number in numbers]
    if lost := [path.name for path in paths if not path.is_file()]:
        first = ", ".join(lost[:3])
        raise DataMissingError(f"{len(lost):,} of {len(paths):,} files of tags are not in {folder}, first {first}")
    read = (filled_lines(path, LARGEST_FILE, errors="replace") for path in paths)
    return [tuple(dict.fromkeys(line.lower() for line in lines)) for lines in read]


def read_concepts(folder: Path, numbers: Sequence[int]) -> tuple[tuple[str, ...], Bytes, int]:
    """Labels of pictures from one file of picture numbers a concept.

    Returns:
        Names of the concepts, labels `(N, C)`, and how many annotated pictures are not among `numbers`.

    Raises:
        RequestError: no file of a concept, or a line that is no picture number.
    """
    files = sorted(folder.glob("[!.]*.txt"))
    files = [path for path in files if path.stem.lower() != "readme" and not path.stem.endswith("_r1")]
    if not files:
        raise RequestError(f"{folder} holds no concepts; looked for animals.txt and the like, without _r1")
    row_of = {number: row for row, number in enumerate(numbers)}
    labels = np.zeros((len(numbers), len(files)), np.uint8)
    strangers = set()
    for c, path in enumerate(files):
        for line in filled_lines(path, LARGEST_FILE):
            if not _NUMBER.fullmatch(line):
                raise RequestError(f"{path} must hold picture numbers from 1, got {line[:40]!r}")
            row = row_of.get(int(line))
            if row is None:
                strangers.add(int(line))
            else:
                labels[row, c] = 1
    return tuple(path.stem for path in files), labels, len(strangers)
