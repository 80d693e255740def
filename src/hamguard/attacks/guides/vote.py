"""Guide codes by voting over reference codes: anchor (DHTA), center (CgAT), mainstay (SAAT), and a single code (P2P).

Each is the sign of a weighted sum of reference codes, because the distance to a set of codes separates into bits; a tied bit
is +1. Papers: DHTA, ECCV 2020, component voting; CgAT, WWW 2023 (arXiv 2204.10779), and PgA (arXiv 2303.12658), with the same
closed form; SAAT, IEEE TIFS 18, 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hamguard.attacks.guides.registry import register_guide
from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import sign
from hamguard.core.checks import check_choice, check_range
from hamguard.core.errors import RequestError
from hamguard.core.label_arrays import label_rows
from hamguard.core.seeds import torch_generator


def vote(codes: Tensor) -> Tensor:
    """Majority vote per bit, `(n, K)` in {-1, +1} to `(K,)`; a tied bit is +1.

    Raises:
        RequestError: `codes` is empty or not two-dimensional.
    """
    if codes.ndim != 2 or len(codes) == 0:
        raise RequestError(f"a vote needs codes (n, K) with n at least 1, got {tuple(codes.shape)}")
    return sign(codes.sum(0))


def label_cosine(labels: Tensor, others: Tensor) -> Tensor:
    """Cosine of label vectors, `(B, C)`, `(N, C)` to `(B, N)`; 0 where either carries no label."""
    lengths: Tensor = torch.linalg.vector_norm(labels, dim=1)[:, None] * torch.linalg.vector_norm(others, dim=1)
    return (labels @ others.T) / lengths.clamp(min=1e-12)


def mainstay_sum(labels: Tensor, codes: Tensor, others: Tensor, *, weighted: bool = True) -> Tensor:
    """Weighted mean of similar codes minus mean of the others, before the sign.

    Args:
        labels: labels to build a code for, `(B, C)`.
        codes: reference codes, `(N, K)` in {-1, +1}.
        others: their labels, `(N, C)`.
        weighted: weigh similar codes by the cosine of labels (mainstay); else all alike (center).

    Returns:
        `(B, K)`; a part without any code is 0.
    """
    near = label_cosine(labels, others)  # (B, N)
    if not weighted:
        near = (near > 0).to(codes)
    far = (near == 0).to(codes)  # (B, N)
    positive = near @ codes / near.sum(1, keepdim=True).clamp(min=1e-12)
    negative = far @ codes / far.sum(1, keepdim=True).clamp(min=1)
    return positive - negative


def reference(bank: CodeBank | None, name: str) -> CodeBank:
    """The bank of a guide that needs one.

    Raises:
        RequestError: there is none, or it has no labels.
    """
    if bank is None or bank.labels.shape[1] == 0 or len(bank) == 0:
        raise RequestError(f"the {name} code needs reference codes with labels, got none")
    return bank


def labeled(labels: Tensor | None, classes: int, name: str) -> Tensor:
    """The labels of a guide that needs them, `(B, C)`; class numbers `(B,)` become rows.

    Raises:
        RequestError: there are none, not `classes` a picture, or neither rows nor class numbers.
    """
    if labels is None:
        raise RequestError(f"the {name} code needs the labels of the pictures (or of their targets), got none")
    if labels.ndim != 2:
        return torch.from_numpy(label_rows(labels, classes)).to(labels.device).float()
    if labels.shape[1] != classes:
        raise RequestError(f"labels have {labels.shape[-1]} classes, the reference codes {classes}")
    return labels


def class_numbers(label: Tensor) -> str:
    """A label vector `(C,)` in words, for messages: `classes 0, 3`, `no class`."""
    numbers = label.nonzero().flatten().tolist()
    if not numbers:
        return "no class"
    return f"class{'es' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


@dataclass(frozen=True)
class SignedMean:
    """Center or mainstay code: near the codes that share a label, far from all others.

    Attributes:
        name: `center` (similar codes count alike, CgAT's code) or `mainstay` (by cosine of labels, SAAT).
    """

    name: str = "mainstay"
    needs_labels = True

    def __post_init__(self) -> None:
        check_choice("signed mean", self.name, ("center", "mainstay"))

    def __call__(
        self, own: Tensor, labels: Tensor | None, bank: CodeBank | None, index: Sequence[int], seed: int
    ) -> Tensor:
        """Guide codes `(B, K)`; see `Guide`."""
        bank = reference(bank, self.name)
        labels = labeled(labels, bank.labels.shape[1], self.name)
        others = torch.from_numpy(bank.labels).to(own)
        total = mainstay_sum(labels.to(own), bank.codes.to(own), others, weighted=self.name == "mainstay")
        return sign(total)  # (B, K)


@register_guide("center")
def center_code() -> SignedMean:
    """Code near all reference codes that share a label, which count alike, and far from the others (CgAT)."""
    return SignedMean("center")


@register_guide("mainstay")
def mainstay_code() -> SignedMean:
    """Code near the reference codes that share a label, by the cosine of labels, and far from the others (SAAT)."""
    return SignedMean("mainstay")


@dataclass(frozen=True)
class AnchorCode:
    """DHTA's anchor: majority vote over `n` reference codes drawn among those with exactly the target label; n = 1 is P2P.

    Attributes:
        n: codes that vote; odd numbers cannot tie.
        replacement: draw with replacement (ProS-GAN's code), or without (the authors').
    """

    n: int = 9
    replacement: bool = False
    needs_labels = True

    @property
    def name(self) -> str:
        """`p2p` where a single code is drawn, else `anchor`."""
        return "p2p" if self.n == 1 else "anchor"

    def __post_init__(self) -> None:
        check_range("n", self.n, 1)

    def __call__(
        self, own: Tensor, labels: Tensor | None, bank: CodeBank | None, index: Sequence[int], seed: int
    ) -> Tensor:
        """Guide codes `(B, K)`; fewer than `n` codes with the label all vote.

        Raises:
            RequestError: no reference item carries exactly a target label.
        """
        bank = reference(bank, "anchor")
        labels = labeled(labels, bank.labels.shape[1], "anchor")
        others, codes = torch.from_numpy(bank.labels).to(own), bank.codes.to(own)
        rows = []
        for number, label in zip(index, labels.to(own), strict=True):
            same = (others == label).all(1).nonzero().flatten()
            if len(same) == 0:
                raise RequestError(
                    f"no reference item carries exactly the target label of picture {number} ({class_numbers(label)})"
                )
            generator = torch_generator(seed, "anchor", int(number))
            if self.replacement:
                drawn = torch.randint(len(same), (self.n,), generator=generator)
            else:
                drawn = torch.randperm(len(same), generator=generator)[: self.n]
            rows.append(vote(codes[same[drawn.to(same.device)]]))
        return torch.stack(rows)  # (B, K)


@register_guide("anchor", word="N")
def anchor_code(voters: str = "9") -> AnchorCode:
    """Majority vote over nine reference codes with exactly the label (DHTA).

    Args:
        voters: another number of codes that vote.

    Raises:
        RequestError: no number, or none at all.
    """
    if not (voters.isascii() and voters.isdigit()):
        raise RequestError(f"anchor:N takes the number of codes that vote, such as anchor:5, got {voters!r}")
    return AnchorCode(int(voters))


@register_guide("p2p")
def single_code() -> AnchorCode:
    """One reference code with exactly the label."""
    return AnchorCode(1)
