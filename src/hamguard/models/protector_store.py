"""A protector folder: the generator's weights and a card of facts. Reading one executes no code."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hamguard import __version__
from hamguard.core.checks import suggest
from hamguard.core.digests import digest_json
from hamguard.core.errors import RequestError
from hamguard.core.html import Shown
from hamguard.models.folders import FORMAT, check_weights, read_card_file, with_weights, write_folder
from hamguard.models.protector import Norm, Protector, Width
from hamguard.models.regions import PERIOD
from hamguard.models.registry import BACKBONES
from hamguard.models.shipped import PREFIX, is_shipped, shipped_folder
from hamguard.models.weight_files import read_safetensors

WEIGHTS, CARD = "protector.safetensors", "protector.json"
SHIPPED = ("photos", "ppl")
"""Protectors inside the package."""


class ProtectorCard(Shown, BaseModel):
    """Facts that travel with a protector's weights.

    Attributes:
        channels: of the pictures that it learned from.
        width: small or large.
        eps: bound that it learned under, in pixel units.
        norm: of the bound.
        skips: whether its decoder sees what its encoder found at each size.
        even: bound on even grounds, in pixel units; from `eps` on there is no other.
        regions: pixels to a side of the regions that take turns between poses of the picture; 0 for none.
        side: shorter side of the pictures that it learned from.
        surrogates: content hashes of the hash models that it learned against; searches by them are no proof.
        surrogate_names: what they were.
        networks: their backbones; see `learned_networks`.
        settings: weights and rules of the game.
        recipe: training recipe, complete.
        seed: of the run.
        data: source, split hash, number of pictures, notes on the data.
        weights_hash: content hash of the weights.
        history: one object an epoch.
        notes: what a reader must know, e.g. that the surrogate's codes became constant.
        version: hamguard's version.
    """

    model_config = ConfigDict(extra="forbid")

    format: Literal[1, 2] = FORMAT
    channels: Literal[1, 3]
    width: Width
    eps: float = Field(gt=0)
    norm: Norm = "linf"
    skips: bool = False
    even: float = Field(1.0, gt=0, le=1)
    regions: int = Field(0, ge=0, le=PERIOD)
    side: int = Field(ge=1, le=4096)
    surrogates: list[str] = []
    surrogate_names: list[str] = []
    networks: list[str] = []
    settings: dict[str, Any] = {}
    recipe: dict[str, Any] = {}
    seed: int = 0
    data: dict[str, Any] = {}
    weights_hash: str = ""
    history: list[dict[str, Any]] = []
    notes: list[str] = []
    version: str = __version__

    @model_validator(mode="after")
    def _bounded(self) -> ProtectorCard:
        if self.norm == "linf" and self.eps > 1:
            raise ValueError(f"eps must be in (0, 1], got {self.eps:g}")
        return self

    @property
    def learned_networks(self) -> list[str]:
        """Backbones that it learned against; an older card tells them by names that begin with one, or not at all."""
        first = [name.partition(",")[0] for name in self.surrogate_names]
        return self.networks or sorted({name for name in first if name in BACKBONES})

    @property
    def digest(self) -> str:
        """Content hash of all that its noise depends on; that of the weights where the rest is as published."""
        own = (self.skips, self.even, self.regions)
        if own == tuple(type(self).model_fields[name].default for name in ("skips", "even", "regions")):
            return self.weights_hash
        return digest_json(
            [self.weights_hash, self.eps, *own]
        )  # the room of a place depends on the bound that was learned

    @property
    def method(self) -> str:
        """How it learned, `ppl` or `features`; the settings of each have words of their own."""
        return "features" if "alike" in self.settings else "ppl"

    @property
    def summary(self) -> dict[str, Any]:
        """What tells it from others."""
        return {
            "eps": f"{self.eps:.4g}" if self.norm == "linf" else f"{self.norm} {self.eps:.4g}",
            "width": self.width,
            "channels": self.channels,
            "learned against": ", ".join(self.surrogate_names),
            "data": self.data.get("name") or self.data.get("source"),
            "weights": self.weights_hash,
            "notes": "; ".join(self.notes),
        }


def save_protector(net: Protector, folder: Path | str, **facts: Any) -> ProtectorCard:
    """Write a protector folder; the card is written last, so a folder with a card is complete.

    Args:
        net: what to save.
        folder: where to; made if missing.
        facts: further fields of `ProtectorCard`.

    Raises:
        RunError: the folder cannot be written.
    """
    folder = Path(folder)
    own = {"channels": net.channels, "width": net.width, "eps": net.eps, "norm": net.norm}
    own |= {"skips": net.skips, "even": net.even, "regions": net.regions, "weights_hash": net.digest}
    card = ProtectorCard(**own, **facts)
    write_folder(folder / WEIGHTS, net.state_dict(), folder / CARD, card)
    return card


def load_protector(name: Path | str) -> tuple[Protector, ProtectorCard]:
    """Load a protector folder, or one that ships with hamguard by its name, frozen, in evaluation mode, on the CPU.

    `shipped:photos` is always the one inside the package; `photos` is a folder of that name where it holds a protector.

    Raises:
        RequestError: neither a protector folder nor a shipped name, or something in it is missing or damaged.
        StaleError: the weights are not those that the card was written for.
    """
    folder = Path(name)
    if is_shipped(name):
        folder = shipped_protector(str(name).removeprefix(PREFIX))
    elif str(name) in SHIPPED and not (folder / CARD).is_file():  # a folder of photos may well be called so
        folder = shipped_protector(str(name))
    near = suggest(str(name), SHIPPED) or f"; shipped with hamguard: {', '.join(SHIPPED)}"
    missing = f"{name} is not a protector folder: it has no {CARD}{near}"
    card = read_card_file(folder / CARD, ProtectorCard, missing)
    state = read_safetensors(folder / WEIGHTS)
    own: dict[str, Any] = {"norm": card.norm, "skips": card.skips, "even": card.even, "regions": card.regions}
    net = with_weights(lambda: Protector(card.channels, card.width, card.eps, **own), state, folder)
    check_weights(net.digest, card.weights_hash, folder)
    return net.eval().requires_grad_(False), card


def shipped_protector(name: str) -> Path:
    """Folder of a protector inside the package.

    Raises:
        RequestError: there is none of that name.
    """
    if name not in SHIPPED:
        raise RequestError(f"no protector {name!r} ships with hamguard; there is {', '.join(SHIPPED)}")
    return shipped_folder(f"protector-{name}")
