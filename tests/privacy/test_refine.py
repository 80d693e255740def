from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hamguard.attacks.search.views import Plain
from hamguard.attacks.threat import Linf
from hamguard.core.errors import RequestError, RunError
from hamguard.images.io import encode_bytes
from hamguard.images.likeness import similarity
from hamguard.images.views import fit_to
from hamguard.models.channels import match_channels
from hamguard.models.contrast import room
from hamguard.models.foreign import ForeignModel
from hamguard.models.hash_model import HashModel
from hamguard.models.store import save_model
from hamguard.privacy.folder_run import FolderRun
from hamguard.privacy.manifest import Manifest, Named, Settings
from hamguard.privacy.matchers import Matcher, fitted, matcher_of, takes_any_size
from hamguard.privacy.names import copy_names
from hamguard.privacy.pictures import PictureRun
from hamguard.privacy.protect import as_tensor
from hamguard.privacy.refine import Refine
from tests.privacy.helpers import contents, drawn, strong_protector, write


def matcher(size: int = 24, bits: int = 16, seed: int = 0, channels: int = 3, fit: str = "crop") -> Matcher:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Conv2d(channels, 8, 5, 2),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, 2),
            nn.ReLU(),
            nn.Flatten(),
            nn.LazyLinear(bits),
        )
        trial = match_channels(fitted(smooth(), (size, size), fit), channels)
        usual = net(trial).detach().mean(0)
        net[-1].bias.data.sub_(usual)  # so that no bit is the same for all pictures
    model = ForeignModel(net.eval().requires_grad_(False), "tiny", (size, size), channels)
    return Matcher(f"tiny{seed}", model, fit, f"hash{seed}")


def smooth(n: int = 4, height: int = 30, width: int = 36, channels: int = 3) -> torch.Tensor:
    small = torch.rand(n, channels, 4, 4, generator=torch.Generator().manual_seed(3))
    x = nn.functional.interpolate(small, (height, width), mode="bicubic").clamp(0, 1)
    return (x * 255).round() / 255


def agreement(one: Matcher, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    return ((one.logits(x) >= 0) == (one.logits(z) >= 0)).float().mean(1)


def test_refining_lowers_the_agreement_of_every_matcher_inside_the_ball():
    ensemble = (
        matcher(24, seed=1),
        matcher(16, bits=8, seed=2, channels=1, fit="stretch"),
        matcher(40, seed=3, fit="pad"),
    )
    x, eps = smooth(), 16 / 255
    start = torch.zeros_like(x)
    pattern = Refine(ensemble, 60, eps, alike=0, view=Plain())(x, start, range(4))
    assert pattern.abs().max() <= 1
    z = Linf(eps).on_grid(x + eps * pattern, x)
    assert (z - x).abs().max() <= eps + 1e-6 and ((z * 255).round() / 255 - z).abs().max() < 1e-6
    noise = Linf(eps).on_grid(x + eps * torch.rand_like(x).sub(0.5).sign(), x)
    for one in ensemble:
        assert agreement(one, x, z).mean() < agreement(one, x, noise).mean() - 0.1


@pytest.mark.parametrize("channels", [1, 3])
def test_the_result_is_never_worse_than_the_start(channels):
    one, x = matcher(24, seed=1), smooth(channels=channels)
    good = Refine((one,), 10, 8 / 255, alike=0)(x, torch.zeros_like(x), range(4))
    z = Linf(8 / 255).on_grid(x + good * 8 / 255, x)
    # steps that lead nowhere: the start is kept
    kept = Refine((one,), 1, 8 / 255, alike=0, rate=1e-7)(x, good, range(4))
    again = Linf(8 / 255).on_grid(x + kept * 8 / 255, x)
    assert (agreement(one, x, again) <= agreement(one, x, z)).all() and kept.shape == x.shape


def test_the_result_of_a_picture_does_not_depend_on_its_batch():
    steps = Refine((matcher(24, seed=1), matcher(20, seed=2)), 4, 8 / 255, seed=7)
    x, start = smooth(), smooth() - 0.5
    whole = steps(x, start, [11, 12, 13, 14])
    assert torch.equal(whole[2:3], steps(x[2:3], start[2:3], [13]))
    assert torch.equal(whole[1:], steps(x[1:], start[1:], [12, 13, 14]))


def test_pictures_look_as_alike_as_asked():
    one, x = matcher(24, seed=1), smooth()
    near, far = (
        Linf(32 / 255).on_grid(
            x + 32 / 255 * Refine((one,), 40, 32 / 255, alike=alike)(x, torch.zeros_like(x), range(4)), x
        )
        for alike in (0.98, 0.0)
    )
    assert (similarity(near, x) > 0.97).all() and (similarity(far, x) < 0.97).any()
    assert agreement(one, x, far).mean() <= agreement(one, x, near).mean() < 1


def test_a_picture_that_nobody_knows_is_left_early(monkeypatch):
    one, x = matcher(24, seed=1), smooth(1)
    asked = []
    monkeypatch.setattr(
        Refine, "_leaving", lambda self, at, own, index, step: (asked.append(step), torch.ones_like(at))[1]
    )
    monkeypatch.setattr(Refine, "_score", lambda self, x, pattern, reach, own: torch.full((len(x),), -0.9))
    Refine((one,), 100, 8 / 255, alike=0)(x, torch.zeros_like(x), [0])
    assert len(asked) == 20


def test_matchers_take_turns(monkeypatch):
    nets, x = tuple(matcher(24, seed=i) for i in (1, 2, 3)), smooth(1)
    seen = []
    known = Matcher.seen

    def watched(self, x, scale=1.0):
        if x.requires_grad:
            seen.append(self.name)
        return known(self, x, scale)

    monkeypatch.setattr(Matcher, "seen", watched)
    Refine(nets, 6, 8 / 255, alike=0)(x, torch.zeros_like(x), [0])
    assert seen == ["tiny1", "tiny2", "tiny3"] * 2


def test_networks_that_take_any_size_say_so(tmp_path: Path):
    assert takes_any_size(HashModel("resnet20", 8, size=(32, 32)).eval())
    assert not takes_any_size(HashModel("conv2", 8, size=(32, 32)).eval())
    save_model(HashModel("resnet20", 8, size=(32, 32)), tmp_path / "mine")
    shapes = []
    one = matcher_of(tmp_path / "mine")
    assert isinstance(one.model, HashModel)
    one.model.backbone.register_forward_pre_hook(lambda net, given: shapes.append(tuple(given[0].shape[2:])))
    one.seen(smooth(1), 0.5)
    one.seen(smooth(1))
    assert shapes == [(16, 16), (32, 32)]


def test_what_nobody_sees_does_not_count():
    x = smooth(1)
    opaque = torch.zeros(1, 1, 30, 36)
    opaque[..., 18:] = 1
    one = matcher(30, fit="stretch")
    pattern = Refine((one,), 4, 16 / 255, alike=0, view=Plain())(x, torch.zeros_like(x), [0], opaque)
    z = x + opaque * pattern * 16 / 255
    assert torch.equal(z[..., :18], x[..., :18]) and agreement(one, x, z.clamp(0, 1)).item() < 1


def test_even_grounds_keep_most_of_the_bound_to_themselves():
    x = smooth(1)
    x[..., 18:] = 0.4
    one = matcher(30, fit="stretch")
    start = 2 * torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) - 1
    part = room(x, 16 / 255, 4 / 255)
    for steps in (1, 8):  # the start itself may be the best
        pattern = Refine((one,), steps, 16 / 255, alike=0, view=Plain(), even=4 / 255)(x, part * start, [0])
        assert bool((pattern.abs() <= part + 1e-6).all())
        assert float(pattern[..., 24:].abs().max()) <= 0.26 and float(pattern.abs().max()) > 0.3
    with pytest.raises(RequestError, match="even must be"):
        Refine((one,), 1, 8 / 255, even=0.0)


def test_a_matchers_gradient_counts_by_its_direction():
    one, x = matcher(24, seed=1), smooth(1)
    loud = matcher(24, seed=1)
    with torch.no_grad():
        loud.model.module[-1].weight.mul_(1e4)  # type: ignore[index, union-attr, operator]
        loud.model.module[-1].bias.mul_(1e4)  # type: ignore[index, union-attr, operator]
    start = torch.zeros_like(x)
    a, b = (Refine((m,), 3, 8 / 255, alike=0)(x, start, [0]) for m in (one, loud))
    assert ((a - b).abs() < 0.05).float().mean() > 0.95


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("shape", [(40, 60), (60, 41), (17, 90), (24, 24)])
def test_fitting_is_that_of_files_up_to_rounding(fit, shape):
    image = np.kron(drawn(-(-shape[0] // 8), -(-shape[1] // 8)), np.ones((8, 8, 1), np.uint8))[: shape[0], : shape[1]]
    want = as_tensor(fit_to(image, (24, 24), fit))
    found = fitted(as_tensor(image), (24, 24), fit)
    assert found.shape == (1, 3, 24, 24)
    assert (found - want).abs().mean() < 0.01


def test_wrong_words(tmp_path: Path):
    with pytest.raises(RequestError, match="needs at least one matcher; give `matchers=MODEL`"):
        Refine((), 10, 8 / 255)
    with pytest.raises(RequestError, match="refine must be at least 1, got 0"):
        Refine((matcher(),), 0, 8 / 255)
    with pytest.raises(RequestError, match="did you mean 8 / 255"):
        Refine((matcher(),), 1, 8)
    with pytest.raises(RequestError, match="unknown fit 'squeeze'; allowed: crop, pad, stretch"):
        fitted(smooth(), (8, 8), "squeeze")
    with pytest.raises(RequestError, match="no model at"):
        matcher_of(tmp_path / "none")


def test_broken_matchers_are_one_error():
    broken = matcher(seed=4)
    broken.model.module[-1].weight[0] = float("nan")  # type: ignore[index, union-attr]
    with pytest.raises(RunError, match="outputs of matcher tiny4 are NaN or infinite"):
        Refine((broken,), 2, 8 / 255)(smooth(), smooth(), range(4))

    class Root(nn.Module):
        def forward(self, x):
            return (x.flatten(1)[:, :8] - x.flatten(1)[:, :8]).sqrt() + 1  # the slope of a root at 0 is infinite

    odd = Matcher("odd", ForeignModel(Root(), "odd", (24, 24)), "crop", "h")
    with pytest.raises(RunError, match="gradient of matcher odd is NaN or infinite"):
        Refine((odd,), 2, 8 / 255)(smooth(), smooth(), range(4))


def test_a_matcher_is_named_without_its_folders(tmp_path: Path):
    one = HashModel("resnet20", 8, size=(32, 32))
    save_model(one, tmp_path / "secret" / "mine", fit="pad")
    found = matcher_of(tmp_path / "secret" / "mine")
    assert (found.name, found.fit, found.hash) == ("mine", "pad", one.digest)


def test_a_folder_is_refined_whatever_the_batches(tmp_path: Path):
    for number in range(5):
        write(tmp_path / "in" / f"{number}.png", 24 + number % 2, 30, seed=number)
    write(tmp_path / "in" / "clear.png", 24, 30, layers=4, seed=9)
    one, net = matcher(24, seed=1), strong_protector()
    results = []
    for out, batch in (("a", 1), ("b", 4)):
        settings = Settings(
            protector=Named(name="t", hash=net.digest), eps=8 / 255, format="png", quality=100, metadata="strip",
            scale="auto", refine=4, matchers=[Named(name=one.name, hash=one.hash)],
        )  # fmt: skip
        files = sorted(path.name for path in (tmp_path / "in").iterdir())
        run = FolderRun(
            tmp_path / "in", tmp_path / out, copy_names(files, "png"), net, 256, Manifest(tmp_path / out, settings),
            Refine((one,), 4, 8 / 255), batch,
        )  # fmt: skip
        run()
        results.append(contents(tmp_path / out))
    assert results[0] == results[1] and len(results[0]) == 6


@pytest.mark.parametrize("fresh", [False, True])
def test_fresh_steps_do_not_know_the_generator(*, fresh: bool):
    """What anybody has, the generator, tells nothing about where they began."""
    content = encode_bytes(drawn(24, 30, seed=3), "png")
    settings = Settings(
        protector=Named(name="t", hash="h"), eps=8 / 255, format="png", quality=100, metadata="strip", scale="auto"
    )
    steps = Refine((matcher(24, seed=1),), 2, 8 / 255, fresh=fresh)
    made = [PictureRun(net, 256, settings, steps)(content) for net in (strong_protector(), strong_protector(seed=9))]
    assert (made[0] == made[1]) is fresh


def test_a_line_of_pixels_is_cut_before_it_is_enlarged(monkeypatch):
    x = smooth(1, 4, 400)
    whole = fitted(x, (24, 24), "crop")
    monkeypatch.setattr("hamguard.privacy.matchers.MAX_PIXELS", 24 * 25)
    assert fitted(x, (24, 24), "crop").shape == whole.shape
