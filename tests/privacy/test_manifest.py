from __future__ import annotations

import json
from pathlib import Path

import pytest

from hamguard.core.digests import digest_content
from hamguard.core.errors import DamagedError, RequestError, RunError, StaleError
from hamguard.privacy.manifest import LINES, SETTINGS, Entry, Manifest, Named, Settings, read_entries, read_settings
from hamguard.privacy.names import check_apart, check_free, copy_names, no_name


def made(**changes) -> Settings:
    facts = {
        "protector": Named(name="photos", hash="aa"), "eps": 8 / 255, "format": "png", "quality": 100,
        "metadata": "strip", "scale": "auto",
    }  # fmt: skip
    return Settings(**{**facts, **changes})


def done(file: str, source: str = "11", out: str = "") -> Entry:
    return Entry(
        file=file,
        source=source,
        out=out or file,
        copy_hash=digest_content(b"x"),
        status="done",
        height=2,
        width=3,
        change=8,
        rmse=0.01,
        psnr=40.0,
    )


def test_what_was_added_is_found_by_the_next_run(tmp_path: Path):
    first = Manifest(tmp_path, made())
    first.begin()
    (tmp_path / "a.png").write_bytes(b"x")
    first.add(done("a.png"))
    first.add(Entry(file="b.png", source="22", status="skipped", reason="b.png is truncated"))
    again = Manifest(tmp_path, made())
    assert again.kept("a.png", "11", "a.png") == done("a.png")
    assert again.kept("b.png", "22", "b.png").reason == "b.png is truncated"
    assert again.kept("a.png", "12", "a.png") is None  # its source has changed
    assert again.kept("a.png", "11", "a.jpg.png") is None  # its name has changed
    assert again.kept("c.png", "11", "c.png") is None
    assert again.owns("a.png") and not again.owns("b.png")
    assert [entry.file for entry in again.summary(["b.png", "c.png", "a.png"])] == ["b.png", "a.png"]
    (tmp_path / "a.png").unlink()  # a kill between line and file
    assert again.kept("a.png", "11", "a.png") is None
    assert read_settings(tmp_path).run == made().digest and read_entries(tmp_path)[0] == done("a.png")


def test_a_half_written_line_is_forgotten_and_does_not_spoil_the_next(tmp_path: Path):
    first = Manifest(tmp_path, made())
    first.begin()
    first.add(done("a.png"))
    whole = (tmp_path / LINES).read_bytes()
    (tmp_path / LINES).write_bytes(whole + b'{"file": "b.p')
    assert [entry.file for entry in read_entries(tmp_path)] == ["a.png"]
    again = Manifest(tmp_path, made())
    again.add(done("c.png"))
    assert [json.loads(line)["file"] for line in (tmp_path / LINES).read_text().splitlines()] == ["a.png", "c.png"]


@pytest.mark.parametrize(
    "changes",
    [
        {"eps": 4 / 255}, {"format": "webp"}, {"quality": 90}, {"metadata": "keep"}, {"scale": "full"}, {"refine": 3},
        {"seed": 1}, {"protector": Named(name="photos", hash="bb")}, {"matchers": [Named(name="m", hash="cc")]},
    ],
)  # fmt: skip
def test_other_settings_are_refused_and_named(tmp_path: Path, changes):
    Manifest(tmp_path, made()).begin()
    with pytest.raises(StaleError, match=f"other settings .*{next(iter(changes))}.*`restart`"):
        Manifest(tmp_path, made(**changes))
    assert made(**changes).digest != made().digest


def test_names_of_weights_and_the_version_do_not_make_another_run(tmp_path: Path):
    same = made(protector=Named(name="elsewhere", hash="aa"), version="99")
    assert same.digest == made().digest


def test_restart_removes_the_copies_that_protect_made_and_nothing_else(tmp_path: Path):
    out = tmp_path / "out"
    first = Manifest(out, made())
    first.begin()
    for name in ("a.png", "foreign.png"):
        (out / name).write_bytes(b"x")
    (tmp_path / "outside.png").write_bytes(b"x")
    first.add(done("a.jpg", out="a.png"))
    first.add(done("b.jpg", out="../outside.png"))  # a line that somebody else wrote
    again = Manifest(out, made(seed=5), restart=True)
    assert sorted(path.name for path in out.iterdir()) == ["foreign.png"]
    assert (tmp_path / "outside.png").exists()
    assert not again.entries and not again.owns("a.png")


def test_foreign_files_are_refused(tmp_path: Path):
    with pytest.raises(RequestError, match="was not written by hamguard protect: it has no"):
        read_settings(tmp_path)
    (tmp_path / SETTINGS).write_text('{"other": 1}')
    with pytest.raises(RequestError, match=r"protect.json was not written by hamguard protect, or is damaged"):
        Manifest(tmp_path, made(), restart=True)
    (tmp_path / SETTINGS).unlink()
    (tmp_path / LINES).write_text("{}\n")
    with pytest.raises(RequestError, match="is there without protect.json"):
        Manifest(tmp_path, made())
    Manifest(None, made()).add(done("a"))  # one picture: nothing is written
    (tmp_path / LINES).unlink()
    Manifest(tmp_path, made()).begin()
    (tmp_path / LINES).write_text("hello\n")
    with pytest.raises(RequestError, match=r"protect.jsonl is damaged: line 1 is not a JSON object"):
        Manifest(tmp_path, made())
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="is a file; a folder"):
        Manifest(tmp_path / "file", made())


def test_a_line_that_cannot_be_written_is_one_error(tmp_path: Path):
    manifest = Manifest(tmp_path, made())
    (tmp_path / LINES).mkdir()
    with pytest.raises(RunError, match=r"cannot write .*protect.jsonl"):
        manifest.add(done("a.png"))


def test_names_of_copies():
    files = ["a.jpg", "a.png", "a.webp", "b/a.jpg", "c.JPG", "C.jpeg", "d.jpg", "d.jpg.png", "d.png"]
    names = copy_names(files, "png")
    assert names == {
        "a.jpg": "a.jpg.png", "a.png": "a.png", "a.webp": "a.webp.png", "b/a.jpg": "b/a.png", "c.JPG": "c.JPG.png",
        "C.jpeg": "C.png", "d.jpg": "d.jpg.2.png", "d.jpg.png": "d.jpg.png", "d.png": "d.png",
    }  # fmt: skip
    assert len({name.casefold() for name in names.values()}) == len(files)
    assert copy_names(list(reversed(files)), "png") == names
    assert copy_names(["x.JPEG", "y.png"], "jpeg") == {"x.JPEG": "x.JPEG", "y.png": "y.jpg"}


def test_originals_are_never_in_the_way(tmp_path: Path):
    photos = tmp_path / "photos"
    (photos / "inner").mkdir(parents=True)
    link = tmp_path / "link"
    link.symlink_to(photos)
    for out in (photos, link, photos / ".." / "photos"):
        with pytest.raises(RequestError, match="itself; originals are never overwritten"):
            check_apart(photos, out)
    for out in (photos / "copies", photos / "inner", link / "copies"):
        with pytest.raises(RequestError, match="lies in .*copies among originals"):
            check_apart(photos, out)
    with pytest.raises(RequestError, match="originals are never overwritten"):
        check_apart(photos, tmp_path)
    check_apart(photos, tmp_path / "photos2")
    one = photos / "a.png"
    one.write_bytes(b"x")
    (tmp_path / "hard.png").hardlink_to(one)
    for out in (one, tmp_path / "hard.png"):
        with pytest.raises(RequestError, match="itself"):
            check_apart(one, out)
    check_apart(one, tmp_path)  # beside which the folder of the picture lies


def test_foreign_files_are_never_overwritten(tmp_path: Path):
    out, other = tmp_path / "out", tmp_path / "other"
    out.mkdir()
    other.mkdir()
    check_free(out, ["a.png", "b/c.png"], lambda name: False)
    (out / "a.png").write_bytes(b"x")
    with pytest.raises(RequestError, match=r"a.png exists and was not written by hamguard protect"):
        check_free(out, ["a.png"], lambda name: False)
    check_free(out, ["a.png"], lambda name: name == "a.png")
    (out / "b").symlink_to(other)
    with pytest.raises(RequestError, match="leads out of .* by a link"):
        check_free(out, ["b/c.png"], lambda name: True)


def write_one(folder: Path) -> Manifest:
    manifest = Manifest(folder, made())
    manifest.begin()
    (folder / "a.png").write_bytes(b"x")
    manifest.add(done("a.png"))
    return manifest


def test_a_copy_that_is_not_what_was_written_is_not_kept(tmp_path: Path):
    write_one(tmp_path)
    for content in (b"", b"y", b"xx"):
        (tmp_path / "a.png").write_bytes(content)
        again = Manifest(tmp_path, made())
        assert again.kept("a.png", "11", "a.png") is None and again.changed == ["a.png"] and again.owns("a.png")
    with (tmp_path / "a.png").open("r+b") as stream:
        stream.truncate(40 * 10**9)  # a hole takes no room, and a minute to be hashed
    again = Manifest(tmp_path, made())
    assert again.kept("a.png", "11", "a.png") is None and again.changed == ["a.png"]
    (tmp_path / "a.png").unlink()
    assert again.kept("a.png", "11", "a.png") is None and again.changed == ["a.png"]
    (tmp_path / "a.png").mkdir()
    assert again.kept("a.png", "11", "a.png") is None


@pytest.mark.parametrize("old, new", [('"11"', '"12"'), ('"a.png"', '"b.png"'), ('"digest"', '"digits"'), ("8", "9")])
def test_a_changed_line_is_damage(tmp_path: Path, old: str, new: str):
    write_one(tmp_path)
    text = (tmp_path / LINES).read_text()
    assert old in text
    (tmp_path / LINES).write_text(text.replace(old, new, 1))
    for read in (lambda: Manifest(tmp_path, made()), lambda: read_entries(tmp_path)):
        with pytest.raises(DamagedError, match="protect.jsonl is damaged: line 1 was changed after it was written"):
            read()
    assert not Manifest(tmp_path, made(), restart=True).owns("a.png")
    assert (tmp_path / "a.png").exists(), "whose it is can no longer be known"


@pytest.mark.parametrize("change", [{"eps": 0.5}, {"digest": "0" * 16}, {"digest": None}, {"seed": 7}])
def test_changed_settings_are_damage(tmp_path: Path, change):
    write_one(tmp_path)
    told = json.loads((tmp_path / SETTINGS).read_text()) | change
    (tmp_path / SETTINGS).write_text(json.dumps({key: value for key, value in told.items() if value is not None}))
    with pytest.raises(DamagedError, match=r"protect\.json is damaged"):
        Manifest(tmp_path, made())


def test_files_of_version_0_1_0_may_be_replaced_but_are_not_trusted(tmp_path: Path):
    old = {key: value for key, value in made().model_dump().items() if key != "edition"} | {"run": made().digest}
    (tmp_path / SETTINGS).write_text(json.dumps(old))
    line = {key: value for key, value in done("a.png").model_dump().items() if key not in ("copy_hash", "frames")}
    (tmp_path / LINES).write_text(json.dumps(line) + "\n")
    (tmp_path / "a.png").write_bytes(b"x")
    again = Manifest(tmp_path, made())
    assert again.untrusted == 1 and again.owns("a.png") and again.kept("a.png", "11", "a.png") is None
    again.begin()
    again.add(done("a.png"))
    now = Manifest(tmp_path, made())
    assert now.untrusted == 0 and now.kept("a.png", "11", "a.png") == done("a.png")
    assert read_settings(tmp_path).edition == 2


def test_names_that_are_no_utf8_are_kept_as_they_are(tmp_path: Path):
    manifest = Manifest(tmp_path, made())
    manifest.begin()
    (tmp_path / "caf\udce9.png").write_bytes(b"x")
    manifest.add(done("caf\udce9.jpg", out="caf\udce9.png"))
    assert Manifest(tmp_path, made()).kept("caf\udce9.jpg", "11", "caf\udce9.png") is not None
    (tmp_path / LINES).read_text(encoding="utf-8")


def test_names_of_copies_of_odd_names():
    files = ["two.jfif", "plain", "IMG.2024", "v1.2", "v1.3", "x.thm", "MOVE.MPO"]
    assert copy_names(files, "png") == {
        "two.jfif": "two.png", "plain": "plain.png", "IMG.2024": "IMG.2024.png", "v1.2": "v1.2.png", "v1.3": "v1.3.png",
        "x.thm": "x.thm.png", "MOVE.MPO": "MOVE.png",
    }  # fmt: skip


def test_a_name_that_no_file_can_have_is_no_reason_to_stop(tmp_path: Path):
    check_free(tmp_path, ["x" * 260 + ".png", "a.png"], lambda name: False)
    assert no_name(tmp_path / ("x" * 260)) and not no_name(tmp_path / "a.png")
