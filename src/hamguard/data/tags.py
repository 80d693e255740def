"""Texts of sets that come as lists: a text or a row of 0/1 tags a picture, and the official tags of NUS-WIDE.

Beside `NAME_PART_img.txt` lies one of these, plain or `.xz`; line i belongs to line i of the list of pictures:

* `NAME_PART_text.txt`: one text a line, a blank line where the picture has none;
* `NAME_PART_tag.txt`: a row of 0 and 1, one column a tag. Their names stand in `NAME_tags.txt` or `tags.txt`, one a line;
  without these they are called tag0, tag1, ... The text of a picture is the names of its tags, joined by ", ".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hamguard.core.errors import RequestError
from hamguard.data.dataset import Dataset
from hamguard.data.lines import filled_lines, iter_lines, values

JOINT = ", "  # a comma ends a phrase, so that no term is made of two tags
_TAG_FILE = re.compile(r"(?P<set>(?:prosgan_)?(?P<name>.+))_(?:train|test|database)_tag\.txt(?:\.xz)?")
_NUS_TAGS = Path("NUS_WID_Tags") / "AllTags1k.txt"
_NUS_LISTS = (Path("ImageList") / "Imagelist.txt", Path("ImageList") / "ImageList.txt", Path("Imagelist.txt"))
_NUS_NAMES = (Path("NUS_WID_Tags") / "TagList1k.txt", Path("TagList1k.txt"))
_NUS_NUMBER = re.compile(r"(?:^|_)(?P<number>\d+)\.jpe?g$")  # Flickr's number of the picture


def find_texts(image_file: Path) -> tuple[Path, ...]:
    """The files with texts or tags beside a list `NAME_PART_img.txt`: none, one, or one of each kind."""
    stem = image_file.name.removesuffix(".xz").removesuffix("_img.txt")
    kinds = (f"{stem}_text.txt", f"{stem}_tag.txt")
    return tuple(path for name in kinds if (path := _first(image_file.parent, (name, f"{name}.xz"))) is not None)


def _first(folder: Path, names: Iterable[str | Path]) -> Path | None:
    return next((folder / name for name in names if (folder / name).exists()), None)


def tag_text(line: str, names: Sequence[str], path: Path) -> str:
    """The text of a row of tags.

    Args:
        line: values 0 and 1 with space, commas or semicolons between them.
        names: names of the columns.
        path: how errors call the file.

    Raises:
        RequestError: another number of values than names, or values beyond 0 and 1.
    """
    row = values(line)
    if len(row) != len(names):
        raise RequestError(f"{path} has a row of {len(row):,} tags, there are {len(names):,} names of tags")
    packed = "".join(row)
    if len(packed) != len(row) or packed.strip("01"):
        raise RequestError(f"{path} must hold rows of 0 and 1, got {line[:40]!r}")
    return JOINT.join([names[one.start()] for one in re.finditer("1", packed)])


def read_texts(
    set_name: str, files: Mapping[str, Sequence[Path]], listed: Mapping[str, Sequence[str]]
) -> dict[str, str] | None:
    """Texts of the pictures of a set of lists.

    Args:
        set_name: how errors call the set.
        files: what `find_texts` found for each part.
        listed: the listed paths of each part.

    Returns:
        Listed path to text; None where no part has texts.

    Raises:
        RequestError: texts for some parts only, texts and tags for one part, another number of lines than pictures,
            broken rows of tags, parts with different numbers of tags, or two texts for one picture.
    """
    without = [part for part in listed if not files.get(part)]
    if len(without) == len(listed):
        return None
    if without:
        given = [part for part in listed if part not in without]
        raise RequestError(
            f"the lists of {set_name} have texts for {', '.join(given)} but not for {', '.join(without)}; "
            f"put NAME_{without[0]}_text.txt or _tag.txt there, or take the others away"
        )
    found: dict[str, str] = {}
    names: Sequence[str] | None = None
    for part, paths in listed.items():
        if len(files[part]) > 1:
            both = " and ".join(path.name for path in files[part])
            raise RequestError(f"the {part} list of {set_name} has {both}; keep one of them")
        path = files[part][0]
        if _TAG_FILE.fullmatch(path.name):
            names = names or _tag_names(path)
            texts = [tag_text(line, names, path) for line in filled_lines(path)]
        else:
            texts = list(iter_lines(path))
            while len(texts) > len(paths) and not texts[-1]:
                texts.pop()
        if len(texts) != len(paths):
            raise RequestError(
                f"{path} must have a line for each picture of the {part} list: "
                f"{len(texts):,} lines, {len(paths):,} pictures"
            )
        for listed_path, text in zip(paths, texts, strict=True):
            if found.setdefault(listed_path, text) != text:
                raise RequestError(f"the lists of {set_name} give {listed_path} two different texts")
    return found


def _tag_names(path: Path) -> tuple[str, ...]:
    """Names of the columns of a file of tags: those beside it, or tag0, tag1, ..."""
    match = _TAG_FILE.fullmatch(path.name)
    assert match is not None  # only files of tags are asked for
    stems = dict.fromkeys((f"{match['set']}_tags.txt", f"{match['name']}_tags.txt", "tags.txt"))
    named = _first(path.parent, (name for stem in stems for name in (stem, f"{stem}.xz")))
    if named is not None:
        return tuple(filled_lines(named))
    return tuple(f"tag{i}" for i in range(len(values(next(filled_lines(path), "")))))


def add_nus_tags(dataset: Dataset, folder: Path) -> Dataset:
    """Give the lists of NUS-WIDE texts from its official 1,000 tags, where these lie in a folder.

    Pictures are matched by the last part of their path, else by Flickr's number at its end; a key that stands for two
    pictures matches neither. Notes say what is missing and how many pictures have no match.

    Args:
        dataset: the set as its lists give it; one that has texts already comes back as it is.
        folder: holds `NUS_WID_Tags/AllTags1k.txt`, `NUS_WID_Tags/TagList1k.txt` and `ImageList/Imagelist.txt`.

    Raises:
        RequestError: broken rows, or another number of rows than listed pictures.
    """
    if dataset.texts is not None or not (folder / _NUS_TAGS).is_file():
        return dataset
    image_list, name_list = _first(folder, _NUS_LISTS), _first(folder, _NUS_NAMES)
    if image_list is None or name_list is None:
        lost = _NUS_LISTS[0] if image_list is None else _NUS_NAMES[0]
        note = f"no texts: {_NUS_TAGS.as_posix()} is here, {lost.as_posix()} is not"
        return replace(dataset, notes=(*dataset.notes, note))
    listed = list(filled_lines(image_list))
    rows = _match([str(name) for name in dataset.ids], listed)
    names, wanted, n = tuple(filled_lines(name_list)), set(rows), 0
    text_of = {-1: ""}
    for n, line in enumerate(filled_lines(folder / _NUS_TAGS), 1):
        if n - 1 in wanted:
            text_of[n - 1] = tag_text(line, names, folder / _NUS_TAGS)
    if n != len(listed):
        raise RequestError(
            f"{folder / _NUS_TAGS} does not match {image_list.name}: {n:,} rows, {len(listed):,} pictures"
        )
    notes = dataset.notes
    if unmatched := rows.count(-1):
        where = image_list.relative_to(folder).as_posix()
        notes = (*notes, f"{unmatched:,} of {len(rows):,} pictures have no match in {where}: their text is blank")
    return replace(dataset, texts=tuple(text_of[row] for row in rows), notes=notes)


def _match(ids: Sequence[str], listed: Sequence[str]) -> list[int]:
    """Row of the list for each picture, -1 where none or several match."""
    row_of: dict[str, int] = {}
    for row, name in enumerate(listed):
        for key in _keys(name):
            row_of[key] = -1 if key in row_of else row
    return [next((row_of[key] for key in _keys(name) if row_of.get(key, -1) >= 0), -1) for name in ids]


def _keys(name: str) -> Iterator[str]:
    last = re.split(r"[\\/]", name)[-1].casefold()
    yield last
    if number := _NUS_NUMBER.search(last):
        yield number["number"]
