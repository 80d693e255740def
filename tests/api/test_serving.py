"""`hg.protect_image`: bytes to bytes, the same as `hg.protect` writes; broken bytes explain themselves."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.privacy.helpers import drawn, saved_protector, strong_protector, write

import hamguard as hg
from hamguard.api import serving
from hamguard.core.errors import ImageError, RequestError
from hamguard.models.protector_store import save_protector


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_protector(tmp_path_factory.mktemp("weights") / "strong")


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 0.0)})
    exif[0x010E] = "a house"
    return exif


def file_of(kind: str, height: int = 40, width: int = 56, layers: int = 3, **words: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(drawn(height, width, layers)).save(out, kind, **words)
    return out.getvalue()


SAME = [
    ("a.png", {"kind": "PNG"}, {}),
    ("a.jpg", {"kind": "JPEG", "exif": exif_of(6)}, {"format": "jpeg", "metadata": "no-location"}),
    ("a.jpg", {"kind": "JPEG", "exif": exif_of(8)}, {"format": "webp", "quality": 80, "metadata": "keep", "eps": "4/255"}),
    ("a.webp", {"kind": "WEBP", "layers": 4, "lossless": True}, {"format": "webp", "quality": 100, "scale": "fit"}),
    ("a.bmp", {"kind": "BMP", "layers": 1}, {"format": "png", "scale": "full"}),
    ("a.jpg", {"kind": "JPEG", "height": 130, "width": 200, "quality": 90}, {"format": "jpeg", "quality": 90}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "file", "options"), SAME)
def test_bytes_are_those_that_protect_writes(
    net: Path, tmp_path: Path, name: str, file: dict[str, object], options: dict[str, object]
) -> None:
    content = file_of(**file)  # type: ignore[arg-type]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(content)
    made = hg.protect(tmp_path / "in" / name, tmp_path / "out", protector=net, check=0, **options)  # type: ignore[arg-type]
    copy = (tmp_path / "out" / made.entries[0].out).read_bytes()
    assert hg.protect_image(content, protector=net, **options) == copy != content  # type: ignore[arg-type]
    assert hg.protect_image(memoryview(content), protector=net, **options) == copy  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "format", "wanted"),
    [("JPEG", None, "JPEG"), ("PNG", None, "PNG"), ("WEBP", None, "WEBP"), ("BMP", None, "PNG"), ("PNG", "jpeg", "JPEG")],
)  # fmt: skip
def test_a_copy_keeps_its_format_unless_another_is_asked_for(
    net: Path, kind: str, format: str | None, wanted: str
) -> None:
    copy = hg.protect_image(file_of(kind), protector=net, format=format)
    assert Image.open(io.BytesIO(copy)).format == wanted
    lossy = hg.protect_image(file_of(kind), protector=net, quality=50)  # said once for all pictures of a site
    assert Image.open(io.BytesIO(lossy)).format == (wanted if format is None else kind)


def test_copies_are_upright_bounded_and_say_no_places(net: Path) -> None:
    content = file_of("JPEG", exif=exif_of(6))
    upright = np.asarray(Image.open(io.BytesIO(content)).transpose(Image.Transpose.ROTATE_270)).astype(int)
    for metadata in ("strip", "no-location", "keep"):
        copy = Image.open(io.BytesIO(hg.protect_image(content, protector=net, format="png", metadata=metadata)))
        moved = np.abs(np.asarray(copy).astype(int) - upright)
        assert copy.size == (40, 56) and 0 < moved.max() <= 8
        assert bool(copy.getexif().get_ifd(0x8825)) == (metadata == "keep")
        assert (copy.getexif().get(0x010E) == "a house") == (metadata != "strip")


def test_the_protector_is_loaded_once_by_all_threads(
    net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, opened = [], serving.opened_protector
    monkeypatch.setattr(serving, "opened_protector", lambda name: (loaded.append(name), opened(name))[1])
    serving._loaded.cache_clear()
    content, copies = file_of("PNG"), []
    threads = [
        threading.Thread(target=lambda: copies.append(hg.protect_image(content, protector=net))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loaded) == 1 and len(copies) == 6 and len(set(copies)) == 1
    other = tmp_path / "other"
    save_protector(strong_protector(seed=3), other, side=64)
    assert hg.protect_image(content, protector=other) != copies[0]
    save_protector(strong_protector(seed=4), other, side=64)  # trained anew
    assert hg.protect_image(content, protector=other) not in (copies[0],) and len(loaded) == 3


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"", "picture is not a picture: it is empty"),
        (b"dear diary", "picture is not a picture; JPEG, PNG, WebP and BMP are read"),
        (b"GIF89a" + bytes(40), "not a picture of a kind that is read, but GIF"),
        (file_of("PNG")[:200], "is truncated"),
        (file_of("JPEG")[:12], "cannot be decoded|is truncated"),
    ],
)
def test_broken_bytes_are_named(net: Path, data: bytes, line: str) -> None:
    with pytest.raises(ImageError, match=line):
        hg.protect_image(data, protector=net)


def test_limits_are_kept(net: Path) -> None:
    content = file_of("PNG")
    with pytest.raises(ImageError, match=r"has [0-9,]+ bytes, too many; the limit is 1,000"):
        hg.protect_image(content, protector=net, max_bytes=1000)
    with pytest.raises(ImageError, match="56 x 40 = 2,240 pixels; the limit is 2,000 pixels"):
        hg.protect_image(content, protector=net, max_pixels=2000)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"format": "gif"}, "unknown picture format 'gif'"),
        ({"quality": 0}, "quality must be between 1 and 100"),
        ({"format": "png", "quality": 90}, "quality 90 belongs to jpeg and webp"),
        ({"metadata": "all"}, "unknown metadata 'all'"),
        ({"scale": "big"}, "unknown scale 'big'"),
        ({"eps": 8}, "eps must be in"),
        ({"protector": "none"}, "none is not a protector folder"),
        ({"max_pixels": 0}, "max_pixels must be at least 1"),
    ],
)
def test_wrong_options_explain_themselves(given: dict[str, object], line: str) -> None:
    with pytest.raises(RequestError, match=line):
        hg.protect_image(file_of("PNG"), **given)  # type: ignore[arg-type]


def test_a_path_is_no_picture(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="data must be the bytes of a picture file, got .*; hg.protect takes paths"):
        hg.protect_image(write(tmp_path / "a.png"))  # type: ignore[arg-type]
