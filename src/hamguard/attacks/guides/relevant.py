"""Relevant set: all reference codes that share a label with the picture, which SDHA leaves together (ICMR 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hamguard.attacks.guides.registry import register_guide
from hamguard.attacks.guides.vote import labeled
from hamguard.codes.bank import CodeBank
from hamguard.core.errors import RequestError


@dataclass(frozen=True)
class CodeSet:
    """Codes, and which of them belong to which picture.

    Attributes:
        codes: `(R, K)` in {-1, +1}.
        member: `(B, R)` in {0, 1}.
    """

    codes: Tensor
    member: Tensor

    def select(self, rows: Tensor) -> CodeSet:
        """The set for some of the pictures."""
        return CodeSet(self.codes, self.member[rows])

    @property
    def vote(self) -> Tensor:
        """The code nearest to each picture's set, `(B, K)`; its negative is SDHA's theory row."""
        return torch.where(self.member @ self.codes < 0, -1.0, 1.0).to(self.codes)


@register_guide("relevant")
@dataclass(frozen=True)
class RelevantSet:
    """Reference codes that share a label with the picture; a picture without any has its own code."""

    name: str = "relevant"
    needs_labels = True

    def __call__(
        self, own: Tensor, labels: Tensor | None, bank: CodeBank | None, index: Sequence[int], seed: int
    ) -> CodeSet:
        """The sets of `(B,)` pictures.

        Raises:
            RequestError: labels or reference codes are missing, or their classes differ in number.
        """
        if bank is None or labels is None or bank.labels.shape[1] == 0:
            raise RequestError("the relevant set needs labels of the pictures and reference codes with labels")
        labels = labeled(labels, bank.labels.shape[1], self.name)
        others = torch.from_numpy(bank.labels).to(own)
        member = ((labels.to(own) @ others.T) > 0).to(own)  # (B, N)
        alone = (member.sum(1) == 0).to(own)  # (B,)
        codes = torch.cat([bank.codes.to(own), own])  # (N + B, K)
        return CodeSet(codes, torch.cat([member, torch.diag(alone)], dim=1))
