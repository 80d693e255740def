"""A generator that leads pictures away from themselves in what networks see, so that searches nobody trained on lose them.

Ours, of published parts: one generator for all pictures, trained against features in the place of codes, because features are
what networks share (BIA, Q. Zhang et al., ICLR 2022; LTP, M. Salzmann et al., NeurIPS 2021); several networks, which take turns;
random parts and sizes (DI-FGSM, C. Xie et al., CVPR 2019); JPEG files in the loop, straight through for the gradient. With
features f, their mean c over training pictures, a random view v, and z = clip(x + eps G(x)), one step minimizes

    mean cos(f(v(z)) - c, f(x) - c) + mean_s cos(g_s(v(z)), g_s(x)) + lambda (1 - SSIM(x, z)) + mu stripes((z - x) / room),

where g_s are the statistics of the network's stages (`models/stages.py`), less their mean and divided by their deviation over
training pictures: networks of other kinds share more of those than of the last features. lambda rises while pictures look less
alike than asked and falls again (dual ascent), so the generator finds by itself where its bound may be spent: little on even
grounds, more in texture, and in slow waves. mu does the same for stripes (`images/stripes.py`), of noise as a part of the room
it has, so that those on faint texture count as much as others: without it most of the noise is one wave in one direction, which
eyes find.

Deliberate differences from BIA and LTP: pooled features and statistics, which a search keeps or could keep, not maps position by
position, so that parts and sizes may be drawn at random; no classifier's loss.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hamguard.attacks.search.file_views import Jpeg
from hamguard.core.errors import RequestError
from hamguard.images.likeness import similarity
from hamguard.images.stripes import WINDOW, stripes
from hamguard.images.views import resize
from hamguard.models.folding import folded
from hamguard.models.hash_model import HashModel
from hamguard.models.protector import STEP, Protector
from hamguard.models.stages import Stages, StageScale
from hamguard.privacy.game import Step
from hamguard.privacy.matchers import takes_any_size
from hamguard.training.loop import PlainTask

FILES = Jpeg(55, 95)
AT_ONCE = 32  # pictures whose features are computed together
SMALLER = 0.72
"""Least side of what networks see, in units of the side that they were made for; the most is `LARGER`."""
LARGER = 1.15
PART = 0.75  # least part of a side that a view shows
FIRST = 2.0  # the multiplier at the beginning
RISE = 0.1  # its step
STRIPES_RISE = 0.02  # that of the price of stripes, which begins at 0
MOST = 20.0


class Clean:
    """What a network makes of clean pictures, centred.

    Args:
        features: `(n, D)`.
        stages: `(n, 2C)` for each stage.
    """

    def __init__(self, features: Tensor, stages: Sequence[Tensor]) -> None:
        self.mean, self.scale = features.mean(0), StageScale.of(stages)
        self.features, self.stages = features - self.mean, self.scale(stages)

    def to(self, device: torch.device | str) -> Clean:
        """The same on a device, in place."""
        self.mean, self.features = self.mean.to(device), self.features.to(device)
        self.scale, self.stages = self.scale.to(device), [one.to(device) for one in self.stages]
        return self

    def cosines(self, seen: tuple[Tensor, list[Tensor]], index: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines of features, and mean ones of stages, with the clean pictures of `index`, `(B,)` each."""
        features, stages = seen
        cosine = F.cosine_similarity(features - self.mean, self.features[index])
        pairs = zip(self.scale(stages), self.stages, strict=True)
        each = [F.cosine_similarity(one, clean[index]) for one, clean in pairs]
        return cosine, torch.stack(each).mean(0) if each else torch.zeros_like(cosine)


class FeatureTask(PlainTask):
    """The task of a training loop.

    Args:
        protector: the generator, changed in place; its device is where the work happens.
        networks: frozen hash models, whose heads do not count.
        pictures: from numbers of training items to pictures `(B, C, H, W)` in [0, 1].
        clean: what the networks make of all training items, see `clean_features`.
        alike: SSIM that protected pictures shall have, in (0, 1].
        striped: how far noise may be made of stripes, in (0, 1]; 1 for as far as it likes.

    Raises:
        RequestError: no network.
    """

    def __init__(
        self,
        protector: Protector,
        networks: Sequence[HashModel],
        pictures: Callable[[Sequence[int]], Tensor],
        clean: Sequence[Clean],
        *,
        alike: float,
        striped: float = 1.0,
    ) -> None:
        if not networks:
            raise RequestError("method features needs models to learn against; give surrogates, best of several kinds")
        self.net = self.protector = protector
        self.networks, self.pictures = list(networks), pictures
        self.items = len(clean[0].features)
        self.alike, self.lam = alike, FIRST
        self.striped, self.stripes_price = striped, 0.0
        self.device = next(protector.parameters()).device
        self._quick = [staged(net) for net in self.networks]
        self._free = [takes_any_size(net) for net in self.networks]
        self._clean = [one.to(self.device) for one in clean]
        self._sums = torch.zeros(5, dtype=torch.float64)  # of the epoch: steps, both cosines, SSIM, stripes
        self._steps = 0

    def _seen(self, number: int, x: Tensor, scale: float) -> tuple[Tensor, list[Tensor]]:
        """What a network makes of pictures at its own size times `scale`; at its own where it takes no other."""
        net = self.networks[number]
        scale = scale if self._free[number] else 1.0
        height, width = (max(1, round(scale * side)) for side in net.size)
        return self._quick[number](x if x.shape[2:] == (height, width) else resize(x, (height, width)))

    def step(self, batch: Step) -> Tensor:
        """One batch against the network whose turn it is."""
        draw = batch.generator
        number, self._steps = self._steps % len(self.networks), self._steps + 1
        own = self.pictures(batch.index.tolist()).to(self.device)
        clean = self._clean[number]
        # 1. the generator meets pictures of several sizes
        side = STEP * max(2, round(min(own.shape[2:]) * _between(0.75, 1.1, draw) / STEP))
        x = resize(own, (side, side * own.shape[3] // own.shape[2]))
        if _chance(draw):
            x = x.flip(3)
        x = x.contiguous(memory_format=torch.channels_last)
        self.protector.train()
        z = self.protector(x)  # (B, C, h, w)
        # 2. what becomes of them: a file, a part, another size
        view = z
        if _chance(draw):
            view = FILES(z, range(len(z)), 0, int(torch.randint(2**31, (1,), generator=draw)))
        if _chance(draw):
            view = _part(view, draw)
        found = self._seen(number, view, _between(SMALLER, LARGER, draw))
        cosine, stages = clean.cosines(found, batch.index.to(self.device))  # (B,) each
        # 3. how they look, and its price
        alike = similarity(z, x).mean()
        loss: Tensor = cosine.mean() + stages.mean() + self.lam * (1 - alike)
        looks = float(alike.detach())
        self.lam = min(MOST, max(0.0, self.lam + RISE * (self.alike - looks)))
        lined = 0.0
        if self.striped < 1:
            lines = stripes((z - x) / self.protector.room(x), WINDOW).mean()  # windows side by side, enough for a price
            lined = float(lines.detach())
            loss = loss + self.stripes_price * lines
            self.stripes_price = min(MOST, max(0.0, self.stripes_price + STRIPES_RISE * (lined - self.striped)))
        self._sums += torch.tensor(
            [1.0, *(float(c.detach().mean()) for c in (cosine, stages)), looks, lined], dtype=torch.float64
        )
        return loss

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """Cosines between protected and clean pictures and their SSIM, averaged over steps, and the multiplier.

        Where stripes have a price, how far noise is made of them and that price, too.
        """
        steps, cosine, stages, alike, lined = self._sums.tolist()
        self._sums.zero_()
        told = {"cosine": cosine / steps, "stages": stages / steps, "ssim": alike / steps, "multiplier": self.lam}
        return told if self.striped == 1 else told | {"stripes": lined / steps, "stripes_price": self.stripes_price}

    def state(self) -> dict[str, Any]:
        """The generator, the multiplier, whose turn it is and the sums; copies."""
        return {
            "protector": {name: value.detach().cpu().clone() for name, value in self.protector.state_dict().items()},
            "lam": self.lam,
            "stripes_price": self.stripes_price,
            "steps": self._steps,
            "sums": self._sums.clone(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take what `state` gave."""
        self.protector.load_state_dict(state["protector"])
        self.lam, self.stripes_price = float(state["lam"]), float(state["stripes_price"])
        self._steps, self._sums = int(state["steps"]), state["sums"].clone()


def _between(low: float, high: float, draw: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand(1, generator=draw))


def _chance(draw: torch.Generator) -> bool:
    return float(torch.rand(1, generator=draw)) < 0.5


def _part(x: Tensor, draw: torch.Generator) -> Tensor:
    """A random part of all pictures, at least `PART` of each side."""
    H, W = x.shape[2:]
    share = _between(PART, 1.0, draw)
    height, width = round(H * share), round(W * share)
    top = int(torch.randint(H - height + 1, (1,), generator=draw))
    left = int(torch.randint(W - width + 1, (1,), generator=draw))
    return x[:, :, top : top + height, left : left + width]


def staged(network: HashModel) -> Stages:
    """A network for gradients, with its stages."""
    quick = folded(network.eval().requires_grad_(False))
    assert isinstance(quick, HashModel)
    return Stages(quick)


@torch.no_grad()
def clean_features(network: HashModel, pictures: Callable[[Sequence[int]], Tensor], items: int) -> Clean:
    """What a network makes of training items at its own size."""
    seen, at = staged(copy.deepcopy(network)), next(network.parameters()).device
    features, stages = [], []
    for start in range(0, items, AT_ONCE):
        x = pictures(range(start, min(start + AT_ONCE, items))).to(at)
        found, more = seen(x if tuple(x.shape[2:]) == tuple(network.size) else resize(x, network.size))
        features.append(found.cpu())
        stages.append([one.cpu() for one in more])
    return Clean(torch.cat(features), [torch.cat(parts) for parts in zip(*stages, strict=True)])
