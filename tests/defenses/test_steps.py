"""What the steps of all defenses share: their cost, and that each is known by name."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hamguard.defenses.registry import DEFENSES
from tests.defenses.conftest import Place, batch_of, begun
from tests.defenses.steps import INDEX


@pytest.mark.parametrize("method", DEFENSES)
def test_an_inner_attack_costs_seven_passes(place: Place, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task = begun(place, method)
    seen: list[int] = []
    real = type(task.model).logits

    def logits(model: torch.nn.Module, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            seen.append(len(x))
        return real(model, x)  # type: ignore[arg-type]

    monkeypatch.setattr(type(task.model), "logits", logits)
    task.step(batch_of(*INDEX))
    b = len(INDEX)
    want = {"control": [b], "static": [2 * b]}.get(method, [b] * 7 + [2 * b])
    assert seen == want


@pytest.mark.parametrize("method", DEFENSES)
def test_every_defense_has_a_name_and_a_title(method: str) -> None:
    assert DEFENSES[method].name == method and DEFENSES[method].title
