from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms

from hamguard.core.errors import ImageError, RequestError
from hamguard.images.io import decode
from hamguard.images.originals import Original, encode_original, lay_on_white, read_original, strips

GPS, EXIF, MAKER, ORIENTATION = 0x8825, 0x8769, 0x927C, 0x0112


def drawn(height=12, width=17, layers=3, seed=0) -> np.ndarray:
    shape = (height, width, layers) if layers > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def saved(picture: Image.Image, kind: str, **options) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def full_exif(orientation: int = 6) -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F] = "Camera"
    exif[ORIENTATION] = orientation
    exif[0x02BC] = b"<x:xmpmeta>somewhere</x:xmpmeta>"  # an XMP packet inside EXIF
    exif[0xC4A5] = b"x" * 40  # known by name
    exif[0xFDE8] = "my street 5"  # a field nobody knows
    exif[EXIF] = {0x9003: "2024:01:02 03:04:05", MAKER: b"secret" * 9, 0xA002: 17, 0xA003: 12}
    exif[GPS] = {1: "N", 2: (48.0, 8.0, 0.0), 3: "E", 4: (11.0, 34.0, 0.0)}
    return exif


def with_thumbnail(content: bytes) -> bytes:
    """The same JPEG with an IFD1 thumbnail behind its EXIF block, as cameras write it."""
    small = saved(Image.new("RGB", (8, 8), "red"), "JPEG")
    # TIFF, big endian: IFD0 with a maker's name, then IFD1 with offset and length of the thumbnail
    ifd0 = b"\x00\x01" + b"\x01\x0f\x00\x02\x00\x00\x00\x04ABC\x00"
    first = 8 + len(ifd0) + 4
    ifd1_length = 2 + 2 * 12 + 4
    at = first + ifd1_length
    entry = b"\x00\x04\x00\x00\x00\x01"
    ifd1 = b"\x00\x02\x02\x01" + entry + at.to_bytes(4, "big") + b"\x02\x02" + entry + len(small).to_bytes(4, "big")
    tiff = b"MM\x00\x2a\x00\x00\x00\x08" + ifd0 + first.to_bytes(4, "big") + ifd1 + b"\x00" * 4 + small
    block = b"Exif\x00\x00" + tiff
    return content[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + content[2:]


def exif_of(content: bytes) -> Image.Exif:
    return Image.open(io.BytesIO(content)).getexif()


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]), st.booleans(), st.sampled_from(["png", "webp"]))
def test_exact_formats_give_back_every_layer(height, width, layers, clear, kind):
    pixels = drawn(height, width, layers)
    original = Original(pixels, drawn(height, width, 1, seed=1) if clear else None)
    back = read_original(encode_original(original, kind, quality=100))
    if kind == "webp" and layers == 1:  # WebP has no gray
        assert np.array_equal(back.pixels, np.repeat(pixels[..., None], 3, 2))
    else:
        assert np.array_equal(back.pixels, pixels)
    if not clear or (original.alpha == 255).all():
        assert back.alpha is None or (back.alpha == 255).all()
    else:
        assert np.array_equal(back.alpha, original.alpha)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "transparent P", "transparent L"])
def test_a_person_sees_what_decode_gives(mode):
    base = Image.fromarray(drawn(9, 11, 4), "RGBA") if mode == "RGBA" else Image.fromarray(drawn(9, 11))
    options = {}
    if mode.startswith("transparent"):
        base, options = base.convert(mode.split()[1]), {"transparency": 3}
    elif mode == "I;16":
        base = Image.fromarray(np.random.default_rng(0).integers(0, 65536, (9, 11)).astype(np.uint16))
    elif mode == "LA":
        base = base.convert("L")
        base.putalpha(Image.fromarray(drawn(9, 11, 1)))
    else:
        base = base.convert(mode)
    content = saved(base, "PNG", **options)
    found = read_original(content)
    assert (found.pixels.ndim == 2) == (mode in {"1", "L", "LA", "I;16", "transparent L"})
    assert (found.alpha is None) == (mode in {"1", "L", "P", "RGB", "I;16"})
    assert np.array_equal(found.seen, decode(content, gray=found.pixels.ndim == 2))


def test_jpeg_lays_transparency_on_white():
    original = Original(np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8))
    back = read_original(encode_original(original, "jpeg"))
    assert back.alpha is None and back.pixels.min() >= 254


def test_laying_on_white_in_strips_is_laying_at_once(monkeypatch):
    pixels, alpha = drawn(20, 6), drawn(20, 6, 1, seed=2)
    whole = lay_on_white(pixels, alpha)
    monkeypatch.setattr("hamguard.images.originals.STRIP_PIXELS", 13)
    assert [part.stop - part.start for part in strips(20, 6)] == [2] * 10
    assert np.array_equal(lay_on_white(pixels, alpha), whole)


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
def test_metadata_rules(kind):
    photo = saved(
        Image.fromarray(drawn()), "JPEG", exif=full_exif(), xmp=b"<x:xmpmeta>a place</x:xmpmeta>", comment=b"hi"
    )
    assert read_original(photo).pixels.shape == (17, 12, 3)  # upright
    assert GPS in exif_of(photo) and exif_of(photo)[ORIENTATION] == 6  # what must go was there

    bare = encode_original(read_original(photo, metadata="strip"), kind)
    assert not len(exif_of(bare)) and b"xmpmeta" not in bare and b"hi" not in Image.open(io.BytesIO(bare)).info.values()

    content = encode_original(read_original(photo, metadata="no-location"), kind)
    exif = exif_of(content)
    assert exif[0x010F] == "Camera" and exif[ORIENTATION] == 1
    inner = exif.get_ifd(EXIF)
    assert inner[0x9003].startswith("2024") and (inner[0xA002], inner[0xA003]) == (12, 17) and MAKER not in inner
    assert GPS not in exif and not exif.get_ifd(GPS)
    assert 0x02BC not in exif and 0xFDE8 not in exif
    assert not any(word in content for word in (b"xmpmeta", b"my street", b"secret"))

    content = encode_original(read_original(photo, metadata="keep"), kind)
    exif = exif_of(content)
    assert exif.get_ifd(GPS)[1] == "N" and exif[ORIENTATION] == 1 and 0xFDE8 in exif
    assert b"a place" in content and b"secret" not in content  # maker notes hold previews
    assert read_original(content).pixels.shape == (17, 12, 3)  # not turned twice


@pytest.mark.parametrize("metadata", ["strip", "no-location", "keep"])
def test_the_thumbnail_shows_the_unprotected_picture_and_goes(metadata):
    photo = with_thumbnail(saved(Image.fromarray(drawn(40, 40)), "JPEG"))
    assert exif_of(photo).get_ifd(ExifTags.IFD.IFD1)[0x0202] > 0 and photo.count(b"\xff\xd8\xff") == 2
    content = encode_original(read_original(photo, metadata=metadata), "jpeg")
    assert content.count(b"\xff\xd8\xff") == 1
    assert not exif_of(content).get_ifd(ExifTags.IFD.IFD1)
    assert (exif_of(content).get(0x010F) == "ABC") == (metadata != "strip")


def test_xmp_with_a_picture_in_it_goes():
    packet = b"<x:xmpmeta><xmpGImg:image>AAAA</xmpGImg:image></x:xmpmeta>"
    photo = saved(Image.fromarray(drawn()), "JPEG", xmp=packet)
    assert read_original(photo, metadata="keep").xmp == b""


def test_the_color_profile_stays_unless_the_colors_change():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo = saved(Image.fromarray(drawn()), "JPEG", icc_profile=profile)
    for kind in ("png", "jpeg", "webp"):
        content = encode_original(read_original(photo), kind)
        assert Image.open(io.BytesIO(content)).info["icc_profile"] == profile
    inks = saved(Image.fromarray(drawn()).convert("CMYK"), "JPEG", icc_profile=profile)
    found = read_original(inks)
    assert found.icc == b"" and found.pixels.shape == (12, 17, 3)


def test_a_damaged_exif_block_hides_no_pixels():
    photo = bytearray(saved(Image.fromarray(drawn()), "JPEG", exif=full_exif(1)))
    at = photo.index(b"Exif\x00\x00") + 6
    photo[at : at + 60] = b"\xff" * 60
    found = read_original(bytes(photo), metadata="keep")
    assert found.pixels.shape == (12, 17, 3) and found.exif == b""


def test_broken_files_and_wrong_words(tmp_path: Path):
    photo = saved(Image.fromarray(drawn(60, 60)), "JPEG")
    with pytest.raises(ImageError, match="holiday.jpg is truncated"):
        read_original(photo[: len(photo) // 2], name="holiday.jpg")
    with pytest.raises(ImageError, match="is not a picture"):
        read_original(b"no picture")
    with pytest.raises(ImageError, match="too large"):
        read_original(photo, max_pixels=100)
    with pytest.raises(RequestError, match="unknown metadata 'gps'; allowed: strip, no-location, keep"):
        read_original(photo, metadata="gps")  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="unknown picture format 'bmp'"):
        encode_original(Original(drawn()), "bmp")
    with pytest.raises(RequestError, match="quality must be between 1 and 100, got 0"):
        encode_original(Original(drawn()), "jpeg", quality=0)
    with pytest.raises(ImageError, match="wide.jpg cannot be written as webp"):
        encode_original(Original(drawn(1, 17000)), "webp", name="wide.jpg")
    with pytest.raises(RequestError, match="must be uint8"):
        encode_original(Original(np.zeros((2, 2))), "png")  # type: ignore[arg-type]
