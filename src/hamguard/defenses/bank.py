"""Codes of the training pictures as the model gives them now; guides of adversarial training vote over them."""

from __future__ import annotations

import torch
from torch import Tensor

from hamguard.attacks.guides.vote import mainstay_sum
from hamguard.codes.bank import CodeBank


class TrainingBank:
    """Relaxed and signed codes of n training pictures, and their labels.

    Guides of labels are made once for every distinct label vector of a batch, not for every picture, because a center or
    mainstay code depends on the labels alone.

    Args:
        labels: multi-hot labels, `(n, C)`.
        bits: code length K.
    """

    def __init__(self, labels: Tensor, bits: int) -> None:
        self.labels = labels.float()
        self.u = self.labels.new_zeros(len(labels), bits)  # (n, K)
        self.signs = torch.ones_like(self.u)  # (n, K) in {-1, +1}

    def fill(self, u: Tensor) -> None:
        """Take the relaxed codes `(n, K)` of all pictures."""
        self.u = u.detach().to(self.labels)
        self.signs = _signs(self.u)

    def refresh(self, index: Tensor, u: Tensor) -> None:
        """Take the relaxed codes `(B, K)` of the pictures `index` `(B,)`; no gradient is kept."""
        rows = index.to(self.u.device)
        new = u.detach().to(self.u)
        self.u = self.u.index_copy(0, rows, new)  # a copy: an earlier batch's graph may hold the old one
        self.signs = self.signs.index_copy(0, rows, _signs(new))

    def vote(self, labels: Tensor, *, weighted: bool) -> Tensor:
        """Mainstay (`weighted`) or center codes of label vectors `(B, C)`, `(B, K)` in {-1, +1}; a tie is +1."""
        kinds, place = torch.unique(labels, dim=0, return_inverse=True)  # (D, C), (B,)
        return _signs(mainstay_sum(kinds, self.signs, self.labels, weighted=weighted))[place]

    def similar(self, labels: Tensor) -> Tensor:
        """+1 where a label vector of `(B, C)` and a picture share a label, else -1, `(B, n)`."""
        return torch.where(labels @ self.labels.T > 0, 1.0, -1.0)

    def code_bank(self) -> CodeBank:
        """The signed codes as any guide takes them."""
        return CodeBank.of(self.signs.cpu(), self.labels)


def _signs(u: Tensor) -> Tensor:
    """`sign` without its check: where codes are NaN the loss is, too, and the loop says it better."""
    return torch.where(u < 0, -1.0, 1.0)
