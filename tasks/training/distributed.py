"""One training over several processes: who takes which images of a batch, and how they agree.

Every process holds the whole network and draws the whole batch's order and augmentation; it runs its own slice of it.
Li et al., PyTorch Distributed: Experiences on Accelerating Data Parallel Training (VLDB 2020): torch's
DistributedDataParallel adds the gradients up while the backward pass still runs. It takes note of what requires a
gradient when it is made, and so wraps the network anew whenever other layers train.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tasks import stopping
from tasks.errors import UserError
from tasks.training.batches import Rows

T = TypeVar("T")
LONGEST_SILENCE = timedelta(days=1)  # of a process that others wait for: it may evaluate, or keep activations
ENDED = "one of the processes that train together ended: run the same command again, it goes on from its checkpoint"


class EndedError(UserError):
    """Another process that trains the same network ended in the midst of it."""


@dataclass(frozen=True)
class Share:
    """What a process runs of a piece of a batch.

    Attributes:
        rows: the images' places in the batch.
        piece: the places of the whole piece, all processes together.
        counts: whether the images count; where there are fewer than processes, one runs an image that doesn't, so that
            all take part in every exchange.
    """

    rows: slice
    piece: slice
    counts: bool = True


class Team:
    """The processes that train one network together; by itself one process that trains alone.

    Attributes:
        rank: this process's number; 0 writes, tracks and reports.
        size: number of processes.
        share: what of a batch is in the network at the moment; None: no batch that is divided.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        self.share: Share | None = None

    def shares(self, count: int, micro_batch: int | None = None) -> list[Share]:
        """Return what this process runs of a batch of ``count`` images, a share for each of its pieces.

        Args:
            count: images of all processes.
            micro_batch: images of a piece, of all processes; None: the batch is one piece.
        """
        size = micro_batch or max(1, count)
        return [self._share(slice(start, min(start + size, count))) for start in range(0, count, size)]

    def _share(self, piece: slice) -> Share:
        length = piece.stop - piece.start
        first, last = (piece.start + length * rank // self.size for rank in (self.rank, self.rank + 1))
        if first < last:
            return Share(slice(first, last), piece)
        return Share(slice(piece.start, piece.start + 1), piece, counts=False)

    def rows(self, count: int, micro_batch: int | None = None) -> Rows:
        """Return the places in a batch of all images that this process runs, as ``shares``."""
        places = np.arange(count)
        return np.concatenate([places[share.rows] for share in self.shares(count, micro_batch)])

    def wrap(self, network: nn.Module, inputs: Tensor) -> nn.Module:
        """Return a network whose backward pass leaves the mean of all processes' gradients.

        Args:
            network: in the state in which it trains.
            inputs: some of what it is given, to find out whether all that trains has a part in its answer.
        """
        if self.size == 1:
            return network
        has_unused = not _uses_all(network, torch.cat([inputs[:1], inputs[:1]]))
        return DistributedDataParallel(network, forward_sync_buffers=False, find_unused_parameters=has_unused)

    @contextmanager
    def running(self, network: nn.Module, share: Share, *, last: bool) -> Iterator[None]:
        """Let a share run forwards and backwards in the block; gradients are exchanged behind the last of a batch."""
        accumulates = isinstance(network, DistributedDataParallel) and not last
        self.share = share
        try:
            with network.no_sync() if accumulates else nullcontext():  # type: ignore[operator]
                yield
        finally:
            self.share = None

    def sum(self, values: Tensor) -> Tensor:
        """Add up the processes' tensors, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def own(self, items: Sequence[T]) -> Sequence[T]:
        """Return this process's share of batches that ``all_gather`` puts together again: they take turns."""
        return items[self.rank :: self.size]

    def as_many(self, items: Sequence[T]) -> Sequence[T]:
        """Return ``own``, filled up with any of the batches, so that all processes have the same number of them."""
        own = [*self.own(items)]
        return own + [items[0]] * (-(-len(items) // self.size) - len(own))

    def all_gather(self, own: list[Tensor]) -> Tensor:
        """Return what all processes have of batches that took turns, in their order, in one tensor on the CPU."""
        if self.size == 1:
            return torch.cat(own)
        found: list[list[Tensor]] = [[] for _ in range(self.size)]
        dist.all_gather_object(found, [answer.cpu() for answer in own])
        count = sum(map(len, found))
        return torch.cat([found[place % self.size][place // self.size] for place in range(count)])

    def broadcast(self, value: T) -> T:
        """Return the first process's value."""
        if self.size == 1:
            return value
        told: list[Any] = [value]
        dist.broadcast_object_list(told)
        found: T = told[0]
        return found

    @contextmanager
    def rank_zero_first(self) -> Iterator[None]:
        """Let the first process run the block before the others do."""
        if self.rank:
            self.broadcast(None)
        yield
        if self.rank == 0:
            self.broadcast(None)

    def check_same(self, values: list[float], what: str) -> None:
        """Check that all processes have the same numbers.

        Raises:
            UserError: they don't.
        """
        found: list[Any] = [values] * self.size
        if self.size > 1:
            dist.all_gather_object(found, values)
        if any(other != values for other in found):
            raise UserError(f"the processes that train together {what}: let all machines work in one shared folder")

    def agreed(self, loss: float) -> float:
        """Return the sum of the processes' losses; where one is asked to stop, the first is, too."""
        if self.size == 1:
            return loss
        total, asked = self.sum(torch.tensor([loss, float(stopping.is_asked())], dtype=torch.float64)).tolist()
        if asked and self.rank == 0:
            stopping.ask()
        return float(total)


ALONE = Team()


def _uses_all(network: nn.Module, inputs: Tensor) -> bool:
    """Return whether every parameter that requires a gradient would get one; nothing changes."""
    kept = {buffer: buffer.clone() for buffer in network.buffers()}
    answer = network(inputs)
    for buffer, values in kept.items():
        buffer.copy_(values)
    answers = [answer] if isinstance(answer, Tensor) else answer
    ahead, met, used = [logits.grad_fn for logits in answers], set(), set()
    while ahead:
        function = ahead.pop()
        if function is None or function in met:
            continue
        met.add(function)
        used.add(getattr(function, "variable", None))
        ahead += [before for before, _ in function.next_functions]
    return all(parameter in used for parameter in network.parameters() if parameter.requires_grad)


def check_gpu(device: torch.device) -> None:
    """Check that a process that trains on a GPU with others has one of its own.

    Raises:
        UserError: this machine has fewer GPUs than processes.
    """
    if device.type == "cuda" and dist.is_initialized() and "nccl" not in dist.get_backend_config():
        raise UserError(
            f"there are more processes than this machine's {torch.cuda.device_count()} GPUs: lower train.processes in "
            "params.yaml, or torchrun's --nproc-per-node"
        )


def of_this_process() -> Team:
    """Return the team that this process has joined."""
    return Team(dist.get_rank(), dist.get_world_size())


@contextmanager
def team(rank: int, size: int, local_rank: int, store: Any = None) -> Iterator[Team]:
    """Join the other processes for as long as the block runs.

    Args:
        rank: this process's number, from 0.
        size: number of processes.
        local_rank: its number on this machine, which is that of its GPU.
        store: of torch.distributed, in which the processes find each other; None: the environment says where.

    Raises:
        EndedError: another process ended in the meantime.
    """
    backend = "gloo"
    if torch.cuda.is_available() and local_rank < torch.cuda.device_count():
        torch.cuda.set_device(local_rank)
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, rank=rank, world_size=size, timeout=LONGEST_SILENCE, store=store)
    try:
        yield Team(rank, size)
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):
            raise EndedError(ENDED) from error
        raise
    finally:
        dist.destroy_process_group()
