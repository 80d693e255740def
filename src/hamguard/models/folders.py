"""What all folders of weights share: safetensors beside a card, written one after the other and checked against each other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from hamguard.core.errors import RequestError, StaleError
from hamguard.core.files import replacing, write_text

AnyCard = TypeVar("AnyCard", bound=BaseModel)


def write_folder(weights: Path, state: Mapping[str, Tensor], card_path: Path, card: BaseModel) -> None:
    """Write weights and card; the card is written last, so a folder with a card is complete.

    Raises:
        RunError: the folder cannot be written.
    """
    with replacing(weights) as temporary:
        try:
            save_file({name: value.detach().cpu().contiguous() for name, value in state.items()}, temporary)
        except SafetensorError as error:  # its name for a full disk
            raise OSError(str(error)) from error
    write_text(card_path, card.model_dump_json(indent=2) + "\n")


def read_card_file(path: Path, kind: type[AnyCard], missing: str) -> AnyCard:
    """Read a card.

    Args:
        path: its file.
        kind: what it must be.
        missing: what to say where there is none.

    Raises:
        RequestError: it is missing or damaged.
    """
    if not path.is_file():
        raise RequestError(missing)
    try:
        return kind(**json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, ValidationError, UnicodeDecodeError, TypeError) as error:
        raise RequestError(f"{path} is damaged: {str(error).splitlines()[0]}") from error


def take_weights(net: nn.Module, state: Mapping[str, Tensor], folder: Path | str, *, assign: bool = False) -> None:
    """Give a network the weights of its folder.

    Args:
        net: the network, changed in place.
        state: its weights by name.
        folder: where they came from, for the message.
        assign: take the tensors themselves, where the network was built without memory (device meta).

    Raises:
        RequestError: they do not fit the card that it was made by.
    """
    try:
        net.load_state_dict(state, assign=assign)
    except RuntimeError as error:
        raise RequestError(f"{folder}: weights and card do not fit: {' '.join(str(error).split())[:200]}") from error


def check_weights(found: str, written_for: str, folder: Path | str) -> None:
    """Check the content hash of weights against the one in the card; an empty one fits all.

    Raises:
        StaleError: the weights are not those that the card was written for.
    """
    if written_for and found != written_for:
        raise StaleError(f"{folder}: the weights have hash {found}, the card was written for {written_for}")
