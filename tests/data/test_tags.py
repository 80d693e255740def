import json
import lzma

import numpy as np
import pytest

from hamguard.core.errors import RequestError
from hamguard.data.check import check_dataset
from hamguard.data.sources import open_source
from hamguard.data.tags import tag_text

PATHS = {"test": [0, 1, 2], "train": [3, 4, 5, 4], "database": [3, 4, 5, 6, 7, 8]}
TEXTS = ["a red car", "", "two dogs, one ball", "Zürich", "x", "a\u2028b", "", "y", "z"]
TAGS = ["1 0 1", "0 0 0", "0 1 0", "1 1 1", "0 0 1", "1 0 0", "0 0 0", "0 1 1", "1 1 0"]


def save(folder, kind, lines, part, *, name="FLICKR-25K", packed=False):
    content = "".join(f"{line}\n" for line in lines).encode()
    path = folder / f"prosgan_{name}_{part}_{kind}.txt{'.xz' if packed else ''}"
    path.write_bytes(lzma.compress(content) if packed else content)
    return path


@pytest.fixture
def folder(tmp_path):
    """Lists of nine pictures; training and database share three, one training line is there twice."""
    for part, rows in PATHS.items():
        save(tmp_path, "img", [f"pics/{i}.png" for i in rows], part)
        save(tmp_path, "label", ["1 0" if i % 2 else "0 1" for i in rows], part)
    return tmp_path


def save_all(folder, kind, values, parts=tuple(PATHS), **rest):
    return {part: save(folder, kind, [values[i] for i in PATHS[part]], part, **rest) for part in parts}


def texts_of(folder):
    dataset, _ = open_source(f"lists:{folder}", pictures=False)
    found = dict(zip(dataset.ids.tolist(), dataset.texts, strict=True))
    return [found[f"pics/{i}.png"] for i in range(9)]


@pytest.mark.parametrize("packed", [False, True])
def test_line_i_is_the_text_of_picture_i(folder, packed):
    save_all(folder, "text", TEXTS, packed=packed)
    assert texts_of(folder) == TEXTS


@pytest.mark.parametrize("packed", [False, True])
def test_tags_become_their_names(folder, packed):
    save_all(folder, "tag", TAGS, packed=packed)
    assert texts_of(folder)[:4] == ["tag0, tag2", "", "tag1", "tag0, tag1, tag2"]
    (folder / "tags.txt").write_text("sky\nblue sea\ndog\n")
    assert texts_of(folder)[:4] == ["sky, dog", "", "blue sea", "sky, blue sea, dog"]
    (folder / "FLICKR-25K_tags.txt").write_text("a\nb\nc\n")  # the set's own names come first
    assert texts_of(folder)[3] == "a, b, c"
    (folder / "prosgan_FLICKR-25K_tags.txt.xz").write_bytes(lzma.compress(b"d\ne\nf\n"))
    assert texts_of(folder)[3] == "d, e, f"


def test_one_part_may_have_texts_and_another_tags(folder):
    (folder / "tags.txt").write_text("sky\nsea\ndog\n")
    save_all(folder, "tag", TAGS, ("train", "database"))
    save_all(folder, "text", TEXTS, ("test",))
    assert texts_of(folder)[2:4] == ["two dogs, one ball", "sky, sea, dog"]


def test_lists_without_texts_have_none(folder):
    assert open_source(f"lists:{folder}", pictures=False)[0].texts is None
    for part, rows in PATHS.items():  # the layout of HashNet has no texts
        save(folder, "img", [], part).unlink()
        (folder / f"{part}.txt").write_text("\n".join(f"pics/{i}.png 1 0" for i in rows))
        save(folder, "text", TEXTS, part)
        (folder / f"{part}_text.txt").write_text("x\n")
    assert open_source(f"lists:{folder}#{folder.name}", pictures=False)[0].texts is None


def test_texts_are_part_of_the_content(folder):
    plain = open_source(f"lists:{folder}", pictures=False)[1].digest
    save_all(folder, "text", TEXTS)
    assert open_source(f"lists:{folder}", pictures=False)[1].digest != plain


def test_blank_lines_at_the_end_are_no_texts_and_no_error(folder):
    paths = save_all(folder, "text", TEXTS)
    paths["test"].write_text("a\r\n\r\nb\r\n\r\n\r\n")
    assert texts_of(folder)[:3] == ["a", "", "b"]


@pytest.mark.parametrize(
    ("kind", "part", "lines", "words"),
    [
        ("text", "train", ["a", "b"], r"train_text\.txt must have a line for each .* train list: 2 lines, 4 pictures"),
        ("text", "test", ["a"] * 4, r"test_text\.txt must have a line for each .* test list: 4 lines, 3 pictures"),
        ("tag", "test", ["1 0 1"] * 2, r"test_tag\.txt must have a line for each picture .*: 2 lines, 3 pictures"),
        ("tag", "test", ["1 0 1", "1 0", "1 0 1"], r"test_tag\.txt has a row of 2 tags, there are 3 names of tags"),
        ("tag", "test", ["1 0"] * 3, r"test_tag\.txt has a row of 2 tags, there are 3 names of tags"),
        ("tag", "test", ["1 0 2"] * 3, r"test_tag\.txt must hold rows of 0 and 1, got '1 0 2'"),
        ("tag", "test", ["1 01 0"] * 3, r"test_tag\.txt must hold rows of 0 and 1, got '1 01 0'"),
        ("text", "database", TEXTS[:6], r"FLICKR-25K give pics/3\.png two different texts"),
        ("text", "train", ["Zürich", "x", "a\u2028b", "X"], r"FLICKR-25K give pics/4\.png two different texts"),
    ],
)
def test_broken_texts_are_explained(folder, kind, part, lines, words):
    save_all(folder, kind, TEXTS if kind == "text" else TAGS)
    save(folder, kind, lines, part)
    with pytest.raises(RequestError, match=words) as caught:
        open_source(f"lists:{folder}", pictures=False)
    assert "\n" not in str(caught.value)


def test_texts_for_some_parts_only_are_refused(folder):
    save_all(folder, "text", TEXTS, ("train", "test"))
    with pytest.raises(
        RequestError, match=r"have texts for train, test but not for database; put NAME_database_text\.txt or _tag\.txt"
    ):
        open_source(f"lists:{folder}", pictures=False)
    for kind in ("img", "label"):  # without a database list, there is nothing to have texts for
        (folder / f"prosgan_FLICKR-25K_database_{kind}.txt").unlink()
    assert open_source(f"lists:{folder}", pictures=False)[0].texts is not None


def test_texts_and_tags_for_one_part_are_refused(folder):
    save_all(folder, "text", TEXTS)
    save_all(folder, "tag", TAGS, ("test",))
    with pytest.raises(
        RequestError, match=r"the test list of FLICKR-25K has .*_test_text\.txt and .*_test_tag\.txt; keep one"
    ):
        open_source(f"lists:{folder}", pictures=False)


def test_names_of_tags_must_fit_the_rows(folder):
    save_all(folder, "tag", TAGS)
    (folder / "tags.txt").write_text("sky\nsea\n")
    with pytest.raises(RequestError, match="has a row of 3 tags, there are 2 names of tags"):
        open_source(f"lists:{folder}", pictures=False)


def test_texts_are_read_with_a_bound(folder, monkeypatch):
    save_all(folder, "text", ["w" * 300] * 9, packed=True)
    monkeypatch.setattr("hamguard.data.lines.LARGEST_LIST", 500)
    with pytest.raises(RequestError, match=r"_text\.txt\.xz unpacks to more than 500 bytes"):
        open_source(f"lists:{folder}", pictures=False)


def test_texts_in_another_encoding_are_refused(folder):
    save_all(folder, "text", TEXTS)["test"].write_bytes("Zürich\n\n\n".encode("latin-1"))
    with pytest.raises(RequestError, match=r"test_text\.txt is damaged: line 1 is not UTF-8 text"):
        open_source(f"lists:{folder}", pictures=False)


def test_the_check_counts_pictures_without_text(folder):
    assert check_dataset(*open_source(f"lists:{folder}", pictures=False)).without_text is None
    save_all(folder, "text", TEXTS)
    dataset, split = open_source(f"lists:{folder}", pictures=False)
    report = check_dataset(dataset, split)
    held = sum(dataset.ids[i] == "pics/6.png" for i in split.validation)
    assert report.without_text == {"train": 0, "validation": held, "query": 1, "database": 1}
    assert "1 of 3 queries have no text" in report.findings
    assert "1 of 6 database pictures have no text" in report.findings
    assert not any("training pictures have no text" in finding for finding in report.findings)
    assert json.loads(json.dumps(report.to_json()))["without_text"]["query"] == 1


def test_a_part_without_any_text_is_counted_but_no_finding(folder):
    save_all(folder, "text", ["", "", "", *TEXTS[3:]])
    report = check_dataset(*open_source(f"lists:{folder}", pictures=False))
    assert report.without_text["query"] == 3
    assert not any("queries have no text" in finding for finding in report.findings)


def test_a_row_of_tags_equals_its_definition(tmp_path):
    rng = np.random.default_rng(0)
    names = [f"t{i}" for i in range(50)]
    for row in (rng.random((20, 50)) < 0.2).astype(int):
        line = "\t".join(map(str, row)) + "\t"
        assert tag_text(line, names, tmp_path) == ", ".join(n for n, value in zip(names, row, strict=True) if value)


# --- the official tags of NUS-WIDE ---

NAMES = ["0001_77.jpg", "0002_78.jpg", "0003_79.jpg", *(f"{i:04}_{i}.jpg" for i in range(4, 10))]


@pytest.fixture
def root(tmp_path):
    for part, rows in PATHS.items():
        (tmp_path / "splits").mkdir(exist_ok=True)
        save(tmp_path / "splits", "img", [f"images/{NAMES[i]}" for i in rows], part, name="NUS-WIDE")
        save(tmp_path / "splits", "label", ["1 0" for _ in rows], part, name="NUS-WIDE")
    return tmp_path


def save_official(root, *, listed=None, rows=None, names=("sky", "sea", "dog"), place="Imagelist.txt"):
    home = root / "nus-wide"
    for folder in ("ImageList", "NUS_WID_Tags"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    listed = [f"actor\\{name}" for name in NAMES] if listed is None else listed
    rows = [tag.replace(" ", "\t") + "\t" for tag in TAGS] if rows is None else rows
    (home / "ImageList" / place).write_text("\r\n".join(listed) + "\r\n")
    (home / "NUS_WID_Tags" / "AllTags1k.txt").write_text("\n".join(rows) + "\n")
    (home / "NUS_WID_Tags" / "TagList1k.txt").write_text("\n".join(names) + "\n")
    return home


def nus(root):
    dataset, split = open_source("nus-wide", root=root, pictures=False)
    assert split.content == dataset.digest
    texts = None
    if dataset.texts is not None:
        found = dict(zip(dataset.ids.tolist(), dataset.texts, strict=True))
        texts = [found[f"images/{name}"] for name in NAMES]
    return texts, dataset.notes


def test_nus_wide_without_its_tags_stays_as_it_is(root):
    texts, notes = nus(root)
    assert texts is None
    home = save_official(root)
    (home / "NUS_WID_Tags" / "AllTags1k.txt").rename(home / "NUS_WID_Tags" / "All_Tags.txt")
    assert nus(root) == (None, notes)


def test_nus_wide_gets_its_official_tags(root):
    _, before = nus(root)
    save_official(root)
    texts, notes = nus(root)
    assert texts[:4] == ["sky, dog", "", "sea", "sky, sea, dog"]
    assert notes == before  # all are found: nothing to say


def test_nus_wide_is_matched_by_name_or_number(root):
    listed = [f"actor\\{name}" for name in NAMES]
    listed[0] = "beach/9999_77.JPG"  # another running number and the other slash
    listed[2] = "actor\\0003_80.jpg"  # another picture
    save_official(root, listed=listed, place="ImageList.txt")
    texts, notes = nus(root)
    assert texts[:4] == ["sky, dog", "", "", "sky, sea, dog"]
    assert "1 of 9 pictures have no match in ImageList/ImageList.txt: their text is blank" in notes


def test_a_name_that_stands_for_two_pictures_matches_neither(root):
    extra = ["beach\\0001_77.jpg", "beach\\0777_78.jpg"]  # the second shares its number only: the name decides
    rows = [*TAGS, "1 1 1", "1 1 1"]
    save_official(root, listed=[*(f"actor\\{name}" for name in NAMES), *extra], rows=rows)
    texts, notes = nus(root)
    assert texts[:3] == ["", "", "sea"]
    assert "1 of 9 pictures have no match in ImageList/Imagelist.txt: their text is blank" in notes


@pytest.mark.parametrize("lost", ["ImageList/Imagelist.txt", "NUS_WID_Tags/TagList1k.txt"])
def test_nus_wide_says_which_file_of_its_tags_is_missing(root, lost):
    home = save_official(root)
    (home / lost).unlink()
    texts, notes = nus(root)
    assert texts is None
    assert f"no texts: NUS_WID_Tags/AllTags1k.txt is here, {lost} is not" in notes


def test_texts_beside_the_lists_come_before_the_official_tags(root):
    save_official(root)
    for part, rows in PATHS.items():
        save(root / "splits", "text", [TEXTS[i] for i in rows], part, name="NUS-WIDE")
    assert nus(root)[0] == TEXTS


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rows": TAGS[:8]}, r"AllTags1k\.txt does not match Imagelist\.txt: 8 rows, 9 pictures"),
        ({"rows": [*TAGS, "1 0 0"]}, r"AllTags1k\.txt does not match Imagelist\.txt: 10 rows, 9 pictures"),
        ({"names": ("sky", "sea")}, r"AllTags1k\.txt has a row of 3 tags, there are 2 names of tags"),
        ({"rows": ["1 0 x", *TAGS[1:]]}, r"AllTags1k\.txt must hold rows of 0 and 1, got '1 0 x'"),
    ],
)
def test_broken_official_tags_are_explained(root, change, words):
    save_official(root, **change)
    with pytest.raises(RequestError, match=words):
        nus(root)
