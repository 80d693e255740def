"""ProS-GAN's prototype: codes of label vectors, learned with the labels themselves as a second answer.

Paper: X. Wang, Z. Zhang, B. Wu, F. Shen, G. Lu, "Prototype-supervised Adversarial Network for Targeted Attack of Deep Hashing",
CVPR 2021, eq. (3); weights (1, 1e-4, 1) and what is averaged over what after the authors' code: pairs over batch and codes,
quantization over the batch only, labels over all their elements.

`PUBLISHED_PROTOTYPE` is the authors' training: 100 epochs of 300 steps at rate 1e-4, all codes in each step. The default takes 400
steps at rate 2e-3, at most 5,000 codes a step, and weighs similar and dissimilar pairs alike (`balance`): with ten classes nine of
ten pairs are dissimilar, and the published sum then prefers a code far from all others to one near its own.

Deliberate differences from the code, as for THA's prototype: labels are those of the reference codes, not of the database, which
would leak the evaluation set; the empty label vector is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hamguard.attacks.guides.vote import reference
from hamguard.codes.bank import CodeBank
from hamguard.core.checks import check_range
from hamguard.core.errors import RequestError, RunError
from hamguard.core.seeds import torch_generator
from hamguard.models.prosgan import PrototypeNet

BETAS = (0.5, 0.999)
PAIRS, QUANTIZATION, LABELS = 1.0, 1e-4, 1.0  # authors' code


def prototype_loss(
    h: Tensor, y_hat: Tensor, labels: Tensor, codes: Tensor, similar: Tensor, *, balance: bool = False
) -> Tensor:
    """ProS-GAN's prototype loss, eq. (3).

    Args:
        h: relaxed prototypes, `(B, K)` in (-1, 1).
        y_hat: answered labels, `(B, C)` in (0, 1).
        labels: the labels asked, `(B, C)`.
        codes: reference codes, `(N, K)` in {-1, +1}.
        similar: which pairs share a label, `(B, N)` bool.
        balance: give similar and dissimilar pairs half of the weight each.

    Returns:
        The loss, a scalar.
    """
    theta = h @ codes.T / 2  # (B, N)
    pairs = F.softplus(theta) - similar * theta  # (B, N)
    if balance:
        near, far = similar.to(pairs), (~similar).to(pairs)
        fit = 0.5 * ((pairs * near).sum() / near.sum().clamp(min=1) + (pairs * far).sum() / far.sum().clamp(min=1))
    else:
        fit = pairs.mean()
    quantization = (h - torch.where(h.detach() < 0, -1.0, 1.0)).square().sum() / len(h)
    return PAIRS * fit + QUANTIZATION * quantization + LABELS * (y_hat - labels).square().mean()


@dataclass(frozen=True)
class SupervisedPrototype:
    """How the net is trained; `fit` trains it.

    Attributes:
        steps: training steps.
        rate: Adam's learning rate, times 0.1 after half and again after three quarters of the steps.
        batch_size: label vectors a step, drawn uniformly over the distinct ones of the bank.
        codes_per_step: reference codes a step, drawn at random where the bank has more; None for all.
        balance: similar and dissimilar pairs weigh alike.
    """

    steps: int = 400
    rate: float = 2e-3
    batch_size: int = 32
    codes_per_step: int | None = 5000
    balance: bool = True

    def __post_init__(self) -> None:
        check_range("prototype steps", self.steps, 1)
        check_range("prototype rate", self.rate, 0.0)
        check_range("prototype batch size", self.batch_size, 1)
        if self.codes_per_step is not None:
            check_range("codes per step", self.codes_per_step, 1)

    def fit(self, bank: CodeBank | None, seed: int = 0) -> PrototypeNet:
        """Train the net on the distinct label vectors and the codes of a bank, on the CPU.

        Args:
            bank: reference codes of the training part with labels.
            seed: seed of initial weights and batches; nothing global is drawn from.

        Returns:
            The net, frozen, in evaluation mode.

        Raises:
            RequestError: the bank is missing, or carries no label at all.
            RunError: the loss is not finite.
        """
        bank = reference(bank, "prototype")
        labels, others, codes = distinct_labels(bank.labels), torch.from_numpy(bank.labels).float(), bank.codes
        net = PrototypeNet(labels.shape[1], bank.bits, torch_generator(seed, "supervised prototype", "weights"))
        generator = torch_generator(seed, "supervised prototype")
        optimizer = torch.optim.Adam(net.parameters(), lr=self.rate, betas=BETAS)
        part = self.codes_per_step
        for step in range(self.steps):
            for group in optimizer.param_groups:
                group["lr"] = self.rate * (1.0 if 2 * step < self.steps else 0.1 if 4 * step < 3 * self.steps else 0.01)
            label = labels[torch.randint(len(labels), (self.batch_size,), generator=generator)]  # (b, C)
            rows = torch.arange(len(codes))
            if part is not None and len(codes) > part:
                rows = torch.randint(len(codes), (part,), generator=generator)
            code, other = codes[rows], others[rows]  # (n, K), (n, C)
            with torch.enable_grad():
                h, y_hat = net.heads(net.represent(label))
                loss = prototype_loss(h, y_hat, label, code, label @ other.T > 0, balance=self.balance)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        if not bool(loss.isfinite()):
            raise RunError("training of the prototype net ended in NaN; take a smaller rate (--set prototype_rate=...)")
        return net.eval().requires_grad_(False)


def distinct_labels(labels: np.ndarray) -> Tensor:
    """The distinct label vectors `(P, C)` of items `(N, C)`, in a fixed order, without the empty one.

    Raises:
        RequestError: every label vector is empty.
    """
    distinct = np.unique(labels, axis=0)
    distinct = distinct[distinct.any(axis=1)]
    if len(distinct) == 0:
        raise RequestError("the prototype code needs reference codes with labels, but every label vector is empty")
    return torch.from_numpy(distinct).float()


PUBLISHED_PROTOTYPE = SupervisedPrototype(30_000, 1e-4, 64, codes_per_step=None, balance=False)
"""The authors' training."""
