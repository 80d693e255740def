import json

import pytest

from hamguard.core.errors import RequestError
from hamguard.data.table import read_table


@pytest.fixture
def table(tmp_path):
    def write(content, name="labels.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_table(path)

    return write


def labels_of(read):
    return {row.file: row.labels for row in read.rows}


CAT_DOG = {"a.png": ("cat",), "b.png": ("dog",), "c.png": ("cat", "dog"), "d.png": ("cat",)}
PLAIN = "file,labels\na.png,cat\nb.png,dog\nc.png,cat;dog\nd.png,cat\n"


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.replace(",", ", "),
        PLAIN.replace(",", " , ").replace("\n", " \n"),
        PLAIN.replace("\n", "\r\n"),
        "\ufeff" + PLAIN,
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", ";").replace("cat;dog", '"cat;dog"'),
        PLAIN.replace("cat;dog", '"cat;dog"').replace("a.png,cat", '"a.png","cat"'),
        PLAIN.replace("\n", ",\n"),
        PLAIN + ",\n , \n\n",
        "\n,\n" + PLAIN.replace("b.png", "\n  ,\t\nb.png"),
        PLAIN.replace("cat;dog", "cat; dog;"),
        PLAIN.replace("file,labels", "File,LABELS"),
    ],
    ids=[
        "plain", "space", "spaces", "crlf", "mark", "tabs", "semicolons", "quotes", "separator at the end", "blank at the end",
        "blank between", "space between labels", "case",
    ],
)  # fmt: skip
def test_one_table_written_in_many_ways(table, content):
    read = table(content)
    assert labels_of(read) == CAT_DOG
    assert (read.notes, read.labeled) == ((), True)


@pytest.mark.parametrize("name", ["label", "Labels", "class", "Classes", "tag", "tags", "Category", "categories"])
def test_columns_of_labels_go_by_several_names(table, name):
    assert labels_of(table(PLAIN.replace("labels", name))) == CAT_DOG
    lines = "".join(json.dumps({"file": file, name: list(names)}) + "\n" for file, names in CAT_DOG.items())
    read = table(lines, "labels.jsonl")
    assert labels_of(read) == CAT_DOG and read.notes == ()


@pytest.mark.parametrize("name", ["filename", "file_name", "Path", "image"])
def test_columns_of_files_go_by_several_names(table, name):
    assert labels_of(table(PLAIN.replace("file", name))) == CAT_DOG


def test_what_is_not_read_is_named(table):
    read = table("file,breed,,labels,class\na.png,x,7,cat,1\nb.png,y,8,dog,2\n")
    assert labels_of(read) == {"a.png": ("cat",), "b.png": ("dog",)}
    assert read.notes == ("columns of labels.csv that are not read: breed, (without a name), class",)
    unlabeled = table("file,breed\na.png,x\n")
    assert not unlabeled.labeled and unlabeled.notes == ("columns of labels.csv that are not read: breed",)
    lines = '{"file": "a.png", "labels": ["cat"], "box": [1, 2]}\n{"file": "b.png", "label": "dog", "author": "x"}\n'
    read = table(lines, "labels.jsonl")
    assert labels_of(read) == {"a.png": ("cat",), "b.png": ("dog",)}
    assert read.notes == ("columns of labels.jsonl that are not read: box, author",)


def test_text_and_split(table):
    read = table("file,Caption,SPLIT\na.png, a cat ,Train\nb.png,,\n")
    assert [(row.text, row.split) for row in read.rows] == [(" a cat ", "train"), ("", None)]


def test_class_numbers_with_decimals_are_whole(table):
    read = table("file,labels\na.png,1.0\nb.png,2\nc.png,\nd.png,10.\n")
    assert labels_of(read) == {"a.png": ("1",), "b.png": ("2",), "c.png": (), "d.png": ("10",)}
    assert read.notes == ("class numbers with decimals are read as whole ones: 1.0 as 1",)
    lines = '{"file": "a.png", "label": 1.0}\n{"file": "b.png", "label": 1}\n'
    assert labels_of(table(lines, "labels.jsonl")) == {"a.png": ("1",), "b.png": ("1",)}
    versions = table("file,labels\na.png,1.0\nb.png,one\n")
    assert labels_of(versions)["a.png"] == ("1.0",) and versions.notes == ()


def test_signs_inside_labels_are_said(table):
    read = table('file,labels\na.png,"Egyptian cat, tabby"\nb.png,dog\n')
    assert labels_of(read)["a.png"] == ("Egyptian cat, tabby",)
    assert read.notes == (
        "1 labels of labels.csv hold a sign that separates elsewhere and are read as one name each, "
        "first Egyptian cat, tabby; only ; separates labels",
    )
    assert len(table("file,labels\na.png,sea lion\nb.png,sea\nc.png,lion\n").notes) == 1
    assert table("file,labels\na.png,hot dog\nb.png,dog\n").notes == ()


AMBIGUOUS = [
    ("file,labels\na.png,cat|dog\nb.png,cat\nc.png,dog\n", r"'cat\|dog' of a\.png can be read as one label, or as cat and dog"),
    ("file;labels\na.png;cat,dog\nb.png;cat\nc.png;dog\n", "'cat,dog' of a.png can be read as one label, or as cat and dog"),
    ("file,labels\na.png,1;0;0\nb.png,0;1;1\n", r"labels of a\.png \(1 0 0\) can be read as labels called 0 and 1, or as one mark"),
    ("file,labels\na.png,1 0\nb.png,0 1\n", r"labels of a\.png \(1 0\) can be read as labels called 0 and 1"),
    ("file,labels\na.png,\"['cat', 'dog']\"\n", r"line 2: the labels \"\['cat', 'dog'\]\" are a list written as text"),
    ("file,labels\na.png,cat,dog\n", r"line 2 has 3 cells, there are 2 columns; put quotes around a cell that holds a comma"),
    ("file;labels\na.png;cat;dog\n", "line 2 has 3 cells, there are 2 columns; put quotes .* holds a semicolon"),
    ("file,class,tags\na.png,1,cat\n", "line 2: class and tags can both be read as the column labels; call one of them labels"),
    ("file,labels,Labels\na.png,1,cat\n", "has 2 columns called labels; keep one"),
    ("a.png,cat\nb.png,dog\n", "has no column called file: its first line is 'a.png,cat'"),
    ("", "has no column called file: its first line is ''"),
    ("file|labels\na.png|cat\n", "has no column called file"),
    ("file,labels\na.png,cat\n,dog\n", "line 3 has no file"),
    ('file,labels\na.png,"cat\nb.png,dog\n', "near line 3: a quotation mark is not closed"),
    ("file,labels,split\na.png,cat,test\n", "unknown split in labels.csv line 2 'test'"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "words"), AMBIGUOUS, ids=[content[:30] for content, _ in AMBIGUOUS])
def test_what_can_be_read_in_two_ways_or_not_at_all_is_one_line(table, content, words):
    with pytest.raises(RequestError, match=words) as caught:
        table(content)
    assert "\n" not in str(caught.value) and "unexpected" not in str(caught.value)


BAD_LINES = [
    (
        '{"file": "a.png", "labels": [1, 0, 0]}\n{"file": "b.png", "labels": [0, 1, 0]}',
        "can be read as labels called 0 and 1",
    ),
    (
        '{"file": "a.png", "labels": "cat;dog"}\n{"file": "b.png", "labels": ["cat", "dog"]}',
        "'cat;dog' of a.png can be read",
    ),
    ('{"file": "a.png", "labels": [null]}', "line 1: labels must be a list of names, got null"),
    ('{"file": "a.png", "labels": [["cat"]]}', "line 1: labels must be a list of names, got a list"),
    ('{"file": "a.png", "labels": true}', "line 1: labels must be a list of names, got true or false"),
    ('{"file": "a.png", "labels": ["a"], "labels": ["b"]}', "line 1 is not a JSON object: a key stands twice"),
    ('{"file": "a.png", "labels": ["a"], "Labels": ["b"]}', "line 1 has 2 columns called labels"),
    ('{"file": 7, "labels": ["a"]}', "line 1: file must be a path, got a number"),
    ('{"file": "a.png", "split": 1}', "line 1: split must be one of train, validation, query, database, got a number"),
    ('{"file": "a.png", "text": ["a"]}', "line 1: text must be text, got a list"),
    ('["a.png", "cat"]', "line 1 is not a JSON object: it is a list"),
    ("[" * 100_000, "line 1 is not a JSON object"),
]


@pytest.mark.parametrize(("content", "words"), BAD_LINES, ids=[content[:40] for content, _ in BAD_LINES])
def test_broken_json_lines_are_one_line(table, content, words):
    with pytest.raises(RequestError, match=words) as caught:
        table(content + "\n", "labels.jsonl")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["labels.csv", "labels.jsonl"])
@pytest.mark.parametrize("code", ["latin-1", "utf-16"])
def test_texts_that_are_no_utf8_are_refused(table, name, code):
    with pytest.raises(RequestError, match=rf"{name} is damaged: it is not UTF-8 text .*; save the table as UTF-8"):
        table("file,labels\na.png,Kätzchen\n".encode(code), name)
