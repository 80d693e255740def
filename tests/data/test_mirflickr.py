import numpy as np
import pytest

from hamguard.core.errors import DataMissingError, RequestError
from hamguard.data import mirflickr
from hamguard.data.check import check_dataset
from hamguard.data.mirflickr import find_mirflickr, read_concepts, read_mirflickr, read_tags
from hamguard.data.protocols import make_split
from hamguard.data.sources import open_source
from hamguard.images.io import encode_bytes

N = 40


def save(root, *, pictures="mirflickr", annotations="mirflickr", n=N):
    """Forty pictures: `sky` on all but 4 and 5, `sea` on 20 of them, `rare` on 19; 5, 6 and 7 have no label."""
    rng = np.random.default_rng(0)
    place, concepts = root / pictures, root / annotations / mirflickr.ANNOTATIONS
    (place / "meta" / "tags").mkdir(parents=True)
    (place / "doc").mkdir()
    concepts.mkdir(parents=True)
    for i in range(1, n + 1):
        (place / f"im{i}.jpg").write_bytes(encode_bytes(rng.integers(0, 256, (9, 9, 3)).astype(np.uint8), "jpeg"))
        tags = [tag for tag, has in (("sky", i not in {4, 5}), ("sea", i % 2 == 0), ("rare", i < 20)) if has]
        (place / "meta" / "tags" / f"tags{i}.txt").write_text("\r\n".join(tags))
    labeled = [i for i in range(1, n + 1) if i not in {5, 6, 7}]
    (concepts / "animals.txt").write_text("".join(f"{i}\r\n" for i in labeled))
    (concepts / "plant_life.txt").write_text("".join(f"{i}\n" for i in labeled if i % 3 == 0))
    (concepts / "animals_r1.txt").write_text("5\n6\n7\n")
    (concepts / "README.txt").write_text("These are annotations.")
    (concepts / "._sky.txt").write_bytes(b"\x00\xff")
    return place, concepts


@pytest.mark.parametrize("pictures", ["mirflickr", "mirflickr/mirflickr"])
@pytest.mark.parametrize("annotations", ["mirflickr", "."])
def test_pictures_with_tags_and_labels_are_kept(tmp_path, pictures, annotations):
    save(tmp_path, pictures=pictures, annotations=annotations)
    dataset, split = open_source("mirflickr", root=tmp_path)
    assert dataset.ids.tolist() == [f"im{i}.jpg" for i in range(1, 41) if i not in {5, 6, 7}]
    texts = dict(zip(dataset.ids, dataset.texts, strict=True))
    assert (texts["im1.jpg"], texts["im2.jpg"], texts["im4.jpg"]) == ("sky", "sky, sea", "sea")
    assert dataset.class_names == ("animals", "plant_life")
    assert dataset.labels.sum(0).tolist() == [37, 12]
    assert dataset.labels[dataset.ids.tolist().index("im9.jpg")].tolist() == [1, 1]
    assert dataset.images.size == (9, 9)
    assert (dataset.name, split.protocol) == ("mirflickr", "dcmh-mirflickr")
    assert check_dataset(dataset, split).without_text == dict.fromkeys(("train", "validation", "query", "database"), 0)


def test_notes_say_what_was_left_out_and_how_tags_were_counted(tmp_path):
    place, _ = save(tmp_path)
    (place / "meta" / "tags" / "tags9.txt").write_text("rare\n")
    notes = read_mirflickr(tmp_path).notes
    assert "at least 20 pictures carry, counted over all pictures, queries included, as the field does" in notes[0]
    assert "4 of 40 pictures are left out: 1 without such a tag, 2 without a label, 1 without both" in notes[1]
    assert "the papers have 20,015 pictures, 24 labels and 1,386 tags, this copy 36, 2 and 2" in notes[2]
    assert len(notes) == 3


def test_nothing_is_noted_where_nothing_differs(tmp_path, monkeypatch):
    place, concepts = save(tmp_path)
    (concepts / "animals.txt").write_text("\n".join(map(str, range(1, 41))))
    (place / "meta" / "tags" / "tags5.txt").write_text("sky")
    monkeypatch.setattr(mirflickr, "PUBLISHED", (40, 2, 2))
    assert len(read_mirflickr(tmp_path).notes) == 1


def test_a_tag_counts_once_a_picture_and_in_lower_case(tmp_path, monkeypatch):
    place, _ = save(tmp_path)
    (place / "meta" / "tags" / "tags1.txt").write_text("Sky\nsky\nonce\nonce\n")
    monkeypatch.setattr(mirflickr, "LEAST", 2)
    dataset = read_mirflickr(tmp_path)
    assert dataset.texts[0] == "sky"
    assert dataset.texts[1] == "sky, sea, rare"


def test_bytes_that_are_no_text_do_not_stop_the_set(tmp_path):
    place, _ = save(tmp_path)
    for i in range(1, 26):
        (place / "meta" / "tags" / f"tags{i}.txt").write_bytes(b"sky\nm\xfcnchen\n")
    dataset = read_mirflickr(tmp_path)
    assert dataset.texts[0] == "sky, m\ufffdnchen"
    assert "1 of the tags hold bytes that are no UTF-8" in dataset.notes


def test_the_split_is_that_of_the_papers_scaled(tmp_path, make_dataset):
    save(tmp_path)
    dataset, split = open_source("mirflickr", root=tmp_path)
    assert split.counts == {"train": 18, "validation": 3, "query": 4, "database": 33}
    assert not set(split.query) & set(split.database)
    assert set(split.train) <= set(split.database)
    assert open_source("mirflickr", root=tmp_path)[1].digest == split.digest
    assert open_source("mirflickr", root=tmp_path, seed=1)[1].digest != split.digest
    assert make_split(dataset, "dcmh").digest == split.digest
    assert open_source("mirflickr", root=tmp_path, protocol="seeded")[1].protocol == "seeded"
    whole = make_split(make_dataset(20_015, 5, name="mirflickr"), "dcmh-mirflickr")
    assert whole.counts == {"train": 10_000, "validation": 1000, "query": 2000, "database": 18_015}
    with pytest.raises(RequestError, match="protocol dcmh-mirflickr is made for mirflickr, got toy"):
        make_split(make_dataset(), "dcmh-mirflickr")


def test_missing_folders_and_files_are_named(tmp_path, no_data):
    assert find_mirflickr(tmp_path) is None
    with pytest.raises(DataMissingError, match=r"MIRFlickr-25K is not below .*mirflickr"):
        read_mirflickr(tmp_path)
    place, concepts = save(tmp_path)
    assert find_mirflickr(tmp_path) == (place, place / "meta" / "tags", concepts)
    (place / "meta" / "tags" / "tags7.txt").unlink()
    with pytest.raises(DataMissingError, match=r"1 of 40 files of tags are not in .*, first tags7\.txt"):
        read_mirflickr(tmp_path)
    concepts.rename(tmp_path / "elsewhere")
    assert find_mirflickr(tmp_path) is None
    with pytest.raises(DataMissingError, match=r"data set mirflickr is not here; put im1\.jpg and the others"):
        open_source("mirflickr", root=tmp_path)


def test_annotated_pictures_that_are_not_here_are_counted(tmp_path):
    _, concepts = save(tmp_path)
    (concepts / "night.txt").write_text("1\n41\n42\n41\n")
    dataset = read_mirflickr(tmp_path)
    assert dataset.class_names == ("animals", "night", "plant_life")
    assert "2 annotated pictures are not here" in dataset.notes


@pytest.mark.parametrize("line", ["0", "-1", "im5", "1 2", "../1", "12345678", "٣"])
def test_lines_that_are_no_picture_numbers_are_refused(tmp_path, line):
    _, concepts = save(tmp_path)
    (concepts / "night.txt").write_text(f"1\n{line}\n", encoding="utf-8")
    with pytest.raises(RequestError, match=r"night\.txt must hold picture numbers from 1, got '"):
        read_mirflickr(tmp_path)


def test_no_concepts_and_no_pictures_left_are_explained(tmp_path):
    place, concepts = save(tmp_path)
    for i in range(1, N + 1):
        (place / "meta" / "tags" / f"tags{i}.txt").write_text(f"tag{i}")
    with pytest.raises(
        RequestError, match="of 40, 0 have a tag that at least 20 pictures carry, 37 have a label, none has both"
    ):
        read_mirflickr(tmp_path)
    for path in concepts.glob("*s.txt"):
        path.unlink()
    (concepts / "plant_life.txt").unlink()
    with pytest.raises(RequestError, match=r"holds no concepts; looked for animals\.txt and the like, without _r1"):
        read_concepts(concepts, [1])


def test_files_of_tags_are_read_with_a_bound(tmp_path, monkeypatch):
    place, _ = save(tmp_path)
    monkeypatch.setattr(mirflickr, "LARGEST_FILE", 10)
    with pytest.raises(RequestError, match=r"tags2\.txt unpacks to more than 10 bytes"):
        read_tags(place / "meta" / "tags", [4, 2])
