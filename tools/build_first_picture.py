"""Draw docs/images/first.png, the first picture of the README: real photos before and after an attack, with what a search answers.

uv run python tools/build_first_picture.py MODEL FOLDER...

MODEL looks for copies of photos, FOLDER... hold the photos of docs/images/photos.toml under their file names. The photos are free
to share (CC0, public domain, CC BY) and lie in packages, as the list says; the picture is all of them that is kept here. The search
holds four edited copies of every photo and is asked with the photos themselves, so that nothing but these is shown.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import hamguard as hg
from hamguard.core.files import write_text
from hamguard.core.types import Bytes
from hamguard.images.io import decode
from hamguard.images.named_views import parse_view
from hamguard.images.views import fit_image

ROOT = Path(__file__).parent.parent
LIST, PICTURE, CREDITS = (ROOT / "docs/images" / name for name in ("photos.toml", "first.png", "photos.md"))
FREE = {
    "CC0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "CC BY 2.0": "https://creativecommons.org/licenses/by/2.0/",
    "CC BY 4.0": "https://creativecommons.org/licenses/by/4.0/",
    "public domain": "",
}
"""Licenses that photos of the picture may have, and their texts."""
SIZE = 224
EPS, STEPS = 2 / 255, 20
SHOWN, ANSWERS = 2, 5


def listed(path: Path = LIST) -> list[dict[str, Any]]:
    """The photos: file, title, author, license, source; the first is the first query."""
    found: list[dict[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8"))["photo"]
    return found


def credit_page(photos: Sequence[Mapping[str, Any]]) -> str:
    """Whose photos the picture shows, under which license, as a page.

    Raises:
        SystemExit: a photo is not free to share.
    """
    if strange := [one["file"] for one in photos if one["license"] not in FREE]:
        raise SystemExit(f"not free to share: {', '.join(strange)}; allowed: {', '.join(FREE)}")
    lines = [
        "# Photos of the first picture",
        "",
        "`first.png` is made by `tools/build_first_picture.py` from the photos below. They are cut to a square and made small;",
        "copies are cut further, mirrored, in gray, or pressed hard; attacked ones are changed within the budget that it names.",
        "The picture may be shared under CC BY 4.0, with these names.",
        "",
        "| photo | by | license | from |",
        "|---|---|---|---|",
    ]
    for one in photos:
        link = FREE[one["license"]]
        license = f"[{one['license']}]({link})" if link else one["license"]
        lines.append(f"| {one['title']} | {one['author']} | {license} | {one['source']}: {one['file']} |")
    return "\n".join(lines) + "\n"


def photo(name: str, folders: Sequence[Path]) -> Bytes:
    """A photo as a network of photos sees it, `(SIZE, SIZE, 3)` uint8.

    Raises:
        SystemExit: it lies in none of the folders.
    """
    for folder in folders:
        if (folder / name).is_file():
            return fit_image(decode(folder / name, gray=False), (SIZE, SIZE))
    raise SystemExit(f"no {name} in {', '.join(map(str, folders))}; docs/images/photos.toml says where it lies")


def copies(image: Bytes) -> list[Bytes]:
    """What others make of a photo: a part of it, mirrored, in gray, small and pressed hard."""
    gray = np.repeat(image.mean(2, keepdims=True).round().astype(np.uint8), 3, axis=2)
    pressed = parse_view("jpeg:30")(parse_view("resize:0.5")(image))
    return [parse_view("crop:0.75")(image), np.ascontiguousarray(image[:, ::-1]), gray, pressed]


def search(images: Sequence[Bytes], names: Sequence[str]) -> hg.Data:
    """Photos that ask, and four copies of each that are searched."""
    held = [copy for image in images for copy in copies(image)]
    labels = [*names, *(name for name in names for _ in range(len(held) // len(names)))]
    asked = np.arange(len(images))
    searched = np.arange(len(images), len(labels))
    parts = {"query": asked, "database": searched, "train": searched}
    return hg.data(np.stack([*images, *held]), labels, split=parts, name="photos and their copies")


def main(model: str, folders: Sequence[Path]) -> None:
    """Attack the photos, draw the picture, and say whose they are."""
    photos = listed()
    write_text(CREDITS, credit_page(photos))
    data = search([photo(one["file"], folders) for one in photos], [one["title"] for one in photos])
    attack = hg.attacks.hag(steps=STEPS, threat=hg.Linf(EPS))
    rows = hg.attack(model, data, attack)
    rows.sheet(PICTURE, SHOWN, answers=ANSWERS)
    print(rows.table())  # noqa: T201 - a script


if __name__ == "__main__":
    main(sys.argv[1], [Path(word) for word in sys.argv[2:]])
