"""The game of PPL as a task of the training loop: warm-up of the surrogate, then steps of both players.

`ppl.py` has the objective; here stand pictures, networks, optimizers and what a resumed run needs.

Deliberate differences:

* Where `game="two-step"`, the surrogate moves before the generator on each batch, not after it as in Algorithm 1, so that the
  loop's own step is the generator's; the moves alternate all the same.
* A surrogate with batch norm that plays sees clean and protected pictures together, `F([x; z])`, in training mode: both domains
  are normalized alike, by the statistics of the joint batch, through which `h(x)` then depends on z, too. Were each normalized
  by its own, batch norm would take away a part of the domain gap that the losses measure. A frozen or finished surrogate keeps
  its statistics (`statistics="kept"`): these are what searches with it will use.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from hamguard.attacks.search.file_views import Jpeg
from hamguard.codes.binary import relax
from hamguard.core.checks import check_range
from hamguard.core.errors import RequestError, RunError
from hamguard.core.seeds import torch_generator
from hamguard.images.views import resize
from hamguard.models.hash_model import HashModel
from hamguard.models.protector import Protector
from hamguard.privacy.ppl import Rules, pair_loss, pair_signs, reverse_gradient

FILES = Jpeg()
LOOK = 256  # pictures that say how large a finished model's outputs are
CLIP = 1.0  # largest gradient norm in warm-up and in the surrogate's own step


class Step(Protocol):
    """What the game looks at in a training loop's batch."""

    @property
    def index(self) -> Tensor:
        """Numbers of the items, `(B,)`."""

    @property
    def generator(self) -> torch.Generator:
        """Random numbers of this step."""


@dataclass(frozen=True)
class Warmup:
    """How surrogates learn the clean pairs before the game begins.

    Attributes:
        steps: updates; 0 for none, the printed start.
        rate: learning rate of Adam.
        batch_size: pictures an update.
        seed: of the batches.

    Raises:
        RequestError: a number below its range.
    """

    steps: int = 400
    rate: float = 2e-3
    batch_size: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        check_range("warmup", self.steps, 0)
        check_range("warmup batch", self.batch_size, 2)


def two_views(x: Tensor, generator: torch.Generator) -> Tensor:
    """Two random views of each picture, `(B, C, H, W)` to `(2B, C, H, W)`.

    A view shows 70% to 100% of a side, mirrored or not, up to 20% brighter or darker.
    """
    B, H, W = len(x), *x.shape[2:]
    seen = []
    for _ in range(2):
        coins = torch.rand(B, 5, generator=generator).to(x)  # size, down, right, mirror, light
        scale = 0.7 + 0.3 * coins[:, 0]
        affine = x.new_zeros(B, 2, 3)
        affine[:, 0, 0] = scale * torch.where(coins[:, 3] < 0.5, -1.0, 1.0)
        affine[:, 1, 1] = scale
        affine[:, 0, 2], affine[:, 1, 2] = ((2 * coins[:, k] - 1) * (1 - scale) for k in (2, 1))
        grid = F.affine_grid(affine, [B, x.shape[1], H, W], align_corners=False)
        moved = F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
        seen.append((moved * (0.8 + 0.4 * coins[:, 4]).view(-1, 1, 1, 1)).clamp(0, 1))
    return torch.cat(seen)


def random_parts(x: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """A random square part of each picture at full resolution, `(B, C, H, W)` to `(B, C, side, side)`."""
    H, W = x.shape[2:]
    top = torch.randint(H - side + 1, (len(x),), generator=generator).tolist()
    left = torch.randint(W - side + 1, (len(x),), generator=generator).tolist()
    return torch.stack([one[:, t : t + side, k : k + side] for one, t, k in zip(x, top, left, strict=True)])


@dataclass(frozen=True)
class Material:
    """What the game is played on.

    Attributes:
        pictures: from numbers of training items to pictures `(B, C, H, W)` in [0, 1].
        labels: of the training items, `(n, C)`; None where similarity comes from two views of each picture.
        items: number of training items n.
    """

    pictures: Callable[[Sequence[int]], Tensor]
    labels: Tensor | None
    items: int


class Game:
    """The task of a training loop.

    Args:
        protector: the generator, changed in place; its device is where the work happens.
        surrogates: hash models that it learns against, changed in place unless the game is `frozen`.
        material: training pictures and labels.
        rules: weights and rules.
        warmup: how surrogates begin.
        rate: learning rate of the generator, which the loop applies.
        surrogate_rate: that of the surrogates.
        part: learn from random parts of this side of the pictures; 0 for whole pictures.
        jpeg: in half of the steps surrogates see protected pictures through a JPEG file, straight through for the gradient.
        fresh: the surrogates start from nothing; else they are finished models, whose outputs are scaled before tanh.

    Raises:
        RequestError: no surrogate.
    """

    def __init__(
        self,
        protector: Protector,
        surrogates: Sequence[HashModel],
        material: Material,
        *,
        rules: Rules,
        warmup: Warmup,
        rate: float,
        surrogate_rate: float,
        part: int = 0,
        jpeg: bool = False,
        fresh: bool = True,
    ) -> None:
        if not surrogates:
            raise RequestError("the game needs at least one surrogate")
        self.protector, self.surrogates = protector, list(surrogates)
        self.pictures, self.labels, self.items = material.pictures, material.labels, material.items
        self.rules, self.warmup = rules, warmup
        self.rate, self.surrogate_rate, self.part, self.fresh = rate, surrogate_rate, part, fresh
        self.jpeg = jpeg
        self._joint = [rules.statistics == "batch" and _has_batch_norm(net) for net in self.surrogates]
        self.device = next(protector.parameters()).device
        playing = [p for net in self.surrogates for p in net.parameters()]
        for p in playing:
            p.requires_grad_(rules.game != "frozen")
        self.own = torch.optim.Adam(playing, lr=surrogate_rate) if rules.game == "two-step" else None
        self._playing = playing
        self.scales = [1.0] * len(self.surrogates)  # of the outputs before tanh
        self._sums = torch.zeros(5, dtype=torch.float64)  # of the epoch: steps, constant, moved bits, Jo, Jp

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The generator, and in a one-step game the surrogates with a rate of their own."""
        groups = [{"params": list(self.protector.parameters()), "lr_factor": 1.0}]
        if self.rules.game == "one-step":
            groups.append({"params": self._playing, "lr_factor": self.surrogate_rate / self.rate})
        return groups

    def begin(self) -> None:
        """Let the surrogates learn the clean pairs.

        Raises:
            RunError: their loss is not finite.
        """
        ask = self.warmup
        if ask.steps == 0 and not self.fresh:
            self._fit_scales()
        for number, net in enumerate(self.surrogates):
            frozen = [p.requires_grad for p in net.parameters()]
            net.requires_grad_(True)
            optimizer = torch.optim.Adam(net.parameters(), lr=ask.rate)
            for step in range(ask.steps):
                draw = torch_generator(ask.seed, "warmup", number, step)
                size = min(ask.batch_size, self.items)
                x, similar = self._batch(torch.randperm(self.items, generator=draw)[:size], draw)
                net.train()
                h = relax(net.logits(x))  # (m, K)
                loss = pair_loss(h, h, similar, normalize="mean", balance=True)
                if not bool(loss.isfinite()):
                    raise RunError(f"the surrogate's loss became {float(loss)} in warm-up; lower `warmup_rate`")
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(net.parameters(), CLIP)
                optimizer.step()
            net.eval()
            for p, was in zip(net.parameters(), frozen, strict=True):
                p.requires_grad_(was)

    @torch.no_grad()
    def _fit_scales(self) -> None:
        """Bring the median size of a finished model's outputs to at most 1: the codes stay, and their gradient lives."""
        x = self._shown(range(min(LOOK, self.items)), torch_generator(self.warmup.seed, "scales"))
        for number, net in enumerate(self.surrogates):
            seen = x if x.shape[2:] == torch.Size(net.size) else resize(x, net.size)
            self.scales[number] = 1 / max(1.0, float(net.eval().logits(seen).abs().median()))

    def codes(self, number: int, x: Tensor) -> Tensor:
        """Relaxed codes of a surrogate, `(m, K)` in (-1, 1); it sees pictures at its own size."""
        net = self.surrogates[number]
        return relax(net.logits(x if x.shape[2:] == torch.Size(net.size) else resize(x, net.size)), self.scales[number])

    def both(self, number: int, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Relaxed codes of clean and protected pictures, `(m, K)` each; together where batch norm looks at the batch."""
        if not self._joint[number]:
            return self.codes(number, x), self.codes(number, z)
        hx, hz = self.codes(number, torch.cat([x, z])).chunk(2)
        return hx, hz

    def select(self, epoch: int) -> Tensor | None:
        """All items."""
        return None

    def _shown(self, numbers: Sequence[int], draw: torch.Generator) -> Tensor:
        """Pictures, or random parts of them, `(m, C, H, W)`."""
        x = self.pictures(numbers)
        return (random_parts(x, self.part, draw) if self.part else x).to(self.device)

    def _batch(self, index: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """Pictures `(m, C, H, W)` and S `(m, m)` in {-1, +1}."""
        x = self._shown(index.tolist(), draw)
        if self.labels is None:
            x = two_views(x, draw)
            same = torch.eye(len(index), device=self.device).repeat(2, 2)
            similar = 2 * same - 1
        else:
            similar = pair_signs(self.labels[index].to(self.device))
        return x.contiguous(memory_format=torch.channels_last), similar

    def step(self, batch: Step) -> Tensor:
        """One batch: `Jo + Jp` behind the reversal layer (eq. 14), or the generator's `Jo - Jp` (eq. 12)."""
        x, similar = self._batch(batch.index, batch.generator)
        self.protector.train()
        for net in self.surrogates:
            net.train(self.rules.statistics == "batch")
        if self.own is not None:
            self._move_surrogates(x, similar)
        z = self.protector(x)  # (m, C, H, W)
        if self.jpeg and float(torch.rand(1, generator=batch.generator)) < 0.5:  # what becomes of many files
            seed = int(torch.randint(2**31, (1,), generator=batch.generator))
            z = FILES(z, range(len(z)), 0, seed)
        loss = z.new_zeros(())
        for number in range(len(self.surrogates)):
            loss = loss + (self._one_step if self.rules.game == "one-step" else self._against)(number, x, z, similar)
        mean: Tensor = loss / len(self.surrogates)
        return mean

    def _one_step(self, number: int, x: Tensor, z: Tensor, similar: Tensor) -> Tensor:
        """`J' = Jo(F(z)) + Jp(F(x), F(Re(z)))`, eq. (14)."""
        hx, hz = self.both(number, x, z)  # (m, K) each, the gradient goes on to G as it is
        turned_z = reverse_gradient(z, self.rules.lam)
        if self._joint[number]:
            hx, turned = self.both(number, x, turned_z)
        else:
            turned = self.codes(number, turned_z)  # (m, K), turned around before G
        keep = self.rules.affinity_loss(hz, similar)
        part = self.rules.privacy_loss(hx, turned, similar)
        self._look(hx, hz, keep, part)
        return keep + part

    def _against(self, number: int, x: Tensor, z: Tensor, similar: Tensor) -> Tensor:
        """`Jo - lambda Jp` for the generator alone, eq. (12); the surrogate gets no gradient."""
        for p in self._playing:
            p.requires_grad_(False)
        hx, hz = self.both(number, x, z)  # (m, K) each
        for p in self._playing:
            p.requires_grad_(self.rules.game != "frozen")
        keep = self.rules.affinity_loss(hz, similar)
        part = self.rules.privacy_loss(hx, hz, similar)
        self._look(hx, hz, keep, part)
        return keep - self.rules.lam * part

    def _move_surrogates(self, x: Tensor, similar: Tensor) -> None:
        """The surrogates' step of Algorithm 1: `Jp` alone."""
        assert self.own is not None
        with torch.no_grad():
            z = self.protector(x)
        loss = x.new_zeros(())
        for number in range(len(self.surrogates)):
            hx, hz = self.both(number, x, z)
            loss = loss + self.rules.privacy_loss(hx, hz, similar)
        self.own.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._playing, CLIP)
        self.own.step()

    @torch.no_grad()
    def _look(self, hx: Tensor, hz: Tensor, keep: Tensor, part: Tensor) -> None:
        high = hx >= 0
        constant = float((high == high[0]).all())
        moved = float((high != (hz >= 0)).float().mean())
        self._sums += torch.tensor([1.0, constant, moved, float(keep), float(part)], dtype=torch.float64)

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """Share of batches with one single code, share of moved bits and both losses, averaged over surrogates and steps."""
        steps, *others = self._sums.tolist()
        self._sums.zero_()
        names = ("constant_batches", "moved_bits", "affinity", "privacy")
        return {name: value / steps for name, value in zip(names, others, strict=True)}

    def state(self) -> dict[str, Any]:
        """All networks, the surrogates' optimizer and the sums; copies."""
        return {
            "protector": _copy(self.protector.state_dict()),
            "surrogates": {str(i): _copy(net.state_dict()) for i, net in enumerate(self.surrogates)},
            "own": copy.deepcopy(self.own.state_dict()) if self.own else {},
            "sums": self._sums.clone(),
            "scales": list(self.scales),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take what `state` gave."""
        self.protector.load_state_dict(state["protector"])
        for i, net in enumerate(self.surrogates):
            net.load_state_dict(state["surrogates"][str(i)])
            net.eval()
        if self.own is not None:
            self.own.load_state_dict(state["own"])
        self._sums, self.scales = state["sums"].clone(), [float(scale) for scale in state["scales"]]


def _has_batch_norm(net: torch.nn.Module) -> bool:
    return any(isinstance(part, torch.nn.modules.batchnorm._BatchNorm) for part in net.modules())


def _copy(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in state.items()}
