from __future__ import annotations

import pytest
import torch

from hamguard.attacks.search.file_views import Cropped, InTurn, Jpeg
from hamguard.attacks.search.views import Noisy, Plain
from hamguard.core.errors import RequestError
from hamguard.core.seeds import torch_generator
from hamguard.images.views import jpeg


def pictures(n: int = 4, height: int = 16, width: int = 24, channels: int = 3) -> torch.Tensor:
    return torch.rand(n, channels, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_shows_the_file_and_has_the_gradient_of_the_picture(channels):
    x = pictures(channels=channels).requires_grad_()
    seen = Jpeg()(x, [5, 6, 7, 8], 3, 0)
    for place, i in enumerate([5, 6, 7, 8]):
        quality = int(torch.randint(70, 96, (), generator=torch_generator(0, "view-jpeg", 3, i)))
        assert torch.allclose(seen[place], jpeg(x[place : place + 1].detach(), quality)[0], atol=1e-6)
    weight = torch.rand(seen.shape)
    (gradient,) = torch.autograd.grad((seen * weight).sum(), x)
    assert torch.equal(gradient, weight)


def test_a_whole_crop_is_the_picture():
    x = pictures()
    assert torch.allclose(Cropped(1.0)(x, range(4), 0, 0), x, atol=1e-5)


def test_crops_are_parts_of_the_picture_and_differ():
    ramp = torch.linspace(0, 1, 100).expand(6, 1, 50, 100).contiguous().requires_grad_()
    seen = Cropped(0.5)(ramp, range(6), 0, 0)
    slope = (seen[..., -10] - seen[..., 10])[:, 0, 25] / (ramp[..., -10] - ramp[..., 10])[:, 0, 25]
    assert ((slope > 0.49) & (slope <= 1.01)).all() and slope.std() > 0.01
    assert (seen >= 0).all() and (seen <= 1).all()
    (gradient,) = torch.autograd.grad(seen.sum(), ramp)
    assert torch.allclose(gradient.sum((1, 2, 3)), torch.full((6,), 5000.0), rtol=1e-3)  # weights of a sample sum to 1


@pytest.mark.parametrize("view", [Jpeg(), Cropped(), InTurn((Plain(), Jpeg(), Cropped()))])
def test_views_do_not_depend_on_the_cut_of_batches(view):
    x = pictures()
    for step in range(3):
        whole = view(x, [9, 4, 2, 7], step, 1)
        parts = torch.cat([view(x[:1], [9], step, 1), view(x[1:], [4, 2, 7], step, 1)])
        assert torch.allclose(whole, parts, atol=1e-6)
    assert not torch.equal(Cropped()(x, [1, 2, 3, 4], 0, 0), Cropped()(x, [1, 2, 3, 4], 1, 0))


def test_views_take_turns():
    x = pictures()
    view = InTurn((Plain(), Noisy(), Jpeg()))
    for step, one in enumerate((Plain(), Noisy(), Jpeg(), Plain())):
        assert torch.equal(view(x, range(4), step, 2), one(x, range(4), step, 2))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Jpeg(0), "lowest JPEG quality must be between 1 and 100, got 0"),
        (lambda: Jpeg(80, 70), "highest JPEG quality must be between 80 and 100, got 70"),
        (lambda: Cropped(0.0), "smallest part of a side must be between 0.1 and 1.0, got 0.0"),
        (lambda: InTurn(()), "at least one, got none"),
        (lambda: Jpeg(weight=-1), "weight of a view must be at least 0"),
        (lambda: Cropped(weight=-1), "weight of a view must be at least 0"),
        (lambda: InTurn((Plain(),), weight=-1), "weight of a view must be at least 0"),
    ],
)
def test_wrong_numbers(make, words):
    with pytest.raises(RequestError, match=words):
        make()
