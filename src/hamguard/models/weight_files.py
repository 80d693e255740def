"""Files of weights: read without running code from them, checked, and given the names that a network uses."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors.torch import load_file
from torch import Tensor

from hamguard.core.errors import RequestError
from hamguard.core.files import open_ordinary

LARGEST_HEADER = 100_000_000  # bytes, the limit of safetensors itself


def read_safetensors(path: Path | str) -> dict[str, Tensor]:
    """Read a weight file without executing code; half precision becomes float32.

    Raises:
        RequestError: missing, a pickle (which could execute code), damaged, or with values that are not finite.
    """
    with open_ordinary(path, "weight file") as stream:
        head = stream.read(9)
        told, held = _bytes_told(head, stream), os.fstat(stream.fileno()).st_size
    # a safetensors file begins with the length of its header, whose first byte may be any, and then the header, a JSON object
    if head[:2] == b"PK" or (head[:1] == pickle.PROTO and head[8:] != b"{"):
        raise RequestError(
            f"{path} is a pickle, which can execute code when it is loaded; give a .safetensors file "
            "(convert on a machine you trust: safetensors.torch.save_file(torch.load(path, weights_only=True), out))"
        )
    if told is not None and told != held:  # said here, because the reader takes memory for all of the file first
        raise RequestError(
            f"{path} is not a readable safetensors file: its header tells of {told:,} bytes, it has {held:,}"
        )
    try:
        state = load_file(path)
    except MemoryError:
        raise
    except Exception as error:  # its parser's own kinds, and a type of numbers that torch does not know
        raise RequestError(f"{path} is not a readable safetensors file: {str(error).splitlines()[0]}") from error
    return finite({name: value.float() if value.is_floating_point() else value for name, value in state.items()}, path)


def finite(state: dict[str, Tensor], path: Path | str) -> dict[str, Tensor]:
    """The same weights, none of which is NaN or infinite.

    Raises:
        RequestError: some are.
    """
    broken = [name for name, value in state.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if broken:
        raise RequestError(f"{path} holds NaN or infinite weights in {', '.join(broken[:3])}")
    return state


def _bytes_told(head: bytes, stream: BinaryIO) -> int | None:
    """Bytes of a safetensors file by its header, of which `head` is read already; None where it has no sound header."""
    length = int.from_bytes(head[:8], "little")
    if len(head) < 9 or length > LARGEST_HEADER:
        return None
    try:
        header = json.loads(head[8:] + stream.read(length - 1))
        return (
            8
            + length
            + max((one["data_offsets"][1] for name, one in header.items() if name != "__metadata__"), default=0)
        )
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return None


def read_pickled(path: Path) -> dict[str, Tensor]:
    """Read tensors by name of a file of `torch.save`, without running code from it (`weights_only=True`).

    Raises:
        RequestError: it holds anything else, is damaged, or has values that are not finite.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # the unpickler may stumble over anything
        raise RequestError(
            f"{path} is not a readable file of weights: {(str(error) or type(error).__name__).splitlines()[0]}"
        ) from error
    if not isinstance(found, Mapping) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise RequestError(f"{path} is not a readable file of weights: it must hold tensors by name")
    return finite(
        {str(name): value.float() if value.is_floating_point() else value for name, value in found.items()}, path
    )


COUNTER = "num_batches_tracked"
"""Of batch norms, which some files have; it decides nothing where weights are used."""


def in_order(state: Mapping[str, Tensor], own: Mapping[str, Sequence[int]], what: object) -> dict[str, Tensor]:
    """Give tensors the names of a network by their order.

    Both sides must have as many tensors, and at every place the same shape and the same kind (`weight`, `running_mean`, ...).
    Blocks (parts of a name up to its last number) must begin and end together, be numbered upwards, and blocks of one form must
    call their parts alike: so two tensors, or two blocks, that changed places are found even if their shapes are equal.

    Args:
        state: tensors of a file, in its order.
        own: shapes by the network's own names, in its order.
        what: the file, for messages.

    Raises:
        RequestError: they do not fit.
    """
    theirs = {name: value for name, value in state.items() if not name.endswith(COUNTER)}
    wanted = {name: tuple(shape) for name, shape in own.items() if not name.endswith(COUNTER)}
    if len(theirs) != len(wanted):
        raise RequestError(f"{what} does not fit: it has {len(theirs)} tensors, needed {len(wanted)}")
    for (name, shape), (there, value) in zip(wanted.items(), theirs.items(), strict=True):
        if name.rpartition(".")[2] != there.rpartition(".")[2] or tuple(value.shape) != shape:
            raise RequestError(
                f"{what} does not fit: {there} of shape {tuple(value.shape)} stands where {name} of shape {shape} belongs"
            )
    _check_blocks(wanted, theirs, what)
    return dict(zip(wanted, theirs.values(), strict=True))


def _check_blocks(own: Iterable[str], theirs: Iterable[str], what: object) -> None:
    """Compare how two lists of names are divided into blocks.

    Raises:
        RequestError: a block begins elsewhere, its number goes back, or one form has two names.
    """
    pairs = [(_block(name), _block(there)) for name, there in zip(own, theirs, strict=True)]
    forms: dict[tuple[str, ...], tuple[str, ...]] = {}
    last: tuple[int, ...] = ()
    seen: set[str] = set()
    for (mine, there), group in groupby(pairs, key=lambda pair: (pair[0][0], pair[1][0])):
        parts = list(group)
        form, named = tuple(one[1] for one, _ in parts), tuple(other[1] for _, other in parts)
        numbers = tuple(int(word) for word in there.split(".") if word.isdigit())
        if bool(mine) != bool(there) or (mine and (mine in seen or numbers <= last)):
            raise RequestError(f"{what} does not fit: its tensors stand in another order, at {there or named[0]}")
        if forms.setdefault(form, named) != named:
            raise RequestError(f"{what} does not fit: the parts of {there or named[0]} stand in another order")
        if mine:
            seen.add(mine)
            last = numbers


def _block(name: str) -> tuple[str, str]:
    """The block that a tensor belongs to, and its name in it: `_blocks.3._bn1.bias` as `_blocks.3` and `_bn1.bias`."""
    words = name.split(".")
    end = max((place + 1 for place, word in enumerate(words) if word.isdigit()), default=0)
    return ".".join(words[:end]), ".".join(words[end:])
