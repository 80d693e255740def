"""Generator folders: `generator.safetensors` and `generator.json`, never a pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from hamguard import __version__
from hamguard.core.digests import digest_state
from hamguard.core.html import Shown
from hamguard.core.seeds import torch_generator
from hamguard.models.folders import FORMAT, check_weights, read_card_file, with_weights, write_folder
from hamguard.models.prosgan import Generator, PrototypeNet
from hamguard.models.store import MAX_BITS, Side
from hamguard.models.weight_files import read_safetensors

WEIGHTS, CARD = "generator.safetensors", "generator.json"
PARTS = ("generator", "prototype")
MAX_WIDTH = 1024  # a card that asks for more is no card of ours and would only fill the memory


class GeneratorCard(Shown, BaseModel):
    """Facts that travel with a generator.

    Attributes:
        kind: of generator; there is one.
        width: channels of its first convolution.
        channels: channels of the pictures.
        size: height and width in pixels.
        bits: code length K of the model it was made against.
        class_names: one a label, C of them.
        victim: content hash of that model.
        victim_name: what it was called then.
        budget: `soft` or `hard`.
        norm, eps: ball of a hard budget; None for a soft one.
        settings: settings of the game, complete.
        recipe: training recipe, complete.
        seed: seed of the run.
        data: source, protocol and split hash of the training pictures.
        prototypes: content hash of the prototype codes of the single labels.
        weights_hash: content hash of the weights.
        history: one entry an epoch.
        version: hamguard's version.
    """

    model_config = ConfigDict(extra="forbid")

    format: Literal[1, 2] = FORMAT
    kind: Literal["prosgan"] = "prosgan"
    width: int = Field(ge=8, le=MAX_WIDTH, multiple_of=8)
    channels: Literal[1, 3]
    size: tuple[Side, Side]
    bits: int = Field(ge=1, le=MAX_BITS)
    class_names: list[str] = Field(min_length=1)
    victim: str
    victim_name: str = ""
    budget: Literal["soft", "hard"]
    norm: Literal["linf", "l2"] | None = None
    eps: float | None = Field(None, gt=0)
    settings: dict[str, Any] = {}
    recipe: dict[str, Any] = {}
    seed: int = 0
    data: dict[str, Any] = {}
    prototypes: str = ""
    weights_hash: str = ""
    history: list[dict[str, float]] = []
    version: str = __version__

    @property
    def summary(self) -> dict[str, Any]:
        """What tells it from others."""
        return {
            "kind": self.kind,
            "images": f"{self.channels} x {self.size[0]} x {self.size[1]}",
            "victim": self.victim_name or self.victim,
            "bits": self.bits,
            "labels": len(self.class_names),
            "budget": self.budget if self.eps is None else f"{self.budget}, {self.norm} {self.eps:.4g}",
            "data": self.data.get("name") or self.data.get("source"),
            "weights": self.weights_hash,
        }


def save_generator(generator: Generator, prototype: PrototypeNet, folder: Path | str, **facts: Any) -> GeneratorCard:
    """Write a generator folder; the card is written last, so a folder with a card is complete.

    Args:
        generator: what to save.
        prototype: its prototype net.
        folder: where to; made if missing.
        facts: further fields of `GeneratorCard`.

    Raises:
        RunError: the folder cannot be written.
    """
    folder = Path(folder)
    nets = dict(zip(PARTS, (generator, prototype), strict=True))
    state = {f"{part}.{name}": value for part, net in nets.items() for name, value in net.state_dict().items()}
    card = GeneratorCard(
        width=generator.width,
        channels=generator.channels,
        size=generator.size,
        bits=prototype.bits,
        weights_hash=digest_state(state),
        **facts,
    )
    write_folder(folder / WEIGHTS, state, folder / CARD, card)
    return card


def read_generator_card(folder: Path | str) -> GeneratorCard:
    """Read the card of a generator folder.

    Raises:
        RequestError: the folder or its card is missing, or the card is damaged.
    """
    missing = f"no generator at {folder}; train one with hamguard train --method prosgan --victim MODEL --out {folder}"
    return read_card_file(Path(folder) / CARD, GeneratorCard, missing)


def load_generator(folder: Path | str) -> tuple[Generator, PrototypeNet, GeneratorCard]:
    """Load a generator folder, frozen, in evaluation mode, on the CPU.

    Raises:
        RequestError: something is missing or damaged.
        StaleError: the weights are not those that the card was written for.
    """
    card = read_generator_card(folder)
    state = read_safetensors(Path(folder) / WEIGHTS)
    blank = torch_generator(0, "overwritten")
    own = [
        {name.removeprefix(f"{part}."): value for name, value in state.items() if name.startswith(f"{part}.")}
        for part in PARTS
    ]
    generator = with_weights(lambda: Generator(card.channels, card.size, card.width, blank), own[0], folder)
    prototype = with_weights(lambda: PrototypeNet(len(card.class_names), card.bits, blank), own[1], folder)
    for net in (generator, prototype):
        net.eval().requires_grad_(False)
    check_weights(digest_state(state), card.weights_hash, folder)
    return generator, prototype, card
