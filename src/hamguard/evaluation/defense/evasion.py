"""Attacks that know the detector: its criteria stand in the loss, and a step counts as undetected only where it is.

Ours, after the advice for adaptive attacks (F. Tramer, N. Carlini, W. Brendel, A. Madry, "On Adaptive Attacks to Adversarial
Example Defenses", NeurIPS 2020): attack the defense as it is, with gradients through all of it.

Two goals. `leave` lowers the loss of the unaware attack, on the picture and on its denoised copy. `decoy` approaches the code of
a training picture without a label in common, the nearest such code: it exists, so margins, neighbors and their labels look
natural. To either is added `weight` times the sum of how far each criterion is over its bound, in a form with a gradient: relaxed
codes instead of signed ones, and for the nearest codes those of dissimilar training pictures only.

The model sees the picture as an 8-bit file holds it, also when a gradient is taken; what is kept is the undetected picture with
the fewest bits on the wrong side, or where none is undetected the one with the fewest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hamguard.attacks.attack import Attack
from hamguard.attacks.guides.own import OwnCode
from hamguard.attacks.guides.vote import SignedMean
from hamguard.attacks.losses.hag import HagLoss
from hamguard.attacks.losses.inner import inner_product
from hamguard.attacks.losses.mainstay import MainstayLoss
from hamguard.attacks.problem import Problem
from hamguard.attacks.search.adaptive import AdaptiveSteps
from hamguard.attacks.search.views import PLAIN, View
from hamguard.attacks.threat import Linf, Threat
from hamguard.attacks.types import Carrier, SearchProblem
from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import relax
from hamguard.core.errors import RequestError, RunError
from hamguard.core.seeds import numpy_generator
from hamguard.defenses.detect import Detector, denoise, label_marks, softness
from hamguard.models.trial import pixel_gradient, with_gradient

LEVEL = 2.0  # median size of outputs that losses see, as in the audit: there tanh bends and still has a slope
POOL = 2000  # training codes that may be decoys
INSIDE = 0.5  # criteria are pushed to the middle between the clean median and the bound, so that rounding ends inside
SMALLEST = 1e-3  # unit of a criterion whose clean values are all alike


@dataclass(frozen=True, eq=False)
class Decoys:
    """Training codes that an attack may approach.

    Attributes:
        codes: `(P, K)` in {-1, +1}.
        labels: `(P, C)`; None where nothing is labeled.
    """

    codes: Tensor
    labels: Tensor | None

    @classmethod
    def drawn(cls, detector: Detector, seed: int) -> Decoys:
        """At most `POOL` codes of the detector's bank, without those whose neighbors mostly have other labels.

        A training picture that the model takes for another class has the code of that class: no decoy for anyone.
        """
        bank = detector.bank
        order = numpy_generator(seed, "decoys").permutation(len(bank))[:POOL]
        chosen = bank.select(np.sort(order))
        if not bank.labels.any():
            return cls(chosen.codes, None)
        near, marks = detector.neighbors, label_marks(bank.labels)
        dist = (bank.bits - chosen.codes @ near.codes.T) / 2  # (P, N)
        ball = (dist <= dist.topk(detector.k, dim=1, largest=False).values[:, -1:]).float()
        agreed = (ball @ marks / ball.sum(1, keepdim=True) * label_marks(chosen.labels)).sum(1)  # (P,)
        kept = agreed >= 0.5
        kept = kept if bool(kept.any()) else torch.ones_like(kept)
        return cls(chosen.codes[kept], torch.from_numpy(chosen.labels).float()[kept])

    def nearest(self, own: Tensor, labels: Tensor | None) -> Tensor:
        """The nearest dissimilar code of each picture, `(B, K)`; the farthest code where none is dissimilar.

        Args:
            own: clean codes, `(B, K)`.
            labels: their labels, `(B, C)`; without them a code counts as dissimilar from the median distance on.
        """
        codes = self.codes.to(own)
        dist = (own.shape[1] - own @ codes.T) / 2  # (B, P)
        other = dissimilar(dist, labels, self.labels)
        key = torch.where(other, dist, 3 * own.shape[1] - dist)  # similar codes last, the farthest of them first
        return codes[key.argmin(1)]


def dissimilar(dist: Tensor, labels: Tensor | None, others: Tensor | None) -> Tensor:
    """Which codes share no label with a picture, `(B, P)` bool; without labels, those at the median distance or farther."""
    if labels is None or others is None:
        return dist >= dist.median(dim=1, keepdim=True).values
    return labels @ others.to(labels).T == 0


@dataclass(kw_only=True)
class EvadingProblem(Problem):
    """A batch under attack by someone who knows the detector.

    Attributes:
        detector: the detector.
        other: which of its neighbors are dissimilar to each picture, `(B, N)` bool.
        weight: of the criteria against the loss.
    """

    detector: Detector
    other: Tensor
    weight: float

    def gradient(
        self, x_adv: Tensor, rows: Tensor, alpha: float, views: Sequence[View] = PLAIN, step: int = 0
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradient `(b, C, H, W)`, loss `(b,)` and what is left to do `(b,)` of the 8-bit pictures next to `x_adv`."""
        at = self.threat.on_grid(x_adv.detach(), self.x[rows]).requires_grad_()
        scale = LEVEL / max(self.detector.level, 1e-6)
        with torch.enable_grad():
            z, z_denoised = (
                with_gradient(self._logits(one), "the attacked model") for one in (at, denoise(at))
            )  # (b, K) each
            first, second = (self.scored(relax(scale * one, alpha), rows) for one in (z, z_denoised))
            total = (first + second) / 2 + self.weight * self.excess(z, z_denoised, rows, scale * max(alpha, 1.0))
            found = pixel_gradient(total.sum(), at, "the attacked model")
        if not bool(found.sum().isfinite()):
            raise RunError("the gradient to the picture is NaN or infinite; the model's weights or outputs are broken")
        self._count(rows, backwards=2)
        return found, total.detach(), self._left(z.detach(), z_denoised.detach(), rows)

    @torch.no_grad()
    def score(self, x_adv: Tensor, rows: Tensor) -> Tensor:
        """What is left to do, `(b,)`."""
        at = self.threat.on_grid(x_adv, self.x[rows])
        self._count(rows, backwards=0)
        return self._left(self._logits(at), self._logits(denoise(at)), rows)

    def excess(self, z: Tensor, z_denoised: Tensor, rows: Tensor, slope: float) -> Tensor:
        """Sum over criteria of how far each is over its aim, in units of the way from the clean median to the bound, `(b,)`."""
        here = self.detector.neighbors.to(z)
        u, K = relax(z), z.shape[1]
        dist = (K - relax(z, slope) @ here.codes.T) / 2  # (b, N)
        allowed = dist.masked_fill(~self.other[rows], float(K))
        found = [*softness(u), allowed.topk(here.k, dim=1, largest=False).values.mean(1)]
        if here.marks is not None:
            found.append(1 - (torch.softmax(-2 * dist, 1) @ here.marks).square().sum(1))
        found.append((u - relax(z_denoised)).abs().mean(1) / 2)
        bounds, middle = (
            z.new_tensor(values) for values in (self.detector.bounds, np.median(self.detector.clean, axis=1))
        )
        unit = (bounds - middle).clamp(min=SMALLEST)
        return F.relu((torch.stack(found, 1) - bounds) / unit + INSIDE).sum(1)

    def _left(self, z: Tensor, z_denoised: Tensor, rows: Tensor) -> Tensor:
        """Bits on the wrong side, and more than all of them where the alarm rings."""
        values = self.detector.neighbors.criteria(z, z_denoised).double().cpu().numpy()
        alarm = torch.from_numpy(self.detector.alarms(values)).to(z.device)
        return self.wrong(z, rows) + (z.shape[1] + 1) * alarm

    def _count(self, rows: Tensor, *, backwards: int) -> None:
        places = rows.cpu()
        self.spent.forwards[places] += 2
        self.spent.backwards[places] += backwards


@dataclass(frozen=True)
class DecoyCode:
    """Guide: the nearest decoy of each picture.

    Attributes:
        decoys: codes to approach.
        labeled: whether labels are looked at.
    """

    decoys: Decoys = field(repr=False)
    labeled: bool
    name: str = "decoy"

    @property
    def needs_labels(self) -> bool:
        """Where anything is labeled."""
        return self.labeled

    def __call__(
        self, own: Tensor, labels: Tensor | None, bank: CodeBank | None, index: Sequence[int], seed: int
    ) -> Tensor:
        """Guide codes `(B, K)`."""
        return self.decoys.nearest(own, labels if self.labeled else None)


@dataclass(frozen=True)
class EvadingSteps(Carrier):
    """The adaptive search with the criteria of a detector in the loss.

    Attributes:
        detector: the detector.
        weight: of the criteria.
        steps: number of gradients.
        labeled: whether labels are looked at.
    """

    detector: Detector = field(repr=False)
    weight: float
    steps: int
    labeled: bool

    def __call__(self, problem: SearchProblem) -> Tensor:
        """Attacked pictures inside the threat, `(B, C, H, W)`.

        Raises:
            RequestError: several models are attacked together: a detector watches one.
        """
        if not isinstance(problem, Problem) or problem.own is None:
            raise RequestError("a detector watches one model; evade it on that one alone")
        near, own = self.detector.neighbors.to(problem.own), problem.own
        labels = problem.labels if self.labeled else None
        others = torch.from_numpy(self.detector.bank.labels).float() if self.labeled else None
        other = dissimilar((own.shape[1] - own @ near.codes.T) / 2, labels, others)  # (B, N)
        inside = {one.name: getattr(problem, one.name) for one in fields(Problem) if one.init}
        evading = EvadingProblem(**inside, detector=self.detector, other=other, weight=self.weight)
        evading.spent = problem.spent
        return AdaptiveSteps(self.steps, early_stop=False)(evading)

    def shown(self, attack: Attack) -> dict[str, Any]:
        """Goal, weight and size."""
        own = {"weight": self.weight, "steps": self.steps, "threat": attack.threat, "labeled": self.labeled}
        return {"kind": "Evasion", "goal": "decoy" if attack.toward else "leave", **own}


def evasion(
    detector: Detector,
    decoys: Decoys,
    goal: Literal["leave", "decoy"] = "leave",
    weight: float = 1.0,
    *,
    steps: int = 30,
    threat: Threat | None = None,
    labeled: bool = True,
) -> Attack:
    """An attack that knows the detector.

    Args:
        detector: the detector.
        decoys: codes to approach.
        goal: `leave` or `decoy`.
        weight: of the criteria.
        steps: number of gradients.
        threat: the allowed set; 8/255 where none is given.
        labeled: whether labels are looked at; without them `leave` leaves the own code, as hag does.
    """
    search, ball, name = (
        EvadingSteps(detector, weight, steps, labeled),
        threat or Linf(8 / 255),
        f"{goal}, weight {weight:g}",
    )
    if goal == "decoy":
        return Attack(DecoyCode(decoys, labeled), inner_product, search, ball, toward=True, name=name)
    if labeled:
        return Attack(SignedMean(), MainstayLoss(), search, ball, name=name)
    return Attack(OwnCode(), HagLoss(leaves="signs"), search, ball, name=name)
