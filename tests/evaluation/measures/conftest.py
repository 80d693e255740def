"""A linear model on its data, and all its measures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hamguard.attacks.budget import Budget, Linf
from hamguard.core.context import Context
from hamguard.data.opened import Data
from hamguard.evaluation.ground import Ground, Loaded
from hamguard.evaluation.measures.extreme import Draws
from hamguard.evaluation.measures.registry import MEASURES, Found, Line
from hamguard.evaluation.measures.run import measure_model
from hamguard.models.foreign import ForeignModel
from tests.training.conftest import make_blobs, make_split


class Linear(torch.nn.Module):
    """`z = W x + b` with weights of known size, every picture inside the pixel range by far."""

    size, channels = (16, 16), 1

    def __init__(self, K: int = 8) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.W = torch.nn.Parameter(torch.randn(K, 256, generator=generator) / 256)
        self.b = torch.nn.Parameter(torch.randn(K, generator=generator) * 0.01)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x.flatten(1) - 0.4) @ self.W.T + self.b


@pytest.fixture(scope="package")
def ground() -> Ground:
    dataset = make_blobs(60)
    images = replace(dataset.images, array=(dataset.images.array // 2 + 50).astype(np.uint8), known_digest="")
    dataset = replace(dataset, images=images)  # far from the ends of the pixel range
    split = make_split(dataset)
    model = ForeignModel(Linear().eval(), "linear", (16, 16), 1)
    model.requires_grad_(False)
    return Ground.open(Loaded("linear", model), Data(dataset, split), queries=6, context=Context(batch_size=4))


@pytest.fixture(scope="package")
def found(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    """All measures of the model."""
    few = {"draws": Draws(2, 2)}
    return measure_model(
        replace(ground, context=ground.context.but(work=tmp_path_factory.mktemp("work"))),
        Budget(Linf(8 / 255), steps=10),
        list(MEASURES),
        options={"clever": few, "clever-guide": few},
    )


@pytest.fixture(scope="package")
def lines(found: dict[str, Found]) -> dict[str, Line]:
    return {line.name: line for one in found.values() for line in one.lines}


def ratios(ground: Ground) -> np.ndarray:
    """`|z_k| / ||w_k||_1`, exact for a linear function."""
    x = ground.dataset.images.batch(ground.rows)
    weights = next(p for p in ground.model.parameters() if p.ndim == 2)
    return (ground.model.logits(x).abs() / weights.abs().sum(1)).detach().double().numpy()
