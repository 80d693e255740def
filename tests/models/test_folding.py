"""A folded copy is the same function without batch norms; what cannot be copied is left as it is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hamguard.core.seeds import torch_generator
from hamguard.models import folding
from hamguard.models.folding import Folding, folded
from hamguard.models.foreign import ForeignModel
from hamguard.models.hash_model import HashModel


@pytest.mark.parametrize(
    "name", ["resnet20", "conv8", "resnet18", "efficientnet_lite0", "mobilenet_v2_tf", "timm:resnet10t"]
)
def test_the_copy_computes_the_same_codes_and_gradients(name: str) -> None:
    model = HashModel(name, 8, size=(32, 32), mean=[0.5] * 3, std=[0.2] * 3, generator=torch_generator(0))
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):  # statistics of a trained net are not those of a fresh one
            part.running_mean.uniform_(-0.5, 0.5, generator=torch_generator(1))  # type: ignore[union-attr]
            part.running_var.uniform_(0.5, 2.0, generator=torch_generator(2))  # type: ignore[union-attr]
    model.eval().requires_grad_(False)
    twin, before = folded(model), model.digest
    assert twin is not model and model.digest == before
    assert not any(isinstance(part, nn.BatchNorm2d) for part in twin.modules())
    assert not any(value.requires_grad for value in twin.parameters()) and not twin.training
    x = torch.rand(4, 3, 32, 32, generator=torch_generator(3))
    assert torch.allclose(model.logits(x), twin.logits(x), atol=1e-4)
    slopes = []
    for net in (model, twin):
        at = x.clone().requires_grad_()
        slopes.append(torch.autograd.grad(net.logits(at).tanh().sum(), at)[0])
    assert (
        torch.nn.functional.cosine_similarity(*[nn.functional.normalize(s.flatten(1), eps=0) for s in slopes]).min()
        > 0.999
    )


def test_rectifiers_whose_input_is_read_again_stay_as_they_are() -> None:
    class Again(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x * 2 - 1
            return (nn.functional.relu(x) + x).flatten(1)  # in place, the sum would be another

    model = HashModel("conv2", 8, channels=1, size=(28, 28)).eval()
    model.backbone, model.head = Again(), nn.Linear(28 * 28, 8)
    model.requires_grad_(False)
    x = torch.rand(3, 1, 28, 28, generator=torch_generator(3))
    assert torch.allclose(folded(model).logits(x), model.logits(x), atol=1e-5)


def test_foreign_models_stay() -> None:
    class Net(nn.Module):
        size, channels = (8, 8), 1

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1)[:, :4] - 0.5

    foreign = ForeignModel(Net(), "net", (8, 8), 1)
    assert folded(foreign) is foreign


def test_broken_outputs_are_not_hidden() -> None:
    model = HashModel("resnet20", 8, size=(32, 32)).eval().requires_grad_(False)
    with torch.no_grad():
        model.head.weight[0, 0] = float("nan")
    assert folded(model) is model


def test_a_network_that_learns_is_tried_once_and_folded_as_it_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    tried, plain = [], folding._agrees

    def agrees(*nets: HashModel) -> bool:
        tried.append(nets)
        return plain(*nets)

    monkeypatch.setattr(folding, "_agrees", agrees)
    model, fold = HashModel("resnet20", 8, size=(32, 32)).eval().requires_grad_(False), Folding()
    x = torch.rand(4, 3, 32, 32, generator=torch_generator(3))
    for _ in range(3):
        twin = fold(model)
        assert twin is not model and torch.allclose(twin.logits(x), model.logits(x), atol=1e-4)
        with torch.no_grad():
            for value in model.parameters():
                value.add_(0.01)
    assert len(tried) == 1
