import lzma
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from hamguard.core.errors import DataMissingError, RequestError
from hamguard.data.check import check_dataset
from hamguard.data.lines import filled_lines
from hamguard.data.list_files import find_lists
from hamguard.data.lists import choose_lists, read_lists
from hamguard.data.sources import expand, open_source
from hamguard.images.io import encode

PATHS = {"test": [0, 1, 2], "train": [3, 4, 5, 4], "database": [3, 4, 5, 6, 7, 8]}
LABELS = ["1 0", "0 1", "0 0", "1 0", "1 1", "0 1", "0 0", "1 0", "0 1"]


def save_pairs(folder, name="FLICKR-25K", parts=PATHS, *, packed=False, labels=LABELS):
    folder.mkdir(parents=True, exist_ok=True)
    for part, rows in parts.items():
        for kind, lines in (("img", [f"pics/{i}.png" for i in rows]), ("label", [labels[i] for i in rows])):
            path = folder / f"prosgan_{name}_{part}_{kind}.txt"
            content = ("\n".join(lines) + "\n").encode()
            if packed:
                path.with_name(f"{path.name}.xz").write_bytes(lzma.compress(content))
            else:
                path.write_bytes(content)


def save_pictures(folder, missing=()):
    rng = np.random.default_rng(0)
    for i in range(9):
        (folder / "pics").mkdir(parents=True, exist_ok=True)
        if i not in missing:
            encode(rng.integers(0, 256, (8, 8, 3)).astype(np.uint8), folder / "pics" / f"{i}.png")


@pytest.mark.parametrize("packed", [False, True])
def test_pairs_of_lists(tmp_path, packed):
    save_pairs(tmp_path, packed=packed)
    dataset, split = open_source(f"lists:{tmp_path}", pictures=False)
    assert len(dataset) == 9
    by_id = dict(zip(dataset.ids, dataset.labels.tolist(), strict=True))
    assert by_id["pics/4.png"] == [1, 1]
    assert split.lines == {"train": (4, 3), "query": (3, 3), "database": (6, 6)}
    assert {dataset.ids[i] for i in split.query} == {f"pics/{i}.png" for i in range(3)}
    assert set(split.validation) <= set(split.database) - set(split.train)
    report = check_dataset(dataset, split)
    assert report.unlabeled == {"train": 0, "validation": report.unlabeled["validation"], "query": 1, "database": 1}
    assert report.map_ceiling == pytest.approx(2 / 3)
    assert report.copies is None
    assert any("the train list has 4 lines of which 3 are distinct" in finding for finding in report.findings)
    assert any("copies of pictures were not looked for" in finding for finding in report.findings)


def test_single_file_lists_of_hashnet(tmp_path):
    for part, rows in PATHS.items():
        (tmp_path / f"{part}.txt").write_text("\n".join(f"pics/{i}.png {LABELS[i]}" for i in rows))
    save_pictures(tmp_path)
    dataset, split = open_source(f"lists:{tmp_path}")
    assert dataset.images.size == (8, 8)
    assert dataset.name == tmp_path.name
    assert split.lines["train"] == (4, 3)
    assert check_dataset(dataset, split).copies == 0


def test_several_sets_need_a_choice_and_expand_to_all(tmp_path):
    save_pairs(tmp_path)
    save_pairs(tmp_path, "MS-COCO")
    with pytest.raises(RequestError, match=r"holds lists of FLICKR-25K, MS-COCO; choose one: lists:.*#FLICKR-25K"):
        open_source(f"lists:{tmp_path}")
    assert open_source(f"lists:{tmp_path}#mscoco", pictures=False)[0].name == "MS-COCO"
    assert expand(f"lists:{tmp_path}") == [f"lists:{tmp_path}#FLICKR-25K", f"lists:{tmp_path}#MS-COCO"]
    assert expand("digits") == ["digits"]
    with pytest.raises(RequestError, match=r"holds no lists of 'MSCOC0'; allowed: FLICKR-25K, MS-COCO"):
        choose_lists(tmp_path, "MSCOC0")


def test_pictures_are_asked_for_by_name(tmp_path):
    save_pairs(tmp_path / "lists")
    with pytest.raises(
        DataMissingError, match=r"pictures of FLICKR-25K are not here; put pics/\d\.png and the others below"
    ):
        open_source(f"lists:{tmp_path / 'lists'}")
    dataset, _ = open_source(f"lists:{tmp_path / 'lists'}", pictures=False)
    with pytest.raises(DataMissingError, match="pictures of FLICKR-25K are not here"):
        dataset.images.batch([0])
    save_pictures(tmp_path / "lists", missing=(7,))
    with pytest.raises(DataMissingError, match=r"1 of 9 listed pictures are not below .*, first pics/7\.png"):
        open_source(f"lists:{tmp_path / 'lists'}")


def test_a_published_set_below_a_data_folder(tmp_path):
    save_pairs(tmp_path / "splits")
    save_pictures(tmp_path / "flickr25k" / "images")
    dataset, split = open_source("flickr25k", root=tmp_path)
    assert (dataset.name, split.protocol) == ("flickr25k", "prosgan-flickr25k")
    assert "the paper has 1,700 queries / 23,300 database pictures / 5,000 training lines" in dataset.notes[0]
    assert dataset.images.size == (8, 8)
    assert split.content == dataset.digest
    with pytest.raises(RequestError, match="has its split in its lists, got protocol 'seeded'"):
        open_source("flickr25k", root=tmp_path, protocol="seeded")


def test_a_missing_database_list(tmp_path):
    save_pairs(tmp_path / "splits", "NUS-WIDE", {part: PATHS[part] for part in ("train", "test")})
    with pytest.raises(DataMissingError, match="the database list of nus-wide is not here; put NUS-WIDE_database_img"):
        open_source("nus-wide", root=tmp_path)
    dataset, split = open_source("nus-wide", root=tmp_path, pictures=False)
    assert "the training pictures stand in" in dataset.notes[0]
    assert len(split.database) == 3


def test_a_query_in_the_database_and_training_outside_of_it_are_counted(tmp_path):
    parts = {"test": [0, 1], "train": [3, 4, 1], "database": [0, 1, 4, 5, 6]}
    save_pairs(tmp_path, parts=parts)
    report = check_dataset(*open_source(f"lists:{tmp_path}", pictures=False))
    assert (report.query_in_database, report.query_in_train, report.train_outside_database) == (2, 1, 1)
    assert "2 of 2 queries are in the database themselves" in report.findings
    assert "1 of 2 queries are in the training part" in report.findings
    assert "1 training pictures are not in the database" in report.findings


def test_broken_lists_are_explained(tmp_path):
    with pytest.raises(RequestError, match="does not exist"):
        find_lists(tmp_path / "gone")
    with pytest.raises(RequestError, match="holds no lists"):
        choose_lists(tmp_path, "")
    save_pairs(tmp_path)
    label = tmp_path / "prosgan_FLICKR-25K_train_label.txt"
    good = label.read_text()
    for content, words in (
        ("1 0\n", "1 label rows, 4 pictures"),
        (good.replace("1 1", "1 1 1"), "label rows of different length: 2, 3"),
        (good.replace("1 1", "1 2"), "must hold rows of 0 and 1, got '1 2'"),
        ("1 0 0\n" * 4, "different numbers of labels: database 2, train 3, test 2"),
        ("0 0\n" * 4, r"give pics/3\.png two different label rows"),
    ):
        label.write_text(content)
        with pytest.raises(RequestError, match=words):
            read_lists(choose_lists(tmp_path, ""))
    label.unlink()
    with pytest.raises(
        RequestError, match=r"has no label list beside it; put prosgan_FLICKR-25K_train_label\.txt there"
    ):
        find_lists(tmp_path)
    (tmp_path / "prosgan_FLICKR-25K_train_img.txt").unlink()
    with pytest.raises(RequestError, match="the lists of FLICKR-25K lack train; found: database, test"):
        open_source(f"lists:{tmp_path}")
    (tmp_path / "prosgan_FLICKR-25K_test_img.txt").write_text("")
    save_pairs(tmp_path, parts={"train": PATHS["train"]})
    with pytest.raises(RequestError, match="is empty"):
        open_source(f"lists:{tmp_path}")


def test_a_broken_archive_is_named(tmp_path):
    save_pairs(tmp_path, packed=True)
    (tmp_path / "prosgan_FLICKR-25K_test_img.txt.xz").write_bytes(b"no archive")
    with pytest.raises(RequestError, match=r"test_img\.txt\.xz cannot be read"):
        open_source(f"lists:{tmp_path}")


def test_an_archive_without_end_is_refused(tmp_path, monkeypatch):
    save_pairs(tmp_path, packed=True)
    monkeypatch.setattr("hamguard.data.lines.LARGEST_LIST", 20)
    with pytest.raises(RequestError, match=r"\.txt\.xz unpacks to more than 20 bytes"):
        open_source(f"lists:{tmp_path}")


@pytest.mark.parametrize("climb", ["../", "/", "C:\\\\", "a/../../"])
def test_listed_paths_stay_in_their_folder(tmp_path, climb):
    save_pairs(tmp_path)
    for part in PATHS:
        path = tmp_path / f"prosgan_FLICKR-25K_{part}_img.txt"
        path.write_text(path.read_text().replace("pics/4.png", f"{climb}pics/4.png"))
    save_pictures(tmp_path)
    with pytest.raises(RequestError, match="1 of 9 listed paths lead out of the folder of pictures"):
        open_source(f"lists:{tmp_path}")
    dataset, _ = open_source(f"lists:{tmp_path}", pictures=False)  # labels can be checked all the same
    assert "lead out of the folder" in dataset.images.missing


def save_single(folder, write, parts=PATHS):
    """Lists of one file each; `write` makes a line of a path and its marks."""
    for part, rows in parts.items():
        (folder / f"{part}.txt").write_text("\n".join(write(f"pics/{i}.png", LABELS[i].split()) for i in rows))


WAYS = {
    "commas": lambda path, marks: f"{path},{','.join(marks)}",
    "commas and space": lambda path, marks: f"{path}, {', '.join(marks)} ,",
    "semicolons": lambda path, marks: f"{path};{';'.join(marks)};",
    "tabs": lambda path, marks: f"{path}\t" + "\t".join(marks),
    "quotes": lambda path, marks: f'"{path}",{",".join(marks)}',
    "backslashes": lambda path, marks: path.replace("/", "\\") + " " + " ".join(marks) + "\r",
    "dot": lambda path, marks: f"./{path} {' '.join(marks)}",
    "decimals": lambda path, marks: f"{path} {' '.join(mark + '.0' for mark in marks)}",
    "blank lines": lambda path, marks: f" , \n{path} {' '.join(marks)}\n",
}


@pytest.mark.parametrize("way", WAYS)
def test_one_list_written_in_many_ways(tmp_path, way):
    save_single(tmp_path, lambda path, marks: f"{path} {' '.join(marks)}")
    save_pictures(tmp_path)
    plain, split = open_source(f"lists:{tmp_path}")
    save_single(tmp_path, WAYS[way])
    dataset, again = open_source(f"lists:{tmp_path}")
    assert dataset.ids.tolist() == plain.ids.tolist() == [f"pics/{i}.png" for i in (3, 4, 5, 6, 7, 8, 0, 1, 2)]
    assert np.array_equal(dataset.labels, plain.labels) and dataset.notes == ()
    assert again.digest == split.digest


@pytest.mark.parametrize("sign", [" ", ",", ";", "\t"])
def test_pairs_of_lists_with_other_separators(tmp_path, sign):
    save_pairs(tmp_path, labels=[sign.join(label.split()) + sign for label in LABELS])
    dataset, _ = open_source(f"lists:{tmp_path}", pictures=False)
    assert dict(zip(dataset.ids, dataset.labels.tolist(), strict=True))["pics/4.png"] == [1, 1]


def test_upper_case_names_of_lists(tmp_path):
    save_pairs(tmp_path)
    for path in list(tmp_path.iterdir()):
        path.rename(tmp_path / path.name.replace("_train_", "_Train_").replace(".txt", ".TXT"))
    dataset, _ = open_source(f"lists:{tmp_path}", pictures=False)
    assert len(dataset) == 9 and dataset.name == "FLICKR-25K"


def test_one_class_number_a_line(tmp_path):
    numbers = [0, 1, 2, 0, 1, 2, 0, 1, 10]
    for part, rows in PATHS.items():
        (tmp_path / f"{part}.txt").write_text("".join(f"pics/{i}.JPEG {numbers[i]}\n" for i in rows))
    dataset, _ = open_source(f"lists:{tmp_path}", pictures=False)
    assert dataset.labels.shape == (9, 11)
    found = dict(zip(dataset.ids.tolist(), dataset.labels.argmax(1).tolist(), strict=True))
    assert [found[f"pics/{i}.JPEG"] for i in range(9)] == numbers
    assert dataset.notes == (
        f"labels of {tmp_path.name} of shape (13, 1) are read as class numbers in one column, not as marks of one class",
    )


def test_two_classes_in_one_column_are_two_classes(tmp_path):
    save_pairs(tmp_path, labels=[label[0] for label in LABELS])
    dataset, split = open_source(f"lists:{tmp_path}", pictures=False)
    assert dataset.labels.shape == (9, 2) and (dataset.labels.sum(1) == 1).all()
    assert check_dataset(dataset, split).unlabeled["query"] == 0


def test_paths_with_spaces(tmp_path):
    (tmp_path / "train.txt").write_text("my pics/a b.jpg 0 1\nmy pics/c.jpg 1 0\n")
    (tmp_path / "test.txt").write_text("my pics/d e.jpg 0 1\n")
    dataset, _ = open_source(f"lists:{tmp_path}", pictures=False)
    assert dataset.ids.tolist() == ["my pics/a b.jpg", "my pics/c.jpg", "my pics/d e.jpg"]
    assert dataset.labels.tolist() == [[0, 1], [1, 0], [0, 1]]


@pytest.mark.parametrize(("listed", "on_disk"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_listed_pictures_are_found_in_either_unicode_form(tmp_path, listed, on_disk):
    told, real = (unicodedata.normalize(form, "café") for form in (listed, on_disk))
    (tmp_path / real).mkdir()
    for i in range(4):
        encode(np.full((8, 8, 3), i, np.uint8), tmp_path / real / f"{i}.png")
    (tmp_path / "train.txt").write_text(f"{told}/0.png 1 0\n{told}\\1.png 0 1\n{told}/3.png 0 1\n", encoding="utf-8")
    (tmp_path / "test.txt").write_text(f"{told}/2.png 1 0\n", encoding="utf-8")
    dataset, _ = open_source(f"lists:{tmp_path}")
    assert dataset.images.array[:, 0, 0, 0].tolist() == [0, 1, 3, 2]


def test_files_that_nobody_reads_are_named(tmp_path):
    save_pairs(tmp_path)
    save_pictures(tmp_path)
    packed = tmp_path / "prosgan_FLICKR-25K_test_img.txt.xz"
    packed.write_bytes(b"")
    (tmp_path / "val.txt").write_text("pics/0.png 1 0\n")
    dataset, _ = open_source(f"lists:{tmp_path}")
    assert dataset.notes == ("files beside the lists that are not read: prosgan_FLICKR-25K_test_img.txt.xz, val.txt",)


def test_rows_that_do_not_lie_side_by_side_are_refused(tmp_path):
    save_pairs(tmp_path)
    image, label = (tmp_path / f"prosgan_FLICKR-25K_train_{kind}.txt" for kind in ("img", "label"))
    good = image.read_text(), label.read_text()
    image.write_text(good[0].replace("pics/4.png", "\npics/4.png", 1))
    label.write_text(good[1].replace("0 1\n", "0 1\n\n", 1))
    with pytest.raises(RequestError, match="line 2 is blank in one of them only"):
        open_source(f"lists:{tmp_path}", pictures=False)
    label.write_text(good[1].replace("1 1\n", "\n1 1\n", 1))  # now blank in both
    assert len(open_source(f"lists:{tmp_path}", pictures=False)[0]) == 9


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("pics/0.png", "has a line without labels: 'pics/0.png'; a line is a path and its labels"),
        ("pics/0.png cat", "must hold rows of 0 and 1, or one class number a line, got 'cat'"),
        ("pics/0.png 0.5", "must hold rows of 0 and 1, or one class number a line, got '0.5'"),
        ("pics/0.png -1", "must hold rows of 0 and 1, or one class number a line, got '-1'"),
        ("pics/0.png 1 -1", "must hold rows of 0 and 1, got '1 -1'"),
        ("pics/0.png 99999999", "the largest is 99999999, which is no class number"),
        ("pics/0.png " + "9" * 400, "must hold rows of 0 and 1, or one class number a line"),
    ],
)
def test_lines_that_are_no_labels_are_refused(tmp_path, line, words):
    for part in ("train", "test"):
        (tmp_path / f"{part}.txt").write_text(line + "\n")
    with pytest.raises(RequestError, match=words):
        open_source(f"lists:{tmp_path}", pictures=False)


@pytest.mark.parametrize("kind", ["img", "label", "tag", "text"])
def test_a_pipe_or_a_folder_in_place_of_a_list_is_refused_at_once(tmp_path, kind):
    for make, words in ((os.mkfifo, "is not an ordinary file, no list"), (Path.mkdir, "is a folder, no list")):
        place = tmp_path / words.split()[2]
        save_pairs(place)
        for part in PATHS if kind in ("tag", "text") else ["train"]:
            path = place / f"prosgan_FLICKR-25K_{part}_{kind}.txt"
            path.unlink(missing_ok=True)
            make(path)
        with pytest.raises(RequestError, match=words):
            open_source(f"lists:{place}", pictures=False)


def test_a_compressed_list_of_more_bytes_than_any_list_is_not_read(tmp_path):
    """Zeros behind the end are padding, and a hole of 40 GB takes a minute."""
    path = tmp_path / "long.txt.xz"
    path.write_bytes(lzma.compress(b"a.png 1 0"))
    assert list(filled_lines(path)) == ["a.png 1 0"]
    with path.open("r+b") as stream:
        stream.truncate(40 * 10**9)
    with pytest.raises(RequestError, match=r"long.txt.xz has 40,000,000,000 bytes, too many for a list; the limit is"):
        list(filled_lines(path))
