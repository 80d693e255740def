from __future__ import annotations

import io
import lzma
import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from hamguard.core import archives
from hamguard.core.archives import check_unpacked, read_at_most, read_npz
from hamguard.core.errors import RequestError


def header(shape: tuple[int, ...]) -> bytes:
    """Head of an `.npy` file that announces an array of bytes."""
    words = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(words) + 1) + words + b"\n"


def test_arrays_come_back_and_other_members_are_left_out(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(3), name=np.array("word"))
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("labels", b"not an array")
    found = read_npz(tmp_path / "a.npz", "data set")
    assert sorted(found) == ["name", "x"] and found["x"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("shape", [(1 << 40, 28, 28), (1 << 24, 28, 28), (1 << 70,), (-1,)])
def test_an_array_that_announces_more_than_is_there(shape: tuple[int, ...], tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as archive:
        archive.writestr("images.npy", header(shape) + b"abc")
    with pytest.raises(
        RequestError, match=r"bomb\.npz is damaged: images says that it has -?[\d,]+ bytes, there are 3"
    ) as caught:
        read_npz(tmp_path / "bomb.npz", "data set")
    assert "\n" not in str(caught.value)


def test_a_file_that_unpacks_beyond_the_memory_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "zeros.npz", x=np.zeros(1 << 20, np.uint8))
    monkeypatch.setattr(archives, "memory_bytes", lambda: 1 << 19)
    with pytest.raises(RequestError, match=r"zeros\.npz unpacks to 1,048,\d+ bytes, more than the memory"):
        read_npz(tmp_path / "zeros.npz", "data set")
    with pytest.raises(RequestError, match="unpacks to 524,289 bytes"):
        check_unpacked(tmp_path / "zeros.npz", (1 << 19) + 1)
    check_unpacked(tmp_path / "zeros.npz", 1 << 19)


def test_other_files_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"no code bank at .*gone\.npz: the file does not exist"):
        read_npz(tmp_path / "gone.npz", "code bank")
    np.save(tmp_path / "one.npy", np.arange(3))
    with pytest.raises(RequestError, match=r"one\.npy is not a readable .npz file; named arrays"):
        read_npz(tmp_path / "one.npy", "codes")
    np.savez(tmp_path / "objects.npz", x=np.array([{}], dtype=object))
    with pytest.raises(RequestError, match=r"objects\.npz holds Python objects"):
        read_npz(tmp_path / "objects.npz", "codes")


def test_a_header_of_python_2_is_read_without_a_word(tmp_path: Path) -> None:
    head = b"{'descr': '|u1', 'fortran_order': False, 'shape': (3L,), }".ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "old.npz", "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + b"abc")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_npz(tmp_path / "old.npz", "codes")["x"].tolist() == list(b"abc")


def test_a_stream_is_read_to_its_end_or_refused() -> None:
    packed = lzma.compress(bytes(1000))
    with lzma.open(io.BytesIO(packed)) as stream:
        assert len(read_at_most(stream, 1000, Path("l.xz"))) == 1000
    with lzma.open(io.BytesIO(packed)) as stream:
        with pytest.raises(RequestError, match=r"l\.xz unpacks to more than 999 bytes"):
            read_at_most(stream, 999, Path("l.xz"))
