"""A generator that leads pictures away from themselves in what networks see, so that searches nobody trained on lose them.

Ours, of published parts: one generator for all pictures, trained against features in the place of codes, because features are
what networks share (BIA, Q. Zhang et al., ICLR 2022; LTP, M. Salzmann et al., NeurIPS 2021); several networks, which take turns;
random parts and sizes (DI-FGSM, C. Xie et al., CVPR 2019); JPEG files in the loop, straight through for the gradient. With
features f, their mean c over training pictures, a random view v, and z = clip(x + eps G(x)), one step minimizes

    mean cos(f(v(z)) - c, f(x) - c) + mean_s cos(g_s(v(z)), g_s(x)) + lambda (1 - SSIM(x, z))
        + mu stripes((z - x) / room) + nu repeats((z - x) / room),

where g_s are the statistics of the network's stages (`models/stages.py`), less their mean and divided by their deviation over
training pictures: networks of other kinds share more of those than of the last features. lambda rises while pictures look less
alike than asked and falls again (dual ascent), so the generator finds by itself where its bound may be spent: little on even
grounds, more in texture, and in slow waves. mu and nu do the same for how far noise runs in one direction
(`images/stripes.py`) and comes again and again (`images/repeats.py`), as a part of the room it has, so that noise on faint texture
counts as much as other. Without a price most of the noise is one wave, which eyes find.

Deliberate differences from BIA and LTP: pooled features and statistics, which a search keeps or could keep, not maps position by
position, so that parts and sizes may be drawn at random; no classifier's loss.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hamguard.attacks.search.file_views import Jpeg
from hamguard.core.errors import RequestError
from hamguard.images.likeness import similarity
from hamguard.images.repeats import repeats
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
FIRST = 2.0  # the multiplier of likeness at the beginning; other prices begin at 0
RISE, PATTERN_RISE = 0.1, 0.02  # steps of it, and of the others
MOST = 20.0


class Price:
    """What one of a measure costs: more and more while there is more than allowed, less and less otherwise (dual ascent).

    Args:
        allowed: of the measure.
        value: the price at the beginning.
        rise: by how much it moves, for each 1 too much.
    """

    def __init__(self, allowed: float, value: float, rise: float) -> None:
        self.allowed, self.value, self.rise = allowed, value, rise
        self.sum = 0.0  # of the measure, over the steps of an epoch

    def __call__(self, measure: Tensor) -> Tensor:
        """What the measure costs at the present price, which then moves."""
        cost, found = self.value * measure, float(measure.detach())
        self.value = min(MOST, max(0.0, self.value + self.rise * (found - self.allowed)))
        self.sum += found
        return cost


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
        patterns: how far noise may be made of `stripes` and `repeats`, each in (0, 1]; 1, as without, for as far as it likes.

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
        patterns: Mapping[str, float] | None = None,
    ) -> None:
        if not networks:
            raise RequestError("method features needs models to learn against; give surrogates, best of several kinds")
        self.net = self.protector = protector
        self.networks, self.pictures = list(networks), pictures
        self.items = len(clean[0].features)
        self.unlike = Price(1 - alike, FIRST, RISE)
        asked = {name: value for name, value in (patterns or {}).items() if value < 1}
        self.patterns = {name: Price(value, 0.0, PATTERN_RISE) for name, value in asked.items()}
        self.device = next(protector.parameters()).device
        self._quick = [staged(net) for net in self.networks]
        self._free = [takes_any_size(net) for net in self.networks]
        self._clean = [one.to(self.device) for one in clean]
        self._sums = torch.zeros(3, dtype=torch.float64)  # of the epoch: steps, both cosines
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
            view = FILES(z, range(len(z)), 0, _below(2**31, draw))
        if _chance(draw):
            view = _part(view, draw)
        found = self._seen(number, view, _between(SMALLER, LARGER, draw))
        cosine, stages = clean.cosines(found, batch.index.to(self.device))  # (B,) each
        # 3. how they look, and what their noise is made of, each at its price
        loss: Tensor = cosine.mean() + stages.mean() + self.unlike(1 - similarity(z, x).mean())
        for name, price in self.patterns.items():
            loss = loss + price(self._pattern(name, z - x, x))
        self._sums += torch.tensor([1.0, *(float(c.detach().mean()) for c in (cosine, stages))], dtype=torch.float64)
        return loss

    def _pattern(self, name: str, change: Tensor, x: Tensor) -> Tensor:
        """How far changes, as a part of the room they have, are made of a pattern; a mean over pictures."""
        noise = change / self.protector.room(x)
        found = stripes(noise, WINDOW) if name == "stripes" else repeats(noise)  # stripes side by side: enough
        return found.mean()

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """Cosines between protected and clean pictures and their SSIM, averaged over steps, and the multiplier.

        Where patterns have a price, how much of them there is and that price, too.
        """
        steps, cosine, stages = self._sums.tolist()
        self._sums.zero_()
        told = {"cosine": cosine / steps, "stages": stages / steps}
        told |= {"ssim": 1 - self.unlike.sum / steps, "multiplier": self.unlike.value}
        for name, price in self.patterns.items():
            told |= {name: price.sum / steps, f"{name}_price": price.value}
        for price in (self.unlike, *self.patterns.values()):
            price.sum = 0.0
        return told

    def state(self) -> dict[str, Any]:
        """The generator, prices, whose turn it is and the sums; copies."""
        return {
            "protector": {name: value.detach().cpu().clone() for name, value in self.protector.state_dict().items()},
            "prices": [(price.value, price.sum) for price in (self.unlike, *self.patterns.values())],
            "steps": self._steps,
            "sums": self._sums.clone(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take what `state` gave."""
        self.protector.load_state_dict(state["protector"])
        for price, (value, total) in zip((self.unlike, *self.patterns.values()), state["prices"], strict=True):
            price.value, price.sum = float(value), float(total)
        self._steps, self._sums = int(state["steps"]), state["sums"].clone()


def _between(low: float, high: float, draw: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand(1, generator=draw))


def _below(bound: int, draw: torch.Generator) -> int:
    return int(torch.randint(bound, (1,), generator=draw))


def _chance(draw: torch.Generator) -> bool:
    return float(torch.rand(1, generator=draw)) < 0.5


def _part(x: Tensor, draw: torch.Generator) -> Tensor:
    """A random part of all pictures, at least `PART` of each side."""
    H, W = x.shape[2:]
    share = _between(PART, 1.0, draw)
    height, width = round(H * share), round(W * share)
    top = _below(H - height + 1, draw)
    left = _below(W - width + 1, draw)
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
