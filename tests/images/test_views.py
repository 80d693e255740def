import numpy as np
import pytest
import torch
from PIL import Image

from hamguard.core.errors import ImageError, RequestError
from hamguard.images.io import decode, encode, encode_bytes
from hamguard.images.quantize import round_8bit
from hamguard.images.views import (
    center_crop,
    crop_image,
    fit_image,
    fit_to,
    jpeg,
    jpeg_image,
    resize,
    resize_and_back,
    resize_image,
    shrink_image,
    view_file,
)


@pytest.fixture
def x():
    return torch.rand(3, 3, 12, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "bicubic"])
def test_resize_keeps_constants_and_range(x, kernel):
    assert resize(x, (6, 20), kernel=kernel).shape == (3, 3, 6, 20)
    assert torch.allclose(resize(torch.full((1, 3, 9, 9), 0.3), 5, kernel=kernel), torch.tensor(0.3))
    seen = resize((x > 0.5).float(), 30, kernel=kernel)
    assert 0 <= float(seen.min()) <= float(seen.max()) <= 1


def test_resize_has_a_gradient(x):
    x.requires_grad_()
    resize(x, 5).sum().backward()
    assert float(x.grad.abs().sum()) > 0


def test_center_crop_takes_the_middle(x):
    assert torch.equal(center_crop(x, (4, 6)), x[:, :, 4:8, 5:11])
    assert torch.equal(center_crop(x, (12, 16)), x)


def test_resize_and_back_keeps_the_size_and_loses_detail(x):
    seen = resize_and_back(x, 6)
    assert seen.shape == x.shape
    assert float(seen.var()) < float(x.var())


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_gives_what_the_file_holds(x, channels):
    x = x[:, :channels]
    seen = jpeg(x, 50)
    assert seen.shape == x.shape
    assert torch.equal(round_8bit(seen), seen)
    pixels = (round_8bit(x)[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    image = pixels if channels == 3 else pixels[..., 0]
    expected = decode(encode_bytes(np.ascontiguousarray(image), "jpeg", quality=50))
    found = (seen[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    assert np.array_equal(found.squeeze(), expected)


def test_jpeg_of_nothing_is_nothing():
    assert jpeg(torch.zeros(0, 3, 4, 4)).shape == (0, 3, 4, 4)


def test_tensor_views_refuse_wrong_shapes(x):
    with pytest.raises(RequestError, match="x must have shape"):
        resize(x[0], 4)
    with pytest.raises(RequestError, match="size must be at least 1, got 0"):
        resize(x, 0)
    with pytest.raises(RequestError, match="x must have shape"):
        center_crop(x[0], 4)
    with pytest.raises(RequestError, match="a crop of 13 x 13 does not fit into a picture of 12 x 16"):
        center_crop(x, 13)
    with pytest.raises(RequestError, match="1 or 3 channels, got 2"):
        jpeg(x[:, :2])
    with pytest.raises(RequestError, match="quality must be between 1 and 100, got 101"):
        jpeg(x, 101)


def test_array_views():
    image = np.arange(10 * 20 * 3, dtype=np.uint8).reshape(10, 20, 3)
    assert resize_image(image, (5, 7)).shape == (5, 7, 3)
    assert resize_image(image, (10, 20)) is image
    assert np.array_equal(crop_image(image, (4, 6)), image[3:7, 7:13])
    assert jpeg_image(image[..., 0], 80).shape == (10, 20)
    with pytest.raises(RequestError, match="does not fit"):
        crop_image(image, 11)
    with pytest.raises(RequestError, match="must be uint8"):
        resize_image(image.astype(float), 4)
    with pytest.raises(RequestError, match="quality"):
        jpeg_image(image, 0)


@pytest.mark.parametrize("shape", [(10, 20, 3), (20, 10), (3, 50, 3), (8, 8)])
def test_fit_covers_the_square(shape):
    seen = fit_image(np.full(shape, 123, np.uint8), 8)
    assert seen.shape[:2] == (8, 8)
    assert (seen == 123).all()


def test_fit_of_a_line_of_pixels_takes_little_memory():
    image = np.zeros((1, 2_000_000), np.uint8)
    image[:, 999_999:1_000_001] = 200
    assert (fit_image(image, 224) == 200).all()


def test_fit_takes_the_middle_of_the_longer_side():
    image = np.zeros((8, 24), np.uint8)
    image[:, 8:16] = 200
    assert (fit_image(image, 8) == 200).all()


def test_view_file_writes_the_view_without_metadata(tmp_path):
    exif = Image.Exif()
    exif[0x010F] = "Camera"
    Image.new("RGB", (30, 20), (1, 2, 3)).save(tmp_path / "a.png", exif=exif)
    view_file(tmp_path / "a.png", tmp_path / "b.png", lambda image: crop_image(image, 10))
    assert decode(tmp_path / "b.png").shape == (10, 10, 3)
    assert len(Image.open(tmp_path / "b.png").getexif()) == 0
    with pytest.raises(ImageError, match=r"c\.png does not exist"):
        view_file(tmp_path / "c.png", tmp_path / "b.png", lambda image: image)
    with pytest.raises(RequestError, match="unknown picture suffix"):
        view_file(tmp_path / "a.png", tmp_path / "b.txt", lambda image: image)


def test_encode_then_view_is_the_scored_picture(tmp_path, x):
    pixels = (round_8bit(x)[0] * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    encode(pixels, tmp_path / "x.png")
    assert np.array_equal(decode(tmp_path / "x.png"), pixels)


@pytest.mark.parametrize("channels", [(), (3,)])
def test_fit_to(channels):
    wide = np.full((20, 60, *channels), 200, np.uint8)
    wide[:, :20], wide[:, 40:] = 0, 100  # three squares: black, light, gray
    crop, stretch, pad = (fit_to(wide, (20, 20), kind) for kind in ("crop", "stretch", "pad"))
    assert crop.shape == stretch.shape == pad.shape == (20, 20, *channels)
    assert (crop == 200).all()  # the middle
    assert stretch[:, 1].max() < 60 and abs(int(stretch[10, 10].max()) - 200) < 5 and stretch.max() < 230
    assert (pad[:6] == 255).all() and (pad[-6:] == 255).all() and pad[10, 1].max() < 60  # white above and below
    same = fit_to(wide, (20, 60), "pad")
    assert np.array_equal(same, wide)
    thin = fit_to(np.zeros((1, 4000, *channels), np.uint8), (16, 16), "pad")
    assert thin.shape == (16, 16, *channels) and (thin == 0).any()
    with pytest.raises(RequestError, match="unknown fit 'zoom'; allowed: crop, pad, stretch"):
        fit_to(wide, (20, 20), "zoom")


SHRUNK = [((40, 90, 3), 30, (13, 30, 3)), ((90, 40), 30, (30, 13)), ((20, 30), 30, (20, 30)), ((3, 900), 10, (1, 10))]


@pytest.mark.parametrize(("shape", "longest", "found"), SHRUNK)
def test_shrinking_ends_at_the_longest_side_and_enlarges_nothing(
    shape: tuple[int, ...], longest: int, found: tuple[int, ...]
) -> None:
    assert shrink_image(np.full(shape, 7, np.uint8), longest).shape == found
    with pytest.raises(RequestError):
        shrink_image(np.zeros((4, 4, 4, 4), np.uint8), longest)
