"""Several processes: who am I, gather with gradient, wait. One process is the same code with a world of one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from hamguard.core.errors import RunError


@dataclass(frozen=True)
class World:
    """This process among its fellows: `rank` of `size`."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0


def join_world() -> World:
    """Join the processes that `torchrun` started; a world of one where it did not.

    Raises:
        RunError: the other processes cannot be reached.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or "RANK" not in os.environ:
        return World()
    if not dist.is_initialized():
        try:
            dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        except (RuntimeError, ValueError) as error:
            raise RunError(f"the processes of this run did not find each other: {error}") from error
    return World(dist.get_rank(), size)


def leave_world() -> None:
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
        dist.all_reduce(grad)  # every process holds a loss of all rows; the wrapper's mean divides by the world again
        size = len(grad) // dist.get_world_size()
        return grad[dist.get_rank() * size : (dist.get_rank() + 1) * size]


def gather(local: Tensor, world: World) -> Tensor:
    """Rows of all processes in order of rank, `(b, ...)` to `(b * size, ...)`, with gradient to the own rows."""
    if world.size == 1:
        return local
    return _Gather.apply(local)  # type: ignore[no-any-return]


def wait(world: World) -> None:
    """Go on when all processes have come here."""
    if world.size > 1:
        dist.barrier()


def share_number(value: float, world: World) -> float:
    """The leading process's number, on every process."""
    if world.size == 1:
        return value
    box = torch.tensor([value], dtype=torch.float64)
    dist.broadcast(box, 0)
    return float(box)
