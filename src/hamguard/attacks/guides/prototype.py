"""Prototype code: a small net learns a code for every label vector (THA, SIGIR 2021).

Paper: X. Wang, Z. Zhang, G. Lu, Y. Xu, "Targeted Attack and Defense for Deep Hashing", SIGIR 2021, 2298-2302; net and numbers
after the authors' code. The net is Linear(C, 4096), ReLU, Linear(4096, 512), Linear(512, K), tanh; the loss is `circle_loss`.

`PUBLISHED` is the authors' training: 100 epochs of 300 steps at rate 1e-4, loss joint over the batch, all codes in each step.
The default takes 400 steps at rate 2e-3, the loss label by label, and at most 5,000 codes a step. Its codes are better:
on fashion-products with DPSH, 32 bits, the code's own t-MAP over 391 label vectors is 57.5% on the training codes (5,000) after 12
seconds of one core, against 55.3% for 3,000 steps of the joint loss (one code 45.6%, anchor 47.7%, center 52.9%, mainstay 53.1%).

Deliberate differences from the code: labels are those of the reference codes, not of the database, which would leak the
evaluation set; the empty label vector is left out, because nothing is similar to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from hamguard.attacks.guides.registry import register_guide
from hamguard.attacks.guides.vote import labeled, reference
from hamguard.attacks.losses.circle import circle_loss
from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import sign
from hamguard.core.checks import check_choice, check_range
from hamguard.core.errors import RequestError, RunError
from hamguard.core.seeds import torch_generator

WIDE, NARROW = 4096, 512  # authors' code
BETAS = (0.5, 0.999)


def prototype_net(classes: int, bits: int, generator: torch.Generator) -> nn.Sequential:
    """Label vectors `(B, C)` to relaxed prototypes `(B, K)` in (-1, 1), with weights drawn from `generator`."""
    sizes = ((classes, WIDE), (WIDE, NARROW), (NARROW, bits))
    first, second, third = (nn.Linear(i, o, device="meta").to_empty(device="cpu") for i, o in sizes)  # drawn below
    with torch.no_grad():  # framework default of nn.Linear, but drawn from our generator
        for layer in (first, second, third):
            for value in layer.parameters():
                value.uniform_(-(layer.in_features**-0.5), layer.in_features**-0.5, generator=generator)
    return nn.Sequential(first, nn.ReLU(), second, third, nn.Tanh())


@dataclass(frozen=True, eq=False)
class FittedPrototype:
    """A trained prototype net as a guide.

    Attributes:
        net: label vectors `(B, C)` to relaxed prototypes `(B, K)`, frozen, on the CPU.
        bits: code length K of the model it was fitted for.
        classes: number of classes C.
        loss: training loss of the last step.
    """

    net: nn.Module = field(repr=False)
    bits: int
    classes: int
    loss: float
    name: str = "prototype"
    needs_labels = True

    def __call__(
        self, own: Tensor, labels: Tensor | None, bank: CodeBank | None, index: Sequence[int], seed: int
    ) -> Tensor:
        """Guide codes `(B, K)`; only the labels are looked at.

        Raises:
            RequestError: labels are missing, or labels or codes have other sizes than those it was fitted on.
        """
        labels = labeled(labels, self.classes, self.name)
        if own.shape[1] != self.bits:
            raise RequestError(f"the prototype was fitted on codes of {self.bits} bits, the model has {own.shape[1]}")
        with torch.no_grad():
            h = self.net(labels.detach().cpu().float())  # (B, K)
        return sign(h).to(own)


@dataclass(frozen=True)
class PrototypeCode:
    """Guide that learns: `fit` trains the net on a bank once; called as it is, it is fitted for every batch anew.

    Attributes:
        steps: training steps.
        rate: Adam's learning rate, times 0.1 after half and again after three quarters of the steps.
        batch_size: label vectors a step, drawn uniformly over the distinct ones of the bank, however many codes carry them.
        codes_per_step: reference codes a step, drawn at random where the bank has more; None for all.
        joint: one log-sum-exp over the batch, as published; else one a label.
    """

    steps: int = 400
    rate: float = 2e-3
    batch_size: int = 32
    codes_per_step: int | None = 5000
    joint: bool = False
    name: str = "prototype"
    needs_labels = True

    def __post_init__(self) -> None:
        check_range("steps", self.steps, 1)
        check_range("rate", self.rate, 0.0)
        check_range("batch size", self.batch_size, 1)
        if self.codes_per_step is not None:
            check_range("codes per step", self.codes_per_step, 1)

    def fit(self, bank: CodeBank | None, seed: int = 0) -> FittedPrototype:
        """Train the net on the distinct label vectors and the codes of a bank, on the CPU.

        Args:
            bank: reference codes of the training part with labels.
            seed: seed of initial weights and batches; nothing global is drawn from.

        Raises:
            RequestError: the bank is missing, or carries no label at all.
            RunError: the loss is not finite.
        """
        bank = reference(bank, "prototype")
        distinct = np.unique(bank.labels, axis=0)
        distinct = distinct[distinct.any(axis=1)]
        if len(distinct) == 0:
            raise RequestError("the prototype code needs reference codes with labels, but every label vector is empty")
        labels, others, codes = torch.from_numpy(distinct).float(), torch.from_numpy(bank.labels).float(), bank.codes
        generator = torch_generator(seed, "prototype")
        net = prototype_net(labels.shape[1], bank.bits, generator)
        optimizer = torch.optim.Adam(net.parameters(), lr=self.rate, betas=BETAS)
        part = self.codes_per_step
        for step in range(self.steps):
            for group in optimizer.param_groups:
                group["lr"] = self.rate * (1.0 if 2 * step < self.steps else 0.1 if 4 * step < 3 * self.steps else 0.01)
            label = labels[torch.randint(len(labels), (self.batch_size,), generator=generator)]  # (b, C)
            if part is None or len(codes) <= part:
                code, other = codes, others
            else:
                rows = torch.randint(len(codes), (part,), generator=generator)
                code, other = codes[rows], others[rows]  # (n, K), (n, C)
            with torch.enable_grad():
                loss = circle_loss(net(label), code, label @ other.T > 0, joint=self.joint)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        if not bool(loss.isfinite()):
            raise RunError("training of the prototype net ended in NaN; take a smaller rate")
        return FittedPrototype(net.eval().requires_grad_(False), bank.bits, bank.labels.shape[1], float(loss.detach()))

    def __call__(
        self, own: Tensor, labels: Tensor | None, bank: CodeBank | None, index: Sequence[int], seed: int
    ) -> Tensor:
        """Guide codes `(B, K)` of a net fitted here and now; `Attack.prepared` fits it once for all batches.

        Raises:
            RequestError: labels or reference codes are missing.
        """
        bank = reference(bank, "prototype")
        labels = labeled(labels, bank.labels.shape[1], "prototype")  # before the training, not after it
        return self.fit(bank, seed)(own, labels, bank, index, seed)


PUBLISHED = PrototypeCode(steps=30_000, rate=1e-4, codes_per_step=None, joint=True)
"""The authors' training: a quarter of an hour on one core, where the default takes ten seconds."""


@register_guide("prototype", word="paper")
def prototype_code(training: str = "default") -> PrototypeCode:
    """Code that a small net learned for the label vector (THA).

    Args:
        training: `default`, or `paper` for the authors' training.

    Raises:
        RequestError: another word.
    """
    check_choice("training of the prototype", training, ("default", "paper"))
    return PUBLISHED if training == "paper" else PrototypeCode()
