"""Features that are kept: who pays for them, and when again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hamguard.core.errors import RequestError, RunError
from hamguard.core.seeds import torch_generator
from hamguard.core.types import Bytes
from hamguard.data.dataset import Dataset, ImageStore
from hamguard.data.split import Part
from hamguard.models.hash_model import HashModel
from hamguard.training import features
from hamguard.training.encode import encode, packed_codes
from hamguard.training.features import frozen_features, has_features, is_kept
from tests.training.conftest import make_blobs, make_split


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache that keeps small sets, too, in small blocks."""
    monkeypatch.setenv("HAMGUARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(features, "LEAST", 0)
    monkeypatch.setattr(features, "BLOCK", 8)
    return tmp_path / "cache" / "features"


def network(seed: int = 0, bits: int = 8) -> HashModel:
    generator = torch_generator(seed, "weights")
    return HashModel("resnet20", bits, channels=1, size=(16, 16), generator=generator).eval()


def pictures(n: int = 20, seed: int = 0) -> Bytes:
    return np.random.default_rng(seed).integers(0, 256, (n, 16, 16), np.uint8)


class Counted:
    """Counts the pictures that a backbone is asked for; stops it after so many calls."""

    def __init__(self, model: HashModel, stop: int | None = None) -> None:
        self.pictures, self.calls, self.stop = 0, 0, stop
        model.backbone.register_forward_hook(self)

    def __call__(self, module: Any, inputs: Any, output: Tensor) -> None:
        self.calls += 1
        if self.calls == self.stop:
            raise KeyboardInterrupt
        self.pictures += len(output)


def test_what_is_kept_is_what_the_backbone_gives_and_it_is_asked_once() -> None:
    images, index = ImageStore(pictures()), np.array([4, 19, 0, 7, 4])
    model = network()
    asked = Counted(model)
    found = frozen_features(model, images, index)
    assert found.shape == (5, model.features) and found.dtype == torch.float32 and asked.pictures == 4
    with torch.no_grad():
        torch.testing.assert_close(found, model.features_of(images.batch(index)), rtol=1e-5, atol=1e-5)
    assert torch.equal(found[0], found[4])
    assert torch.equal(frozen_features(model, images, index), found) and asked.pictures == 4 + 5, "the line above is 5"
    frozen_features(model, images, np.arange(20))
    assert asked.pictures == 9 + 16, "the four that are kept are not paid again"


def test_another_head_and_another_set_of_the_same_pictures_find_them() -> None:
    array = pictures()
    frozen_features(network(), ImageStore(array), np.arange(20))
    model = network(bits=24)
    asked = Counted(model)
    more = ImageStore(np.concatenate([pictures(3, seed=1), array]))
    frozen_features(model, more, np.arange(23))
    assert asked.pictures == 3


def test_a_changed_weight_normalization_or_picture_is_encoded_again() -> None:
    array = pictures()
    images, index = ImageStore(array), np.arange(20)
    frozen_features(network(), images, index)
    weight, shifted, plain = network(), network(), network()
    with torch.no_grad():
        next(weight.backbone.parameters()).flatten()[0] += 1e-3
        shifted.mean += 0.1
    changed = array.copy()
    changed[5, 3, 3] ^= 1
    for model, store, paid in ((weight, images, 20), (shifted, images, 20), (plain, ImageStore(changed), 1)):
        asked = Counted(model)
        frozen_features(model, store, index)
        assert asked.pictures == paid


def test_a_run_that_was_killed_goes_on_after_its_last_block() -> None:
    images, index = ImageStore(pictures()), np.arange(20)
    killed, model = network(), network()
    Counted(killed, stop=3)
    with pytest.raises(KeyboardInterrupt):
        frozen_features(killed, images, index)
    asked = Counted(model)
    told: list[tuple[float, str]] = []
    found = frozen_features(model, images, index, progress=lambda share, text: told.append((share, text)))
    assert asked.pictures == 4 and told == [(1.0, "4 of 4 pictures")]
    assert torch.equal(found, frozen_features(network(), images, index))


def test_damaged_blocks_are_computed_again(cache: Path) -> None:
    images, index = ImageStore(pictures()), np.arange(20)
    whole = frozen_features(network(), images, index)
    arrays, cards = sorted(cache.glob("*/*.npy")), sorted(cache.glob("*/*.json"))
    assert len(arrays) == len(cards) == 3
    damage = [
        (arrays[0], lambda content: content[:-1] + bytes([content[-1] ^ 1])),
        (arrays[0], lambda content: content[:40]),
        (arrays[0], lambda content: b""),
        (cards[0], lambda content: content.replace(b"pictures", b"pictureS")),
        (cards[0], lambda content: content[:-20]),
        (cards[0], lambda content: b"[]"),
    ]
    for path, change in damage:
        path.write_bytes(change(path.read_bytes()))
        model = network()
        asked = Counted(model)
        assert torch.equal(frozen_features(model, images, index), whole)
        assert 4 <= asked.pictures <= 8, path
    arrays[1].unlink()
    model = network()
    asked = Counted(model)
    assert torch.equal(frozen_features(model, images, index), whole) and 4 <= asked.pictures <= 8


def test_small_sets_and_features_larger_than_pixels_are_not_kept(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    images = ImageStore(pictures())
    wide = HashModel("dsh", 8, channels=1, size=(16, 16)).eval()
    assert is_kept(network(), images) and not is_kept(wide, images) and 4 * wide.trunk_features > 256
    monkeypatch.setattr(features, "LEAST", 20 * 256)
    for model in (network(), wide):
        assert not is_kept(model, images)
        found = frozen_features(model, images, np.arange(20))
        with torch.no_grad():
            torch.testing.assert_close(found, model.trunk_of(images.batch(slice(None))), rtol=1e-5, atol=1e-5)
    assert not cache.exists()


def test_broken_networks_and_other_sizes_leave_nothing(cache: Path) -> None:
    model, images = network(), ImageStore(pictures())
    with torch.no_grad():
        next(model.backbone.parameters())[0] = float("nan")
    with pytest.raises(RunError, match="the backbone returns NaN or infinite numbers"):
        frozen_features(model, images, np.arange(20))
    with pytest.raises(RequestError, match="the model takes pictures of 16x16 pixels, the data have 8x8"):
        frozen_features(network(), ImageStore(np.zeros((9, 8, 8), np.uint8)), np.arange(9))
    assert not list(cache.glob("*/*"))


def encoded(model: HashModel, dataset: Dataset, rows: int) -> Any:
    return encode(model, dataset, make_split(dataset), Part("database", np.arange(rows)))


def test_encoding_asks_a_backbone_that_is_known_for_new_pictures_only(cache: Path) -> None:
    dataset, model = make_blobs(40), network()
    asked = Counted(model)
    plain = encoded(model, dataset, 40)
    assert asked.pictures == 40 and not has_features(model, dataset.images), "a backbone that nobody froze is not kept"
    frozen_features(model, dataset.images, np.arange(30))
    assert has_features(model, dataset.images) and asked.pictures == 70
    bank = encoded(model, dataset, 40)
    assert asked.pictures == 80 and bank.digest == plain.digest
    assert encoded(model, dataset, 40).digest == plain.digest and asked.pictures == 80
    packed_codes(model, dataset.images, np.arange(40))  # how changed pictures are encoded
    assert asked.pictures == 120


def test_a_feature_layer_is_no_part_of_what_is_kept() -> None:
    images, index = ImageStore(pictures()), np.arange(20)
    plain = network()
    found = frozen_features(plain, images, index)
    above = HashModel("resnet20+5", 8, channels=1, size=(16, 16), generator=torch_generator(9)).eval()
    above.trunk.load_state_dict(plain.backbone.state_dict())
    asked = Counted(above)
    assert above.features == 5 and above.trunk_features == plain.features
    assert torch.equal(frozen_features(above, images, index), found) and asked.pictures == 0
    with torch.no_grad():
        x = images.batch(index)
        torch.testing.assert_close(above.tail(found), above.logits(x), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(above.neck(above.trunk_of(x)), above.features_of(x))
        assert torch.equal(plain.tail(found), plain.head(found)) and torch.equal(plain.neck(found), found)
