import numpy as np
import pytest

from hamguard.core import places
from hamguard.core.errors import ImageError
from hamguard.core.places import cache_folder
from hamguard.data import cache
from hamguard.data.cache import decode_all, fit_array
from hamguard.images.io import encode_bytes

IMAGES = np.random.default_rng(0).integers(0, 256, (600, 6, 6, 3)).astype(np.uint8)
STREAMS = [encode_bytes(image, "png") for image in IMAGES]
NAMES = [f"picture {i}" for i in range(len(IMAGES))]


def read(i):
    return STREAMS[i]


def no_read(i):
    raise AssertionError("the cache was not used")


def test_small_sets_stay_in_memory(own_cache):
    seen = []
    store = decode_all(NAMES, read, "key", progress=lambda done, total: seen.append((done, total)))
    assert np.array_equal(store.array, IMAGES)
    assert seen == [(512, 600), (600, 600)]
    assert list(own_cache.rglob("*.npy")) == []


def test_large_sets_are_decoded_once(own_cache, monkeypatch):
    monkeypatch.setattr(cache, "IN_MEMORY", 1000)
    store = decode_all(NAMES, read, "key")
    assert np.array_equal(store.array, IMAGES)
    again = decode_all(NAMES, no_read, "key")
    assert np.array_equal(again.array, IMAGES)
    assert again.digest == cache.ImageStore(IMAGES).digest
    assert sorted(path.suffix for path in (own_cache / "images").iterdir()) == [".json", ".npy"]


def test_the_key_is_the_content_and_the_size(own_cache, monkeypatch):
    monkeypatch.setattr(cache, "IN_MEMORY", 1000)
    decode_all(NAMES, read, "key")
    with pytest.raises(AssertionError, match="the cache was not used"):
        decode_all(NAMES, no_read, "other")
    assert decode_all(NAMES, read, "key", size=8).size == (8, 8)
    assert len(list(own_cache.rglob("*.npy"))) == 2


def test_a_failed_decode_leaves_no_cache_behind(own_cache, monkeypatch):
    monkeypatch.setattr(cache, "IN_MEMORY", 1000)
    broken = list(STREAMS)
    broken[577] = broken[577][:50]
    with pytest.raises(ImageError, match=r"picture 577 (is truncated|cannot be decoded)"):
        decode_all(NAMES, broken.__getitem__, "key")
    assert [path for path in own_cache.rglob("*") if path.is_file()] == []


def test_a_damaged_cache_is_made_again(own_cache, monkeypatch):
    monkeypatch.setattr(cache, "IN_MEMORY", 1000)
    decode_all(NAMES, read, "key")
    path = next(own_cache.rglob("*.npy"))
    path.write_bytes(path.read_bytes()[:100])
    assert np.array_equal(decode_all(NAMES, read, "key").array, IMAGES)


def test_gray_only_where_all_are_gray():
    mixed = [encode_bytes(IMAGES[0], "png"), encode_bytes(IMAGES[1][..., 0], "png")]
    assert decode_all(NAMES[:2], mixed.__getitem__, "a").channels == 3
    assert decode_all(NAMES[:1], mixed[1:].__getitem__, "b").channels == 1


def test_one_size_is_kept_and_several_are_fitted():
    wide = [encode_bytes(np.zeros((10, 20, 3), np.uint8), "png")] * 2
    assert decode_all(NAMES[:2], wide.__getitem__, "a").size == (10, 20)
    assert decode_all(NAMES[:2], [wide[0], STREAMS[0]].__getitem__, "b").size == (224, 224)


def test_where_the_cache_lies(monkeypatch, tmp_path):
    assert cache_folder().name.startswith("cache")
    monkeypatch.delenv("HAMGUARD_CACHE")
    monkeypatch.setattr(places.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "hamguard"


def test_fit_array_resizes_or_keeps():
    assert fit_array(IMAGES, None) is IMAGES
    assert fit_array(IMAGES, 6) is IMAGES
    assert fit_array(IMAGES[:3], 4).shape == (3, 4, 4, 3)
    with pytest.raises(ImageError, match="there are no pictures to resize"):
        fit_array(IMAGES[:0], 4)
