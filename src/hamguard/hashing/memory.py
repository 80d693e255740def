"""What a batch is compared with: the other images of the batch, or a memory of everything seen so far.

The peers (DPSH, DPH, DSH, DSDH and their ports) keep `U` (n, K) and `Y` (n, C), the last relaxed codes and labels of all
training images, and compare a batch with all of them. Rows of the memory carry no gradient. From scratch the printed form
(pairs not balanced) ends in constant codes: DPSH with Adam 1e-3 on Fashion-MNIST falls to chance, .10, where balanced pairs of
the bank reach .68. So balanced pairs inside the batch are the default and the printed form is a preset.

Inside a batch the pairs (i, i) are left out: they say nothing about two images, they act as a hidden quantization
term, and they would push an unlabeled image away from itself. The printed form keeps them, as the peers do.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from hamguard.hashing.objective import Settings, pair_weights

Pairs = Literal["batch", "bank"]
Over = Literal["elements", "pairs"]


class PairSettings(Settings):
    """Settings that all pairwise methods share."""

    pairs: Pairs = Field(
        "batch", description="compare with the batch, or with a memory of all training images (printed)"
    )
    fill: bool = Field(True, description="fill the memory by a first pass; if not, it starts at zero (printed)")
    balance: bool = Field(True, description="similar and dissimilar pairs count alike, whatever their numbers")

    @property
    def first_pass(self) -> bool:
        """Whether the memory is to be filled before the first epoch: the rule of `Objective.needs_start`."""
        return self.pairs == "bank" and self.fill


def new_memory(labels: Tensor, bits: int) -> dict[str, Tensor]:
    """An empty memory: rows not yet seen have a zero code and no label, so they are dissimilar to everything.

    Args:
        labels: multi-hot labels of the training set, `(n, C)`; gives sizes, type and device.
        bits: code length K.

    Returns:
        `memory` (n, K) and `memory_labels` (n, C), zeros: entries for `Objective.state`.
    """
    return {"memory": labels.new_zeros(len(labels), bits), "memory_labels": torch.zeros_like(labels)}


def fill_memory(state: MutableMapping[str, Tensor], u: Tensor, labels: Tensor) -> None:
    """Put the relaxed codes `(n, K)` and labels `(n, C)` of a whole first pass into the memory, without gradient."""
    state["memory"], state["memory_labels"] = u.detach(), labels.clone()


def remember(state: MutableMapping[str, Tensor], u: Tensor, labels: Tensor, index: Tensor) -> None:
    """Write relaxed codes `(B, K)` and labels `(B, C)` of the items `index` `(B,)` into the memory, without gradient.

    The memory follows the device of `u`. It is replaced rather than changed in place, because the graph of
    an earlier batch may still hold it.
    """
    rows = index.to(u.device)
    for name, value in (("memory", u), ("memory_labels", labels)):
        old = state[name].to(u.device)
        state[name] = old.index_copy(0, rows, value.detach().to(device=u.device, dtype=old.dtype))


def opponents(
    state: MutableMapping[str, Tensor], pairs: Pairs, u: Tensor, labels: Tensor, index: Tensor
) -> tuple[Tensor, Tensor]:
    """Codes `(N, K)` and labels `(N, C)` that the batch is compared with.

    For "bank" the batch is written first, as the peers do, so a batch also meets its own new codes (without gradient).
    """
    if pairs == "batch":
        return u, labels
    remember(state, u, labels, index)
    return state["memory"].to(u.dtype), state["memory_labels"].to(labels.dtype)


def item_mean(terms: Tensor, *, over: Over, pairs: int) -> Tensor:
    """What stands beside a mean over pairs and is counted item by item, such as a quantization error; a scalar.

    Args:
        terms: one value an element.
        over: their mean ("elements"), which means the same for every batch, code length and training set; or their sum divided by
            the number of pairs ("pairs"), which keeps the printed weight of papers that add sums.
        pairs: pairs that the sum of the others runs over.
    """
    return terms.mean() if over == "elements" else terms.sum() / pairs


def pair_mean(term: Tensor, similar: Tensor, *, balance: bool, skip_self: bool) -> Tensor:
    """Mean over pairs.

    Args:
        term: one value a pair, `(B, N)`.
        similar: `S` in {0, 1}, `(B, N)`.
        balance: weigh so that similar and dissimilar pairs count alike (a missing kind weighs nothing).
        skip_self: leave out the diagonal (the pairs (i, i) of a batch compared with itself, so B = N).

    Returns:
        A scalar; zero where no pair is left (a batch of one image).
    """
    if skip_self:
        other = ~torch.eye(len(term), dtype=torch.bool, device=term.device)
        term, similar = term[other], similar[other]  # (B * (B - 1),)
    if term.numel() == 0:
        return term.sum()
    return (term * pair_weights(similar)).mean() if balance else term.mean()
