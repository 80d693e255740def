"""Purifiers, ComDefend's training and folder, and a purified model."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from hamguard.attacks.budget import Budget, Linf
from hamguard.core.context import Context
from hamguard.core.errors import RequestError, StaleError
from hamguard.core.files import SEAL, write_sealed
from hamguard.core.seeds import torch_generator
from hamguard.data.opened import Data
from hamguard.defenses.comdefend import ComDefendTask
from hamguard.defenses.purify import Chain, Noise, Purified, Trained, contents, parse_purifier
from hamguard.evaluation.attack.measure import measure_attack
from hamguard.evaluation.attack.spec import AttackSpec
from hamguard.evaluation.audit.audit import run_audit
from hamguard.evaluation.audit.plan import AuditPlan
from hamguard.evaluation.ground import Ground, Loaded
from hamguard.models.comdefend import CARD, WEIGHTS, ComDefend, load_comdefend, save_comdefend
from hamguard.models.folding import folded
from hamguard.trainers.job import Job
from hamguard.trainers.words import read_job
from hamguard.training.loop import Batch
from tests.defenses.conftest import make_dataset, make_model
from tests.trainers.runs import train

QUIET = Noise(())
NARROW = ("width=0.0625", "epochs=2", "batch_size=16", "lr=1e-3", "checkpoint_seconds=0.000001")


def pictures(count: int = 5, channels: int = 3, side: int = 12, seed: int = 0) -> Tensor:
    """Random 8-bit pictures, `(count, channels, side, side)`."""
    levels = torch.randint(0, 256, (count, channels, side, side), generator=torch_generator(seed, "pictures"))
    return levels / 255


def slope(function: Any, x: Tensor) -> Tensor:
    """Gradient of a fixed random combination of a function's outputs."""
    x = x.clone().requires_grad_()
    y = function(x)
    weights = torch.randn(y.shape, generator=torch_generator(1, "weights"), dtype=x.dtype)
    (found,) = torch.autograd.grad((y * weights).sum(), x)
    return found


# Single purifiers


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("quality", [1, 40, 75, 100])
def test_jpeg_is_what_pillow_writes_and_reads(channels: int, quality: int) -> None:
    x = pictures(channels=channels)
    found = parse_purifier(f"jpeg:{quality}")(x, QUIET)
    for seen, clean in zip(found, x, strict=True):
        levels = (clean * 255).round().byte().permute(1, 2, 0).numpy()
        stream = io.BytesIO()
        Image.fromarray(levels[..., 0] if channels == 1 else levels).save(stream, "JPEG", quality=quality)
        want = np.asarray(Image.open(stream))
        np.testing.assert_array_equal((seen.permute(1, 2, 0).numpy() * 255).round(), want.reshape(12, 12, channels))


@pytest.mark.parametrize("word", ["jpeg:30", "bits:2", "jpeg:60+bits:3"])
def test_what_has_no_gradient_hands_it_on_unchanged(word: str) -> None:
    x = pictures()
    chain = parse_purifier(word)
    assert not torch.equal(chain(x, QUIET), x)
    assert torch.equal(slope(lambda at: chain(at, QUIET), x), slope(lambda at: at, x))
    with torch.no_grad():
        plain = chain(x, QUIET)
    assert torch.equal(chain(x.clone().requires_grad_(), QUIET).detach(), plain), "the forward pass is exact"


def test_the_gradient_of_resizing_is_its_own() -> None:
    x = pictures(1, 1, 7).double()
    chain = parse_purifier("resize:0.6")
    weights = torch.randn(1, 1, 7, 7, generator=torch_generator(1, "weights"), dtype=torch.float64)
    found, step = slope(lambda at: chain(at, QUIET), x), 1e-5
    for place in [(0, 0), (3, 3), (6, 2)]:
        ends = []
        for side in (1, -1):
            moved = x.clone()
            moved[0, 0, place[0], place[1]] += side * step
            ends.append(float((chain(moved, QUIET) * weights).sum()))
        assert float(found[0, 0, place[0], place[1]]) == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-6)


def test_resizing_shrinks_and_enlarges_and_white_keeps_its_gradient() -> None:
    x = pictures(2, 3, 12)
    small = nn.functional.interpolate(x, (6, 6), mode="bilinear", antialias=True, align_corners=False)
    want = nn.functional.interpolate(small, (12, 12), mode="bilinear", antialias=True, align_corners=False)
    chain = parse_purifier("resize:0.5")
    assert torch.allclose(chain(x, QUIET), want)
    white = torch.ones(1, 1, 11, 11).requires_grad_()
    (found,) = torch.autograd.grad(parse_purifier("resize:0.7")(white, QUIET).sum(), white)
    assert found.sum() == pytest.approx(121, rel=1e-4)
    assert parse_purifier("resize:0.01")(x, QUIET).shape == x.shape


@pytest.mark.parametrize("depth", [1, 4, 7])
def test_bits_round_to_their_grid(depth: int) -> None:
    x = pictures()
    found = parse_purifier(f"bits:{depth}")(x, QUIET)
    levels = 2**depth - 1
    assert torch.allclose(found * levels, (found * levels).round(), atol=1e-4)
    assert float((found - x).abs().max()) <= 0.5 / levels + 1e-6
    assert len(found.unique()) == 2**depth


def test_a_chain_is_its_parts_in_order() -> None:
    x = pictures()
    first, second = parse_purifier("resize:0.75"), parse_purifier("jpeg:60")
    chain = parse_purifier("resize:0.75 + jpeg:60")
    assert chain.word == "resize:0.75+jpeg:60" and not chain.random
    assert torch.equal(chain(x, QUIET), second(first(x, QUIET), QUIET))
    assert chain.digest != parse_purifier("jpeg:60+resize:0.75").digest


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("jpg:75", "unknown purifier 'jpg:75'; allowed: jpeg:QUALITY .*did you mean jpeg?"),
        ("", "unknown purifier ''; allowed: jpeg:QUALITY"),
        ("jpeg", "unknown purifier 'jpeg'; allowed: jpeg:QUALITY"),
        ("jpeg:75+", "unknown purifier ''; allowed"),
        ("jpeg:75+blur:3", "unknown purifier 'blur:3'; allowed"),
        ("jpeg:0", "quality of jpeg must be between 1 and 100, got 0; allowed"),
        ("jpeg:101", "got 101"),
        ("jpeg:x", "jpeg must be followed by a whole number, got 'x'; allowed"),
        ("resize:1", "factor of resize must be above 0 and below 1, got 1; allowed"),
        ("resize:nan", "factor of resize must be above 0 and below 1, got nan"),
        ("resize:half", "resize must be followed by a number, got 'half'"),
        ("bits:8", "depth of bits must be between 1 and 7, got 8; allowed"),
        ("bits:2.5", "bits must be followed by a whole number, got '2.5'"),
        ("comdefend:", "comdefend needs the folder of its networks; allowed"),
        ("comdefend:nowhere", "no ComDefend at nowhere; train one with hamguard train --method comdefend"),
    ],
)
def test_wrong_words_are_named(word: str, message: str) -> None:
    with pytest.raises(RequestError, match=message.replace("?", "[?]")) as caught:
        parse_purifier(word)
    assert "\n" not in str(caught.value)


# ComDefend's networks


def test_the_networks_have_the_published_channels() -> None:
    def channels(side: nn.Sequential) -> list[int]:
        convolutions = [part for part in side if isinstance(part, nn.Conv2d)]
        assert all(part.kernel_size == (3, 3) and part.stride == (1, 1) for part in convolutions)
        assert [type(part) for part in side] == [nn.Conv2d, nn.ELU] * 8 + [nn.Conv2d]
        return [convolutions[0].in_channels, *(part.out_channels for part in convolutions)]

    net = ComDefend()
    assert channels(net.encoder) == [3, 16, 32, 64, 128, 256, 128, 64, 32, 12]
    assert channels(net.decoder) == [12, 32, 64, 128, 256, 128, 64, 32, 16, 3]
    assert net.noise == 20
    narrow = ComDefend(1, 0.25)
    assert channels(narrow.encoder) == [1, 4, 8, 16, 32, 64, 32, 16, 8, 12]
    x = pictures(2, 1, 9)
    found = narrow(x, torch.zeros(2, 12, 9, 9))
    assert found.shape == x.shape and bool(((found > 0) & (found < 1)).all())
    assert torch.equal(found, torch.sigmoid(narrow.decoder(torch.sigmoid(narrow.encoder(x)))))


def test_the_loss_is_the_printed_one() -> None:
    dataset, split = make_dataset()
    net = ComDefend(1, 0.0625, generator=torch_generator(3))
    task = ComDefendTask(net, dataset.images, split.train)
    index = torch.tensor([4, 0, 9])
    loss = task.step(Batch(index, slice(0, 3), 0.0, torch_generator(5)))
    x = dataset.images.batch(split.train[index.numpy()])
    code = net.encoder(x)
    noise = torch.randn(3, 12, *x.shape[2:], generator=torch_generator(5))
    made = torch.sigmoid(net.decoder(torch.sigmoid(code - 20 * noise)))
    want = ((made - x) ** 2).mean() + 1e-4 * (code**2).mean()
    assert torch.allclose(loss, want) and loss.requires_grad
    heavy = ComDefendTask(net, dataset.images, split.train, penalty=1e3)
    more = heavy.step(Batch(index, slice(0, 3), 0.0, torch_generator(5)))
    assert torch.allclose(more, ((made - x) ** 2).mean() + 1e3 * (code**2).mean())


def trained(noise: float = 20.0, seed: int = 0, channels: int = 1) -> Trained:
    net = ComDefend(channels, 0.0625, noise, torch_generator(seed)).eval().requires_grad_(False)
    return Trained(net, "made")


def test_noise_belongs_to_the_picture_and_the_draw() -> None:
    x = pictures(6, 1, 8)
    keys = contents(x)
    assert len(set(keys)) == 6
    whole = Noise(keys).normal((12, 8, 8))
    assert whole.shape == (6, 12, 8, 8)
    part = Noise(contents(x[[4, 1]])).normal((12, 8, 8))
    assert torch.equal(part, whole[[4, 1]]), "neither the batch nor the order matters"
    again = Noise(contents(x[[4, 1]] + 0.4 / 255)).normal((12, 8, 8))
    assert torch.equal(again, part), "the 8-bit content decides"
    others = [Noise(keys, "attack"), Noise(keys, number=1), Noise(keys, seed=1), Noise(keys, place=1)]
    drawn = [whole, *(other.normal((12, 8, 8)) for other in others)]
    assert all(not torch.equal(a, b) for i, a in enumerate(drawn) for b in drawn[:i])
    assert len({float(row.sum()) for row in whole}) == 6
    assert abs(float(whole.mean())) < 0.05 and float(whole.std()) == pytest.approx(1, abs=0.05)


def test_codes_do_not_depend_on_the_batch_and_gradients_see_the_mean_of_other_draws() -> None:
    dataset, _ = make_dataset()
    model = make_model(dataset).requires_grad_(False)
    x = dataset.images.batch(np.arange(7))
    part = trained()
    guarded = Purified(model, Chain((part,)), draws=3)
    with torch.no_grad():
        z = guarded.logits(x)
        assert torch.allclose(guarded.logits(x[[5, 2]]), z[[5, 2]], atol=1e-5)
        assert torch.equal(guarded.logits(x.clone().requires_grad_()), z), "no gradient, no attack"
        keys = contents(x)
        assert torch.allclose(z, model.logits(part(x, Noise(keys))), atol=1e-5)
        draws = [model.logits(part(x, Noise(keys, "attack", n))) for n in range(3)]
    assert torch.equal(guarded.logits(x), z), "outputs without a gradient to the pictures are the search's"
    asked = x.clone().requires_grad_()
    mean = guarded.logits(asked)
    assert torch.allclose(mean.detach(), sum(draws) / 3, atol=1e-5) and mean.requires_grad
    assert not torch.allclose(mean.detach(), z, atol=1e-3)

    def literal(at: Tensor) -> Tensor:
        return sum(model.logits(part(at, Noise(keys, "attack", n))) for n in range(3)) / 3  # type: ignore[return-value]

    assert torch.allclose(slope(guarded.logits, x), slope(literal, x), atol=1e-5)
    one = Purified(model, Chain((part,)), draws=1)
    assert torch.allclose(one.logits(x.clone().requires_grad_()).detach(), draws[0], atol=1e-5)


# Training


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("purifiers") / "whole"
    train(ask(), *make_dataset(), made)
    return made


def _words(flags: dict[str, Any], sets: Sequence[str] = ()) -> Job:
    return read_job({}, flags, sets, kind="purifier")


def ask(*sets: str, **flags: Any) -> Any:
    return _words({"data.source": "blobs", **flags}, [*NARROW, *sets])


class Killed(Exception):
    """Stands for SIGKILL inside one process."""


@pytest.mark.parametrize("after", [1, 3, 5])
def test_resume_is_exact_wherever_it_stopped(after: int, folder: Path, tmp_path: Path) -> None:
    seen: list[float] = []

    def kill(share: float, text: str) -> None:
        seen.append(share)
        if len(seen) == after:
            raise Killed

    cut = tmp_path / "cut"
    with pytest.raises(Killed):
        train(ask(), *make_dataset(), cut, progress=kill)
    assert not (cut / CARD).exists()
    found = train(ask(), *make_dataset(), cut)
    assert found.fresh and not (cut / "checkpoint.pt").exists()
    assert (cut / WEIGHTS).read_bytes() == (folder / WEIGHTS).read_bytes()
    whole = load_comdefend(folder)[1].history
    strip = [{key: row[key] for key in ("epoch", "loss", "mse")} for row in found.card.history]
    assert strip == [{key: row[key] for key in ("epoch", "loss", "mse")} for row in whole]


def test_it_learns(tmp_path: Path) -> None:
    card = train(ask("epochs=12", "width=0.125", "lr=1e-3", "noise=0.5"), *make_dataset(), tmp_path / "a").card
    errors = [row["mse"] for row in card.history]
    assert errors[-1] < 0.7 * errors[0]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "comdefend-run.json", CARD, WEIGHTS, "history.jsonl"
    ]  # fmt: skip


def test_a_folder_comes_back_as_it_was(folder: Path, tmp_path: Path) -> None:
    net, card = load_comdefend(folder)
    assert (card.width, card.channels, card.noise) == (0.0625, 1, 20) and card.data["train"] == 48
    assert not net.training and not any(value.requires_grad for value in net.parameters())
    again = save_comdefend(net, tmp_path / "copy", seed=7)
    other, _ = load_comdefend(tmp_path / "copy")
    assert other.digest == net.digest == again.weights_hash and again.seed == 7
    x, normal = pictures(2, 1), torch.zeros(2, 12, 12, 12)
    assert torch.equal(other(x, normal), net(x, normal))
    assert parse_purifier(f"comdefend:{folder}").digest == parse_purifier(f"comdefend:{tmp_path / 'copy'}").digest
    chain = parse_purifier(f"comdefend:{folder}+jpeg:75")
    assert chain.random and chain.word == f"comdefend:{folder}+jpeg:75"


def test_damaged_folders_are_one_line(folder: Path, tmp_path: Path) -> None:
    def copy(name: str) -> Path:
        made = tmp_path / name
        made.mkdir()
        for file in (CARD, WEIGHTS):
            (made / file).write_bytes((folder / file).read_bytes())
        return made

    def card(**facts: Any) -> bytes:
        """Another card with its own seal, so that the facts are what is wrong."""
        content = {**json.loads((folder / CARD).read_text()), **facts}
        content.pop(SEAL)
        write_sealed(tmp_path / CARD, content)
        return (tmp_path / CARD).read_bytes()

    damaged: list[tuple[str, str, bytes | None, str]] = [
        ("json", CARD, b"{", "comdefend.json is damaged"),
        ("keys", CARD, b'{"kind": "comdefend"}', "comdefend.json is damaged"),
        ("list", CARD, b"[1]", "comdefend.json is damaged"),
        ("wide", CARD, card(width=1e9), "comdefend.json is damaged"),
        ("other", CARD, card(width=0.125), "weights and card do not fit"),
        ("noise", CARD, card(noise=1.0), "the card was written for"),
        ("torn", WEIGHTS, (folder / WEIGHTS).read_bytes()[:100], "comdefend.safetensors"),
        ("gone", WEIGHTS, None, "comdefend.safetensors"),
    ]
    for name, file, content, message in damaged:
        place = copy(name)
        (place / file).unlink()
        if content is not None:
            (place / file).write_bytes(content)
        with pytest.raises(RequestError, match=message) as caught:
            load_comdefend(place)
        assert "\n" not in str(caught.value)
    with pytest.raises(StaleError):
        load_comdefend(tmp_path / "noise")


def test_a_folder_of_another_run_is_refused(folder: Path, tmp_path: Path) -> None:
    data = make_dataset()
    assert not train(ask(), *data, folder).fresh
    with pytest.raises(StaleError, match="holds another run; .*`restart`"):
        train(ask("penalty=1"), *data, folder)
    train(ask("epochs=1"), *data, tmp_path / "a")
    assert train(ask("epochs=1", seed=1), *data, tmp_path / "a", restart=True).card.seed == 1
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    with pytest.raises(RequestError, match="holds other files"):
        train(ask(), *data, tmp_path / "full", restart=True)
    with pytest.raises(RequestError, match="is a file; `out` must be a folder"):
        train(ask(), *data, tmp_path / "full" / "letter.txt")


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["widht=1"], "unknown key widht; did you mean width"),
        (["patience=2"], "unknown key patience"),
        (["width=9"], "settings.width: .*got 9"),
        (["noise=-1"], "settings.noise: .*got -1"),
        (["epochs=0"], "training.epochs: .*got 0"),
        (["width"], "--set width: must be key=value"),
    ],
)
def test_wrong_settings_are_named(sets: list[str], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        _words({"data.source": "blobs"}, sets)


def test_presets() -> None:
    paper = _words({"data.source": "x", "preset": "paper"})
    assert (paper.parsed.width, paper.parsed.noise, paper.parsed.penalty) == (1.0, 20.0, 1e-4)
    recipe = paper.training
    assert (recipe.epochs, recipe.batch_size, recipe.lr, recipe.optimizer, recipe.schedule) == (
        50, 32, 1e-4, "adam", "constant",
    )  # fmt: skip
    assert _words({"data.source": "x"}).parsed.width < 1
    with pytest.raises(RequestError, match="unknown preset of comdefend 'papr'; .*did you mean paper"):
        _words({"data.source": "x", "preset": "papr"})


# A purified model


def make_ground() -> Ground:
    dataset, split = make_dataset()
    model = make_model(dataset).requires_grad_(False)
    return Ground.open(Loaded("plain", model), Data(dataset, split))


def test_a_purified_model_is_a_model(folder: Path, tmp_path: Path) -> None:
    ground = make_ground()
    model, dataset, split = ground.model, ground.dataset, ground.split
    chain = parse_purifier(f"bits:3+comdefend:{folder}")
    guarded = Purified(model, chain, draws=2)
    assert folded(guarded) is guarded
    assert (guarded.bits, guarded.size, guarded.channels) == (model.bits, model.size, model.channels)
    x = dataset.images.batch(np.arange(4))
    assert torch.equal(guarded.code(x), torch.where(guarded.logits(x) < 0, -1.0, 1.0))
    assert torch.equal(guarded(x), guarded.logits(x))
    color = x.repeat(1, 3, 1, 1)
    assert torch.allclose(guarded.logits(color), guarded.logits(x), atol=1e-3)
    same = Purified(model, parse_purifier(f"bits:3+comdefend:{folder}"), draws=2)
    others = [
        Purified(model, chain, draws=3), Purified(model, chain, draws=2, seed=1), Purified(model, parse_purifier("bits:3")),
        Purified(model, parse_purifier("bits:4")), Purified(make_model(dataset, "conv8"), chain, draws=2), model,
    ]  # fmt: skip
    assert same.digest == guarded.digest and len({guarded.digest, *(other.digest for other in others)}) == 7
    assert Purified(model, parse_purifier("jpeg:50"), draws=5).draws == 1, "nothing to average"
    few, many = (Ground.open(Loaded("b", guarded), Data(dataset, split), batch_size=size) for size in (5, 256))
    assert all(np.array_equal(a.packed, b.packed) for a, b in zip(few.search(), many.search(), strict=True))
    plan = AttackSpec.read("center", eps=0.1, steps=2)
    cuts = [
        measure_attack(replace(few, context=Context(batch_size=size, work=tmp_path)), plan).made.pixels
        for size in (5, 64)
    ]  # fmt: skip
    assert float(np.mean(cuts[0] == cuts[1])) > 0.99, "up to rounding, cuts of the batch change nothing"


@dataclass(frozen=True)
class Dither:
    """A cheap random purifier: noise on the picture."""

    random: ClassVar[bool] = True
    word: str = "dither"
    content: str = "dither"

    def __call__(self, x: Tensor, noise: Noise) -> Tensor:
        return x + 0.02 * noise.normal(x.shape[1:])


def test_an_audit_takes_a_random_purifier(tmp_path: Path) -> None:
    ground = make_ground()
    guarded = Purified(ground.model, Chain((parse_purifier("bits:5").parts[0], Dither())), draws=2)
    behind = Ground.open(Loaded("behind", guarded), ground.data, context=Context(work=tmp_path))
    audit = AuditPlan(Budget(Linf(0.1), steps=2), answers=False, sample=4, substitute=False)
    found = run_audit(behind, audit)
    name, count, clean = found.stages[0]
    assert (name, count) == ("clean", 12) and found.stages[-1][2] < clean - 0.1
    assert {row.hashes["model"] for row in found.rows if row.model == "behind"} == {guarded.digest}


def test_purified_models_that_cannot_be() -> None:
    ground = make_ground()
    with pytest.raises(RequestError, match="draws must be at least 1, got 0"):
        Purified(ground.model, parse_purifier("jpeg:75"), draws=0)
    with pytest.raises(RequestError, match="comdefend:made was trained on pictures with 3 channels, the model takes 1"):
        Purified(ground.model, Chain((trained(channels=3),)))
    guarded = Purified(ground.model, parse_purifier("jpeg:75"))
    with pytest.raises(RequestError, match=r"pictures must have shape \(B, 1 or 3, H, W\), got \(2, 2, 4, 4\)"):
        guarded.logits(torch.zeros(2, 2, 4, 4))
