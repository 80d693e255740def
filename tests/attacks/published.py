"""The published test vectors of guides and losses: reference codes, their labels, a label, a code and an output."""

from __future__ import annotations

import torch

from hamguard.codes.bank import CodeBank

B = torch.tensor(
    [[1, 1, 1, -1], [1, -1, 1, -1], [1, 1, -1, -1], [-1, 1, -1, 1], [-1, -1, 1, 1], [-1, 1, -1, -1]]
).float()
L = torch.tensor([[1, 0, 0], [1, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1]]).float()
Y = torch.tensor([[1.0, 1, 0]])
BANK = CodeBank.of(B, L)
CODE = torch.tensor([[1.0, -1, 1, -1]])
OUT = torch.tensor([[0.7, 0.2, -0.7, -0.4]])
