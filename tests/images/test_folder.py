"""What lies in a folder: pictures by content, and a word on everything else."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hamguard.core.errors import RequestError
from hamguard.images.folder import (
    HIDDEN,
    LINKED,
    NO_PICTURE,
    UNREADABLE,
    LeftOut,
    left_out_note,
    list_pictures,
    look_into,
)
from hamguard.images.kinds import other_kind, read_format, without_suffix


def draw(path: Path, kind: str = "PNG") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path, kind)
    return path


def fill(folder: Path, **files: bytes) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def left(folder: Path) -> dict[str, str]:
    return {one.file: one.kind for one in look_into(folder).left}


def test_pictures_are_known_by_their_content_and_sorted(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "sub/c.webp", "two.jfif", "three.jpe", "plain", "odd.txt", "IMG.2024", "x.thm"):
        draw(tmp_path / name, "JPEG")
    draw(tmp_path / "d.dat", "WEBP")
    draw(tmp_path / "e.dat", "BMP")
    (tmp_path / "notes.txt").write_text("BM is the name of a car")
    found = look_into(tmp_path)
    assert found.pictures == sorted(
        [
            "b.png",
            "a.JPG",
            "sub/c.webp",
            "two.jfif",
            "three.jpe",
            "plain",
            "odd.txt",
            "IMG.2024",
            "x.thm",
            "d.dat",
            "e.dat",
        ]
    )
    assert found.left == [LeftOut("notes.txt", NO_PICTURE)]
    assert [path.relative_to(tmp_path).as_posix() for path in list_pictures(tmp_path)] == found.pictures


def test_what_is_called_a_picture_and_holds_none_is_for_its_reader_to_name(tmp_path: Path) -> None:
    fill(tmp_path, **{"text.jpg": b"no picture", "empty.png": b"", "really.jpeg": b"GIF89a", "empty": b""})
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "gone.webp").symlink_to(tmp_path / "nothing")
    (tmp_path / "loop.bmp").symlink_to(tmp_path / "loop.bmp")
    (tmp_path / "folder.jpg").mkdir()
    draw(tmp_path / "folder.jpg" / "a.png")
    found = look_into(tmp_path)
    assert found.pictures == [
        "empty.png", "folder.jpg/a.png", "gone.webp", "loop.bmp", "pipe.jpg", "really.jpeg", "text.jpg",
    ]  # fmt: skip
    assert found.left == [LeftOut("empty", NO_PICTURE)]


def test_everything_else_is_named(tmp_path: Path) -> None:
    heic = b"\0\0\0\x18ftypheic" + bytes(16)
    fill(
        tmp_path,
        **{
            "a.HEIC": heic, "b": heic, "c.gif": b"", "d.tif": b"II*\0", "e.nef": b"MM\0*", "f.mov": b"\0\0\0\x14ftypqt  ",
            "g.xmp": b"<x/>", ".x.jpg": b"", ".album/y.png": b"", ".album/notes": b"", "sub/.z": b"\xff\xd8\xff\xe0",
            "h.avif": b"\0\0\0\x18ftypavif",
        },
    )  # fmt: skip
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "elsewhere").symlink_to(tmp_path / "sub")
    (tmp_path / "circle").symlink_to(tmp_path)
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    draw(tmp_path / "one.png")
    assert left(tmp_path) == {
        "a.HEIC": "HEIC", "b": "HEIC", "c.gif": "GIF", "d.tif": "TIFF", "e.nef": "camera raw", "f.mov": "video",
        "g.xmp": NO_PICTURE, ".x.jpg": HIDDEN, ".album/y.png": HIDDEN, "sub/.z": HIDDEN, "h.avif": "AVIF", "pipe": UNREADABLE,
        "elsewhere": LINKED, "circle": LINKED, "dangling": UNREADABLE,
    }  # fmt: skip
    assert look_into(tmp_path).pictures == ["one.png"]


def test_files_of_systems_and_of_hamguard_are_not_worth_a_word(tmp_path: Path) -> None:
    names = [
        ".DS_Store",
        "Thumbs.db",
        "desktop.ini",
        "._a.jpg",
        "__MACOSX/._b.png",
        ".hamguard-abcd1234.png",
        ".git/config",
    ]
    fill(tmp_path, **dict.fromkeys(names, b""))
    assert look_into(tmp_path).left == [] and look_into(tmp_path).pictures == []


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path / "a.png")
    draw(tmp_path / "locked" / "b.png")
    scandir = os.scandir

    def refuse(place):
        if str(place).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refuse)
    assert look_into(tmp_path).pictures == ["a.png"] and left(tmp_path) == {"locked": UNREADABLE}
    with pytest.raises(RequestError, match="locked cannot be read: Permission denied"):
        look_into(tmp_path / "locked")


def test_the_note_has_counts_and_first_names(tmp_path: Path) -> None:
    files = [LeftOut(f"{n}.heic", "HEIC") for n in range(5)]
    assert left_out_note(files) == "left out: 5 HEIC (0.heic, 1.heic, 2.heic, ...)"
    assert left_out_note([LeftOut("a\n\x1b[2J.txt", NO_PICTURE)]) == "left out: 1 no picture (a\\n\\x1b[2J.txt)"
    assert left_out_note([]) == ""


def test_missing_and_empty_folders_are_errors(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="does not exist"):
        list_pictures(tmp_path / "gone")
    with pytest.raises(RequestError, match=r"holds no picture; looked for \.png"):
        list_pictures(tmp_path)
    (tmp_path / "x.gif").write_bytes(b"")
    with pytest.raises(RequestError, match=r"holds no picture; .*left out: 1 GIF \(x\.gif\)"):
        list_pictures(tmp_path)
    with pytest.raises(RequestError, match=r"x\.gif is a file"):
        list_pictures(tmp_path / "x.gif")


@pytest.mark.parametrize(
    ("head", "suffix", "kind"),
    [
        (b"II*\0\x10\0\0\0CR", ".jpg", "camera raw"), (b"\0\0\0\x18ftypcrx ", "", "camera raw"), (b"\xff\x0a", "", "JPEG XL"),
        (b"\0\0\0\x18ftypisom", "", "video"), (b"RIFF\0\0\0\0AVI ", "", "video"), (b"RIFF\0\0\0\0WAVE", ".wav", None),
        (b"\xff\xd8", "", None), (b"", ".svg", "SVG"),
    ],
)  # fmt: skip
def test_kinds_that_are_not_read(head: bytes, suffix: str, kind: str | None) -> None:
    assert other_kind(head, suffix) == kind and read_format(head) is None


def test_only_suffixes_of_pictures_are_taken_off() -> None:
    names = ["a.jpg", "b/two.JFIF", "IMG.2024", "plain", "v1.2", "x.tar.png"]
    assert [without_suffix(name) for name in names] == ["a", "b/two", "IMG.2024", "plain", "v1.2", "x.tar"]
