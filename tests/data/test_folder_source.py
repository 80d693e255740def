import json

import numpy as np
import pytest

from hamguard.core.errors import ImageError, RequestError
from hamguard.data.folder import read_folder, read_table
from hamguard.data.sources import open_source
from hamguard.images.io import decode, encode


def test_class_folders(class_folder):
    dataset, split = open_source(f"folder:{class_folder}")
    assert dataset.class_names == ("cat", "dog", "owl")
    assert dataset.labels.sum(0).tolist() == [8, 8, 8]
    assert dataset.ids[0] == "cat/0.png"
    assert np.array_equal(dataset.images.array[9], decode(class_folder / "dog" / "1.png"))
    assert split.protocol == "seeded"
    assert dataset.name == "photos"


def test_size_and_mixed_sizes(class_folder):
    assert read_folder(class_folder).images.size == (12, 12)
    assert read_folder(class_folder, size=20).images.size == (20, 20)
    encode(np.zeros((30, 40, 3), np.uint8), class_folder / "cat" / "wide.png")
    assert read_folder(class_folder).images.size == (224, 224)


@pytest.fixture
def flat(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(6):
        encode(rng.integers(0, 256, (10, 10)).astype(np.uint8), tmp_path / f"{i}.png")
    return tmp_path


def test_a_csv_of_labels_texts_and_split(flat):
    lines = [
        f'{i}.png,red;round,"a red, round thing {i}",{p}' for i, p in enumerate(["train", "query", "database"] * 2)
    ]
    (flat / "labels.csv").write_text("\n".join(["file,labels,text,split", *lines]))
    dataset, split = open_source(f"folder:{flat}")
    assert dataset.class_names == ("red", "round")
    assert dataset.texts[2] == "a red, round thing 2"
    assert split.protocol == "stored"
    assert set(split.query) == {1, 4}
    assert dataset.images.channels == 1


def test_a_jsonl_of_labels(flat):
    rows = [{"file": f"{i}.png", "labels": ["a", "b"] if i % 2 else []} for i in range(5)]
    rows.append({"file": "5.png", "label": "c"})
    (flat / "any.jsonl").write_text("\n".join(map(json.dumps, rows)))
    dataset = read_folder(flat)
    assert dataset.labels.tolist() == [[0, 0, 0], [1, 1, 0], [0, 0, 0], [1, 1, 0], [0, 0, 0], [0, 0, 1]]
    assert dataset.texts is None


def test_pictures_without_labels_are_read_and_said(flat):
    dataset = read_folder(flat)
    assert dataset.labels.shape == (6, 0)
    assert dataset.notes == ("pictures without labels: no class folders and no labels.csv",)


def test_labels_that_do_not_match_the_pictures_are_counted_and_named(flat):
    (flat / "labels.csv").write_text("file,labels\n0.png,a\n1.png,a\nx.png,a\ny.png,b\n")
    words = (
        r"2 rows without a picture \(x\.png, y\.png\) and 4 pictures without a row \(2\.png, 3\.png, 4\.png, \.\.\.\)"
    )
    with pytest.raises(RequestError, match=words):
        read_folder(flat)


def test_bad_tables_are_explained(flat):
    table = flat / "labels.csv"
    for content, words in (
        ("name,labels\n0.png,a\n", "row 1 has no file"),
        ("file,labels\n0.png,a\n0.png,b\n", r"names 1 pictures more than once: 0\.png"),
        ("file,labels,split\n0.png,a,test\n", "unknown split in labels.csv row 1 'test'"),
        (
            "file,split\n" + "".join(f"{i}.png,{'query' if i else ''}\n" for i in range(6)),
            r"for some pictures only.*0\.png",
        ),
        ("file,split\n" + "".join(f"{i}.png,train\n" for i in range(6)), "must name pictures of the query split"),
    ):
        table.write_text(content)
        with pytest.raises(RequestError, match=words):
            read_folder(flat)
    table.write_bytes("file,labels\n0.png,Kätzchen\n".encode("latin-1"))
    with pytest.raises(RequestError, match=r"labels\.csv is not a readable table in UTF-8"):
        read_folder(flat)
    (flat / "x.jsonl").write_text('{"file": "0.png", "labels": {"a": 1}}\n')
    with pytest.raises(RequestError, match="row 1: labels must be a list of names, got dict"):
        read_table(flat / "x.jsonl")
    (flat / "x.jsonl").write_text('{"file": "0.png"}\nnot json\n')
    with pytest.raises(RequestError, match="line 2 is not a JSON object"):
        read_table(flat / "x.jsonl")
    table.rename(flat / "y.csv")
    with pytest.raises(RequestError, match=r"several tables \(x\.jsonl, y\.csv\)"):
        read_folder(flat)


def test_line_ends_inside_a_text_and_numbers_as_labels(flat):
    rows = "".join(f'{i}.png,a,"first\nsecond\u2028third"\n' for i in range(6))
    (flat / "labels.csv").write_text("file,labels,text\n" + rows, encoding="utf-8")
    assert read_folder(flat).texts == ("first\nsecond\u2028third",) * 6
    lines = [json.dumps({"file": f"{i}.png", "label": i % 2, "text": "a\u2028b"}, ensure_ascii=False) for i in range(6)]
    (flat / "labels.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (flat / "labels.csv").unlink()
    found = read_folder(flat)
    assert found.class_names == ("0", "1") and found.labels.sum() == 6
    assert found.texts == ("a\u2028b",) * 6


def test_pictures_that_are_not_read_are_said(class_folder):
    (class_folder / "owl" / "moves.gif").write_bytes(b"GIF89a")
    assert read_folder(class_folder).notes == ("left out: 1 GIF (owl/moves.gif)",)


def test_missing_empty_and_mixed_folders(tmp_path, class_folder):
    with pytest.raises(RequestError, match="does not exist"):
        open_source(f"folder:{tmp_path / 'gone'}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match="holds no picture"):
        open_source(f"folder:{tmp_path / 'empty'}")
    encode(np.zeros((4, 4, 3), np.uint8), class_folder / "loose.png")
    with pytest.raises(RequestError, match="mixes class folders with 1 pictures outside of them"):
        read_folder(class_folder)


def test_a_truncated_picture_is_named(class_folder):
    path = class_folder / "owl" / "3.png"
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(ImageError, match=r"owl.3\.png (is truncated|cannot be decoded)"):
        read_folder(class_folder)
