import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from hamguard.core.errors import ImageError, RequestError, RunError
from hamguard.images.io import check_picture, decode, encode, encode_bytes, probe

pictures = hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)))
grays = hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)))


def saved(picture: Image.Image, kind: str, **options) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


@settings(deadline=None)
@given(st.one_of(pictures, grays), st.sampled_from(["png", "bmp"]))
def test_lossless_formats_give_back_every_pixel(image, kind):
    assert np.array_equal(decode(encode_bytes(image, kind)), image)


@settings(deadline=None)
@given(pictures)
def test_webp_at_100_is_exact(image):
    assert np.array_equal(decode(encode_bytes(image, "webp", quality=100)), image)


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_lossy_formats_keep_size_and_look(kind):
    ramp = np.tile(np.arange(0, 256, 4, dtype=np.uint8)[None, :, None], (48, 1, 3))
    seen = decode(encode_bytes(ramp, kind, quality=95))
    assert seen.shape == (48, 64, 3)
    assert np.abs(seen.astype(int) - ramp).mean() < 3


def test_a_picture_is_turned_upright_by_its_exif_orientation(tmp_path):
    wide = np.zeros((4, 8, 3), np.uint8)
    wide[:, :4] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees clockwise
    path = tmp_path / "turned.png"
    Image.fromarray(wide).save(path, exif=exif)
    assert decode(path).shape == (8, 4, 3)
    assert np.array_equal(decode(path), np.rot90(wide, -1))
    assert probe(path) == (8, 4, False)


def test_transparency_is_laid_on_white():
    layer = np.zeros((2, 2, 4), np.uint8)
    layer[0, 0] = (10, 20, 30, 255)
    layer[1, 1] = (0, 0, 0, 128)
    seen = decode(saved(Image.fromarray(layer), "PNG"))
    assert seen[0, 0].tolist() == [10, 20, 30]
    assert seen[0, 1].tolist() == [255, 255, 255]
    assert abs(int(seen[1, 1, 0]) - 127) <= 1


def test_a_palette_with_a_transparent_color_is_laid_on_white():
    picture = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    picture.putpalette([200, 0, 0, 0, 200, 0])
    seen = decode(saved(picture, "PNG", transparency=1))
    assert seen.tolist() == [[[200, 0, 0], [255, 255, 255]]]


def test_gray_stays_gray_unless_asked():
    data = encode_bytes(np.full((3, 5), 77, np.uint8), "png")
    assert decode(data).shape == (3, 5)
    assert np.array_equal(decode(data, gray=False), np.full((3, 5, 3), 77))
    assert decode(encode_bytes(np.zeros((3, 5, 3), np.uint8), "png"), gray=True).shape == (3, 5)
    assert probe(data) == (3, 5, True)


def test_sixteen_bits_are_scaled_to_eight():
    wide = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    assert decode(saved(Image.fromarray(wide), "PNG")).tolist() == [[0, 1, 128, 255]]


def test_black_and_white_and_cmyk_are_read():
    bits = Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")
    assert decode(saved(bits, "PNG")).tolist() == [[0, 255]]
    assert decode(saved(Image.new("CMYK", (4, 4), (0, 0, 0, 0)), "JPEG"))[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "bmp"])
def test_a_truncated_file_is_named(tmp_path, kind):
    rng = np.random.default_rng(0)
    path = tmp_path / f"holiday.{kind}"
    path.write_bytes(encode_bytes(rng.integers(0, 256, (64, 64, 3)).astype(np.uint8), kind)[:-400])
    with pytest.raises(ImageError, match=r"holiday\.\w+ (is truncated|cannot be decoded|is not a picture)"):
        decode(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"GIF89a" + bytes(40), b"\x89PNG\r\n\x1a\n" + bytes(30)])
def test_something_else_than_a_picture_is_named(tmp_path, content):
    path = tmp_path / "letter.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"letter\.png (is not a picture|cannot be decoded)"):
        decode(path)


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(ImageError, match=r"gone\.png does not exist"):
        decode(tmp_path / "gone.png")
    with pytest.raises(ImageError, match="is a folder"):
        probe(tmp_path)
    with pytest.raises(ImageError, match="/dev/zero cannot be decoded: it is no file"):
        decode("/dev/zero")


def test_too_many_pixels_are_refused_before_decoding():
    data = encode_bytes(np.zeros((20, 30, 3), np.uint8), "png")
    with pytest.raises(ImageError, match="big is too large: 30 x 20 = 600 pixels; the limit is 599 pixels"):
        decode(data, name="big", max_pixels=599)
    assert decode(data, max_pixels=600).shape == (20, 30, 3)


def test_the_default_limit_and_pillow_warning_are_errors():
    with pytest.raises(ImageError, match=r"is too large: 8000 x 7000 = 56,000,000 pixels; the limit is 50,000,000"):
        decode(saved(Image.new("1", (8000, 7000)), "PNG"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError, match="is too large"):  # past Pillow's own limit
            decode(saved(Image.new("1", (10_000, 9_500)), "PNG"), max_pixels=10**9)


def test_written_files_carry_no_metadata(tmp_path):
    exif = Image.Exif()
    exif[0x010F] = "Camera"
    exif.get_ifd(0x8825)[1] = "N"  # GPS
    source = tmp_path / "with.jpg"
    Image.new("RGB", (16, 16)).save(source, exif=exif)
    assert len(Image.open(source).getexif()) > 0
    encode(decode(source), tmp_path / "without.jpg")
    assert len(Image.open(tmp_path / "without.jpg").getexif()) == 0


def test_encode_writes_the_format_of_the_suffix_and_leaves_nothing_else(tmp_path):
    image = np.full((5, 6, 3), 9, np.uint8)
    for suffix, kind in ((".png", "PNG"), (".jpg", "JPEG"), (".webp", "WEBP"), (".bmp", "BMP")):
        encode(image, tmp_path / f"x{suffix}")
        assert Image.open(tmp_path / f"x{suffix}").format == kind
    assert len(list(tmp_path.iterdir())) == 4


def test_encode_refuses_what_is_no_picture(tmp_path):
    good = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(RequestError, match=r"unknown picture suffix '\.gif'"):
        encode(good, tmp_path / "x.gif")
    with pytest.raises(RequestError, match="unknown picture format 'tiff'"):
        encode_bytes(good, "tiff")
    with pytest.raises(RequestError, match="quality must be between 1 and 100, got 0"):
        encode_bytes(good, "jpeg", quality=0)
    with pytest.raises(RequestError, match="a picture must be uint8, got float32"):
        check_picture(good.astype(np.float32))
    with pytest.raises(RequestError, match=r"\(H, W\) or \(H, W, 3\), got \(4, 4, 4\)"):
        encode_bytes(np.zeros((4, 4, 4), np.uint8), "png")


def test_a_failed_write_is_a_run_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write"):
        encode(np.zeros((4, 4, 3), np.uint8), Path(tmp_path / "file" / "x.png"))
