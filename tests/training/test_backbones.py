"""The nine networks of the papers at 64 pixels: one step of DPSH moves every weight, and an attack gets a gradient."""

from __future__ import annotations

import pytest
import torch

from hamguard.core.seeds import torch_generator
from hamguard.hashing.dpsh import DPSH, DPSHSettings
from hamguard.models.hash_model import HashModel

QUICK = ("resnet18", "resnet50", "mobilenet_v2", "googlenet")
LARGE = (
    "alexnet",
    "vgg11",
    "vgg16",
    "vgg19",
    "wide_resnet50_2",
)  # 57 to 140 million weights: drawing them takes seconds
PAIRS = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)])
def test_one_step_reaches_every_weight_and_the_pixels(name: str) -> None:
    model = HashModel(name, 8, size=(64, 64), mean=[0.5] * 3, std=[0.25] * 3, generator=torch_generator(0)).train()
    x = torch.rand(4, 3, 64, 64, generator=torch_generator(1))
    objective = DPSH(DPSHSettings(), bits=8, labels=PAIRS, seed=0)
    objective.loss(model.logits(x), PAIRS, torch.arange(4), 0.0).backward()
    for key, weight in model.named_parameters():
        assert weight.grad is not None and bool(weight.grad.isfinite().all()), key
        assert key.endswith(".bias") or bool(weight.grad.any()), key
    model.eval().requires_grad_(False)
    (gradient,) = torch.autograd.grad(torch.tanh(model.logits(x.requires_grad_())).sum(), x)
    assert bool(gradient.flatten(1).any(1).all()) and bool(gradient.isfinite().all())
