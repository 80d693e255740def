"""Several processes: who am I, gather with gradient, wait. One process is the same code with a group of one."""

from __future__ import annotations

import os
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from hamguard.core.context import ProcessGroup
from hamguard.core.errors import RunError


def join_processes() -> ProcessGroup:
    """Join the processes that `torchrun` started; a group of one where it did not.

    Raises:
        RunError: the other processes cannot be reached.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or "RANK" not in os.environ:
        return ProcessGroup()
    if not dist.is_initialized():
        try:
            dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        except (RuntimeError, ValueError) as error:
            raise RunError(f"the processes of this run did not find each other: {error}") from error
    return ProcessGroup(dist.get_rank(), size)


def leave_processes() -> None:
    """Leave the group, if one was joined."""
    if dist.is_initialized():
        dist.destroy_process_group()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        parts = [torch.empty_like(local) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, local.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        grad = grads[0].contiguous().clone()
        dist.all_reduce(
            grad
        )  # every process holds a loss of all rows; the wrapper's mean divides by their number again
        size = len(grad) // dist.get_world_size()
        return grad[dist.get_rank() * size : (dist.get_rank() + 1) * size]


def gather(local: Tensor, process_group: ProcessGroup) -> Tensor:
    """Rows of all processes in order of rank, `(b, ...)` to `(b * size, ...)`, with gradient to the own rows."""
    if process_group.size == 1:
        return local
    return _Gather.apply(local)  # type: ignore[no-any-return]


def wait(process_group: ProcessGroup) -> None:
    """Go on when all processes have come here."""
    if process_group.size > 1:
        dist.barrier()


def share_number(value: float, process_group: ProcessGroup) -> float:
    """The leading process's number, on every process."""
    if process_group.size == 1:
        return value
    box = torch.tensor([value], dtype=torch.float64)
    dist.broadcast(box, 0)
    return float(box)
