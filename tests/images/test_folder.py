import pytest

from hamguard.core.errors import RequestError
from hamguard.images.folder import list_pictures, unread_pictures


def test_pictures_are_sorted_and_other_files_left_out(tmp_path):
    for name in ("b.png", "a.JPG", "sub/c.webp", "notes.txt", ".hidden.png", ".thumbs/d.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    found = [path.relative_to(tmp_path).as_posix() for path in list_pictures(tmp_path)]
    assert found == ["a.JPG", "b.png", "sub/c.webp"]
    assert len(list_pictures(tmp_path, recursive=False)) == 2


def test_missing_and_empty_folders_are_errors(tmp_path):
    with pytest.raises(RequestError, match="does not exist"):
        list_pictures(tmp_path / "gone")
    with pytest.raises(RequestError, match=r"holds no picture; looked for \.png"):
        list_pictures(tmp_path)
    (tmp_path / "x.png").write_bytes(b"")
    with pytest.raises(RequestError, match=r"x\.png is a file"):
        list_pictures(tmp_path / "x.png")


def test_pictures_in_other_formats_are_counted(tmp_path):
    for name in ("a.gif", "b.GIF", "sub/c.tif", "d.png", ".hidden.gif"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    assert unread_pictures(tmp_path) == {".gif": 2, ".tif": 1}
