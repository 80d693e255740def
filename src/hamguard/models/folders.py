"""What all folders of weights share: safetensors beside a card, written one after the other and checked against each other.

A card carries the hash of its own content and that of the weights. Format 1, of hamguard 0.1, had the second only and is read, too.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from pydantic import BaseModel, ValidationError
from safetensors.torch import save
from torch import Tensor, nn

from hamguard.core.errors import DamagedError, MissingFileError, RequestError, StaleError
from hamguard.core.files import read_sealed, write_bytes, write_sealed

FORMAT: Literal[2] = 2
"""Of the cards that are written now."""

AnyCard = TypeVar("AnyCard", bound=BaseModel)
AnyPart = TypeVar("AnyPart")
AnyNet = TypeVar("AnyNet", bound=nn.Module)


def write_folder(weights: Path, state: Mapping[str, Tensor], card_path: Path, card: BaseModel) -> None:
    """Write weights and card; the card is written last, so a folder with a card is complete.

    Raises:
        RunError: the folder cannot be written.
    """
    write_bytes(weights, save({name: value.detach().cpu().contiguous() for name, value in state.items()}))
    write_sealed(card_path, card.model_dump(mode="json"))


def read_card_file(path: Path, kind: type[AnyCard], missing: str) -> AnyCard:
    """Read a card.

    Args:
        path: its file.
        kind: what it must be.
        missing: what to say where there is none.

    Raises:
        RequestError: it is missing.
        DamagedError: it is no card, or not as it was written.
    """
    try:
        content = read_sealed(path, "card", old=lambda card: card.get("format", 1) == 1)
    except MissingFileError as error:
        raise RequestError(missing) from error
    return card_of(content, kind, path)


def card_of(content: Mapping[str, Any], kind: type[AnyCard], path: Path) -> AnyCard:
    """A card of what its file, at `path`, holds.

    Raises:
        DamagedError: it is none.
    """
    try:
        return kind(**content)
    except ValidationError as error:
        raise DamagedError(path, first_fault(error)) from error
    except (TypeError, RecursionError) as error:
        raise DamagedError(path, str(error).splitlines()[0]) from error


def from_card(kind: Callable[..., AnyPart], facts: Mapping[str, Any]) -> AnyPart:
    """Settings that a card keeps, as what they were.

    Raises:
        RequestError: they are not those of this kind.
    """
    try:
        return kind(**facts)
    except (ValidationError, TypeError) as error:
        fault = first_fault(error) if isinstance(error, ValidationError) else str(error)
        raise RequestError(f"the card of the model is damaged: settings: {fault}") from error


def first_fault(error: ValidationError) -> str:
    """The first fault that pydantic found, in one line: where it stands and what is right."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {message[:1].lower()}{message[1:]}".splitlines()[0]


def without_memory(make: Callable[[], AnyNet]) -> AnyNet:
    """A network of shapes alone (device meta); a whole one where it computes with its first weights (torchvision's RegNet)."""
    try:
        with torch.device("meta"):
            return make()
    except NotImplementedError:
        return make()


def with_weights(make: Callable[[], AnyNet], state: Mapping[str, Tensor], folder: Path | str) -> AnyNet:
    """A network with the weights of its folder, compared shape by shape before anything of its size is built.

    Args:
        make: builds the network that the card describes.
        state: its weights by name.
        folder: where they came from, for the message.

    Raises:
        RequestError: they do not fit the card.
    """
    net = without_memory(make)  # a card may ask for more than the memory holds
    # copies: a tensor of the file's reader may begin at any byte, and fast kernels round by where a tensor begins
    take_weights(net, {name: value.clone() for name, value in state.items()}, folder, assign=True)
    if any(value.is_meta for value in itertools.chain(net.parameters(), net.buffers())):
        net = make()  # it has parts that no file keeps
        take_weights(net, state, folder)
    return net


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
    """Check the content hash of weights against the one in the card.

    Raises:
        DamagedError: the card has none.
        StaleError: the weights are not those that the card was written for.
    """
    if not written_for:
        raise DamagedError(folder, "its card has no hash of the weights")
    if found != written_for:
        raise StaleError(f"{folder}: the weights have hash {found}, the card was written for {written_for}")
