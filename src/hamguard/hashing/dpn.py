"""DPN: deep polarized network. Every bit of an image's output is pushed beyond a margin, to the side where its class's target lies.

Paper: L. Fan, K. W. Ng, C. Ju, T. Zhang, C. S. Chan, "Deep Polarized Network for Supervised Learning of Accurate Binary Hashing
Codes", IJCAI 2020. Authors' code: kamwoh/DPN, preset "code"; preset "deephash" is the port of swuxyj/DeepHash-pytorch. Also read:
CISiPLab/cisip-FIRe. Equations are named in words: they come from the code, not from a printed copy.

Deliberate differences:

* The mean over bits, as the port, so that the loss means the same for every code length; the authors add (`over="sum"`).
* The head has a bias, which the authors' has not, and begins as ours does, not normal with deviation 0.01.
* Left out: targets learned from codes between epochs, ternary codes, and the authors' weights of a classifier and of squared
  outputs, all off in their defaults; and their third way of drawing targets, by rejecting near ones.
* Preset "code": the rate falls at a half, as theirs, and again at three quarters.
* Images without any label have no target and do not count.
* A head that learns alone (`freeze`) takes Hadamard's targets, the majority of several, and a higher rate: random targets lie
  unequally far apart, and a linear head cannot make up for it. Chosen on validation parts of photos.

The network's outputs themselves are polarized, without tanh, as in all three. A multi-label image approaches the targets of all its
classes (`several="each"`, authors), or their majority (`"vote"`, the port, as CSQ).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from hamguard.core.seeds import torch_generator
from hamguard.core.types import Array
from hamguard.hashing.csq import center_targets, hash_centers
from hamguard.hashing.objective import Objective, Settings
from hamguard.hashing.registry import register

Targets = Literal["random", "balanced", "hadamard"]


def class_targets(kind: Targets, classes: int, bits: int, generator: torch.Generator) -> Tensor:
    """Fixed codes of classes.

    Args:
        kind: "random", each bit by itself with p = 1/2; "balanced", as many -1 as +1 in a code, otherwise random; or
            "hadamard", the centers of CSQ, which are orthogonal or opposite where `bits` is a power of two and they are few.
        classes: number of classes C, at least 1.
        bits: code length K, at least 1.
        generator: draws them.

    Returns:
        `(C, K)` in {-1, +1}. Nothing keeps two random ones apart: few bits may give two classes one code.
    """
    if kind == "hadamard":
        return hash_centers(classes, bits, generator)
    draws = torch.rand(classes, bits, generator=generator)
    low = draws < 0.5 if kind == "random" else draws.argsort(dim=1) < bits // 2
    return torch.where(low, -1.0, 1.0)


def polarization(v: Tensor, targets: Tensor, *, margin: float) -> Tensor:
    """Polarization of each bit, `max(m - v t, 0)`: zero where the output lies beyond the margin on the target's side.

    Args:
        v: network outputs, unbounded.
        targets: of the same shape up to broadcasting, in {-1, +1}.
        margin: m.
    """
    return (margin - v * targets).clamp(min=0)


def dpn(v: Tensor, labels: Tensor, centers: Tensor, *, margin: float, over: Literal["mean", "sum"]) -> Tensor:
    """Polarization loss: each image against the targets of all its classes.

    Args:
        v: network outputs, `(B, K)`.
        labels: multi-hot labels, `(B, C)`.
        centers: targets of the classes, `(C, K)` in {-1, +1}.
        margin: m.
        over: mean or sum over the bits.

    Returns:
        Sum over an image's classes, mean over the images with a class; zero where there are none.
    """
    ahead = polarization(v, torch.ones_like(v), margin=margin)  # what a +1 costs, (B, K)
    behind = polarization(v, -torch.ones_like(v), margin=margin)  # what a -1 costs, (B, K)
    high = labels @ (centers > 0).to(v)  # classes of the image with a +1 there, (B, K)
    low = labels @ (centers < 0).to(v)
    each = (high * ahead + low * behind).sum(1)  # (B,)
    each = each / v.shape[1] if over == "mean" else each
    return each.sum() / (labels.sum(1) > 0).sum().clamp(min=1)


class DPNSettings(Settings):
    """Hyper-parameters of DPN."""

    margin: float = Field(1.0, gt=0, description="m: distance from zero that an output shall have (paper 1)")
    targets: Targets = Field("random", description="codes of classes: random or balanced bits, or rows of Hadamard's")
    over: Literal["mean", "sum"] = Field("mean", description="mean over bits (port), or sum (authors)")
    several: Literal["each", "vote"] = Field("each", description="several labels: each one's target, or their majority")


@register("dpn")
class DPN(Objective):
    """DPN at work on one training set: the state holds the targets and the vector that fills ties of a vote."""

    title = "DPN (Fan, Ng, Ju, Zhang, Chan, IJCAI 2020)"
    settings_type = DPNSettings
    settings: DPNSettings
    training: ClassVar[Mapping[str, Any]] = {"epochs": 20, "optimizer": "adam", "lr": 2e-3, "schedule": "one-cycle"}
    frozen: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "settings": {"targets": "hadamard", "several": "vote"},
        "training": {"lr": 5e-3},
    }
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "code": {"targets": "random", "over": "sum"},
        "deephash": {"targets": "balanced", "several": "vote"},
    }
    preset_training: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "code": {
            "epochs": 200,
            "batch_size": 256,
            "optimizer": "sgd",
            "lr": 1e-4,
            "momentum": 0.9,
            "weight_decay": 5e-4,
            "schedule": "late-step",
            "augment": "flip",
        },
        "deephash": {
            "epochs": 150,
            "batch_size": 32,
            "optimizer": "rmsprop",
            "lr": 1e-5,
            "weight_decay": 1e-5,
            "schedule": "constant",
        },
    }

    def __init__(self, settings: DPNSettings, *, bits: int, labels: Tensor | Array, seed: int) -> None:
        super().__init__(settings, bits=bits, labels=labels, seed=seed)
        labels = self.labels
        centers = class_targets(settings.targets, labels.shape[1], bits, torch_generator(seed, "dpn", "targets"))
        coins = torch.randint(2, (bits,), generator=torch_generator(seed, "dpn", "fill"))
        self.state = {"centers": centers.to(labels), "fill": (2 * coins - 1).to(labels)}

    def class_codes(self) -> Tensor:
        """The codes of the classes."""
        return self.state["centers"]

    def loss(self, logits: Tensor, labels: Tensor, index: Tensor, progress: float) -> Tensor:
        """Polarization loss of one batch; see `Objective.loss`."""
        s, labels, centers = self.settings, labels.to(logits), self.state["centers"].to(logits)
        if s.several == "each":
            return dpn(logits, labels, centers, margin=s.margin, over=s.over)
        votes = center_targets(labels, centers, self.state["fill"].to(logits))  # (B, K)
        each = polarization(logits, votes, margin=s.margin)
        each = each.mean(1) if s.over == "mean" else each.sum(1)  # (B,)
        counted = (labels.sum(1) > 0).to(logits)
        return (each * counted).sum() / counted.sum().clamp(min=1)
