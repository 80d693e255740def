"""The generator of PPL and its folder."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from hamguard.core.errors import RequestError, StaleError
from hamguard.core.files import read_sealed, write_sealed
from hamguard.core.seeds import torch_generator
from hamguard.models.protector import REACH, STEP, WIDTHS, Protector
from hamguard.models.protector_store import CARD, WEIGHTS, load_protector, save_protector, shipped_protector
from hamguard.models.regions import PERIOD, POSES, regions


def trained_like(
    channels: int = 3, eps: float = 0.1, *, skips: bool = False, even: float = 1.0, regions: int = 0
) -> Protector:
    """A generator whose noise is not near zero: the norms know what passes through them."""
    net = Protector(channels, "small", eps, torch_generator(7), skips=skips, even=even, regions=regions)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        net.train().noise(torch.rand(2, channels, 64, 64, generator=torch_generator(8)))
    return net.eval().requires_grad_(False)


def test_what_the_encoder_found_reaches_the_decoder_of_its_size() -> None:
    """With skips, noise follows a change that the innermost layer does not see."""
    x = torch.rand(1, 3, 64, 64, generator=torch_generator(2))
    for skips in (False, True):
        net = trained_like(skips=skips)
        with torch.no_grad():
            net.net[9].weight.zero_()  # the innermost convolution is blind
        moves = float((net.noise(x) - net.noise(x.flip(3))).abs().max())
        assert (moves > 1e-3) is skips


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 70), st.integers(1, 70), st.sampled_from([1, 3]), st.sampled_from([1, 3]),
    st.floats(1 / 255, 1), st.integers(0, 99),
)  # fmt: skip
def test_any_sides_and_channels_inside_the_bound(H: int, W: int, made: int, seen: int, eps: float, seed: int) -> None:
    net = trained_like(made)
    x = torch.rand(2, seen, H, W, generator=torch.Generator().manual_seed(seed))
    noise, z = net.noise(x), net(x, eps)
    assert noise.shape == z.shape == x.shape
    assert float(noise.abs().max()) <= 1
    assert float((z - x).abs().max()) <= eps + 1e-6
    assert float(z.min()) >= 0 and float(z.max()) <= 1


@pytest.mark.parametrize(("norm", "order"), [("l2", 2.0), ("l1", 1.0)])
@pytest.mark.parametrize("eps", [0.5, 6.0, 1e4])
def test_other_norms_scale_the_noise_into_their_ball(norm: Literal["l2", "l1"], order: float, eps: float) -> None:
    """Eq. (2) with p = 2 and 1: the direction of the noise stays; noise that lies inside is left as it is."""
    net = Protector(1, "small", eps, torch_generator(7), norm)
    x = 0.3 + 0.4 * torch.rand(3, 1, 32, 32, generator=torch_generator(8))
    noise = net.eval().noise(x).detach()
    change = net(x, eps).detach() - x
    length = torch.linalg.vector_norm(noise.flatten(1), order, dim=1)
    assert bool((torch.linalg.vector_norm(change.flatten(1), order, dim=1) <= eps * (1 + 1e-5)).all())
    scale = (eps / length).clamp(max=1).view(-1, 1, 1, 1)
    assert torch.allclose(change, (x + noise * scale).clamp(0, 1) - x, atol=1e-6)
    net(x).sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in net.parameters())


def test_a_protector_of_another_norm_is_saved_with_it(tmp_path: Path) -> None:
    net = Protector(1, "small", 6.0, norm="l2")
    save_protector(net, tmp_path / "p", side=28)
    loaded, card = load_protector(tmp_path / "p")
    assert (loaded.norm, loaded.eps, card.norm, card.summary["eps"]) == ("l2", 6.0, "l2", "l2 6")
    with pytest.raises(RequestError, match="unknown norm 'l3'"):
        Protector(1, norm="l3")  # type: ignore[arg-type]
    with pytest.raises(RequestError, match=r"eps must be in \(0, 1\], got 6; did you mean 6 / 255"):
        Protector(1, eps=6.0)


@pytest.mark.parametrize(
    ("skips", "even", "regions"), [(False, 1.0, 0), (True, 1.0, 0), (True, 0.02, 0), (True, 0.02, 8)]
)
def test_a_part_with_its_surroundings_gives_the_whole_pass(*, skips: bool, even: float, regions: int) -> None:
    """What tiles rest on: STEP and REACH are as large as the net needs."""
    net = trained_like(skips=skips, even=even, regions=regions)
    x = torch.rand(1, 3, 2 * REACH + 4 * STEP, 2 * REACH + 6 * STEP, generator=torch_generator(1))
    whole = net.noise(x)
    part = net.noise(x[:, :, STEP : STEP + 2 * REACH + 32, 2 * STEP : 2 * STEP + 2 * REACH + 32], (STEP, 2 * STEP))
    inner = whole[:, :, STEP + REACH : STEP + REACH + 32, 2 * STEP + REACH : 2 * STEP + REACH + 32]
    assert torch.allclose(part[:, :, REACH : REACH + 32, REACH : REACH + 32], inner, atol=1e-3)
    less = REACH - STEP if regions else REACH - 2 * STEP
    top, left = STEP + REACH - less, 2 * STEP + REACH - less
    part = net.noise(x[:, :, top : top + 2 * less + 32, left : left + 2 * less + 32], (top, left))
    assert not torch.allclose(part[:, :, less : less + 32, less : less + 32], inner, atol=1e-3), (
        "noise lies in [-1, 1]; too small a part is off by more than 1"
    )


def test_noise_takes_its_part_of_the_bound_on_even_grounds_and_all_of_it_in_texture() -> None:
    """What the net makes is the same; how much of it is added follows the picture."""
    plain, bounded = trained_like(skips=True), trained_like(skips=True, even=0.02)
    assert plain.digest == bounded.digest
    x = torch.full((1, 3, 64, 96), 0.5)
    x[..., 48:] += 0.3 * torch.randn(1, 3, 64, 48, generator=torch_generator(1))
    part = bounded.noise(x) / plain.noise(x)
    assert float(part[..., :40].max()) == pytest.approx(0.2, abs=0.01)
    assert float(part[..., 56:].min()) == pytest.approx(1)
    for even in (0.0, 1.5, float("nan")):
        with pytest.raises(RequestError, match=r"even must be in \(0, 1\]"):
            Protector(3, even=even)


def test_regions_take_turns_between_poses() -> None:
    """All poses are there with their own noise alone, and what repeats itself without them no longer does."""
    net, plain = trained_like(regions=8), trained_like()
    net.load_state_dict(plain.state_dict())  # statistics were those of all poses of pictures
    x = torch.rand(1, 3, 96, 80, generator=torch_generator(3))
    shares = regions(8, 96, 80)
    expected = torch.zeros_like(x)
    for share, (down, right, mirrored) in zip(shares, POSES, strict=True):
        moved = F.pad(x, (right, STEP - right, down, STEP - down), mode="reflect")
        noise = plain.noise(moved.flip(3)).flip(3) if mirrored else plain.noise(moved)
        expected += share * noise[:, :, down : down + 96, right : right + 80]
    expected = (expected / shares.square().sum(0).sqrt()).clamp(-1, 1)
    assert torch.allclose(net.noise(x), expected, atol=1e-6)
    assert all(float((share > 0.9).float().mean()) > 0.1 for share in shares)
    learning = [copy.deepcopy(one).train().noise(x) for one in (net, plain)]
    assert torch.equal(*learning), "it learns without them"
    even = torch.full((1, 3, 128, 128), 0.5)
    inner = slice(32, 80)
    for one, repeats in ((plain, True), (net, False)):
        noise = one.noise(even)
        again = noise[:, :, 32 + STEP : 80 + STEP, 32 + STEP : 80 + STEP]
        assert torch.allclose(noise[:, :, inner, inner], again, atol=1e-4) is repeats
    for wrong in (-1, 513):
        with pytest.raises(RequestError, match="regions must be between 0 and 512"):
            Protector(3, regions=wrong)


@pytest.mark.parametrize("size", [1, 8, 13, 512])
def test_regions_are_a_plane_without_edges(size: int) -> None:
    """A part of the plane is the part of the whole, one period on it is the same again, and no seam is where periods meet."""
    whole = regions(size, PERIOD, PERIOD)
    assert whole.shape == (len(POSES), PERIOD, PERIOD) and float(whole.min()) >= 0
    assert torch.allclose(whole.sum(0), torch.ones(PERIOD, PERIOD), atol=1e-5)
    part = regions(size, 40, 60, (PERIOD - 16, 3 * PERIOD - 32))
    assert torch.equal(part, whole.roll((16, 32), (1, 2))[:, :40, :60])
    inside = (whole[:, 1:] - whole[:, :-1]).abs().mean()
    assert float((whole[:, 0] - whole[:, -1]).abs().mean()) <= 3 * float(inside)


def test_clipped_values_keep_their_gradient() -> None:
    net = Protector(1, "small", 0.5, torch_generator(0)).eval()
    x = torch.ones(1, 1, 16, 16)
    weight = torch.rand(1, 1, 16, 16, generator=torch_generator(5))
    (net(x) * weight).sum().backward()
    straight = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    net.zero_grad()
    ((x + 0.5 * net.noise(x)) * weight).sum().backward()
    for a, b in zip(straight, (p.grad for p in net.parameters() if p.grad is not None), strict=True):
        assert torch.allclose(a, b)


def test_both_published_widths_and_seeds() -> None:
    for width, sizes in WIDTHS.items():
        net = Protector(3, width)
        found = [m.out_channels for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
        mirrored = [m.out_channels for m in net.modules() if isinstance(m, torch.nn.ConvTranspose2d)]
        assert tuple(found) == sizes
        assert tuple(mirrored) == (*sizes[-2::-1], 3)
    assert Protector(3, generator=torch_generator(1)).digest == Protector(3, generator=torch_generator(1)).digest
    assert Protector(3, generator=torch_generator(1)).digest != Protector(3, generator=torch_generator(2)).digest


@pytest.mark.parametrize(
    ("eps", "match"), [(8.0, "did you mean 8 / 255"), (0.0, "must be in"), (float("nan"), "must be in")]
)
def test_wrong_eps_is_refused(eps: float, match: str) -> None:
    with pytest.raises(RequestError, match=match):
        Protector(3, "small", eps)


@pytest.mark.parametrize(("skips", "even", "regions"), [(False, 1.0, 0), (True, 0.02, 8)])
def test_a_folder_gives_back_what_it_got(tmp_path: Path, *, skips: bool, even: float, regions: int) -> None:
    net = trained_like(skips=skips, even=even, regions=regions)
    save_protector(net, tmp_path / "p", side=32, surrogates=["abc"])
    again, card = load_protector(tmp_path / "p")
    x = torch.rand(1, 3, 20, 30, generator=torch_generator(0))
    assert torch.equal(net(x), again(x))
    assert (card.eps, card.side, card.surrogates, card.weights_hash) == (0.1, 32, ["abc"], net.digest)
    assert card.skips is again.skips is skips
    assert card.even == again.even == even and card.regions == again.regions == regions
    assert not any(p.requires_grad for p in again.parameters())


def test_all_that_noise_depends_on_is_in_its_digest(tmp_path: Path) -> None:
    plain = Protector(1, eps=0.1)
    asked: list[dict[str, Any]] = [{}, {"even": 0.02}, {"even": 0.03}, {"regions": 8}, {"regions": 8, "even": 0.02}]
    nets = [plain, *(Protector(1, eps=0.1, **one) for one in asked[1:])]
    cards = [save_protector(net, tmp_path / str(place), side=28) for place, net in enumerate(nets)]
    assert len({card.weights_hash for card in cards}) == 1  # as published: that of the weights
    assert cards[0].digest == plain.digest and len({card.digest for card in cards}) == len(cards)
    larger = [card.model_copy(update={"eps": 0.2}) for card in cards]
    assert larger[0].digest == plain.digest  # under one bound its noise is the same, and a run compares bounds itself
    assert not {card.digest for card in larger[1:]} & {card.digest for card in cards}


def test_a_damaged_folder_says_so(tmp_path: Path) -> None:
    net = trained_like()
    with pytest.raises(RequestError, match="is not a protector folder: it has no protector.json"):
        load_protector(tmp_path)
    save_protector(net, tmp_path, side=32)
    state = load_file(tmp_path / WEIGHTS)
    name = next(iter(state))
    save_file({**state, name: state[name] + 1}, tmp_path / WEIGHTS)
    with pytest.raises(StaleError, match="the card was written for"):
        load_protector(tmp_path)
    save_file({**state, name: state[name] * float("nan")}, tmp_path / WEIGHTS)
    with pytest.raises(RequestError, match="NaN"):
        load_protector(tmp_path)
    save_file({name: state[name]}, tmp_path / WEIGHTS)
    with pytest.raises(RequestError, match="do not fit"):
        load_protector(tmp_path)
    write_sealed(tmp_path / CARD, {**read_sealed(tmp_path / CARD, "card"), "eps": 8})
    with pytest.raises(RequestError, match="damaged"):
        load_protector(tmp_path)
    with pytest.raises(RequestError, match="ships with hamguard"):
        shipped_protector("none")


def test_the_shipped_protector_loads_and_is_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()  # of pictures, which is what people call such a folder
    monkeypatch.chdir(tmp_path)
    net, card = load_protector("photos")
    assert card.eps == pytest.approx(8 / 255)
    assert card.weights_hash == net.digest
    assert "research" in " ".join(card.notes)
    assert sum(path.stat().st_size for path in shipped_protector("photos").iterdir()) < 2_000_000
    x = torch.rand(1, 3, 64, 64, generator=torch_generator(0))
    assert 4 / 255 < float((net(x) - x).abs().max()) <= 8 / 255 + 1e-6
