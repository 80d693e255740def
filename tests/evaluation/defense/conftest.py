"""A toy model on its data, and how its detector is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hamguard.attacks.budget import Budget
from hamguard.attacks.threat import Linf
from hamguard.core.context import Context
from hamguard.data.opened import Data
from hamguard.evaluation.ground import Ground, Loaded
from tests.defenses.conftest import make_dataset, make_model

BUDGET = Budget(Linf(0.2), steps=6)
FEW: dict[str, Any] = {"rate": 0.1, "neighbors": 4}


def make_ground(*, labeled: bool = True, batch_size: int = 64, work: Path | None = None) -> Ground:
    dataset, split = make_dataset(labeled=labeled)
    model = make_model(dataset).requires_grad_(False)
    return Ground.open(Loaded("toy", model), Data(dataset, split), context=Context(batch_size=batch_size, work=work))


@pytest.fixture(scope="module")
def ground() -> Ground:
    return make_ground()
