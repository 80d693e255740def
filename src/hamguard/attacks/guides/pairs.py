"""Pairs of both modalities: what CMLA leaves in the other modality and holds on to in its own (NeurIPS 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hamguard.attacks.guides.vote import labeled, mainstay_sum
from hamguard.codes.bank import CodeBank, PairBank
from hamguard.codes.binary import sign
from hamguard.core.checks import check_choice
from hamguard.core.errors import RequestError


@dataclass(frozen=True)
class PairCodes:
    """Clean codes of both modalities, and which of them are similar to which picture.

    Attributes:
        other: codes of the other modality, `(N, K)` in {-1, +1}.
        own: codes of the own modality, `(N, K)` in {-1, +1}.
        similar: S, `(B, N)` in {0, 1}.
        vote: center code of the other modality, by which an iterate is scored, `(B, K)` in {-1, +1}.
    """

    other: Tensor
    own: Tensor
    similar: Tensor
    vote: Tensor

    def select(self, rows: Tensor) -> PairCodes:
        """The same for some of the pictures."""
        return PairCodes(self.other, self.own, self.similar[rows], self.vote[rows])


def pair_codes(own: Tensor, other: Tensor, labels: Tensor, others: Tensor) -> PairCodes:
    """Pair codes from tensors.

    Args:
        own: codes of the own modality, `(N, K)`.
        other: codes of the other modality, `(N, K)`.
        labels: labels of the attacked items, `(B, C)`.
        others: labels of the N pairs, `(N, C)`.
    """
    similar = ((labels @ others.T) > 0).to(own)  # (B, N)
    return PairCodes(other, own, similar, sign(mainstay_sum(labels, other, others, weighted=False)))


@dataclass(frozen=True)
class CrossCodes:
    """Makes pair codes of a bank of pairs.

    Attributes:
        material: `train`, all pairs of the bank, so that a picture's result does not depend on its neighbors; or `batch`, the
            attacked batch itself, as published: then the bank holds the attacked items in the order of the run.
    """

    material: Literal["train", "batch"] = "train"
    name: str = "pairs"
    needs_labels = True

    def __post_init__(self) -> None:
        check_choice("material", self.material, ("train", "batch"))

    def __call__(
        self, own: Tensor, labels: Tensor | None, bank: CodeBank | None, index: Sequence[int], seed: int
    ) -> PairCodes:
        """Codes and similarities of `(B,)` pictures.

        Raises:
            RequestError: labels are missing, or the bank holds codes of one modality only.
        """
        if not isinstance(bank, PairBank):
            raise RequestError(
                "cmla needs codes of pictures and of texts; give a cross-modal model (hamguard train --method dcmh or ssah) "
                "and data with texts"
            )
        if labels is None or bank.labels.shape[1] == 0:
            raise RequestError("cmla needs labels of the pictures and of the reference pairs")
        if self.material == "batch":
            bank = bank.select(torch.as_tensor(list(index)).numpy())
        marks = labeled(labels, bank.labels.shape[1], self.name).to(own)
        return pair_codes(bank.codes.to(own), bank.other_codes.to(own), marks, torch.from_numpy(bank.labels).to(own))
