"""The score that may select a model while it is trained: the MAP of its validation part."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from hamguard.codes.bank import CodeBank
from hamguard.data.dataset import Dataset
from hamguard.data.split import Part, require_role
from hamguard.evaluation.encode import packed_codes
from hamguard.models.store import AnyModel
from hamguard.retrieval.metrics import mean_average_precision


def validation_map(dataset: Dataset, device: torch.device | str = "cpu") -> Callable[[AnyModel, Part, Part], float]:
    """A function that scores a model in training: expected MAP of the validation part against the training part.

    Only this role may select a model: the function refuses a query part.
    """

    def score(model: AnyModel, validation: Part, train: Part) -> float:
        require_role(validation, "validation")
        was = model.training
        model.eval()
        banks = []
        for part in (validation, train):
            packed = packed_codes(model, dataset.images, part.index, device=device)
            banks.append(CodeBank(packed, model.bits, dataset.labels[part.index], np.arange(len(part)).astype(str)))
        model.train(was)
        return mean_average_precision(*banks).value

    return score
