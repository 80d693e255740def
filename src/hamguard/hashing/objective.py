"""What the training loop asks of a hash method.

A method file holds three things: pure functions, one for each equation; `Settings`, the hyper-parameters with
their sources; and an `Objective`, which owns the visible state (code memory, centers, learned codes) and its schedule.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from hamguard.core.asked import Grown
from hamguard.core.errors import RequestError
from hamguard.core.label_arrays import label_rows
from hamguard.core.types import Array, EncoderName


class Settings(Grown):
    """Hyper-parameters of a method: frozen, unknown keys are errors."""

    @property
    def needs_labels(self) -> bool:
        """Whether the method learns from labels; without, `Objective.labels` may have no column."""
        return True


class Objective(ABC):
    """A method at work on one training set.

    The loop calls `start` once (before the first epoch of a fresh run only), then for each epoch `select`, `loss` for every
    batch, and `end_epoch`. With several processes, `loss` gets the gathered global batch on each of them, so an
    objective never knows of processes and its state stays equal on all. Everything that a resumed run needs stands in `state`;
    what is an `nn.Parameter` there is trained by the optimizer, beside the network and at the rate of its head.

    Args:
        settings: hyper-parameters of the method.
        bits: code length K.
        labels: labels of the whole training set, multi-hot `(n, C)` or class numbers `(n,)`; see `label_tensor`.
        seed: seed of whatever the method draws.

    Attributes:
        labels: multi-hot labels of the whole training set, `(n, C)` float in {0, 1}.

    Raises:
        RequestError: labels that are neither, soft ones among them.
    """

    name: ClassVar[str]
    title: ClassVar[str]  # "DPSH (Li, Wang, Kang, IJCAI 2016)"
    settings_type: ClassVar[type[Settings]]
    training: ClassVar[Mapping[str, Any]] = {}  # defaults of the training recipe that suit the method: epochs, lr, ...
    # what is other above a frozen network (`freeze`): "settings", and "training" of a head that learns alone
    frozen: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    # preset name -> settings, "paper" and "code" where they differ
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    preset_training: ClassVar[Mapping[str, Mapping[str, Any]]] = {}  # preset name -> recipe, where its source says it

    def __init__(self, settings: Settings, *, bits: int, labels: Tensor | Array, seed: int) -> None:
        self.settings = settings
        self.bits = bits
        self.labels = label_tensor(labels)
        self.seed = seed
        self.state: dict[str, Tensor] = {}  # tensors only, so that a checkpoint loads without executing code

    def __init_subclass__(cls, **rest: Any) -> None:
        super().__init_subclass__(**rest)
        if "loss" in cls.__dict__:  # here, so that no method can forget it and each gets rows of floats
            cls.loss = _of_rows(cls.loss)  # type: ignore[method-assign]

    needs_start: bool = False  # ask the loop for one pass over the training set before the first epoch
    needs_features: bool = False  # ask for the backbone's features of the batch, `loss(..., features=...)`
    needs_views: int = 1  # ask for that many random views of a picture, `loss(..., views=...)` from the second on
    keeps_backbone: bool = False  # the hash head alone learns; features stay what they are
    batch_norm: bool = (
        False  # ask for a batch norm between head and code while the network learns; see `models/head_norm.py`
    )

    def parameters(self) -> list[nn.Parameter]:
        """The method's own weights, those of `state` that the optimizer trains; they are no part of the trained model."""
        return [value for value in self.state.values() if isinstance(value, nn.Parameter)]

    def start(self, logits: Tensor) -> None:  # noqa: B027 - most methods keep nothing
        """Take the logits `(n, K)` of the whole training set before the first epoch; called where `needs_start`."""

    def select(self, epoch: int) -> Tensor | None:
        """Numbers of the training items that this epoch visits, `(m,)`, or None for all. A function of `(seed, epoch)`."""
        return None

    @abstractmethod
    def loss(self, logits: Tensor, labels: Tensor, index: Tensor, progress: float) -> Tensor:
        """Loss of one global batch.

        Args:
            logits: unbounded network outputs z, `(B, K)`.
            labels: labels of the batch, multi-hot `(B, C)` float in {0, 1}. A caller may hand over whatever `label_tensor`
                takes: it is converted before the method sees it.
            index: numbers of the items in the training set, `(B,)`.
            progress: share of the run that is done, in [0, 1).

        A method with `needs_features` has one more argument, `features: Tensor | None = None`: what the hash head took, `(B, D)`,
        without gradient. One with `needs_views` has `views: Tensor | None = None`: logits of the views after the first,
        `(views - 1, B, K)`.

        Returns:
            A scalar that carries the gradient to `logits`.
        """

    def end_epoch(self, epoch: int) -> None:  # noqa: B027
        """Alternating updates that stand between epochs (DSDH, ADSH)."""

    def learned_codes(self) -> Tensor | None:
        """Codes of the training items that the method learned directly, `(n, K)` in {-1, +1}, or None."""
        return None

    def class_codes(self) -> Tensor | None:
        """Fixed codes that the images of a class approach, `(C, K)` in {-1, +1}, or None."""
        return None

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take the state of a checkpoint.

        Raises:
            RequestError: names differ from those of this method and these settings.
        """
        if set(state) != set(self.state):
            raise RequestError(f"checkpoint state has {sorted(state)}, {self.name} needs {sorted(self.state)}")
        for name, value in state.items():
            kept = self.state[name]
            if isinstance(kept, nn.Parameter):  # the optimizer holds this very tensor
                with torch.no_grad():
                    kept.copy_(value)
            else:
                self.state[name] = value.clone()


Loss = Callable[..., Tensor]


def _of_rows(loss: Loss) -> Loss:
    """A method's loss that takes labels of every kind, over the classes of its training set, on the device of the logits."""

    @functools.wraps(loss)
    def converted(
        self: Objective, logits: Tensor, labels: Tensor, index: Tensor, progress: float, **more: Tensor
    ) -> Tensor:
        rows = label_tensor(labels, self.labels.shape[1]).to(logits.device)
        return loss(self, logits, rows, index, progress, **more)

    return converted


def label_tensor(labels: Tensor | Array, classes: int | None = None) -> Tensor:
    """Labels of a caller as the methods compute with them, multi-hot `(n, C)` float in {0, 1}.

    Args:
        labels: multi-hot `(n, C)` of 0 and 1, or class numbers `(n,)`; a tensor or an array of any number type.
        classes: number of classes C that the rows must have; by default what the labels say.

    Returns:
        The rows, on the device of `labels`; of their own type where that is a floating one, else float32.

    Raises:
        RequestError: labels that are neither, or of another number of classes.
    """
    if isinstance(labels, Tensor) and labels.is_floating_point() and labels.ndim == 2:
        fits = classes is None or labels.shape[1] == classes
        if fits and bool(((labels == 0) | (labels == 1)).all()):
            return labels  # what the training loop hands over: not copied, and never moved to the CPU
    rows = torch.from_numpy(label_rows(labels, classes))
    if isinstance(labels, Tensor):
        rows = rows.to(labels.device)
        return rows.to(labels.dtype) if labels.is_floating_point() else rows.float()
    return rows.float()


def similarity(labels: Tensor, other: Tensor) -> Tensor:
    """`S` in {0, 1}: 1 where two items share a label. `(B, C)`, `(N, C)` to `(B, N)`, same type as `labels`."""
    return ((labels @ other.T) > 0).to(labels.dtype)


def pair_weights(similar: Tensor) -> Tensor:
    """Weights with mean one under which similar and dissimilar pairs count alike, `(B, N)`; a missing kind weighs nothing."""
    share = similar.mean().clamp(1 / similar.numel(), 1 - 1 / similar.numel())
    return torch.where(similar > 0, 0.5 / share, 0.5 / (1 - share))


class CrossSettings(Settings):
    """What every cross-modal method has: its text encoder, its vocabulary and its text net."""

    later = ("text_encoder",)

    text_encoder: EncoderName | None = Field(
        None,
        description="words: bags of words; minilm: a sentence encoder; features: of a file; by the data if not given",
    )
    words: int = Field(1000, ge=1, le=100_000, description="most terms of the vocabulary, frequent ones first")
    least: int = Field(3, ge=1, description="training texts that a term must stand in")
    ngrams: int = Field(2, ge=1, le=5, description="longest term in words; 2 keeps 'red circle' together")
    text_net: Literal["mlp", "multi-scale"] = Field("mlp", description="net over the bag of words")
    text_width: int = Field(1024, ge=1, le=65_536, description="units of its wide layer")
    features: int = Field(0, ge=0, le=8192, description="units of a feature layer before both heads; 0 for none")
    text_lr_factor: float = Field(
        1.0, gt=0, description="learning rate of the text net divided by that of the image net"
    )
    without_text: Literal["refuse", "drop"] = Field(
        "refuse", description="training pictures without any text: an error, or left out"
    )
    balance: bool = Field(True, description="similar and dissimilar pairs weigh alike")

    @model_validator(mode="before")
    @classmethod
    def _one_net(cls, asked: Any) -> Any:
        """A sentence is no row of words that have neighbors, so its net is the plain one where none is asked for."""
        sentence = isinstance(asked, Mapping) and asked.get("text_encoder") in ("minilm", "features")
        return {"text_net": "mlp", **asked} if sentence else asked

    title: ClassVar[str] = ""
    name: ClassVar[str] = ""
    training: ClassVar[Mapping[str, Any]] = {}  # defaults of the recipe that suit the method
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    preset_training: ClassVar[Mapping[str, Mapping[str, Any]]] = {}  # preset name -> recipe, where its source says it


@dataclass(frozen=True)
class LinearHead:
    """`logits = features @ weight.T + bias`; the code is their sign.

    Attributes:
        weight: `(K, D)` float32.
        bias: `(K,)` float32.
    """

    weight: Tensor
    bias: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """Logits `(n, K)` of features `(n, D)`."""
        return features @ self.weight.T + self.bias
