"""The score that may select a model while it is trained: the MAP of its validation part."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from hamguard.codes.bank import CodeBank
from hamguard.data.opened import Data
from hamguard.models.store import AnyModel
from hamguard.retrieval.metrics import mean_average_precision
from hamguard.training.encode import packed_codes


def validation_map(model: AnyModel, data: Data, device: torch.device | str = "cpu") -> Callable[[], float]:
    """A function that scores a model in training: MAP of its validation part against its training part."""
    validation, learned = data.split.part("validation"), data.split.part("train")

    def score() -> float:
        was = model.training
        model.eval()
        banks = []
        for part in (validation, learned):
            packed = packed_codes(model, data.dataset.images, part.index, device=device)
            labels = data.dataset.labels[part.index]
            banks.append(CodeBank(packed, model.bits, labels, np.arange(len(part)).astype(str)))
        model.train(was)
        return mean_average_precision(*banks).value

    return score
