import json
import os
import unicodedata

import numpy as np
import pytest

from hamguard.core.errors import ImageError, RequestError
from hamguard.data.folder import read_folder
from hamguard.data.sources import open_source
from hamguard.data.table import read_table
from hamguard.images.io import MAX_BYTES, decode, encode


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
        ("name,labels\n0.png,a\n", "has no column called file: its first line is 'name,labels'"),
        ("file,labels\n0.png,a\n0.png,b\n", r"names 1 pictures more than once: 0\.png"),
        ("file,labels,split\n0.png,a,test\n", "unknown split in labels.csv line 2 'test'"),
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
    with pytest.raises(RequestError, match=r"labels\.csv is damaged: it is not UTF-8 text .*; save the table as UTF-8"):
        read_folder(flat)
    (flat / "x.jsonl").write_text('{"file": "0.png", "labels": {"a": 1}}\n')
    with pytest.raises(RequestError, match="line 1: labels must be a list of names, got an object"):
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
    with pytest.raises(
        RequestError,
        match=r"mixes class folders with 1 pictures outside of them \(.*\); put all pictures into class folders or none",
    ):
        read_folder(class_folder)


def test_pictures_that_cannot_be_read_are_left_out_and_named(class_folder):
    path = class_folder / "owl" / "3.png"
    path.write_bytes(path.read_bytes()[:-60])
    (class_folder / "cat" / "text.png").write_text("no picture")
    with (class_folder / "dog" / "huge.png").open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    dataset = read_folder(class_folder)
    assert dataset.labels.sum(0).tolist() == [8, 8, 7] and "owl/3.png" not in dataset.ids
    (note,) = [note for note in dataset.notes if "left out" in note]
    assert note.startswith("3 pictures cannot be read and are left out: ")
    for name in ("text.png", "huge.png", "3.png"):
        assert name in note
    assert np.array_equal(dataset.images.array[-1], decode(class_folder / "owl" / "7.png"))


def test_a_table_may_name_pictures_that_cannot_be_read(flat):
    (flat / "3.png").write_bytes(b"")
    rows = "".join(f"{i}.png,{'ab'[i % 2]},t{i},{'query' if i < 2 else 'train'}\n" for i in range(6))
    (flat / "labels.csv").write_text("file,labels,text,split\n" + rows)
    dataset = read_folder(flat)
    assert dataset.ids.tolist() == ["0.png", "1.png", "2.png", "4.png", "5.png"]
    assert dataset.labels.argmax(1).tolist() == [0, 1, 0, 0, 1]
    assert dataset.texts == ("t0", "t1", "t2", "t4", "t5") and dataset.native.tolist() == [2, 2, 0, 0, 0]


def test_a_folder_without_any_readable_picture_names_the_first(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"a\.png"):
        read_folder(tmp_path)


def test_everything_that_is_left_out_is_counted(class_folder):
    (class_folder / "owl" / "moves.gif").write_bytes(b"GIF89a")
    (class_folder / "readme.TXT").write_text("x")
    (class_folder / "README").write_text("x")
    (class_folder / "cat" / ".hidden.png").write_bytes((class_folder / "cat" / "0.png").read_bytes())
    (class_folder / ".cache").mkdir()
    (class_folder / ".cache" / "x.png").write_bytes(b"x")
    (class_folder / "bird").mkdir()
    assert read_folder(class_folder).notes == (
        "left out: 1 GIF (owl/moves.gif), 2 hidden (.cache/x.png, cat/.hidden.png), 2 no picture (README, readme.TXT)",
        "1 folders hold no picture: bird",
    )


def test_a_pipe_called_as_a_picture_is_left_out(class_folder):
    os.mkfifo(class_folder / "dog" / "pipe.png")
    dataset = read_folder(class_folder)
    assert len(dataset) == 24
    assert (
        dataset.notes[0].startswith("1 pictures cannot be read and are left out: ") and "pipe.png" in dataset.notes[0]
    )


def test_deeper_folders_and_folders_called_as_parts_are_said(tmp_path):
    picture = np.zeros((8, 8, 3), np.uint8)
    for i, name in enumerate(("train/cat/0.png", "train/dog/1.png", "test/cat/2.png", "test/dog/3.png")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        encode(picture + i, tmp_path / name)
    dataset = read_folder(tmp_path)
    assert dataset.class_names == ("test", "train")
    assert dataset.notes == (
        "only the first folder is a label: 4 pictures lie deeper, first test/cat/2.png",
        "the folders test, train are read as classes; where they are parts of a split, "
        "give a table labels.csv with file, labels, split",
    )


def names(*forms):
    return [unicodedata.normalize(form, "café") for form in forms]


def test_class_folders_in_two_unicode_forms_are_one_class(tmp_path):
    composed, apart = names("NFC", "NFD")
    for i, name in enumerate((composed, composed, apart, apart, "tea", "tea")):
        (tmp_path / name).mkdir(exist_ok=True)
        encode(np.full((8, 8), i, np.uint8), tmp_path / name / f"{i}.png")
    dataset = read_folder(tmp_path)
    assert dataset.class_names == (composed, "tea") and dataset.labels.sum(0).tolist() == [4, 2]
    assert dataset.notes == (f"labels written in two Unicode forms are read as one: {composed}",)


def test_labels_in_two_unicode_forms_are_one_label(flat):
    composed, apart = names("NFC", "NFD")
    rows = "".join(f"{i}.png,{one}\n" for i, one in enumerate((composed, apart, "tea", f"{apart};tea", composed, "")))
    (flat / "labels.csv").write_text("file,labels\n" + rows, encoding="utf-8")
    dataset = read_folder(flat)
    assert dataset.class_names == (composed, "tea") and dataset.labels.sum(0).tolist() == [4, 2]
    assert dataset.notes == (f"labels written in two Unicode forms are read as one: {composed}",)


@pytest.mark.parametrize(("listed", "on_disk"), [("NFC", "NFD"), ("NFD", "NFC"), ("NFC", "NFC")])
def test_files_are_found_in_either_unicode_form_and_with_either_slash(tmp_path, listed, on_disk):
    (told,), (real,) = names(listed), names(on_disk)
    (tmp_path / real).mkdir()
    for i in range(4):
        encode(np.full((8, 8), i, np.uint8), tmp_path / real / f"{i}.png")
    rows = [f"{told}/0.png,a", f"{told}\\1.png,b", f".\\{told}\\2.png,a", f"./{told}/3.png,b"]
    (tmp_path / "labels.csv").write_bytes("\r\n".join(["file,labels", *rows]).encode())
    dataset = read_folder(tmp_path)
    assert dataset.ids.tolist() == [f"{real}/{i}.png" for i in range(4)]
    assert dataset.labels.argmax(1).tolist() == [0, 1, 0, 1]


def test_names_that_are_no_utf8_are_read_and_written_as_escapes(tmp_path):
    for i, name in enumerate((b"K\xe4se/0.png", b"K\xe4se/1.png", b"ham/2.png", b"ham/\xe4.png")):
        path = tmp_path / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True)
        encode(np.full((8, 8), i, np.uint8), tmp_path / "x.png")
        (tmp_path / "x.png").rename(path)
    dataset = read_folder(tmp_path)
    assert dataset.class_names == (r"K\xe4se", "ham")
    assert sorted(dataset.ids) == [r"K\xe4se/0.png", r"K\xe4se/1.png", "ham/2.png", r"ham/\xe4.png"]


def test_a_picture_named_twice_is_refused_however_it_is_written(flat):
    rows = "".join(f"{i}.png,a\n" for i in range(6))
    (flat / "labels.csv").write_text("file,labels\n" + rows + "./0.png,b\n")
    with pytest.raises(RequestError, match=r"names 1 pictures more than once: \./0\.png"):
        read_folder(flat)


def test_tables_that_are_not_used_are_named(flat):
    rows = "".join(f"{i}.png,a\n" for i in range(6))
    (flat / "Labels.CSV").write_text("file,labels\n" + rows)
    (flat / "other.csv").write_text("file,labels\n")
    (flat / "._Labels.CSV").write_bytes(b"\0\x05\x16\x07")
    assert read_folder(flat).notes == ("tables that are not read, because Labels.CSV is: other.csv",)
    (flat / "labels.jsonl").write_text("")
    with pytest.raises(RequestError, match=r"several tables \(Labels\.CSV, labels\.jsonl\); keep one of them"):
        read_folder(flat)


@pytest.mark.parametrize("name", ["labels.csv", "labels.jsonl", "any.tsv"])
def test_a_pipe_in_place_of_a_table_is_refused_at_once(flat, name):
    os.mkfifo(flat / name)
    with pytest.raises(RequestError, match=rf"{name} is not an ordinary file, no table"):
        read_folder(flat)


def test_a_folder_in_place_of_a_table_is_refused(flat):
    (flat / "labels.csv").mkdir()
    with pytest.raises(RequestError, match=r"labels\.csv is a folder, no table"):
        read_folder(flat)


def test_a_table_without_labels_beside_class_folders_says_so(class_folder):
    files = [f"{c}/{i}.png" for c in ("cat", "dog", "owl") for i in range(8)]
    (class_folder / "captions.csv").write_text("file,caption\n" + "".join(f"{file},a pet\n" for file in files))
    dataset = read_folder(class_folder)
    assert dataset.labels.shape == (24, 0) and dataset.texts == ("a pet",) * 24
    assert dataset.notes == ("pictures without labels: captions.csv has no column of labels",)
