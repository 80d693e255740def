"""Generators against features: what a step minimizes, what the multiplier does, and that a stopped run is the same."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from hamguard.core.errors import RequestError
from hamguard.images.likeness import similarity
from hamguard.images.repeats import repeats
from hamguard.images.stripes import stripes
from hamguard.models.contrast import room
from hamguard.models.hash_model import HashModel
from hamguard.models.protector import Protector
from hamguard.models.stages import Stages
from hamguard.privacy import features
from hamguard.privacy.features import PATTERN_RISE, RISE, FeatureTask, clean_features
from hamguard.trainers.protector import FeatureSettings

SIZE = (32, 32)


def net(seed: int) -> HashModel:
    """A tiny network."""
    return HashModel("conv2", 8, size=SIZE, generator=torch.Generator().manual_seed(seed)).eval()


def pictures(n: int = 24) -> torch.Tensor:
    """Smooth pictures, so that SSIM says something."""
    x = torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    return F.interpolate(x, SIZE, mode="bilinear")


def task(alike: float = 0.9, nets: int = 2, even: float = 1.0, **patterns: float) -> FeatureTask:
    """A task on tiny networks."""
    x = pictures()
    protector = Protector(3, eps=8 / 255, generator=torch.Generator().manual_seed(1), even=even)
    models = [net(i) for i in range(nets)]
    clean = [clean_features(one, lambda at: x[list(at)], len(x)) for one in models]
    return FeatureTask(protector, models, lambda at: x[list(at)], clean, alike=alike, patterns=patterns)


def batch(seed: int, size: int = 8) -> Any:
    """Numbers of a batch and its random numbers."""
    draw = torch.Generator().manual_seed(seed)
    return SimpleNamespace(index=torch.randperm(24, generator=draw)[:size], generator=draw)


def learned(one: FeatureTask, steps: range) -> None:
    optimizer = torch.optim.Adam(one.protector.parameters(), 3e-3)
    for number in steps:
        optimizer.zero_grad()
        one.step(batch(number)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def test_step_is_the_printed_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without views and at one size: mean cos(f(z) - c, f(x) - c) + lambda (1 - SSIM)."""
    one = task(nets=1)
    one.begin()
    monkeypatch.setattr(features, "_chance", lambda draw: False)
    monkeypatch.setattr(features, "_between", lambda low, high, draw: 1.0)
    numbers = batch(3)
    found = one.step(numbers)
    x, network = pictures()[numbers.index], net(0)
    mean = network.features_of(pictures()).mean(0)
    z = one.protector(x)
    cosine = F.cosine_similarity(network.features_of(z) - mean, network.features_of(x) - mean).mean()
    stages, seen = Stages(net(0)), []
    _, whole = stages(pictures())
    for clean, moved, every in zip(stages(x)[1], stages(z)[1], whole, strict=True):
        seen.append(F.cosine_similarity(*((s - every.mean(0)) / (every.std(0) + 1e-4) for s in (moved, clean))).mean())
    printed = cosine + torch.stack(seen).mean() + 2.0 * (1 - similarity(z, x).mean())
    assert len(seen) > 0 and float(found.detach()) == pytest.approx(float(printed.detach()), abs=1e-4)


def test_multiplier_rises_while_pictures_look_less_alike_than_asked() -> None:
    """And it falls where they look more alike."""
    high, low = task(alike=1.0), task(alike=0.01)
    for one in (high, low):
        one.begin()
        one.step(batch(0))
    assert high.unlike.value > 2.0 > low.unlike.value
    alike = high.end_epoch(0)["ssim"]
    assert high.unlike.value == pytest.approx(2.0 + RISE * (1 - alike))


def test_pictures_leave_their_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cosine falls while the generator learns, on both networks."""
    monkeypatch.setattr(features, "_chance", lambda draw: False)
    monkeypatch.setattr(features, "_between", lambda low, high, draw: 1.0)
    one = task(alike=0.01)
    one.begin()
    found = []
    for epoch in range(6):
        learned(one, range(20 * epoch, 20 * epoch + 20))
        found.append(one.end_epoch(epoch)["cosine"])
    assert 1 - found[-1] > 1.5 * (1 - found[0]), found


@pytest.mark.parametrize("name", ["stripes", "repeats"])
def test_patterns_have_a_price_that_rises_beyond_what_is_asked(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """From 0 on, by how much of them noise has; the loss has it, and 1 asks for nothing."""
    monkeypatch.setattr(features, "_chance", lambda draw: False)
    monkeypatch.setattr(features, "_between", lambda low, high, draw: 1.0)
    even = 2 / 255
    free, priced = task(even=even), task(even=even, **{name: 0.01, "repeats" if name == "stripes" else "stripes": 1.0})
    for one in (free, priced):
        one.begin()
    numbers = batch(3)
    x = pictures()[numbers.index]

    def there() -> float:
        noise = (free.protector(x) - x) / room(x, 8 / 255, even)
        return (stripes if name == "stripes" else repeats)(noise).mean().item()

    found = there()
    assert float(free.step(batch(3)).detach()) == pytest.approx(float(priced.step(batch(3)).detach()))  # 0 at first
    price = PATTERN_RISE * (found - 0.01)
    assert list(priced.patterns) == [name] and not free.patterns
    assert priced.patterns[name].value == pytest.approx(price, rel=1e-3) and price > 0
    told, plain = priced.end_epoch(0), free.end_epoch(0)
    assert told[name] == pytest.approx(found, rel=1e-3) and name not in plain
    assert told[f"{name}_price"] == priced.patterns[name].value
    priced.unlike.value, free.unlike.value, priced.patterns[name].value = 1.0, 1.0, 100.0
    dearer = float(priced.step(batch(3)).detach()) - float(free.step(batch(3)).detach())
    assert dearer == pytest.approx(100 * there(), rel=1e-2)


def test_a_stopped_run_goes_on_alike() -> None:
    """State and its loading keep everything that the next step depends on."""
    one = task(stripes=0.1, repeats=0.1)
    one.begin()
    one.step(batch(0))
    other = task(stripes=0.1, repeats=0.1)
    other.load_state(one.state())
    assert float(one.step(batch(1)).detach()) == float(other.step(batch(1)).detach())
    assert one.end_epoch(0) == other.end_epoch(0)


def test_it_needs_networks() -> None:
    """Nothing to learn against is said."""
    with pytest.raises(RequestError, match="needs models to learn against"):
        task(nets=0)


def test_the_bound_of_even_grounds_is_a_setting() -> None:
    """As text or number; one beyond all pixel values is taken for levels."""
    assert FeatureSettings.model_validate({"even": "2/255"}).even == 2 / 255
    with pytest.raises(ValueError, match=r"even must be in \(0, 1\]; did you mean 2/255"):
        FeatureSettings.model_validate({"even": 2})
