"""What parties do to protected pictures that they have found, before they search with them, and to features of them.

Pictures are `(H, W, 3)` uint8.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from protect import TOP
from scipy.signal import wiener
from torch import Tensor

from hamguard.codes.binary import pack, sign
from hamguard.core.types import Array, Bytes, Floats
from hamguard.hashing.unsupervised import fit_itq
from hamguard.images.named_views import parse_view
from hamguard.images.quantize import as_pixels
from hamguard.images.views import jpeg, jpeg_image
from hamguard.models.protector import STEP, Protector
from hamguard.models.regions import PERIOD
from hamguard.privacy.protect import as_tensor, enlarged, noise_pattern, noise_size, shrunk
from hamguard.retrieval.rank import ranks_of
from hamguard.training.loop import Batch, PlainTask

USUAL = "searches as always"
BOTH = ("network that learned from pairs", "less the mean change", "undone")
"""Parties that do not know whether a photo is protected, and harm one that is not: they search with it as found, too."""
PART = 128  # side of what is learned from
SHRINK = 0.1  # of the scatter of pairs toward its mean, so that directions without any do not count alone


@dataclass(frozen=True)
class Found:
    """What a party has of one photo, in color.

    Attributes:
        one: the copy.
        sizes: copies that were made at several sizes, brought to the first one's; none where there are no such.
        seeds: copies of other seeds.
    """

    one: Bytes
    sizes: tuple[Bytes, ...] = ()
    seeds: tuple[Bytes, ...] = ()


Look = Callable[[Found], Bytes | None]
"""What a party searches with, of what it has; None where it has not what it needs."""


def average(pictures: Sequence[Bytes]) -> Bytes | None:
    """Mean of pictures of one size, rounded."""
    return np.rint(np.mean(pictures, 0, dtype=np.float64)).astype(np.uint8) if pictures else None


def denoised(image: Bytes, eps: float) -> Bytes:
    """SciPy's Wiener filter on squares of 5 pixels, each channel by itself, for noise that fills two thirds of its bound."""
    with np.errstate(divide="ignore", invalid="ignore"):  # of even grounds, which it replaces by their mean
        planes = [wiener(image[..., c].astype(np.float64), 5, (255 * eps * 2 / 3) ** 2) for c in range(3)]
    return np.clip(np.rint(np.stack(planes, -1)), 0, 255).astype(np.uint8)


def change_of(image: Bytes, net: Protector, side: int) -> Floats:
    """What the protector would add to a picture, in units of its bound, `(H, W, 3)`."""
    H, W = image.shape[:2]
    pattern = noise_pattern(net, as_tensor(shrunk(image, noise_size(H, W, side))))[0]
    return enlarged(pattern, H, W)(slice(0, H)).permute(1, 2, 0).double().numpy()


def less(image: Bytes, change: Floats, eps: float) -> Bytes:
    """A picture less a change in units of the bound."""
    return np.clip(np.rint(image - 255 * eps * change), 0, 255).astype(np.uint8)


def undone(image: Bytes, net: Protector, side: int, eps: float, turns: int = 3) -> Bytes:
    """The picture that the protector would turn into this one, by fixed-point steps y <- z - eps G(y) from y = z."""
    guess = image
    for _ in range(turns):
        guess = less(image, change_of(guess, net, side), eps)
    return guess


def common_change(pairs: Sequence[tuple[Bytes, Bytes]], net: Protector) -> Floats:
    """Mean change of pairs by place, `(P, P, 3)` in units of the bound: P is what the protector's noise repeats itself by."""
    period = PERIOD if net.regions else STEP
    total, count = np.zeros((period, period, 3)), np.zeros((period, period, 1))
    for clean, copy in pairs:
        delta = (copy.astype(np.float64) - clean) / (255 * net.eps)
        for top, left in itertools.product(*(range(0, side, period) for side in clean.shape[:2])):
            part = delta[top : top + period, left : left + period]
            total[: part.shape[0], : part.shape[1]] += part
            count[: part.shape[0], : part.shape[1]] += 1
    return total / np.maximum(count, 1)


def tiled_to(tile: Floats, image: Bytes) -> Floats:
    """A tile over a whole picture."""
    H, W = image.shape[:2]
    return np.tile(tile, (-(-H // len(tile)), -(-W // len(tile)), 1))[:H, :W]


class Cleaning(PlainTask):
    """A network of the protector's own form that learns from pairs to take off what the protector puts on; half through JPEG files.

    Args:
        net: the network, changed in place; `net(z)` moves no value by more than the protector does.
        pairs: clean and protected pictures.
    """

    def __init__(self, net: Protector, pairs: Sequence[tuple[Bytes, Bytes]]) -> None:
        self.net: Protector = net
        self.pairs, self.items = pairs, len(pairs)
        self._sum = torch.zeros(2, dtype=torch.float64)

    def step(self, batch: Batch) -> Tensor:
        """Mean squared error, in units of that before cleaning."""
        x, z = (torch.cat(parts) for parts in zip(*self._parts(batch), strict=True))
        if float(torch.rand(1, generator=batch.generator)) < 0.5:
            z = jpeg(z, int(torch.randint(60, 96, (1,), generator=batch.generator)))
        self.net.train()
        error: Tensor = (self.net(z) - x).square().mean() / (z - x).square().mean()
        self._sum += torch.tensor([float(error.detach()), 1.0])
        return error

    def _parts(self, batch: Batch) -> Iterator[tuple[Tensor, Tensor]]:
        for i in batch.index.tolist():
            H, W = self.pairs[i][0].shape[:2]
            top, left = (int(torch.randint(side - PART + 1, (1,), generator=batch.generator)) for side in (H, W))
            clean, copy = (as_tensor(one[top : top + PART, left : left + PART]) for one in self.pairs[i])
            yield clean, copy

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """What is left of the squared change."""
        total, steps = self._sum.tolist()
        self._sum.zero_()
        return {"left": total / steps}

    def state(self) -> dict[str, Any]:
        """The network; a copy."""
        return {"net": {name: value.clone() for name, value in self.net.state_dict().items()}}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take what `state` gave."""
        self.net.load_state_dict(state["net"])


@torch.no_grad()
def cleaned(image: Bytes, net: Protector) -> Bytes:
    """A picture through the network that learned from pairs."""
    found: Bytes = as_pixels(net.eval()(as_tensor(image)))[0]
    return found


def looks(
    net: Protector, side: int, eps: float, pairs: Sequence[tuple[Bytes, Bytes]], cleaner: Protector
) -> dict[str, Look]:
    """What parties do to a picture before they search as always."""
    tile = common_change(pairs, net)

    def view(word: str) -> Look:
        change = parse_view(word)
        return lambda found: change(found.one)

    return {
        USUAL: lambda found: found.one,
        "average of JPEG files": lambda found: average([jpeg_image(found.one, quality) for quality in (60, 75, 90)]),
        "average of four sizes": lambda found: average(found.sizes),
        "average of three seeds": lambda found: average(found.seeds),
        **{word: view(word) for word in ("blur:1", "median:3", "jpeg:50", "resize:0.5")},
        "Wiener filter": lambda found: denoised(found.one, eps),
        "network that learned from pairs": lambda found: cleaned(found.one, cleaner),
        "less the mean change": lambda found: less(found.one, tiled_to(tile, found.one), eps),
        "undone": lambda found: undone(found.one, net, side, eps),
    }


Head = Callable[[Tensor], Tensor]
"""Features `(n, D)` to outputs `(n, K)`, or to other features."""


@torch.no_grad()
def codes(head: Head, features: Tensor) -> Bytes:
    """Packed codes."""
    return pack(sign(head(features)))


def lost_of(dist: Array, place: Array) -> Floats:
    """How surely the item of each query is not among the first answers, `(n,)`."""
    lost: Floats = 1 - ranks_of(dist, place).in_top(TOP)
    return lost


def whitened(clean: Tensor, copies: Tensor, bits: int) -> Head:
    """ITQ on both, where directions in which pairs differ are shrunk: `(S_w)^(-1/2)` of the scatter of pairs before it."""
    delta = (copies - clean).double()
    scatter = delta.T @ delta / len(delta)
    scatter = (1 - SHRINK) * scatter + SHRINK * scatter.diagonal().mean() * torch.eye(len(scatter), dtype=torch.double)
    values, vectors = torch.linalg.eigh(scatter)
    matrix = ((vectors * values.rsqrt()) @ vectors.T).float()
    head = fit_itq(torch.cat([clean, copies]) @ matrix, bits, 0)
    return lambda features: head(features @ matrix)
