from __future__ import annotations

import json
import pickle
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from hamguard.core.errors import RequestError, StaleError
from hamguard.core.files import read_sealed, seal, write_sealed
from hamguard.core.seeds import torch_generator
from hamguard.models.backbones import build_backbone, default_backbone, load_initial
from hamguard.models.channels import LUMINANCE
from hamguard.models.foreign import ForeignModel
from hamguard.models.hash_model import HashModel
from hamguard.models.registry import BACKBONES
from hamguard.models.store import load_any, load_folder, make_card, read_card, save_model
from hamguard.models.weight_files import read_safetensors


def small(**rest: object) -> HashModel:
    return HashModel("conv2", 12, channels=1, size=(16, 16), mean=[0.3], std=[0.4], **rest)  # type: ignore[arg-type]


def test_normalization_stands_inside() -> None:
    model = small().eval()
    x = torch.rand(3, 1, 16, 16)
    inside = model.head(model.backbone((x - 0.3) / 0.4))
    assert torch.allclose(model.logits(x), inside)
    assert torch.equal(model.code(x), torch.where(inside < 0, -1.0, 1.0))
    assert torch.allclose(model.relaxed(x, 2.0), torch.tanh(2 * inside))


def test_gray_and_color_fit_each_other() -> None:
    gray, color = small().eval(), HashModel("conv8", 8, channels=3, size=(16, 16)).eval()
    x = torch.rand(2, 3, 16, 16)
    y = sum(w * x[:, i : i + 1] for i, w in enumerate(LUMINANCE))
    assert torch.allclose(gray.logits(x), gray.logits(y), atol=1e-6)
    assert torch.allclose(color.logits(y), color.logits(y.expand(-1, 3, -1, -1)))
    with pytest.raises(RequestError, match=r"\(B, 1 or 3, H, W\), got \(2, 2, 16, 16\)"):
        gray.logits(torch.rand(2, 2, 16, 16))


def test_weights_are_a_function_of_the_generator() -> None:
    digests = {small(generator=torch_generator(s)).digest for s in (0, 0, 1)}
    assert len(digests) == 2


SMALL = [name for name in BACKBONES if BACKBONES.facts(name)["gray"]]


@pytest.mark.parametrize(
    "name", [*SMALL, "resnet18", "squeezenet1_0", "mobilenet_v2", "googlenet", "shufflenet_v2_x1_0"]
)
def test_backbones_give_features(name: str) -> None:
    size = (28, 28) if name == "conv2" else (32, 32) if name in SMALL else (64, 64)
    net, features = build_backbone(name, 3, size, torch_generator(0))
    out = net.eval()(torch.rand(2, 3, *size))
    assert out.shape == (2, features) and bool(out.isfinite().all())


def test_unknown_and_unfit_backbones_are_named() -> None:
    with pytest.raises(RequestError, match="did you mean resnet"):
        HashModel("resnet21x", 8)
    with pytest.raises(RequestError, match="backbone alexnet cannot take pictures of 8x8 pixels"):
        HashModel("alexnet", 8, size=(8, 8))
    with pytest.raises(RequestError, match="bits must be at least 1, got 0"):
        HashModel("conv8", 0, size=(16, 16))
    assert default_backbone((28, 28)) in BACKBONES


def test_networks_of_timm_are_never_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*args: object) -> None:
        pytest.fail("nothing is to be asked of a network")

    monkeypatch.setattr(socket.socket, "connect", connect)
    with pytest.raises(RequestError, match="would fetch a model from a hub"):
        HashModel("timm:hf-hub:someone/model", 8)
    with pytest.raises(RequestError, match="timm has no model 'resnet10x'"):
        HashModel("timm:resnet10x", 8, size=(64, 64))
    assert HashModel("timm:resnet10t", 8, size=(64, 64)).features > 0
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(RequestError, match="need the package timm, which is not installed: pip install timm"):
        HashModel("efficientnet_lite0", 8, size=(64, 64))


def test_a_failed_download_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models import WeightsEnum

    def offline(self: object, *args: object, **kwargs: object) -> None:
        raise OSError("network is unreachable")

    monkeypatch.setattr(WeightsEnum, "get_state_dict", offline)
    model = HashModel("squeezenet1_1", 8, size=(64, 64))
    with pytest.raises(RequestError, match="weights of squeezenet1_1 could not be downloaded: network is unreachable"):
        load_initial(model.backbone, "squeezenet1_1", "torchvision")


def test_folder_round_trip(tmp_path: Path) -> None:
    model = small().eval()
    card = save_model(model, tmp_path / "m", method="csq", seed=3)
    back, again = load_folder(tmp_path / "m")
    assert load_folder(tmp_path / "m")[0].digest == back.digest
    x = torch.rand(2, 1, 16, 16)
    assert torch.equal(back.logits(x), model.logits(x)) and again == card and again.seed == 3
    assert not back.training
    frozen, _ = load_any(tmp_path / "m")
    assert not any(p.requires_grad for p in frozen.parameters())
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == ["card.json", "model.safetensors"]


def test_a_model_shows_its_card_and_what_to_cite(tmp_path: Path) -> None:
    built = small()
    assert "HashModel" in built._repr_html_() and "@" not in built._repr_html_()
    built.card = save_model(built, tmp_path / "m", method="csq", title="<CSQ>", defense={"method": "saat"})
    page = built._repr_html_()
    assert [entry.partition(",")[0] for entry in built.card.bibtex] == [
        "@article{yuan2023saat",
        "@inproceedings{yuan2020csq",
    ]
    assert "<b>&lt;CSQ&gt;</b>" in page and "<pre>@inproceedings{yuan2020csq,\n  author " in page
    assert make_card(built).bibtex == (), "a model without a method has nothing to cite"


def test_damaged_folders_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "run.json").write_text("{}")
    with pytest.raises(
        RequestError, match="begun holds a training that has not ended; the command that began it goes on"
    ):
        load_folder(tmp_path / "begun")
    with pytest.raises(RequestError, match="is not a model folder: it has no card.json"):
        read_card(tmp_path)
    save_model(small(), tmp_path / "m")
    other = small(generator=torch_generator(9))
    save_file({k: v.contiguous() for k, v in other.state_dict().items()}, tmp_path / "m" / "model.safetensors")
    with pytest.raises(StaleError, match="the card was written for"):
        load_folder(tmp_path / "m")
    path = tmp_path / "m" / "card.json"
    card = read_sealed(path, "card")
    for facts, expected in (
        ({"bits": 16}, "weights and card do not fit"),
        ({"weights_hash": ""}, "is damaged: its card has no hash of the weights"),
        ({"size": [0, 8]}, r"card.json is damaged: size\.0: input should be greater than or equal to 1"),
        ({"format": 1, "weights_hash": ""}, "its card has no hash of the weights"),
    ):
        write_sealed(path, card | facts)
        with pytest.raises(RequestError, match=expected):
            load_folder(tmp_path / "m")
    path.write_text(json.dumps(seal(card) | {"mean": [0.4]}))
    with pytest.raises(RequestError, match="card.json is damaged: its content was changed after it was written"):
        load_folder(tmp_path / "m")
    path.write_text(json.dumps(card))
    with pytest.raises(RequestError, match="card.json is damaged: it has no digest"):
        load_folder(tmp_path / "m")
    (tmp_path / "m" / "card.json").write_text("{")
    with pytest.raises(RequestError, match="is damaged"):
        load_folder(tmp_path / "m")
    path.write_text(json.dumps(card | {"format": 1}))  # cards of hamguard 0.1 had no seal
    save_file({k: v.contiguous() for k, v in small().state_dict().items()}, tmp_path / "m" / "model.safetensors")
    assert load_folder(tmp_path / "m")[1].bits == card["bits"]
    (tmp_path / "m" / "model.safetensors").unlink()
    with pytest.raises(RequestError, match="no weight file at"):
        load_folder(tmp_path / "m")


def test_pickles_are_refused_by_content(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(1)}, tmp_path / "zip.safetensors")
    (tmp_path / "old.pth").write_bytes(pickle.dumps({"w": 1}))
    for name in ("zip.safetensors", "old.pth"):
        with pytest.raises(RequestError, match="is a pickle, which can execute code"):
            read_safetensors(tmp_path / name)
    (tmp_path / "torn.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{nonsense")
    with pytest.raises(RequestError, match="not a readable safetensors file"):
        read_safetensors(tmp_path / "torn.safetensors")
    save_file({"w": torch.ones(2)}, tmp_path / "long.safetensors")
    with (tmp_path / "long.safetensors").open("r+b") as stream:
        stream.truncate(40 * 10**9)
    with pytest.raises(RequestError, match=r"its header tells of \d+ bytes, it has 40,000,000,000"):
        read_safetensors(tmp_path / "long.safetensors")
    save_file({"w": torch.tensor([float("nan")])}, tmp_path / "nan.safetensors")
    with pytest.raises(RequestError, match="holds NaN or infinite weights in w"):
        read_safetensors(tmp_path / "nan.safetensors")


def test_initial_weights_fit_or_say_why(tmp_path: Path) -> None:
    donor = HashModel("resnet20", 8, size=(32, 32), generator=torch_generator(1))
    state = {f"module.{k}": v.half() if v.is_floating_point() else v for k, v in donor.backbone.state_dict().items()}
    save_file({**state, "module.linear.weight": torch.ones(2)}, tmp_path / "w.safetensors")
    taker = HashModel("resnet20", 8, size=(32, 32), generator=torch_generator(2))
    load_initial(taker.backbone, "resnet20", str(tmp_path / "w.safetensors"))
    assert torch.allclose(taker.backbone.conv1.weight, donor.backbone.conv1.weight, atol=1e-3)
    assert taker.backbone.conv1.weight.dtype == torch.float32
    deeper = HashModel("resnet32", 8, size=(32, 32))
    with pytest.raises(RequestError, match="does not fit resnet32: .* weights are missing, e.g. layer1.3.conv1.weight"):
        load_initial(deeper.backbone, "resnet32", str(tmp_path / "w.safetensors"))
    gray = HashModel("resnet20", 8, channels=1, size=(32, 32))
    with pytest.raises(RequestError, match=r"conv1.weight has shape \(16, 3, 3, 3\), needed \(16, 1, 3, 3\)"):
        load_initial(gray.backbone, "resnet20", str(tmp_path / "w.safetensors"))
    with pytest.raises(RequestError, match="torchvision has no weights for resnet20"):
        load_initial(gray.backbone, "resnet20", "torchvision")


def test_published_cifar_weights_give_the_published_accuracy(data_root: Path) -> None:
    model = HashModel("resnet20", 8, size=(32, 32), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)).eval()
    path = data_root / "weights" / "cifar10_resnet20.safetensors"
    load_initial(model.backbone, "resnet20", str(path))
    state = read_safetensors(path)
    with np.load(data_root / "cifar10" / "train_lossless_4000.npz") as stored:
        x = torch.from_numpy(stored["images"][:300]).permute(0, 3, 1, 2).float() / 255
        labels = torch.from_numpy(stored["labels"][:300].astype(np.int64))
    with torch.no_grad():
        scores = model.backbone(model.normalize(x)) @ state["linear.weight"].T + state["linear.bias"]
    assert float((scores.argmax(1) == labels).float().mean()) >= 0.99


class Flat(nn.Module):
    size, channels = (8, 8), 1

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(1))


def flat() -> nn.Module:
    torch.manual_seed(0)
    return Flat()


def no_model() -> int:
    return 3


class Two(Flat):
    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(1))[:, :, None]


def test_foreign_models_by_factory(tmp_path: Path) -> None:
    model, card = load_any("tests.models.test_models:flat")
    assert isinstance(model, ForeignModel) and card is None and model.bits == 5 and model.size == (8, 8)
    x = torch.rand(3, 1, 8, 8, requires_grad=True)
    model.relaxed(x).sum().backward()
    assert x.grad is not None and float(x.grad.abs().sum()) > 0
    assert set(model.code(x).unique().tolist()) <= {-1.0, 1.0}
    with pytest.raises(RequestError, match="must return a torch.nn.Module, got int"):
        load_any("tests.models.test_models:no_model")
    with pytest.raises(RequestError, match=r"must return real numbers \(B, K\), got \(2, 5, 1\)"):
        load_any("tests.models.test_models:Two")
    with pytest.raises(RequestError, match="no model factory tests.models.none:flat"):
        load_any("tests.models.none:flat")
    with pytest.raises(RequestError, match="no model at"):
        load_any(tmp_path / "nowhere")


def test_foreign_models_by_export(tmp_path: Path) -> None:
    net = flat().eval()
    batch = torch.export.Dim("batch")
    program = torch.export.export(net, (torch.rand(2, 1, 8, 8),), dynamic_shapes=({0: batch},))
    torch.export.save(program, tmp_path / "net.pt2")
    model, _ = load_any(tmp_path / "net.pt2")
    x = torch.rand(3, 1, 8, 8, requires_grad=True)
    assert model.size == (8, 8) and model.channels == 1 and torch.allclose(model.logits(x), net(x))
    model.logits(x).sum().backward()
    assert x.grad is not None
    (tmp_path / "bad.pt2").write_bytes(b"torn")
    with pytest.raises(RequestError, match="not a readable torch.export file"):
        load_any(tmp_path / "bad.pt2")


def test_a_safetensors_file_whose_first_byte_looks_like_a_pickle_is_read(tmp_path: Path) -> None:
    for extra in range(300):  # the first byte is the low one of the header's length, which grows with the name
        save_file({"w" + "x" * extra: torch.ones(2)}, tmp_path / "w.safetensors")
        if (tmp_path / "w.safetensors").read_bytes()[0] == 0x80:
            break
    else:
        pytest.fail("no name gave the byte")
    assert list(read_safetensors(tmp_path / "w.safetensors")) == ["w" + "x" * extra]
