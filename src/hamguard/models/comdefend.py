"""ComDefend's two networks, and their folder: `comdefend.safetensors` and `comdefend.json`, never a pickle.

Paper: X. Jia, X. Wei, X. Cao, H. Foroosh, "ComDefend: An Efficient Image Compression Model to Defend Adversarial Examples",
CVPR 2019. A picture is encoded into twelve maps of its own size, heavy noise before a sigmoid pushes the maps to 0 and 1, and a
second network decodes them: what is too faint to survive the noise is gone.

Where paper and published re-uses differ we follow the form in the code base of SAAT (Yuan et al., IEEE TIFS 18, 2023): nine
convolutions on each side, noise of deviation 20 in training and in use, no rounding of the maps. ELU stands between convolutions
and not after the last one of a side. Deliberate differences: `width` scales the inner channel numbers, 1 is published; gray
pictures have one channel; weights begin so that signals keep their size through eighteen layers and codes are about as large as
the noise, because codes that begin small take hundreds of steps to rise above it.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from hamguard import __version__
from hamguard.core.digests import digest_state
from hamguard.core.html import Shown
from hamguard.core.seeds import torch_generator
from hamguard.models.folders import FORMAT, check_weights, read_card_file, with_weights, write_folder
from hamguard.models.weight_files import read_safetensors

MAPS = 12  # of the code, at every width
ENCODER = (16, 32, 64, 128, 256, 128, 64, 32)  # between picture and code
DECODER = (32, 64, 128, 256, 128, 64, 32, 16)  # between code and picture
NOISE = 20.0  # deviation
FEWEST = 2  # channels of an inner map, however narrow

WEIGHTS, CARD = "comdefend.safetensors", "comdefend.json"
MAX_WIDTH = 4.0  # a card that asks for more is no card of ours and would only fill the memory


def stack(channels: tuple[int, ...]) -> nn.Sequential:
    """3x3 convolutions from each channel number to the next, ELU between them."""
    parts: list[nn.Module] = []
    for before, after in pairwise(channels):
        parts += [nn.Conv2d(before, after, 3, padding=1), nn.ELU(inplace=True)]
    return nn.Sequential(*parts[:-1])


class ComDefend(Shown, nn.Module):
    """Encoder, noise, decoder.

    Args:
        channels: of the pictures, 1 or 3.
        width: factor of the inner channel numbers, 1 as published.
        noise: deviation of the noise that is taken from the code.
        generator: source of the initial weights.
    """

    card: Any = None
    """The card of networks that was trained; None for one that was built."""

    def __init__(
        self, channels: int = 3, width: float = 1.0, noise: float = NOISE, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.channels, self.width, self.noise = channels, width, noise
        generator = generator or torch_generator(0, "comdefend")
        self.encoder = stack((channels, *self._scaled(ENCODER), MAPS))
        self.decoder = stack((MAPS, *self._scaled(DECODER), channels))
        for part in (*self.encoder, *self.decoder):
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, nonlinearity="relu", generator=generator)
                nn.init.zeros_(part.bias)  # type: ignore[arg-type]
        with torch.no_grad():
            self.encoder[-1].weight.mul_(max(1.0, noise / 2))  # type: ignore[operator]

    def _scaled(self, numbers: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(max(FEWEST, round(number * self.width)) for number in numbers)

    def code(self, x: Tensor) -> Tensor:
        """Maps before noise, `(B, 12, H, W)`, of pictures `(B, C, H, W)` in [0, 1]."""
        maps: Tensor = self.encoder(x)
        return maps

    def decode(self, code: Tensor, normal: Tensor) -> Tensor:
        """Pictures `(B, C, H, W)` in (0, 1) of maps and standard normal numbers of their shape, `(B, 12, H, W)`."""
        kept = torch.sigmoid(code - self.noise * normal)  # (B, 12, H, W)
        x: Tensor = torch.sigmoid(self.decoder(kept))
        return x

    @property
    def summary(self) -> dict[str, Any]:
        """What tells it from others: that of its card where it has one."""
        return (
            {"width": self.width, "channels": self.channels, "noise": self.noise}
            if self.card is None
            else dict(self.card.summary)
        )

    def forward(self, x: Tensor, normal: Tensor) -> Tensor:
        """Purified pictures `(B, C, H, W)` in (0, 1)."""
        return self.decode(self.code(x), normal)

    @property
    def digest(self) -> str:
        """Content hash of the weights and the noise."""
        return digest_state({**self.state_dict(), "noise": torch.tensor(self.noise)})


class ComDefendCard(Shown, BaseModel):
    """Facts that travel with the networks.

    Attributes:
        kind: of purifier; there is one.
        width: factor of the inner channel numbers.
        channels: channels of the pictures.
        noise: deviation of the noise.
        settings: of the training.
        recipe: training recipe, complete.
        seed: seed of the run.
        data: source, protocol and split hash of the training pictures.
        weights_hash: content hash of weights and noise.
        history: one entry an epoch.
        version: hamguard's version.
    """

    model_config = ConfigDict(extra="forbid")

    format: Literal[1, 2] = FORMAT
    kind: Literal["comdefend"] = "comdefend"
    width: float = Field(gt=0, le=MAX_WIDTH)
    channels: Literal[1, 3]
    noise: float = Field(ge=0, allow_inf_nan=False)
    settings: dict[str, Any] = {}
    recipe: dict[str, Any] = {}
    seed: int = 0
    data: dict[str, Any] = {}
    weights_hash: str = ""
    history: list[dict[str, float]] = []
    version: str = __version__

    @property
    def summary(self) -> dict[str, Any]:
        """What tells it from others."""
        return {
            "kind": self.kind,
            "width": self.width,
            "channels": self.channels,
            "noise": self.noise,
            "data": self.data.get("name") or self.data.get("source"),
            "weights": self.weights_hash,
        }


def save_comdefend(net: ComDefend, folder: Path | str, **facts: Any) -> ComDefendCard:
    """Write a folder; the card is written last, so a folder with a card is complete.

    Args:
        net: what to save.
        folder: where to; made if missing.
        facts: further fields of `ComDefendCard`.

    Raises:
        RunError: the folder cannot be written.
    """
    folder = Path(folder)
    card = ComDefendCard(width=net.width, channels=net.channels, noise=net.noise, weights_hash=net.digest, **facts)
    write_folder(folder / WEIGHTS, net.state_dict(), folder / CARD, card)
    return card


def read_comdefend_card(folder: Path | str) -> ComDefendCard:
    """Read the card of a folder.

    Raises:
        RequestError: the folder or its card is missing, or the card is damaged.
    """
    missing = f"no ComDefend at {folder}; train one with hamguard train --method comdefend --data SOURCE --out {folder}"
    return read_card_file(Path(folder) / CARD, ComDefendCard, missing)


def load_comdefend(folder: Path | str) -> tuple[ComDefend, ComDefendCard]:
    """Load a folder, frozen, in evaluation mode, on the CPU.

    Raises:
        RequestError: something is missing or damaged.
        StaleError: the weights are not those that the card was written for.
    """
    card = read_comdefend_card(folder)
    state = read_safetensors(Path(folder) / WEIGHTS)
    net = with_weights(lambda: ComDefend(card.channels, card.width, card.noise), state, folder)
    check_weights(net.digest, card.weights_hash, folder)
    return net.eval().requires_grad_(False), card
