"""The generator of PPL: an auto-encoder that turns a picture into the noise that protects it.

Paper: P.-F. Zhang, Z. Huang, X.-S. Xu, "Proactive Privacy-preserving Learning for Retrieval", AAAI 2021: an encoder of four
convolutions (64-128-256-512 for CIFAR-10 and ImageNet, 16-32-64-128 for Fashion-MNIST) and a mirrored decoder. Kernels, strides
and normalization are not printed; those of the code of its cross-modal successor are used: 4x4, stride 2, batch norm, ReLU, and
tanh at the end. How the bound `||G(x)||_p <= eps`, p in {1, 2, inf}, eq. (2), is kept is not printed either. Here for p = inf
`z = clip(x + eps * tanh(...))`, which cannot leave it; for p = 1 and 2 the noise `n = tanh(...)` is scaled into the ball,
`z = clip(x + n * min(1, eps / ||n||_p))`. For p = 2 that is the projection; for p = 1 the projection would cut the noise down to
few values, where scaling keeps its pattern and its gradient everywhere.

Ours, not PPL's: `skips` hands what each encoder layer found to the decoder layer of the same size (O. Ronneberger et al., U-Net,
MICCAI 2015), so that noise can follow the picture's texture, which the innermost layer has lost. `even` bounds noise on even
grounds, where eyes find it; in texture it has all of `eps` (`models/contrast.py`). With `regions`, places that have no order take
turns between the noise of the picture and that of its shifted and mirrored forms (`models/regions.py`), after training.

Deliberate differences: sides need not be divisible by 16 (the picture is mirrored outward, or its edge repeated where it is too
small to be mirrored, and cut back); gray pictures are repeated and the noise averaged where a protector of color pictures meets
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hamguard.core.checks import check_choice, check_range
from hamguard.core.digests import digest_state
from hamguard.core.errors import RequestError
from hamguard.core.html import Shown
from hamguard.models.contrast import room
from hamguard.models.regions import PERIOD, PLAIN, POSES, Pose, regions

Norm = Literal["linf", "l2", "l1"]
Width = Literal["small", "large"]

WIDTHS: dict[str, tuple[int, int, int, int]] = {"small": (16, 32, 64, 128), "large": (64, 128, 256, 512)}
"""Both published widths."""

STEP = 16  # pixels between places that the innermost layer knows
LAYERS = 12  # modules of the encoder: four of convolution, batch norm and ReLU
REACH = 48  # pixels around a part cut at multiples of STEP that its noise depends on: 31 and the largest shift, up to a whole STEP


class Protector(Shown, nn.Module):
    """Pictures to protected pictures.

    Args:
        channels: channels of the pictures that it learns from, 1 or 3.
        width: `small` (16-32-64-128) or `large` (64-128-256-512).
        eps: bound of the change of a picture, in pixel units; for `linf`, where no value moves by more, in (0, 1].
        generator: source of the initial weights.
        norm: of the bound: p = inf, 2 or 1 of eq. (2).
        skips: whether decoder layers see what encoder layers of their size found; as published they do not.
        even: for `linf`, bound on even grounds, in pixel units, in (0, 1]; from `eps` on, as published, there is none beside it.
            Noise under another bound than its own is larger or smaller everywhere alike.
        regions: pixels to a side of the regions that take turns between poses of the picture, 1 to 512; 0, as published, for none.

    Raises:
        RequestError: unknown width or norm, or `eps`, `even` or `regions` out of range.
    """

    card: Any = None
    """The card of a protector that was trained; None for one that was built."""

    def __init__(
        self,
        channels: int,
        width: str = "small",
        eps: float = 8 / 255,
        generator: torch.Generator | None = None,
        norm: Norm = "linf",
        *,
        skips: bool = False,
        even: float = 1.0,
        regions: int = 0,
    ) -> None:
        super().__init__()
        check_choice("width", width, WIDTHS)
        check_choice("norm", norm, get_args(Norm))
        if norm == "linf" and not 0 < eps <= 1:
            hint = f"; did you mean {eps:g} / 255?" if eps > 1 else ""
            raise RequestError(f"eps must be in (0, 1], got {eps:g}{hint}")
        if not 0 < eps < float("inf"):
            raise RequestError(f"eps must be above 0, got {eps:g}")
        if not 0 < even <= 1:
            hint = f"; did you mean {even:g} / 255?" if even > 1 else ""
            raise RequestError(f"even must be in (0, 1], got {even:g}{hint}")
        self.channels, self.width, self.eps, self.norm = channels, width, eps, norm
        check_range("regions", regions, 0, PERIOD)
        self.skips, self.even, self.regions = skips, even, regions
        widths = WIDTHS[width]
        layers: list[nn.Module] = []
        with torch.random.fork_rng(devices=[]):  # torch's layers draw their weights from the global generator
            torch.manual_seed((generator or torch.Generator().manual_seed(0)).initial_seed())
            inside = channels
            for outside in widths:
                layers += [nn.Conv2d(inside, outside, 4, 2, 1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(True)]
                inside = outside
            for outside in widths[-2::-1]:
                layers += [nn.ConvTranspose2d(inside, outside, 4, 2, 1, bias=False), nn.BatchNorm2d(outside)]
                layers += [nn.ReLU(True)]
                inside = 2 * outside if skips else outside
            layers += [nn.ConvTranspose2d(inside, channels, 4, 2, 1), nn.Tanh()]
        self.net = nn.Sequential(*layers)

    def noise(self, x: Tensor, at: tuple[int, int] = (0, 0)) -> Tensor:
        """The noise pattern G(x), `(B, C, H, W)` in (-1, 1), of pictures `(B, C, H, W)` in [0, 1]; any sides.

        Args:
            x: pictures, or the same part of them.
            at: row and column of their pictures at which parts begin, multiples of `STEP`.
        """
        inner = x.expand(-1, 3, -1, -1) if x.shape[1] < self.channels else x
        if inner.shape[1] > self.channels:
            inner = inner.mean(1, keepdim=True)
        in_turns = self.regions and not self.training
        made = self._in_turns(2 * inner - 1, at) if in_turns else self._posed(2 * inner - 1, PLAIN)[0]
        if made.shape[1] > x.shape[1]:
            made = made.mean(1, keepdim=True)
        return (made * self.room(x)).expand(-1, x.shape[1], -1, -1)

    def _in_turns(self, x: Tensor, at: tuple[int, int]) -> Tensor:
        """What the layers make of pictures in [-1, 1], every pose in its regions, `(B, C, H, W)`."""
        H, W = x.shape[2:]
        shares = regions(self.regions, H, W, at).to(x)
        made = torch.stack([share * one for share, one in zip(shares, self._posed(x, POSES), strict=True)]).sum(0)
        return (made / shares.square().sum(0).sqrt()).clamp(-1, 1)  # as strong where regions meet as inside them

    def _posed(self, x: Tensor, poses: Sequence[Pose]) -> list[Tensor]:
        """What the layers make of pictures in [-1, 1] in each pose, brought back to their places, each `(B, C, H, W)`."""
        H, W = x.shape[2:]
        most = STEP if len(poses) > 1 else 0  # all are as large, so that one pass makes them together
        down, right = -H % STEP + most, -W % STEP + most
        mode = "reflect" if down < H and right < W else "replicate"
        seen = []
        for pose in poses:
            edges = (pose.right, right - pose.right, pose.down, down - pose.down)
            moved = F.pad(x, edges, mode=mode) if down or right else x
            seen.append(moved.flip(3) if pose.mirrored else moved)
        together = torch.cat(seen).contiguous(memory_format=torch.channels_last)  # a sixth faster on CPUs
        made = self._made(together).chunk(len(poses))
        return [
            (one.flip(3) if pose.mirrored else one)[:, :, pose.down : pose.down + H, pose.right : pose.right + W]
            for one, pose in zip(made, poses, strict=True)
        ]

    def room(self, x: Tensor) -> Tensor | float:
        """The part of its bound that noise may take around every place of pictures, see `models/contrast.py`."""
        return room(x, self.eps, self.even) if self.norm == "linf" else 1.0

    def _made(self, x: Tensor) -> Tensor:
        """What the layers make of `(B, C, H, W)` in [-1, 1], sides multiples of `STEP`."""
        if not self.skips:
            plain: Tensor = self.net(x)
            return plain
        found: list[Tensor] = []
        for start in range(0, LAYERS, 3):  # convolution, batch norm, ReLU
            x = self.net[start : start + 3](x)
            found.append(x)
        x = found.pop()
        for start in range(LAYERS, len(self.net) - 2, 3):
            x = torch.cat([self.net[start : start + 3](x), found.pop()], 1)
        return self.net[-2:](x)  # type: ignore[no-any-return]

    @property
    def summary(self) -> dict[str, Any]:
        """What tells it from others: that of its card where it has one."""
        return (
            {"width": self.width, "channels": self.channels, "eps": f"{self.eps:.4g}", "norm": self.norm}
            if self.card is None
            else dict(self.card.summary)
        )

    def forward(self, x: Tensor, eps: float | None = None) -> Tensor:
        """Protected pictures `z = clip(x + change)`, eq. (2), `(B, C, H, W)` in [0, 1]; a clipped value keeps its gradient.

        Args:
            x: pictures, `(B, C, H, W)` in [0, 1].
            eps: another bound than its own.
        """
        bound, noise = self.eps if eps is None else eps, self.noise(x)
        if self.norm == "linf":
            moved = x + bound * noise
        else:
            order = 2.0 if self.norm == "l2" else 1.0
            length: Tensor = torch.linalg.vector_norm(noise.flatten(1), order, dim=1)  # (B,)
            moved = x + noise * (bound / length.clamp(min=bound)).view(-1, 1, 1, 1)
        return moved + (moved.clamp(0, 1) - moved).detach()  # straight through: saturated pixels go on learning

    @property
    def digest(self) -> str:
        """Content hash of weights and buffers."""
        return digest_state(self.state_dict())
