"""The three networks of ProS-GAN: prototype net, generator, discriminator.

Paper: X. Wang, Z. Zhang, B. Wu, F. Shen, G. Lu, "Prototype-supervised Adversarial Network for Targeted Attack of Deep Hashing",
CVPR 2021; layers and numbers after the authors' code, which is made for 224 pixels and 64 channels. Inside, pixels lie in
[-1, 1]: callers give `2 x - 1`.

`width` scales every channel number: 64 is published, 16 costs a sixteenth of the multiplications. Any side works: the label's map
starts at a sixteenth of it, and sides that 16 (the discriminator: 32) does not divide are padded inside with the values at the
border; the generator crops its answer back. Gray pictures have one channel.

Deliberate difference: no bias stands before an instance norm, which would take it away again.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from hamguard.core.checks import check_range
from hamguard.core.errors import RequestError
from hamguard.core.html import Shown

WIDE, NARROW = 4096, 512  # of the prototype net, authors' code; NARROW numbers represent a label for the generator
PARTS = 16  # a picture's side over that of the label's first map
HALVINGS = 5  # of the discriminator
BLOCKS = 6  # three count as encoder and three as decoder
LEAK = 0.01
PASSED, QUIET = 1.2, 0.1
"""Of a generator that begins with the picture: how its values go into the last tanh, which makes them smaller, and the factor on
all other first weights of the last layer."""


class PrototypeNet(nn.Module):
    """Label vectors to representations, relaxed prototype codes and the labels again.

    Args:
        classes: number of classes C.
        bits: code length K.
        generator: source of the initial weights.
    """

    def __init__(self, classes: int, bits: int, generator: torch.Generator) -> None:
        super().__init__()
        self.classes, self.bits = classes, bits
        with torch.random.fork_rng(devices=[]):  # torch's layers draw their weights from the global generator
            torch.manual_seed(generator.initial_seed())
            self.trunk = nn.Sequential(nn.Linear(classes, WIDE), nn.ReLU(), nn.Linear(WIDE, NARROW))
            self.code_head = nn.Linear(NARROW, bits)
            self.label_head = nn.Linear(NARROW, classes)

    def represent(self, labels: Tensor) -> Tensor:
        """Representations r, `(B, 512)`, of labels `(B, C)`."""
        r: Tensor = self.trunk(labels)
        return r

    def heads(self, r: Tensor) -> tuple[Tensor, Tensor]:
        """Relaxed codes h, `(B, K)` in (-1, 1), and labels y_hat, `(B, C)` in (0, 1), of representations."""
        return torch.tanh(self.code_head(r)), torch.sigmoid(self.label_head(r))

    def forward(self, labels: Tensor) -> Tensor:
        """Relaxed prototype codes, `(B, K)` in (-1, 1)."""
        return self.heads(self.represent(labels))[0]


class Residual(nn.Module):
    """Two 3x3 convolutions with instance norm, added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.InstanceNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps of the same shape."""
        return x + self.body(x)  # type: ignore[no-any-return]


class Generator(Shown, nn.Module):
    """A picture and a target's representation to a picture.

    Args:
        channels: channels of the pictures, 1 or 3.
        size: height and width in pixels.
        width: channels of the first convolution, a multiple of 8; 64 is published.
        generator: source of the initial weights.

    Raises:
        RequestError: `width` is no multiple of 8, or a side is below 16 pixels.
    """

    card: Any = None
    """The card of a generator that was trained; None for one that was built."""

    def __init__(self, channels: int, size: tuple[int, int], width: int, generator: torch.Generator) -> None:
        super().__init__()
        check_width(width)
        check_range("the smaller side of the pictures", min(size), PARTS)
        self.channels, self.size, self.width = channels, size, width
        self.grid = (-(-size[0] // PARTS), -(-size[1] // PARTS))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(generator.initial_seed())
            self.label_map = nn.Linear(NARROW, 2 * width * self.grid[0] * self.grid[1])
            falling = [2 * width >> step for step in range(5)]  # 2w, w, w/2, w/4, w/8
            self.label_decoder = nn.Sequential(
                *(layer for pair in pairwise(falling) for layer in _up(*pair)),
                nn.Conv2d(falling[-1], channels, 3, 1, 1, bias=False),
            )
            self.body = nn.Sequential(
                *_down(2 * channels, width, 7, 1, 3),
                *_down(width, 2 * width, 4, 2, 1),
                *_down(2 * width, 4 * width, 4, 2, 1),
                *(Residual(4 * width) for _ in range(BLOCKS)),
                *_up(4 * width, 2 * width),
                *_up(2 * width, width),
            )
            self.last = nn.Conv2d(width + channels, channels, 3, 1, 1, bias=False)

    @torch.no_grad()
    def begin_with_picture(self) -> None:
        """Change the first weights of the last layer so that an untrained generator makes about the picture that it is given.

        Ours: from random weights a generator first learns, for hundreds of steps, what a picture looks like.
        """
        middle = self.last.weight.shape[-1] // 2
        self.last.weight.mul_(QUIET)
        for channel in range(self.channels):
            self.last.weight[channel, self.width + channel] = 0
            self.last.weight[channel, self.width + channel, middle, middle] = PASSED

    @property
    def summary(self) -> dict[str, Any]:
        """What tells it from others: that of its card where it has one."""
        return (
            {"channels": self.channels, "images": f"{self.size[0]} x {self.size[1]}"}
            if self.card is None
            else dict(self.card.summary)
        )

    def forward(self, x: Tensor, r: Tensor) -> Tensor:
        """Pictures in (-1, 1).

        Args:
            x: pictures, `(B, C, H, W)` in [-1, 1].
            r: representations of their target labels, `(B, 512)`.

        Returns:
            The same shape as `x`; the attack says whether that is the picture or its scaled perturbation.
        """
        height, width = x.shape[2:]
        x = pad_to(x, PARTS)  # (B, C, 16 a, 16 b)
        start = F.relu(self.label_map(r)).view(len(x), -1, *self.grid)  # (B, 2w, a, b)
        seen = torch.cat([x, self.label_decoder(start)], 1)  # (B, 2C, 16 a, 16 b)
        made = torch.tanh(self.last(torch.cat([self.body(seen), x], 1)))  # (B, C, 16 a, 16 b)
        top, left = (made.shape[2] - height) // 2, (made.shape[3] - width) // 2
        return made[:, :, top : top + height, left : left + width]  # (B, C, H, W)


class Discriminator(nn.Module):
    """Pictures to C class scores and one for being made (or to that one alone).

    Args:
        channels: channels of the pictures.
        size: height and width in pixels.
        outputs: number of scores, C + 1, or 1 for ProS-GAN-1.
        width: channels of the first convolution.
        generator: source of the initial weights.
        sigmoid: end in a sigmoid, as printed (section 3.4); without in the authors' code.

    Raises:
        RequestError: `width` is no multiple of 8.
    """

    def __init__(
        self,
        channels: int,
        size: tuple[int, int],
        outputs: int,
        width: int,
        generator: torch.Generator,
        *,
        sigmoid: bool = False,
    ) -> None:
        super().__init__()
        check_width(width)
        self.sigmoid = sigmoid
        side = 2**HALVINGS
        widths = [channels, *(width << step for step in range(HALVINGS))]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(generator.initial_seed())
            layers: list[nn.Module] = []
            for before, after in pairwise(widths):
                layers += [spectral_norm(nn.Conv2d(before, after, 4, 2, 1)), nn.LeakyReLU(LEAK)]
            kernel = (-(-size[0] // side), -(-size[1] // side))
            self.body = nn.Sequential(*layers)
            self.last = nn.Conv2d(widths[-1], outputs, kernel, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Scores `(B, outputs)` of pictures `(B, C, H, W)` in [-1, 1]; with a sigmoid they lie in (0, 1)."""
        scores: Tensor = self.last(self.body(pad_to(x, 2**HALVINGS)))  # (B, outputs, 1, 1)
        return (scores.sigmoid() if self.sigmoid else scores).flatten(1)


def check_width(width: int) -> None:
    """Check a number of channels.

    Raises:
        RequestError: it is no multiple of 8, of which the label decoder's last map has an eighth.
    """
    if width < 8 or width % 8:
        raise RequestError(f"width must be a multiple of 8, from 8 (64 is published), got {width}")


def pad_to(x: Tensor, part: int) -> Tensor:
    """Pictures whose sides are padded to multiples of `part` with the values at the border, as evenly as can be."""
    rows, columns = -x.shape[2] % part, -x.shape[3] % part
    if rows == columns == 0:
        return x
    return F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2), mode="replicate")


def _up(before: int, after: int) -> list[nn.Module]:
    made = nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False)
    return [made, nn.InstanceNorm2d(after), nn.ReLU(inplace=True)]


def _down(before: int, after: int, kernel: int, stride: int, padding: int) -> list[nn.Module]:
    made = nn.Conv2d(before, after, kernel, stride, padding, bias=False)
    return [made, nn.InstanceNorm2d(after), nn.ReLU(inplace=True)]
