"""What the cross-modal methods share: settings of the text side and pairs across modalities.

A method file holds pure functions, one for each equation, and `Settings`. The networks, which differ in number from method to
method, are moved by the method's task in `training`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from hamguard.hashing.dpsh import pair_likelihood
from hamguard.hashing.memory import pair_mean
from hamguard.hashing.objective import Settings


class CrossSettings(Settings):
    """What every cross-modal method has: its vocabulary and its text net."""

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

    title: ClassVar[str] = ""
    name: ClassVar[str] = ""
    training: ClassVar[Mapping[str, Any]] = {}  # defaults of the recipe that suit the method
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}


def cross_likelihood(own: Tensor, other: Tensor, similar: Tensor, *, balance: bool, scale: float = 0.5) -> Tensor:
    """Mean negative log likelihood of pairs across two sets of outputs.

    Args:
        own: outputs of a batch, `(B, K)`.
        other: outputs that they are compared with, `(N, K)`.
        similar: `S` in {0, 1}, `(B, N)`.
        balance: similar and dissimilar pairs weigh alike.
        scale: factor of the inner product, 1/2 in DCMH and SSAH.

    Returns:
        Mean of `softplus(theta) - S theta` with `theta = scale * own . other`, a scalar.
    """
    terms = pair_likelihood(own, other, similar, scale)  # (B, N); (i, i) is a picture with its text and stays
    return pair_mean(terms, similar, balance=balance, skip_self=False)
