"""The score that may select a model while it is trained: the MAP of its validation part."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import pack, sign
from hamguard.data.opened import Data
from hamguard.models.hash_model import HashModel
from hamguard.models.store import AnyModel
from hamguard.retrieval.metrics import mean_average_precision
from hamguard.training.encode import packed_codes
from hamguard.training.features import frozen_features
from hamguard.training.hash_task import rests


def validation_map(model: AnyModel, data: Data, device: torch.device | str = "cpu") -> Callable[[], float]:
    """A function that scores a model in training: MAP of its validation part against its training part.

    A backbone that stays as it is is asked once, here.
    """
    images, parts = data.dataset.images, (data.split.part("validation"), data.split.part("train"))
    known: list[Tensor] = []
    if isinstance(model, HashModel) and rests(model.trunk):
        known = [frozen_features(model, images, part.index).to(device) for part in parts]

    @torch.no_grad()
    def score() -> float:
        was = model.training
        model.eval()
        banks = []
        for number, part in enumerate(parts):
            if known:
                assert isinstance(model, HashModel)
                packed = pack(sign(model.tail(known[number])))
            else:
                packed = packed_codes(model, images, part.index, device=device)
            labels = data.dataset.labels[part.index]
            banks.append(CodeBank(packed, model.bits, labels, np.arange(len(part)).astype(str)))
        model.train(was)
        return mean_average_precision(*banks).value

    return score
