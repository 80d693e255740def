"""One's own network: wrapped, attacked, and refused where its figures would mean nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hamguard as hg
from hamguard.core.errors import RequestError


class Own(nn.Module):
    """Ten by ten pixels to 16 numbers, with statistics that training mode would change."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(256, 16))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(2 * x - 1)


class Sparse(nn.Module):
    """Its outputs are a sparse tensor."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1).to_sparse()


RNG = np.random.default_rng(0)
DATA = hg.data(RNG.integers(0, 256, (40, 10, 10), dtype=np.uint8), np.arange(40) % 4, name="mine")


def test_ones_own_module_is_attacked_in_three_lines() -> None:
    victim = hg.wrap(Own(), size=(10, 10))
    bank = hg.encode(victim, DATA.database)
    found = hg.attacks.mainstay(steps=5)(victim, DATA.query.images, DATA.query.labels, bank)
    moved = (found.x_adv - DATA.query.images).abs()
    assert 0 < float(moved.max()) <= 8 / 255 + 1e-6
    clean, hit = hg.encode(victim, DATA.query), hg.encode(victim, found.x_adv, DATA.query.labels)
    far = [hg.metrics.mean_average_precision(q, bank).value for q in (clean, hit)]
    assert far[1] < far[0]


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.bfloat16])
def test_it_keeps_its_type_and_its_statistics(kind: torch.dtype) -> None:
    own = Own().to(kind).train()
    before = {name: value.clone() for name, value in own.state_dict().items()}
    victim = hg.wrap(own, size=10)
    hg.encode(victim, DATA.database)
    hg.attacks.hag(steps=3)(victim, DATA.query.images)
    assert not own.training and not any(value.requires_grad for value in own.parameters())
    assert all(
        value.dtype == before[name].dtype and torch.equal(value, before[name])
        for name, value in own.state_dict().items()
    )
    assert next(own.parameters()).dtype == kind


def test_what_nobody_says_is_asked_of_the_module() -> None:
    own = Own()
    own.size = 10  # type: ignore[assignment]
    victim = hg.wrap(own)
    assert (victim.size, victim.channels, victim.bits, victim.name) == ((10, 10), 1, 16, "Own")
    assert hg.wrap(Own(), size=10, name="ours", bits=16).name == "ours"
    assert hg.wrap(victim) is victim


@pytest.mark.parametrize(
    ("module", "given", "line"),
    [
        (Own(), {"size": 10, "bits": 32}, "model Own returns 16 numbers an image, which are no 32 bits"),
        (Own(), {"size": 12}, "model Own fails on pictures"),
        (Own(), {"size": 10, "channels": 2}, "channels of model Own must be 1 or 3, got 2"),
        (Own(), {"size": (10,)}, "size of model Own must be a number of pixels"),
        (
            nn.Sequential(nn.Flatten(), nn.BatchNorm1d(3, track_running_stats=True), nn.Flatten()),
            {"size": 2},
            "fails on pictures",
        ),
        (
            nn.Sequential(nn.Flatten(), nn.Linear(4, 8, device="meta")),
            {"size": 2, "channels": 1},
            r"model Sequential has weights without numbers \(1.weight is on the device meta\)",
        ),
        (nn.Sequential(nn.Flatten(), nn.LazyLinear(8)), {"size": 2}, "has lazy layers without weights"),
        (
            Sparse(),
            {"size": 2, "channels": 1},
            r"got a tensor of layout torch.sparse_coo for B = 2; return z.to_dense\(\)",
        ),
        (np.ones(3), {}, "must be a torch.nn.Module, got ndarray"),
    ],
)
def test_what_cannot_be_a_victim_is_refused(module: nn.Module, given: dict[str, object], line: str) -> None:
    with pytest.raises(RequestError, match=line):
        hg.wrap(module, **given)  # type: ignore[arg-type]


def test_a_norm_that_stays_in_training_mode_is_refused() -> None:
    class Stubborn(Own):
        def train(self, mode: bool = True) -> Stubborn:
            super().train(True)
            return self

    with pytest.raises(RequestError, match="changes its own weights or buffers when it is asked"):
        hg.wrap(Stubborn(), size=10)


def test_a_bare_module_is_told_to_be_wrapped() -> None:
    own: nn.Module = Own()
    for call in (
        lambda: hg.encode(own, DATA.query),  # type: ignore[arg-type]
        lambda: hg.attacks.hag(steps=1)(own, DATA.query.images),  # type: ignore[arg-type]
    ):
        with pytest.raises(RequestError, match=r"a bare nn.Module: wrap it with hg.wrap\("):
            call()
    with pytest.raises(RequestError, match="a model must be trained, loaded or wrapped with hg.wrap, got int"):
        hg.encode(3, DATA.query)  # type: ignore[arg-type]


def test_a_device_that_is_not_there_is_told_however_it_is_named() -> None:
    count = torch.cuda.device_count()
    for device in (f"cuda:{count}", torch.device("cuda", count)):
        with pytest.raises(
            RequestError, match=f"device cuda:{count} is not there: this machine has {count} CUDA devices"
        ):
            hg.encode("shipped:digits", DATA.query, context=hg.Context(device=device))


def test_images_out_of_range_are_told_their_range() -> None:
    victim = hg.wrap(Own(), size=10)
    with pytest.raises(RequestError, match="values from 0 to 2"):
        hg.attacks.hag(steps=1)(victim, DATA.query.images / DATA.query.images.max() * 2)
    with pytest.raises(RequestError, match=r"must lie in \[0, 1\], got values from 0 to 2; divide"):
        hg.encode(victim, DATA.query.images / DATA.query.images.max() * 2)
    with pytest.raises(RequestError, match="takes pictures of 10x10 pixels, the data have 12x12"):
        hg.encode(victim, np.zeros((2, 12, 12), np.uint8))


def test_a_loaded_model_carries_its_card() -> None:
    model = hg.load("shipped:digits")
    assert model.card.bits == model.bits and not model.training  # type: ignore[union-attr]
