import json
import shutil

import numpy as np
import pytest

from hamguard.core.errors import DataMissingError, RequestError
from hamguard.data.check import check_dataset, drop_duplicates, picture_groups, relevance_summary
from hamguard.data.dataset import Dataset, ImageStore
from hamguard.data.protocols import make_split
from hamguard.data.sources import open_source
from hamguard.data.split import Split


def rows(*values):
    return np.array(values, np.int64)


@pytest.fixture
def planted(make_dataset):
    """12 pictures; 5 copies query 0, 7 copies database picture 6, 1 copies query 0 as a query; 8 is also a query."""
    base = make_dataset(12)
    pixels = base.images.array.copy()
    pixels[[1, 5]] = pixels[0]
    pixels[7] = pixels[6]
    labels = base.labels.copy()
    labels[[2, 9]] = 0
    dataset = Dataset("planted", ImageStore(pixels), labels, base.class_names, base.ids)
    split = Split(rows(5, 6, 7, 11), rows(9), rows(0, 1, 2, 8), rows(5, 6, 7, 8, 9, 10), "hand", 0)
    return dataset, split


def test_planted_faults_are_counted(planted):
    report = check_dataset(*planted)
    assert report.copies == 3
    assert report.queries_with_copy == 2
    assert report.query_copies_in_database == 2
    assert report.query_in_database == 1
    assert report.train_outside_database == 1
    assert report.unlabeled == {"train": 0, "validation": 1, "query": 1, "database": 1}
    assert report.counts == {"train": 4, "validation": 1, "query": 4, "database": 6}
    assert report.label_counts == {"c0": 3, "c1": 4, "c2": 3}
    assert report.labels_per_picture == pytest.approx(10 / 12)
    assert "3 pictures are pixel-identical copies of others" in report.findings
    assert "2 of 4 queries have a copy outside the query part" in report.findings
    assert json.loads(json.dumps(report.to_json()))["copies"] == 3


def test_dropping_copies_leaves_none(planted):
    dataset, split = planted
    clean = drop_duplicates(dataset, split)
    assert clean.query.tolist() == [0, 2, 8]
    assert clean.database.tolist() == [6, 9, 10]
    assert clean.train.tolist() == [6, 11]
    assert clean.validation.tolist() == [9]
    assert clean.digest != split.digest
    assert "4 copies were dropped, 3 of them from the database" in clean.notes
    report = check_dataset(dataset, clean)
    assert (report.copies, report.queries_with_copy, report.query_in_database) == (0, 0, 0)


def test_nothing_to_drop_keeps_the_digest(make_dataset):
    dataset = make_dataset()
    split = make_split(dataset, "seeded")
    assert drop_duplicates(dataset, split).digest == split.digest
    assert check_dataset(dataset, split).findings == ()


def test_a_planted_copy_and_overlap_in_a_folder_are_found(class_folder):
    shutil.copy(class_folder / "cat" / "0.png", class_folder / "dog" / "stolen.png")
    dataset, split = open_source(f"folder:{class_folder}")
    assert check_dataset(dataset, split).copies == 1
    files = [f"{c}/{i}.png" for c in ("cat", "dog", "owl") for i in range(8)]
    lines = [f"{name},{name[:3]},{'query' if name == 'cat/0.png' else 'train'}" for name in files]
    (class_folder / "labels.csv").write_text("\n".join(["file,labels,split", *lines, "dog/stolen.png,dog,database"]))
    report = check_dataset(*open_source(f"folder:{class_folder}"))
    assert (report.copies, report.queries_with_copy, report.query_copies_in_database) == (1, 1, 1)
    assert "1 of 1 queries have a copy outside the query part" in report.findings
    dataset, clean = open_source(f"folder:{class_folder}", drop_duplicates=True)
    assert "dog/stolen.png" not in dataset.ids[clean.database]
    assert check_dataset(dataset, clean).findings == ()


def test_groups_name_the_first_of_the_same_pixels(planted):
    assert picture_groups(planted[0]).tolist() == [0, 0, 2, 3, 4, 0, 6, 6, 8, 9, 10, 11]


def test_chance_and_ceiling_equal_their_definition():
    rng = np.random.default_rng(0)
    query, database = (rng.random((n, 6)) < 0.15 for n in (40, 25))
    relevant = (query[:, None] & database[None]).any(-1)
    chance, ceiling = relevance_summary(query.astype(np.uint8), database.astype(np.uint8))
    assert chance == pytest.approx(relevant.mean())
    assert ceiling == pytest.approx(relevant.any(1).mean())
    assert relevance_summary(query[:0].astype(np.uint8), database.astype(np.uint8)) == (0.0, 0.0)


def test_wrong_splits_and_absent_pictures_are_explained(make_dataset):
    dataset = make_dataset()
    far = Split(rows(1), rows(2), rows(0), rows(1, 2, 99), "hand", 0)
    for function in (check_dataset, drop_duplicates):
        with pytest.raises(RequestError, match="the database split names row 99, toy has 60 rows"):
            function(dataset, far)
    with pytest.raises(RequestError, match="every database picture of toy is a copy of a query"):
        drop_duplicates(dataset, make_split(dataset, "copies"))
    absent = Dataset("x", ImageStore.absent(60, "put them there"), dataset.labels, dataset.class_names, dataset.ids)
    with pytest.raises(DataMissingError, match="put them there"):
        picture_groups(absent)
    with pytest.raises(DataMissingError, match="put them there"):
        drop_duplicates(absent, make_split(dataset, "seeded"))


def found(labels, names=None, rule="seeded"):
    """Findings on a set of pictures that all differ."""
    labels = np.array(labels, np.uint8)
    images = ImageStore(np.arange(len(labels) * 64, dtype=np.uint32).view(np.uint8).reshape(len(labels), 16, 16))
    names = names or tuple(f"c{c}" for c in range(labels.shape[1]))
    dataset = Dataset("set", images, labels, names, np.arange(len(labels)).astype(str))
    return check_dataset(dataset, make_split(dataset, rule)).findings


def test_one_class_measures_nothing():
    words = "every query shares a label with every database picture: chance level is 1, nothing can be measured"
    assert found([[1]] * 24) == (words,)
    assert found([[1, i % 2] for i in range(24)]) == (words,)
    assert words not in found([[1, 0]] * 23 + [[0, 1]])


def test_labels_of_one_picture_each_measure_nothing():
    own = found(np.eye(12))
    assert "no label stands on two pictures: only changed copies of a picture can be searched for" in own
    assert "no query shares a label with a database picture: nothing can be measured" in own
    assert found(np.eye(12), rule="copies")[-1].startswith("no label stands on two pictures")


def test_a_set_without_labels_measures_nothing():
    words = "no picture has a label: searches are measured by whether a changed picture still finds its original"
    assert found(np.zeros((12, 0))) == (words,)


def test_labels_that_look_alike_are_named():
    labels = np.eye(4)[np.arange(24) % 4]
    said = found(labels, ("Cat", "cat", "hot dog", "hotdog"))
    assert said == (
        "labels differ only in case, space or form of their letters: 'Cat' and 'cat'; 'hot dog' and 'hotdog'",
    )
    assert found(labels, ("cat", "cats", "dog", "do g2")) == ()


def test_labels_for_missing_values_and_labels_without_pictures_are_named():
    labels = np.eye(5)[np.arange(24) % 3]
    assert found(labels, ("a", "b", "nan", "c", "d")) == (
        "8 pictures carry the label 'nan', which programs write where a value is missing",
        "2 of 5 labels have no picture",
    )
