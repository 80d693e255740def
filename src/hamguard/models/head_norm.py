"""A batch norm between hash head and code: there while a model learns, folded into the head when it has learned.

In evaluation mode the two are one linear function, so the trained model is an ordinary `HashModel` and what is measured while it
learns is what it becomes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_linear_bn_weights

from hamguard.models.hash_model import HashModel


class NormedHead(nn.Linear):
    """`norm(features @ weight.T + bias)`, with weight and bias of the head that it stands for."""

    def __init__(self, head: nn.Linear) -> None:
        super().__init__(head.in_features, head.out_features, device="meta")
        self.weight, self.bias = head.weight, head.bias
        self.norm = nn.BatchNorm1d(head.out_features).to(head.weight.device)

    def forward(self, features: Tensor) -> Tensor:
        """Normalized logits `(B, K)` of features `(B, D)`; two rows at least in training mode."""
        z: Tensor = self.norm(super().forward(features))  # (B, K)
        return z


def add_head_norm(model: HashModel) -> None:
    """Give a model, in place, a batch norm after its head; its mean begins at 0, its deviation at 1: nothing changes at rest."""
    model.head = NormedHead(model.head)


@torch.no_grad()
def fold_head_norm(model: HashModel) -> None:
    """Make head and batch norm of a model, in place, the one linear head that they are at rest; without a norm nothing changes."""
    if not isinstance(model.head, NormedHead):
        return
    head, norm = model.head, model.head.norm
    assert norm.running_mean is not None and norm.running_var is not None
    plain = nn.Linear(head.in_features, head.out_features, device="meta")
    plain.weight, plain.bias = fuse_linear_bn_weights(
        head.weight, head.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    model.head = plain.train(head.training)
