"""A second device for machines without one: tensors that say they are elsewhere, live on the CPU, and refuse what CUDA refuses.

Refused are operations on tensors of both places (but for CPU numbers without a dimension, and CPU indices into far tensors), CPU
generators for far draws, and NumPy on far tensors. What works there and gives the CPU's figures has no such fault for a GPU either;
kernels and their rounding are not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

FAR = torch.device("meta")  # known everywhere, holds nothing, and goes backward in the caller's thread
CPU = torch.device("cpu")
INDEXED = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_", "aten::_unsafe_index")


class FarTensor(Tensor):
    """A tensor on the far device."""

    inner: Tensor
    is_meta = True  # a network that is only asked for its shapes is not filled with numbers

    @staticmethod
    def __new__(cls: type[FarTensor], inner: Tensor) -> FarTensor:
        made: FarTensor = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=FAR,
        )
        made.inner = inner
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatched(func, args, kwargs or {})

    def tolist(self) -> Any:
        """Numbers, as a GPU hands them over; torch has this for its own tensors only."""
        return self.inner.tolist()

    def __repr__(self) -> str:  # type: ignore[override]
        return f"FarTensor({tuple(self.shape)})"


class _Far(TorchDispatchMode):
    """Sees factories and copies, too, which no far tensor takes part in."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatched(func, args, kwargs or {})


@contextmanager
def far_device() -> Iterator[torch.device]:
    """The far device, there while the block runs."""
    with _Far():
        yield FAR


def near(x: Tensor) -> Tensor:
    """A tensor of any place on the CPU."""
    return x.detach().cpu()


def _dispatched(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name = func._schema.name
    flat = tree_flatten((args, kwargs))[0]
    far = [one for one in flat if isinstance(one, FarTensor)]
    plain = [one for one in flat if isinstance(one, Tensor) and not isinstance(one, FarTensor)]
    wanted = kwargs.get("device")
    wanted = None if wanted is None else torch.device(wanted)
    if name == "aten::_to_copy":
        found = func(_inner(args[0]), **{**kwargs, "device": CPU})
        goes_far = bool(far) if wanted is None else wanted == FAR
        return FarTensor(found) if goes_far else found
    if name == "aten::copy_":
        _inner(args[0]).copy_(_inner(args[1]))
        return args[0]
    goes_far = bool(far) if wanted is None else wanted == FAR
    if goes_far and any(isinstance(one, torch.Generator) for one in flat):
        raise RuntimeError(f"{name}: Expected a 'far' device type for generator but found 'cpu'")
    if far and any(one.dim() > 0 for one in plain) and not _is_index(name, args, plain):
        raise RuntimeError(
            f"{name}: Expected all tensors to be on the same device, but found at least two devices, far and cpu!"
        )
    found = func(
        *tree_map(_inner, args),
        **{key: CPU if key == "device" else tree_map(_inner, one) for key, one in kwargs.items()},
    )
    if not goes_far:
        return found
    written = [place for place, one in enumerate(func._schema.arguments) if one.alias_info and one.alias_info.is_write]
    if written and func._schema.returns and func._schema.returns[0].alias_info:
        place = written[0]
        return args[place] if place < len(args) else kwargs[func._schema.arguments[place].name]
    return tree_map(lambda one: FarTensor(one) if isinstance(one, Tensor) else one, found)


def _is_index(name: str, args: Any, plain: list[Tensor]) -> bool:
    """Whether the CPU tensors of a call are indices into a far one, which a GPU takes."""
    if name not in INDEXED or not isinstance(args[0], FarTensor):
        return False
    return all(any(one is index for index in args[1]) for one in plain)


def _inner(one: Any) -> Any:
    return one.inner if isinstance(one, FarTensor) else one


def refuses(call: Callable[[], Any], words: str) -> None:
    """Assert that a call fails as it would on a GPU."""
    with pytest.raises((RuntimeError, TypeError), match=words):
        call()
