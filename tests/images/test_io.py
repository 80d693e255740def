import io
import os
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageFile, ImageOps

from hamguard.core.errors import ImageError, RequestError, RunError
from hamguard.images.io import check_picture, decode, encode, encode_bytes, probe
from hamguard.images.originals import encode_original, read_original

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
    with pytest.raises(ImageError, match="/dev/zero is not an ordinary file"):
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
    with pytest.raises(ImageError, match="wide is too large: 196,000,000 pixels; the limit is 50,000,000 pixels$"):
        decode(saved(Image.new("1", (14_000, 14_000)), "PNG"), name="wide")  # past twice of it


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


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    values: np.ndarray, depth: int, color: int, *before: tuple[bytes, bytes], after: tuple[bytes, ...] = ()
) -> bytes:
    """A PNG of rows of samples `(H, W)` or `(H, W, C)`, with chunks before and, as bytes, behind the pixels."""
    rows = [row.reshape(-1) for row in values]
    packed = [
        row.astype(">u2").tobytes() if depth == 16 else np.packbits(
            np.unpackbits(row.astype(np.uint8)[:, None], axis=1)[:, 8 - depth :].reshape(-1)
        ).tobytes()
        for row in rows
    ]  # fmt: skip
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], depth, color, 0, 0, 0)
    parts = [chunk(b"IHDR", head), *(chunk(*one) for one in before)]
    parts += [chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in packed))), *after, chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(value: int, kind: int = 3, order: str = "big", gps: int = 0) -> bytes:
    """An EXIF block with an orientation, and the offset of a directory that may lie anywhere."""
    mark = ">" if order == "big" else "<"
    block = (b"MM" if order == "big" else b"II") + struct.pack(f"{mark}HIH", 42, 8, 2 if gps else 1)
    number = {1: "B3x", 2: "4s", 3: "H2x", 4: "I"}[kind]
    block += struct.pack(f"{mark}HHI{number}", 0x0112, kind, 1, str(value).encode() if kind == 2 else value)
    return block + (struct.pack(f"{mark}HHII", 0x8825, 4, 1, gps) if gps else b"") + bytes(4)


WIDE = np.arange(12, dtype=np.uint8).reshape(2, 6) * 20
XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
ITXT = b"XML:com.adobe.xmp\0\0\0\0\0" + XMP


@pytest.mark.parametrize(
    ("content", "turns"),
    [
        (png(WIDE, 8, 0, (b"eXIf", tiff(6))), 3),
        (png(WIDE, 8, 0, (b"eXIf", tiff(6, order="little"))), 3),
        (png(WIDE, 8, 0, (b"eXIf", tiff(8, kind=4))), 1),
        (png(WIDE, 8, 0, (b"eXIf", tiff(3, kind=1))), 2),
        (png(WIDE, 8, 0, (b"eXIf", tiff(6, gps=10**6))), 3),  # another field is damaged
        (png(WIDE, 8, 0, after=(chunk(b"eXIf", tiff(6)),)), 3),  # behind the pixels
        (png(WIDE, 8, 0, (b"iTXt", ITXT)), 3),
        (png(WIDE, 8, 0, after=(chunk(b"iTXt", ITXT),)), 3),
        (png(WIDE, 8, 0, (b"eXIf", tiff(3)), (b"iTXt", ITXT)), 2),  # EXIF goes first
        (png(WIDE, 8, 0, (b"eXIf", tiff(0)), (b"iTXt", ITXT)), 3),
        (png(WIDE, 8, 0, (b"eXIf", tiff(0))), 0),
        (png(WIDE, 8, 0, (b"eXIf", tiff(9))), 0),
        (png(WIDE, 8, 0, (b"eXIf", tiff(6, kind=2))), 0),
        (png(WIDE, 8, 0, (b"eXIf", tiff(6)[:18])), 0),  # torn before the value
        (png(WIDE, 8, 0, (b"eXIf", b"no block")), 0),
        (png(WIDE, 8, 0, (b"eXIf", b"")), 0),
    ],
)
def test_header_and_pixels_agree_on_how_a_picture_is_turned(content: bytes, turns: int):
    seen, known = decode(content), probe(content)
    assert np.array_equal(seen, np.rot90(WIDE, turns))
    assert (known.height, known.width) == seen.shape[:2] == read_original(content).pixels.shape[:2]


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG"])
@pytest.mark.parametrize("number", range(1, 9))
def test_all_turns_in_all_formats(kind: str, number: int):
    exif = Image.Exif()
    exif[0x0112] = number
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 24, 3)).astype(np.uint8))
    content = saved(photo, kind, exif=exif.tobytes(), **({"lossless": True} if kind == "WEBP" else {}))
    seen = decode(content)
    assert np.array_equal(seen, np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content)))))
    assert probe(content)[:2] == seen.shape[:2]


def test_a_damaged_field_beside_the_orientation_does_not_lay_a_photo_on_its_side(recwarn):
    photo = saved(
        Image.fromarray(np.zeros((16, 24, 3), np.uint8)), "JPEG", exif=b"Exif\0\0" + tiff(6, gps=38) + b"\0\x05" * 9
    )
    assert decode(photo).shape == (24, 16, 3) and probe(photo)[:2] == (24, 16)
    for metadata in ("strip", "no-location", "keep"):
        found = read_original(photo, metadata=metadata)
        assert found.pixels.shape == (24, 16, 3)
        assert decode(encode_original(found, "jpeg")).shape == (24, 16, 3)  # never turned twice
    assert not recwarn.list


def test_a_turn_that_only_xmp_knows_is_not_done_twice():
    photo = saved(Image.fromarray(np.zeros((16, 24, 3), np.uint8)), "JPEG", xmp=XMP)
    found = read_original(photo, metadata="keep")
    assert found.pixels.shape == (24, 16, 3) and b'tiff:Orientation="1"' in found.xmp
    assert decode(encode_original(found, "jpeg")).shape == (24, 16, 3)


STEP = np.array([[0, 1, 2, 3]])
GRAY16 = np.array([[0, 40000, 40001, 65535]])
COLOR16 = np.array([[[0x1234, 0x5678, 0x9ABC], [0x1235, 0x5678, 0x9ABC], [0x1234, 0x5678, 0x9ABD], [0, 0, 0]]])


@pytest.mark.parametrize(
    ("content", "pixels", "alpha"),
    [
        (png(GRAY16, 16, 0, (b"tRNS", struct.pack(">H", 40000))), [0, 156, 156, 255], [255, 0, 255, 255]),
        (png(GRAY16, 16, 0, (b"tRNS", struct.pack(">H", 0))), [0, 156, 156, 255], [0, 255, 255, 255]),
        (png(np.dstack([GRAY16, GRAY16[:, ::-1]]), 16, 4), [0, 156, 156, 255], [255, 156, 156, 0]),
        (png(COLOR16, 16, 2, (b"tRNS", struct.pack(">HHH", 0x1234, 0x5678, 0x9ABC))), None, [0, 255, 255, 255]),
        (png(STEP % 2, 1, 0, (b"tRNS", struct.pack(">H", 1))), [0, 255, 0, 255], [255, 0, 255, 0]),
        (png(STEP % 2, 1, 0, (b"tRNS", struct.pack(">H", 0))), [0, 255, 0, 255], [0, 255, 0, 255]),
        (png(STEP, 2, 0, (b"tRNS", struct.pack(">H", 1))), [0, 85, 170, 255], [255, 0, 255, 255]),
        (png(STEP * 5, 4, 0, (b"tRNS", struct.pack(">H", 5))), [0, 85, 170, 255], [255, 0, 255, 255]),
        (png(STEP, 8, 0, (b"tRNS", struct.pack(">H", 2))), [0, 1, 2, 3], [255, 255, 0, 255]),
        (png(STEP, 2, 3, (b"PLTE", bytes(range(12))), (b"tRNS", b"\0\x80\xff")), None, [0, 128, 255, 255]),
        (png(STEP, 8, 3, (b"PLTE", bytes(range(12))), (b"tRNS", b"\xff\xff\0")), None, [255, 255, 0, 255]),
    ],
)
def test_transparency_of_every_depth_is_kept(content: bytes, pixels: list[int] | None, alpha: list[int]):
    found = read_original(content)
    assert found.alpha.tolist() == [alpha]
    if pixels is not None:
        assert found.pixels.tolist() == [pixels]
    flat = decode(content)
    assert np.array_equal(found.seen, decode(content, gray=found.pixels.ndim == 2))
    clear = np.array(alpha) == 0
    assert (flat[0][clear] == 255).all() and not probe(content).gray
    back = read_original(encode_original(found, "png"))
    assert np.array_equal(back.alpha, found.alpha) and np.array_equal(back.pixels, found.pixels)


def odd_mpo(content: bytes) -> bytes:
    """A JPEG whose block of several pictures is damaged."""
    block = b"MPF\0" + b"II*\0\x08\0\0\0" + bytes(40)
    return content[:2] + b"\xff\xe2" + struct.pack(">H", len(block) + 2) + block + content[2:]


def test_no_warning_of_a_library_is_heard(recwarn):
    warnings.simplefilter("always")
    jpeg = saved(Image.fromarray(np.zeros((16, 24, 3), np.uint8)), "JPEG")
    torn = b"Exif\0\0" + tiff(6, gps=38) + b"\0\x05" * 4
    odd = [
        odd_mpo(jpeg),
        saved(Image.open(io.BytesIO(jpeg)), "JPEG", exif=torn),
        png(WIDE, 8, 0, (b"acTL", struct.pack(">II", 0, 0))),
        png(WIDE, 8, 0, (b"acTL", struct.pack(">II", 2, 0)), (b"acTL", struct.pack(">II", 2, 0))),
        saved(Image.new("1", (9_500, 10_000)), "PNG"),
    ]  # fmt: skip
    for content in odd:
        for read in (decode, probe, lambda content: read_original(content, metadata="keep")):
            try:
                read(content)
            except ImageError as error:
                assert "too large" in str(error)
    assert recwarn.list == []


def test_warnings_are_off_only_while_a_picture_is_read():
    jpeg = odd_mpo(saved(Image.fromarray(np.zeros((16, 24, 3), np.uint8)), "JPEG"))
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        assert len({picture.shape for picture in pool.map(decode, [jpeg] * 20)}) == 1
    assert list(warnings.filters) == before
    with pytest.warns(UserWarning, match="malformed MPO"):
        Image.open(io.BytesIO(jpeg))


@pytest.mark.parametrize(
    "extra",
    [
        (b"sRGB", b""), (b"gAMA", b"\0"), (b"cHRM", b"\0"), (b"pHYs", b""), (b"iCCP", b"x"), (b"acTL", b""),
        (b"fcTL", b"\0"), (b"zTXt", b"x\0\0nothing"), (b"iTXt", b"x\0\1\0\0\0nothing"), (b"eXIf", b"\0"),
    ],
)  # fmt: skip
def test_a_damaged_chunk_hides_no_pixels(extra: tuple[bytes, bytes]):
    content = png(WIDE, 8, 0, extra)
    assert np.array_equal(decode(content), WIDE) and probe(content) == (2, 6, True)
    assert np.array_equal(read_original(content, metadata="keep").pixels, WIDE)
    wrong = bytearray(content)
    wrong[content.index(extra[0]) + 4 + len(extra[1])] ^= 1  # its checksum
    assert np.array_equal(decode(bytes(wrong)), WIDE) and probe(bytes(wrong)) == (2, 6, True)


def test_only_ordinary_files_of_a_bounded_size_are_read(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "nothing")
    (tmp_path / "empty.jpg").write_bytes(b"")
    with (tmp_path / "huge.jpg").open("wb") as stream:
        stream.truncate(40 << 30)  # a hole: it takes no room on the disk
    for name, words in (
        ("pipe", "is not an ordinary file"), ("loop", "cannot be read: Too many levels"), ("dangling", "does not exist"),
        ("empty", "is not a picture: it is empty"), ("huge", "has 42,949,672,960 bytes, too many for a picture"),
    ):  # fmt: skip
        for read in (decode, probe, read_original):
            with pytest.raises(ImageError, match=rf"{name}\.jpg {words}"):
                read(tmp_path / f"{name}.jpg")
    with pytest.raises(ImageError, match="^mine has 42,949"):
        decode(tmp_path / "huge.jpg", name="mine")


def test_what_takes_more_memory_than_there_is_is_named(monkeypatch: pytest.MonkeyPatch):
    def full(self, *words):
        raise MemoryError

    content = png(WIDE, 8, 0)
    monkeypatch.setattr(ImageFile.ImageFile, "load", full)
    for read in (decode, read_original):
        with pytest.raises(ImageError, match="holiday.png does not fit into the memory"):
            read(content, name="holiday.png")


def test_a_moving_picture_says_how_many_frames_it_has():
    frames = [Image.fromarray(np.full((8, 9, 3), level, np.uint8)) for level in (0, 90, 200)]
    for kind in ("WEBP", "PNG", "MPO"):
        content = saved(frames[0], kind, save_all=True, append_images=frames[1:])
        assert read_original(content).frames == 3 and decode(content).max() < 9
    assert read_original(png(WIDE, 8, 0)).frames == 1
