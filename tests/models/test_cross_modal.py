"""The text side and the folder of both sides: a literal multi-scale net, round trips, and what is refused."""

from __future__ import annotations

import resource
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from hamguard.core.errors import RequestError, RunError, StaleError
from hamguard.core.files import read_sealed, write_sealed
from hamguard.core.seeds import torch_generator
from hamguard.models.backbones import backbone_channels, build_backbone, load_initial
from hamguard.models.cross_modal import CrossModel, TextCard, has_texts, load_cross, load_parts, save_cross
from hamguard.models.hash_model import HashModel
from hamguard.models.store import load_any, load_folder, make_card, save_model
from hamguard.models.text_model import WINDOWS, MultiScale, TextModel
from hamguard.models.vocabulary import Vocabulary

WORDS = Vocabulary(("red", "blue", "circle", "red circle", "square"), 2)
TEXTS = ["red circle", "blue square", "a red square", "nothing known"]


def image(seed: int = 0, bits: int = 8, name: str = "conv2") -> HashModel:
    return HashModel(name, bits, channels=3, size=(16, 16), mean=[0.4], std=[0.3], generator=torch_generator(seed))


def cross(seed: int = 0, kind: str = "mlp", features: int = 0) -> CrossModel:
    text = TextModel(kind, len(WORDS), 8, width=16, features=features, seed=seed)  # type: ignore[arg-type]
    return CrossModel(image(seed), text, WORDS).eval()


def slow_scale(line: list[float], window: int, weight: float, bias: float) -> list[float]:
    """One scale of SSAH by hand: means of neighbors, a factor and a summand, ReLU, stretched back by straight lines."""
    D, window = len(line), min(window, len(line))
    pooled = [sum(part) / len(part) for part in (line[i : i + window] for i in range(0, D, window))]
    pooled = [max(0.0, weight * value + bias) for value in pooled]
    out = []
    for i in range(D):
        place = min(max((i + 0.5) * len(pooled) / D - 0.5, 0.0), len(pooled) - 1.0)
        left = int(place)
        right = min(left + 1, len(pooled) - 1)
        out.append(pooled[left] + (place - left) * (pooled[right] - pooled[left]))
    return out


@pytest.mark.parametrize("D", [1, 3, 7, 50, 73])  # fewer words than every window, than some, and no multiple of any
def test_multi_scale_agrees_with_a_slow_transcription(D: int) -> None:
    net = MultiScale()
    bag = (torch.rand(2, D, generator=torch_generator(D)) < 0.4).float()
    found = net(bag)
    assert found.shape == (2, 6 * D)
    for row in range(2):
        wanted = bag[row].tolist()
        for window, mix in zip(WINDOWS, net.mix, strict=True):
            assert isinstance(mix, nn.Conv1d) and mix.bias is not None
            wanted += slow_scale(bag[row].tolist(), window, mix.weight.item(), mix.bias.item())
        torch.testing.assert_close(found[row], torch.tensor(wanted), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["mlp", "multi-scale"])
@pytest.mark.parametrize(("features", "wide"), [(0, 16), (6, 6)])
def test_shapes_of_a_text_net(kind: str, features: int, wide: int) -> None:
    net = TextModel(kind, 5, 12, width=16, features=features, seed=1)  # type: ignore[arg-type]
    bag = WORDS.bag(TEXTS)
    assert net.encode(bag).shape == (4, wide) and net.logits(bag).shape == (4, 12)
    assert torch.equal(net(bag), net.head(net.encode(bag)))
    assert torch.allclose(net.relaxed(bag, 2.0), torch.tanh(2 * net(bag)))
    assert torch.equal(net.code(bag), torch.where(net(bag) < 0, -1.0, 1.0))
    if features:
        assert net.encode(bag).abs().max().item() < 1.0  # a layer with tanh
    net.logits(bag).sum().backward()
    assert all(value.grad is not None for value in net.parameters())


def test_a_text_net_of_the_paper_is_two_layers() -> None:
    net = TextModel("mlp", 5, 8, width=16)
    first, last = net.encoder[0], net.head
    assert isinstance(first, nn.Linear)
    bag = WORDS.bag(TEXTS)
    by_hand = torch.relu(bag @ first.weight.T + first.bias) @ last.weight.T + last.bias
    assert torch.allclose(net(bag), by_hand, atol=1e-6)


def test_weights_are_a_function_of_the_seed_alone() -> None:
    before = torch.get_rng_state()
    digests = [TextModel("multi-scale", 5, 8, width=16, seed=seed).digest for seed in (3, 3, 4)]
    assert digests[0] == digests[1] != digests[2]
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert TextModel("multi-scale", 5, 8, width=16, seed=3).digest == digests[0]


def test_refused_text_nets_and_bags() -> None:
    for ask, expected in (
        (("lstm", 5, 8, {}), "unknown text net 'lstm'; allowed: mlp, multi-scale"),
        (("mlp", 0, 8, {}), "words must be at least 1, got 0"),
        (("mlp", 5, 0, {}), "bits must be at least 1, got 0"),
        (("mlp", 5, 8, {"width": 0}), "text width must be at least 1, got 0"),
        (("mlp", 5, 8, {"features": -1}), "features must be at least 0, got -1"),
    ):
        kind, words, bits, more = ask
        with pytest.raises(RequestError, match=expected):
            TextModel(kind, words, bits, **more)  # type: ignore[arg-type]
    net = TextModel("mlp", 5, 8, width=16)
    for shape in ((2, 4), (5,), (1, 5, 1)):
        with pytest.raises(RequestError, match=r"bags of words must have shape \(B, 5\), got"):
            net.encode(torch.zeros(shape))


def test_sides_that_do_not_fit() -> None:
    with pytest.raises(RequestError, match="both sides need codes of one length, got 8 and 12 bits"):
        CrossModel(image(), TextModel("mlp", 5, 12, width=16), WORDS)
    with pytest.raises(RequestError, match="the text net takes 4 terms, the vocabulary has 5"):
        CrossModel(image(), TextModel("mlp", 4, 8, width=16), WORDS)


def test_a_pair_shows_its_card() -> None:
    pair = cross()
    assert "conv2" in pair._repr_html_()
    pair.card = make_card(pair.image, method="dcmh", title="DCMH")
    assert "<b>DCMH</b>" in pair._repr_html_() and "@inproceedings{jiang2017dcmh," in pair._repr_html_()


def test_the_digest_is_of_both_sides_and_the_words() -> None:
    model, other = cross(), Vocabulary(WORDS.words[::-1], 2)
    kinds = [
        model,
        CrossModel(image(1), model.text, WORDS),
        CrossModel(model.image, cross(1).text, WORDS),
        CrossModel(model.image, model.text, other),
    ]
    assert len({kind.digest for kind in kinds}) == 4 and cross().digest == model.digest
    assert not any(p.requires_grad for p in model.train().freeze().parameters()) and not model.text.training


@pytest.mark.parametrize(("kind", "features"), [("mlp", 0), ("multi-scale", 6)])
def test_folder_round_trip(kind: str, features: int, tmp_path: Path) -> None:
    model = cross(2, kind, features)
    written = save_cross(model, tmp_path / "m", texts={"training": 4}, method="dcmh", seed=2)
    back, card, facts = load_cross(tmp_path / "m")
    assert (card, facts) == written and card.method == "dcmh" and facts.texts == {"training": 4}
    assert back.digest == model.digest and back.vocabulary == WORDS and facts.partner == back.image.digest
    x = torch.rand(3, 3, 16, 16, generator=torch_generator(5))
    bag = back.vocabulary.bag(TEXTS)
    assert torch.equal(back.image.logits(x), model.image.logits(x))
    assert torch.equal(back.text.logits(bag), model.text.logits(bag))
    assert torch.equal(back.text.code(bag), model.text.code(WORDS.bag(TEXTS)))
    assert not back.training and all(p.requires_grad and not p.is_meta for p in back.text.parameters())
    names = sorted(path.name for path in (tmp_path / "m").iterdir())
    assert names == ["card.json", "model.safetensors", "text.json", "text.safetensors"]
    ordinary, again = load_any(tmp_path / "m")  # every command that takes a hash model takes this folder
    assert isinstance(ordinary, HashModel) and ordinary.digest == model.image.digest and again == card


def test_has_texts(tmp_path: Path) -> None:
    save_model(image(), tmp_path / "plain")
    assert not has_texts(tmp_path / "plain") and not has_texts(tmp_path / "none") and not has_texts("a.module:factory")
    with pytest.raises(RequestError, match="plain has no text side; cross-modal models: hamguard train --method dcmh"):
        load_cross(tmp_path / "plain")
    save_cross(cross(), tmp_path / "m")
    assert has_texts(tmp_path / "m") and has_texts(str(tmp_path / "m"))
    (tmp_path / "m" / "card.json").unlink()  # as while it is being written
    assert not has_texts(tmp_path / "m")
    with pytest.raises(RequestError, match="is not a model folder: it has no card.json"):
        load_cross(tmp_path / "m")


def test_parts_of_the_training(tmp_path: Path) -> None:
    parts, fresh = nn.Linear(3, 2), nn.Linear(3, 2)
    save_cross(cross(), tmp_path / "m", parts=parts)
    load_parts(fresh, tmp_path / "m")
    assert torch.equal(fresh.weight, parts.weight)
    with pytest.raises(RequestError, match="weights and card do not fit"):
        load_parts(nn.Linear(4, 2), tmp_path / "m")
    save_cross(cross(), tmp_path / "m")  # another method without parts: the old ones go
    with pytest.raises(RequestError, match="no weight file at .*parts.safetensors"):
        load_parts(fresh, tmp_path / "m")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write"):
        save_cross(cross(), tmp_path / "file" / "m")


def test_a_text_side_of_other_image_weights_is_refused(tmp_path: Path) -> None:
    save_cross(cross(0), tmp_path / "one")
    save_cross(cross(1), tmp_path / "two")
    for name in ("model.safetensors", "card.json"):
        shutil.copy(tmp_path / "two" / name, tmp_path / "one" / name)
    with pytest.raises(StaleError, match=r"one: the text side learned with image weights .*their codes do not compare"):
        load_cross(tmp_path / "one")
    assert load_folder(tmp_path / "one")[0].digest == cross(1).image.digest  # pictures alone are fine
    shutil.copy(tmp_path / "two" / "text.safetensors", tmp_path / "one" / "text.safetensors")
    with pytest.raises(StaleError, match="the weights have hash .*, the card was written for"):
        load_cross(tmp_path / "one")


def broken(folder: Path, **facts: object) -> None:
    write_sealed(folder / "text.json", {**read_sealed(folder / "whole.json", "card"), **facts})


def test_damaged_text_sides_are_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    save_cross(cross(), folder)
    shutil.copy(folder / "text.json", folder / "whole.json")
    many = [f"w{i}" for i in range(100_001)]
    for facts in (
        {"color": "red"}, {"kind": "lstm"}, {"words": []}, {"words": [""]}, {"words": [3]}, {"words": ["x" * 1001]},
        {"words": many}, {"ngrams": 0}, {"ngrams": 99}, {"bits": 1 << 40}, {"width": 1 << 40}, {"features": 1 << 40},
        {"width": 0}, {"features": -1},
    ):  # fmt: skip
        broken(folder, **facts)
        with pytest.raises(RequestError, match=r"text\.json is damaged") as caught:
            load_cross(folder)
        assert "\n" not in str(caught.value)
    for content in ("{", "[]", "\xff\xfe"):
        (folder / "text.json").write_text(content, encoding="latin-1")
        with pytest.raises(RequestError, match=r"text\.json is damaged"):
            load_cross(folder)
    for facts in ({"bits": 12}, {"width": 17}, {"features": 4}, {"kind": "multi-scale"}, {"words": ["one", "two"]}):
        broken(folder, **facts)
        with pytest.raises(RequestError, match="weights and card do not fit"):
            load_cross(folder)
    broken(folder, weights_hash="0" * 16)
    with pytest.raises(StaleError, match="the card was written for 0000"):
        load_cross(folder)
    broken(folder)
    whole = (folder / "text.safetensors").read_bytes()
    for content, expected in (
        (whole[:-9], "not a readable safetensors file"),
        (b"\x80\x04pickle", "is a pickle, which can execute code"),
    ):
        (folder / "text.safetensors").write_bytes(content)
        with pytest.raises(RequestError, match=expected):
            load_cross(folder)
    (folder / "text.safetensors").unlink()
    with pytest.raises(RequestError, match=r"no weight file at .*text\.safetensors"):
        load_cross(folder)


def test_sides_of_other_lengths_in_one_folder(tmp_path: Path) -> None:
    save_cross(cross(), tmp_path / "m")
    save_model(image(bits=12), tmp_path / "m")
    shutil.copy(tmp_path / "m" / "text.json", tmp_path / "m" / "whole.json")
    broken(tmp_path / "m", partner="")  # a card that does not know its partner
    with pytest.raises(RequestError, match="both sides need codes of one length, got 12 and 8 bits"):
        load_cross(tmp_path / "m")


def test_a_card_that_asks_for_much_takes_no_memory(tmp_path: Path) -> None:
    save_cross(cross(), tmp_path / "m")
    card = read_sealed(tmp_path / "m" / "text.json", "card")
    card |= {"words": [f"w{i}" for i in range(2500)], "width": 65_536}  # 2500 * 65,536 * 4 bytes are 655 MB
    TextCard(**card)
    write_sealed(tmp_path / "m" / "text.json", card)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(RequestError, match="weights and card do not fit"):
        load_cross(tmp_path / "m")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes


def test_a_feature_layer_above_a_backbone() -> None:
    plain, inside = build_backbone("conv2", 3, (16, 16), torch_generator(0))
    net, features = build_backbone("conv2+16", 3, (16, 16), torch_generator(0))
    assert features == 16 and inside != 16 and isinstance(net, nn.Sequential)
    below, layer = net[0].eval(), net[1]
    assert isinstance(layer, nn.Linear) and (layer.in_features, layer.out_features) == (inside, 16)
    for name, value in plain.state_dict().items():
        assert torch.equal(below.state_dict()[name], value)  # the layer does not change what is drawn below it
    x = torch.rand(2, 3, 16, 16, generator=torch_generator(1))
    assert torch.allclose(net.eval()(x), torch.tanh(layer(plain.eval()(x))))
    assert backbone_channels("conv2+16", 1) == 1 and backbone_channels("resnet18+16", 1) == 3


def test_a_model_with_a_feature_layer_round_trips(tmp_path: Path) -> None:
    model = image(name="conv2+16").eval()
    assert model.features == 16 and model.head.in_features == 16
    assert save_model(model, tmp_path / "m").backbone == "conv2+16"
    x = torch.rand(2, 3, 16, 16, generator=torch_generator(1))
    back = load_folder(tmp_path / "m")[0]
    assert torch.equal(back.logits(x), model.logits(x))
    assert torch.equal(back.features_of(x), model.backbone(model.normalize(x)))


def states(net: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items()}


def test_initial_weights_go_below_the_feature_layer(tmp_path: Path) -> None:
    donor, _ = build_backbone("conv2", 3, (16, 16), torch_generator(1))
    save_file(states(donor), tmp_path / "w.safetensors")
    taker, _ = build_backbone("conv2+16", 3, (16, 16), torch_generator(2))
    assert isinstance(taker, nn.Sequential)
    layer = states(taker[1])
    load_initial(taker, "conv2+16", str(tmp_path / "w.safetensors"))
    assert all(torch.equal(value, donor.state_dict()[name]) for name, value in taker[0].state_dict().items())
    assert all(torch.equal(value, layer[name]) for name, value in taker[1].state_dict().items())
    other, _ = build_backbone("conv8+16", 3, (32, 32), torch_generator(2))
    with pytest.raises(RequestError, match="does not fit conv8: "):
        load_initial(other, "conv8+16", str(tmp_path / "w.safetensors"))
    with pytest.raises(RequestError, match="torchvision has no weights for conv2; give a safetensors file"):
        load_initial(taker, "conv2+16", "torchvision")


@pytest.mark.parametrize("units", ["", "0", "8193", "-4", "4.5", "16+16", "x", " 16", "²"])
def test_wrong_words_after_the_plus(units: str) -> None:
    with pytest.raises(RequestError, match=r"NAME\+F takes a number of features from 1 to 8192, got 'conv2\+"):
        build_backbone(f"conv2+{units}", 3, (16, 16), torch_generator(0))


def test_a_feature_layer_over_no_backbone() -> None:
    with pytest.raises(RequestError, match="unknown backbone 'conv3'; .*did you mean conv"):
        HashModel("conv3+16", 8, size=(16, 16))
    with pytest.raises(RequestError, match="backbone alexnet cannot take pictures of 8x8 pixels"):
        HashModel("alexnet+16", 8, size=(8, 8))
