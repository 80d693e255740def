"""Foreign models with odd habits: what works, what is a note, what is refused, and in which words."""

from __future__ import annotations

import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hamguard.attacks.attack import Attack, clean_code
from hamguard.core.errors import RequestError, RunError
from hamguard.core.seeds import torch_generator
from hamguard.models.encode import codes_of
from hamguard.models.foreign import ForeignModel
from hamguard.models.store import load_any, save_model
from hamguard.models.trial import (
    NEIGHBORS,
    RANDOM,
    beyond_rounding,
    gradient_kind,
    gradient_of,
    is_flat,
    notes_of,
    trial_pictures,
)
from hamguard.training.encode import packed_codes

F = nn.functional
K = 6


class Net(nn.Module):
    """Convolution, batch norm with statistics of its own, linear head; `habit` does something with pictures and outputs."""

    size: Any = (8, 8)
    channels: Any = 1

    def __init__(self, habit: Callable[[Net, Tensor], Any] | None = None, channels: int = 1) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4), nn.Linear(4 * 36, K)
        draw = torch_generator(7)
        for value in self.parameters():
            nn.init.uniform_(value, -1, 1, generator=draw)
        assert self.norm.running_mean is not None
        nn.init.uniform_(self.norm.running_mean, -0.2, 0.2, generator=draw)
        with torch.no_grad():  # so that every bit has two values
            self.eval().head.bias -= self.plain(pictures(40, channels)).mean(0)
        self.habit = habit

    def features(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv(x))).flatten(1)

    def plain(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.features(x))
        return found

    def forward(self, x: Tensor) -> Any:
        return self.plain(x) if self.habit is None else self.habit(self, x)


def pictures(count: int = 5, channels: int = 1) -> Tensor:
    return torch.rand(count, channels, 8, 8, generator=torch_generator(1))


def foreign(habit: Callable[[Net, Tensor], Any] | None = None, **more: Any) -> ForeignModel:
    return ForeignModel(Net(habit), "odd", (8, 8), 1, **more)


def wanted(x: Tensor) -> Tensor:
    return Net().eval().plain(x)


def test_a_plain_model_has_a_gradient_and_no_notes_and_leaves_the_random_numbers_alone() -> None:
    net = Net(lambda net, x: net.plain(x) + 0 * torch.rand(1))
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    model = ForeignModel(net, "net", (8, 8), 1)
    assert torch.equal(torch.rand(3), expected)
    assert (model.bits, model.gradient, model.notes) == (K, "flows", ())
    assert torch.allclose(model.logits(pictures()), wanted(pictures()), atol=1e-5)


def test_evaluation_mode_is_kept_and_statistics_are_not_touched() -> None:
    net = Net().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    model = ForeignModel(net, "net", (8, 8), 1)
    assert not any(part.training for part in model.modules()) and not any(p.requires_grad for p in model.parameters())
    model.train()
    assert not any(part.training for part in model.modules())
    net.train()  # by whoever trains it beside us
    Attack()(model, pictures(), seed=0)
    model.code(pictures())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_models_are_asked_in_their_own_type(kind: torch.dtype) -> None:
    model = ForeignModel(Net().to(kind), "other", (8, 8), 1)
    x = pictures().requires_grad_()
    z = model.logits(x)
    assert z.dtype == torch.float32 and model.dtype == kind and model.notes == ()
    assert torch.allclose(z, wanted(x), atol=0.1)
    (slope,) = torch.autograd.grad(z.square().sum(), x)
    assert slope.dtype == torch.float32 and float(slope.abs().sum()) > 0
    assert model.logits(pictures().double()).dtype == torch.float64


def test_a_model_that_takes_another_type_than_its_weights_have() -> None:
    class Casts(Net):
        def forward(self, x: Tensor) -> Tensor:
            if x.dtype != torch.float32:
                raise TypeError("pictures are float32")
            return self.plain(x.double())

    model = ForeignModel(Casts().double(), "casts", (8, 8), 1)
    assert model.dtype == torch.float32 and torch.allclose(model.logits(pictures()), wanted(pictures()), atol=1e-5)


def test_normalizing_in_place_changes_a_copy() -> None:
    inside = foreign(lambda net, x: net.plain(x.sub_(0.5).div_(0.5)))
    outside = foreign(lambda net, x: net.plain((x - 0.5) / 0.5))
    x = pictures()
    assert torch.equal(inside.logits(x), outside.logits(x)) and torch.equal(x, pictures())
    made = [Attack()(model, x, seed=3).x_adv for model in (inside, outside)]
    assert torch.equal(*made)
    gray = ForeignModel(Net(lambda net, x: net.plain(x.mul_(2)), channels=3), "color", (8, 8), 3)
    assert torch.equal(gray.logits(x), gray.logits(x.expand(-1, 3, -1, -1)))  # repeated channels share memory


def shaky(net: Net, x: Tensor) -> Tensor:
    return net.plain(x) + 0.05 * torch.randn(len(x), K)


def dropping(net: Net, x: Tensor) -> Tensor:
    return net.head(F.dropout(net.features(x), 0.1, training=True))


def counting(net: Net, x: Tensor) -> Tensor:
    net.asked = getattr(net, "asked", 0) + 1  # type: ignore[assignment]
    return net.plain(x) * net.asked


@pytest.mark.parametrize("habit", [shaky, dropping, counting])
def test_random_models_are_named(habit: Callable[[Net, Tensor], Tensor]) -> None:
    assert foreign(habit).notes == (RANDOM,)


def by_batch(net: Net, x: Tensor) -> Tensor:
    return net.head(torch.relu(F.batch_norm(net.conv(x), None, None, training=True)).flatten(1))


def by_mean(net: Net, x: Tensor) -> Tensor:
    return net.plain(x) - net.plain(x).mean(0, keepdim=True)


@pytest.mark.parametrize("habit", [by_batch, by_mean])
def test_models_that_look_at_neighbors_are_named(habit: Callable[[Net, Tensor], Tensor]) -> None:
    assert foreign(habit).notes == (NEIGHBORS,)


def test_rounding_is_no_dependence() -> None:
    def other_order(net: Net, x: Tensor) -> Tensor:
        return net.plain(x) * (1 + 1e-6 * len(x))

    assert foreign(other_order).notes == ()
    z = torch.tensor([[100.0, 0.0, -3.0]])
    assert not beyond_rounding(z, z + 0.01).any() and beyond_rounding(z, z + 1.0).all()
    assert not beyond_rounding(torch.zeros(1, 2), torch.zeros(1, 2)).any()


def test_what_comes_back_to_the_pixels() -> None:
    kinds = {
        "zero": [lambda net, x: net.plain((x * 255).round() / 255), lambda net, x: net.plain(x).sign()],
        "none": [
            lambda net, x: net.plain(x.detach()),
            lambda net, x: net.plain((x * 255).byte().float() / 255),
            torch.no_grad()(lambda net, x: net.plain(x)),
            torch.inference_mode()(lambda net, x: net.plain(x)),
            lambda net, x: net.plain(torch.from_numpy(x.detach().numpy())),
            lambda net, x: torch.zeros(len(x), K, requires_grad=True) + 1,
        ],
        "flows": [lambda net, x: torch.softmax(net.plain(x), 1), lambda net, x: F.normalize(net.plain(x))],
    }
    for kind, habits in kinds.items():
        assert [foreign(habit).gradient for habit in habits] == [kind] * len(habits)
    assert (
        gradient_of(lambda x: (x.flatten(1) - x.flatten(1)).sqrt(), trial_pictures((1, 4, 4))) == "flows"
    )  # NaN: named later
    assert is_flat(torch.tensor([[0.0, 0.0], [0.0, 1e-30], [0.0, float("nan")]])).tolist() == [True, False, False]
    assert gradient_kind(object()) == "flows" and notes_of(object()) == ()


def test_an_attack_on_a_model_without_gradients_says_so() -> None:
    for habit in (lambda net, x: net.plain(x.detach()), lambda net, x: torch.zeros(len(x), K, requires_grad=True) + 1):
        with pytest.raises(RequestError, match=r"gives no gradient to its pictures \(torch.no_grad, .detach\(\)"):
            Attack()(foreign(habit), pictures())
    standing = Attack()(foreign(lambda net, x: net.plain(x).sign()), pictures()).spent
    moving = Attack()(foreign(), pictures()).spent
    assert torch.equal(standing.flat, standing.backwards) and int(standing.backwards.min()) > 0
    assert int(moving.flat.sum()) == 0


@pytest.mark.parametrize(
    ("habit", "part"),
    [
        (lambda net, x: net.plain(x).sign().long(), r"got int64 \(2, 6\) for B = 2; return the numbers before they"),
        (lambda net, x: net.plain(x) > 0, r"got bool \(2, 6\)"),
        (lambda net, x: net.plain(x)[:, :0], r"real numbers \(B, K\), got \(2, 0\)"),
        (lambda net, x: net.plain(x).sum(), r"got \(\) for B = 2"),
        (lambda net, x: None, "got NoneType for B = 2; return one tensor"),
        (
            lambda net, x: {"a": net.plain(x), "b": net.plain(x)},
            r"got dict of a: float32 \(2, 6\), b: .* 2 of which could be",
        ),
        (lambda net, x: [net.plain(x)[0], "text"], r"list of 0: float32 \(6,\), 1: str for B = 2, none of which"),
        (lambda net, x: net.plain(x)[:, : len(x)], r"got \(1, 1\) for B = 1, K = 2"),
        (lambda net, x: net.plain(x).log(), "model odd returns NaN or infinite numbers"),
        (lambda net, x: net.plain(x) / 0, "model odd returns NaN or infinite numbers"),
        (
            lambda net, x: sys.exit(3),
            r"model odd fails on pictures \(2, 1, 8, 8\): it ends the program with 3; its `size` and",
        ),
        (
            lambda net, x: net.plain(x[:, :, 1:]),
            r"fails on pictures \(2, 1, 8, 8\): .*; its `size` and `channels` must be those",
        ),
        (
            lambda net, x: net.plain(x + net.norm.running_mean.add_(1).mean()),
            r"changes its own .*\(module.norm.running_mean\)",
        ),
        (lambda net, x: net.train().plain(x), r"changes its own weights or buffers .*running_mean"),
    ],
)
def test_what_gives_no_figures_is_refused(habit: Callable[[Net, Tensor], Any], part: str) -> None:
    with pytest.raises(RequestError, match=part) as caught:
        foreign(habit)
    assert "\n" not in str(caught.value)


def test_one_fitting_entry_is_used_and_named() -> None:
    x = pictures()
    for habit, entry in (
        (lambda net, x: {"maps": x, "hash": net.plain(x)}, "'hash'"),
        (lambda net, x: (x, net.plain(x)), "1"),
    ):
        model = foreign(habit)
        assert model.notes == (f"the model returns several things; their entry {entry} is used",)
        assert torch.allclose(model.logits(x), wanted(x), atol=1e-5)
    later = foreign(lambda net, x: {"hash": net.plain(x)} if len(x) < 3 else {})
    with pytest.raises(RequestError, match="as its entry 'hash', got dict without it"):
        later.logits(x)


def test_a_lost_axis_of_a_lone_picture_is_put_back() -> None:
    model = foreign(lambda net, x: net.plain(x).squeeze())
    assert model.logits(pictures(1)).shape == (1, K) and model.notes == ()
    assert torch.allclose(model.logits(pictures(1)), wanted(pictures(1)), atol=1e-5)


def test_models_that_take_one_picture_or_no_lone_one_only() -> None:
    x = pictures()
    single = foreign(lambda net, x: net.plain(x).view(1, K))
    assert single.notes == ("the model takes no more than 1 at once: pictures are asked one by one, which is slow",)

    def pairs(net: Net, x: Tensor) -> Tensor:
        if len(x) < 2:
            raise ValueError("a batch has two pictures or more")
        return net.plain(x)

    double = foreign(pairs)
    (note,) = double.notes
    assert note.startswith("fails on pictures (1, 1, 8, 8): a batch has two") and "asked beside itself" in note
    for model in (single, double):
        assert torch.allclose(model.logits(x), wanted(x), atol=1e-5)
        assert torch.allclose(model.logits(x[:1]), wanted(x[:1]), atol=1e-5)
        at = x.clone().requires_grad_()
        assert float(torch.autograd.grad(model.logits(at).square().sum(), at)[0].abs().flatten(1).sum(1).min()) > 0


@pytest.mark.parametrize(("count", "how"), [(1, "one by one"), (3, "3 by 3")])
def test_exports_of_a_fixed_batch_are_asked_in_such_batches(tmp_path: Path, count: int, how: str) -> None:
    torch.export.save(torch.export.export(Net().eval(), (pictures(count),)), tmp_path / "net.pt2")
    model, _ = load_any(tmp_path / "net.pt2")
    x = pictures(5).requires_grad_()
    z = model.logits(x)
    assert torch.allclose(z, wanted(x), atol=1e-5)
    assert float(torch.autograd.grad(z.square().sum(), x)[0].abs().flatten(1).sum(1).min()) > 0
    (note,) = notes_of(model)
    assert f"asked {how}" in note and "torch.export.Dim('batch')" in note


def test_a_changed_byte_of_an_export_is_found(tmp_path: Path) -> None:
    net, place = Net().eval(), tmp_path / "net.pt2"
    torch.export.save(torch.export.export(net, (pictures(2),)), place)
    content = bytearray(place.read_bytes())
    at = content.find(net.head.weight.detach().numpy().tobytes()[:64])
    assert at > 0
    content[at + 3] ^= 64  # another exponent: another weight
    place.write_bytes(content)
    with pytest.raises(RequestError, match="net.pt2 is damaged: .* is not as it was written"):
        load_any(place)
    place.write_bytes(content[:2000])
    with pytest.raises(RequestError, match="not a readable torch.export file"):
        load_any(place)


def test_a_library_does_not_speak_of_a_broken_export(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    torch.export.save(torch.export.export(Net().eval(), (pictures(2),)), tmp_path / "net.pt2")
    with zipfile.ZipFile(tmp_path / "net.pt2") as whole, zipfile.ZipFile(tmp_path / "less.pt2", "w") as less:
        for name in whole.namelist():
            if not name.endswith("/archive_format"):
                less.writestr(name, whole.read(name))
    caplog.set_level("WARNING")
    caplog.clear()
    capfd.readouterr()
    with pytest.raises(RequestError, match=r"less\.pt2 is not a readable torch\.export file"):
        load_any(tmp_path / "less.pt2")
    assert not caplog.records and capfd.readouterr().err == ""


def test_exports_say_their_limits(tmp_path: Path) -> None:
    shapes = ({0: torch.export.Dim("batch", min=2, max=3)},)
    torch.export.save(torch.export.export(Net().eval(), (pictures(2),), dynamic_shapes=shapes), tmp_path / "net.pt2")
    model, _ = load_any(tmp_path / "net.pt2")
    for x in (pictures(1), pictures(7)):
        assert torch.allclose(model.logits(x), wanted(x), atol=1e-5)
    half = Net().eval().double()
    torch.export.save(torch.export.export(half, (pictures(2).double(),)), tmp_path / "double.pt2")
    assert torch.allclose(load_any(tmp_path / "double.pt2")[0].logits(pictures(3)), wanted(pictures(3)), atol=1e-5)


def test_other_kinds_of_modules() -> None:
    x = pictures()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing is on its way out, but people have such files
        traced = torch.jit.trace(Net().eval(), pictures(2), check_trace=False)
    for module in (traced, nn.DataParallel(Net()), Net().to(memory_format=torch.channels_last)):
        model = ForeignModel(module, "kind", (8, 8), 1)
        assert model.notes == () and torch.allclose(model.logits(x), wanted(x), atol=1e-5)
    with pytest.raises(RequestError, match=r"has lazy layers without weights \(1.weight\); call it"):
        ForeignModel(nn.Sequential(nn.Flatten(), nn.LazyLinear(4)), "lazy", (8, 8), 1)
    with pytest.raises(RequestError, match="must be a torch.nn.Module, got function"):
        ForeignModel(wanted, "function", (8, 8), 1)  # type: ignore[arg-type]
    for size, part in (
        ("8", "got '8'"),
        ((8, 8, 1), r"got \(8, 8, 1\)"),
        (0, "got 0"),
        (5000, "from 1 to 4096, got 5000"),
    ):
        with pytest.raises(RequestError, match=f"size of model net must be a number of pixels.*{part}"):
            ForeignModel(Net(), "net", size, 1)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="channels of model net must be 1 or 3, got 2"):
        ForeignModel(Net(), "net", 8, 2)


def test_equal_weights_in_other_code_are_another_model(tmp_path: Path) -> None:
    names = ("one", "other")
    assert len({ForeignModel(Net(), name, (8, 8), 1).digest for name in names}) == 2
    for name, factor in (("a", 1), ("b", 1), ("c", 2)):
        net = Net(lambda net, x, factor=factor: factor * net.plain(x)).eval()
        torch.export.save(torch.export.export(net, (pictures(2),)), tmp_path / f"{name}.pt2")
    a, b, c = (load_any(tmp_path / f"{name}.pt2")[0].digest for name in "abc")
    assert a == b != c, "a file may be renamed"


def test_what_a_model_prints_is_no_output_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    def chatting(net: Net, x: Tensor) -> Tensor:
        sys.stdout.write("asked")
        return net.plain(x)

    foreign(chatting).logits(pictures())
    out, err = capsys.readouterr()
    assert out == "" and "asked" in err


def test_failures_later_on_are_one_line() -> None:
    def small(net: Net, x: Tensor) -> Tensor:
        if len(x) > 4:
            raise ValueError("too many\nby far")
        return net.plain(x)

    with pytest.raises(RunError, match=r"^model odd fails on pictures \(5, 1, 8, 8\): too many$"):
        foreign(small).logits(pictures())
    for x in (pictures()[0], pictures(2, 2), (pictures() * 255).byte()):
        with pytest.raises(RequestError, match="pictures must"):
            foreign().logits(x)


def test_foreign_networks_are_not_saved_as_model_folders(tmp_path: Path) -> None:
    for model in (foreign(), Net()):
        with pytest.raises(RequestError, match="a model folder holds a HashModel, got"):
            save_model(model, tmp_path / "model")  # type: ignore[arg-type]


def test_bare_modules_and_pixels_out_of_range_are_told_apart() -> None:
    net = Net().eval()
    for call in (
        lambda: Attack()(net, pictures()),  # type: ignore[arg-type]
        lambda: codes_of((pictures()[:, 0] * 255).byte().numpy(), net),  # type: ignore[arg-type]
        lambda: packed_codes(net, None, None),  # type: ignore[arg-type]
    ):
        with pytest.raises(RequestError, match=r"a bare nn.Module: wrap it with hg.wrap\("):
            call()
    with pytest.raises(RequestError, match=r"with values from -?[\d.e-]+ to 2\d\d.*; divide pixels by 255"):
        clean_code(foreign(), pictures() * 255)
    with pytest.raises(RequestError, match=r"in \[0, 1\], got \(5, 1, 8, 8\) with values from -1"):
        clean_code(foreign(), pictures() * 0 - 1)
    with pytest.raises(RequestError, match=r"got torch.uint8; divide pixels by 255"):
        clean_code(foreign(), (pictures() * 255).byte())
    with pytest.raises(RequestError, match=r"must be \(B, C, H, W\) in \[0, 1\], got \(1, 8, 8\)$"):
        clean_code(foreign(), pictures()[0])


# What commands name by `package.module:factory`.


class Attributed(Net):
    def __init__(self, size: Any, channels: Any, inside: int = 1) -> None:
        super().__init__(channels=inside)
        self.size, self.channels = size, channels


def one_side() -> nn.Module:
    return Attributed(8, 1)


def listed() -> nn.Module:
    return Attributed([8, 8], 1)


def kept_in_a_buffer() -> nn.Module:
    return Attributed(torch.tensor([8, 8]), 1)


def width() -> nn.Module:
    return Attributed(8, 64)


def width_of_color() -> nn.Module:
    return Attributed(8, 64, inside=3)


def says_nothing_of_channels() -> nn.Module:
    return Attributed(8, None)


def wide_and_wrong() -> nn.Module:
    return Attributed(9, 64)


def large() -> nn.Module:
    return Attributed("large", 1)


def wrong_side() -> nn.Module:
    return Attributed(9, 1)


ready = Net()
number = 3


def with_bits(bits: int) -> nn.Module:
    return Net()


def a_class() -> type[nn.Module]:
    return Net


def leaves() -> nn.Module:
    raise SystemExit("usage: none")


def parallel() -> nn.Module:
    return nn.DataParallel(Net())


HERE = "tests.models.test_foreign"


@pytest.mark.parametrize(
    "name", ["one_side", "listed", "kept_in_a_buffer", "says_nothing_of_channels", "ready", "parallel", "Net"]
)
def test_factories_that_say_what_they_take(name: str) -> None:
    model, card = load_any(f"{HERE}:{name}")
    assert card is None and notes_of(model) == () and model.size == (8, 8) and model.channels == 1
    assert torch.allclose(model.logits(pictures()), wanted(pictures()), atol=1e-5)


@pytest.mark.parametrize(("name", "channels"), [("width", 1), ("width_of_color", 3)])
def test_channels_that_no_picture_has_are_found_by_trying(name: str, channels: int) -> None:
    model, _ = load_any(f"{HERE}:{name}")
    (note,) = notes_of(model)
    assert (
        model.channels == channels and "attribute `channels` of the model is 64" in note and f"with {channels}," in note
    )


@pytest.mark.parametrize(
    ("name", "part"),
    [
        (
            "wide_and_wrong",
            r"fails on pictures \(2, 3, 9, 9\).*its attribute `channels` is 64, which is neither 1 nor 3",
        ),
        ("large", r"attribute `size` of model .*:large must be a number of pixels, or \(height, width\).* got 'large'"),
        ("wrong_side", r"fails on pictures \(2, 1, 9, 9\).*its `size` and `channels` must be those of its pictures"),
        ("number", "must be a function that returns a torch.nn.Module, got int"),
        ("with_bits", "must take no argument, it needs bits; name a function that gives them"),
        ("a_class", r"got the class Net; return Net\(\)"),
        ("leaves", "model factory .*:leaves failed: SystemExit: usage: none"),
        ("nobody", "no model factory tests.models.test_foreign:nobody"),
    ],
)
def test_factories_that_cannot_be_used_are_named(name: str, part: str) -> None:
    with pytest.raises(RequestError, match=part) as caught:
        load_any(f"{HERE}:{name}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "part"),
    [("1 / 0", "ZeroDivisionError: division by zero"), ("def f(", "SyntaxError"), ("exit(2)", "ends the")],
)
def test_files_that_fail_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, part: str) -> None:
    name = f"broken_{abs(hash(part))}"
    (tmp_path / f"{name}.py").write_text(f"print('read')\n{text}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(RequestError, match=f"no model factory {name}:f: .*{part}"):
        load_any(f"{name}:f")
