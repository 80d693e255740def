"""What an epoch's codes are like, batch by batch; constant ones are called a collapse."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hamguard.codes.binary import relax
from hamguard.core.errors import CollapseError

PATIENCE = 100  # batches in a row with one code before it is called a collapse: fresh networks start that way, too


class Watch:
    """Looks at the logits of every batch of an epoch.

    Args:
        bits: code length K.
    """

    def __init__(self, bits: int) -> None:
        self._counts = torch.zeros(
            4
        )  # batches, those with one single code, quantization errors, constant ones in a row
        self._bits = torch.zeros(bits)  # sum of bits over the epoch

    def look(self, logits: Tensor) -> None:
        """Note what the codes of a batch are like, from logits `(B, K)` on the CPU."""
        high = logits >= 0
        constant = float((high == high[0]).all())
        self._counts[:3] += torch.tensor([1.0, constant, float((relax(logits).abs() - 1).square().mean())])
        self._counts[3] = self._counts[3] + 1 if constant else 0.0
        self._bits += (2.0 * high.float() - 1).mean(0)

    def end_epoch(self, epoch: int, advice: str) -> dict[str, float]:
        """Facts of the epoch; the counts begin again.

        Raises:
            CollapseError: from the second epoch on, every batch had one code only, for at least `PATIENCE` batches.
        """
        batches, constant, error, row = self._counts.tolist()
        facts = {
            "constant_batches": constant / max(1.0, batches),
            "bit_balance": float((self._bits / max(1.0, batches)).abs().mean()),
            "quantization_error": error / max(1.0, batches),
        }
        self._counts[:3] = 0
        self._bits.zero_()
        if epoch >= 1 and batches and constant == batches and row >= PATIENCE:
            raise CollapseError(f"the codes collapsed: in epoch {epoch + 1} every picture got the same code. {advice}")
        return facts

    def state(self) -> dict[str, Any]:
        """Copies of the counts."""
        return {"watch": self._counts.clone(), "bits": self._bits.clone()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take what `state` gave."""
        self._counts, self._bits = state["watch"].clone(), state["bits"].clone()
