import lzma

import numpy as np
import pytest

from hamguard.core.errors import DataMissingError, RequestError
from hamguard.data.check import check_dataset
from hamguard.data.lists import choose_lists, find_lists, read_lists
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
