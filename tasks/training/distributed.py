"""The processes that train one network together: who takes which images of a batch, and how they agree.

Every process draws the whole batch's order and augmentation; it runs its own rows of it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from tasks import stopping
from tasks.errors import UserError
from tasks.training.batches import Rows

T = TypeVar("T")
LONGEST_SILENCE = timedelta(days=1)  # of a process that others wait for: it may evaluate, or keep activations
ENDED = "one of the processes that train together ended: run the same command again, it goes on from its checkpoint"


class EndedError(UserError):
    """Another process that trains the same network ended in the midst of it."""


@dataclass(frozen=True)
class LocalMicroBatch:
    """What a process runs of a micro-batch, which is a batch or a piece of one.

    Attributes:
        rows: the images' places in the batch.
        global_rows: the places of the whole micro-batch, all processes together.
        counts: whether the images count; where there are fewer than processes, one runs an image that doesn't, so that
            all take part in every exchange.
    """

    rows: slice
    global_rows: slice
    counts: bool = True


class ProcessGroup:
    """The processes that train one network together; by default a single one.

    Attributes:
        rank: this process's number; 0 writes, tracks and reports.
        world_size: number of processes.
        in_network: what of a batch is in the network at the moment; None: no batch that is divided.
    """

    def __init__(self, rank: int = 0, world_size: int = 1) -> None:
        self.rank, self.world_size = rank, world_size
        self.in_network: LocalMicroBatch | None = None

    def local_micro_batches(self, count: int, micro_batch: int | None = None) -> list[LocalMicroBatch]:
        """Return what this process runs of each micro-batch of a batch of ``count`` images.

        Args:
            count: images of all processes.
            micro_batch: images of a micro-batch, of all processes; None: the batch is one.
        """
        size = micro_batch or max(1, count)
        return [self._local(slice(start, min(start + size, count))) for start in range(0, count, size)]

    def _local(self, rows: slice) -> LocalMicroBatch:
        length = rows.stop - rows.start
        first, last = (rows.start + length * rank // self.world_size for rank in (self.rank, self.rank + 1))
        if first < last:
            return LocalMicroBatch(slice(first, last), rows)
        return LocalMicroBatch(slice(rows.start, rows.start + 1), rows, counts=False)

    def local_rows(self, count: int, micro_batch: int | None = None) -> Rows:
        """Return the places in a batch of all images that this process runs, as ``local_micro_batches``."""
        places = np.arange(count)
        return np.concatenate([places[local.rows] for local in self.local_micro_batches(count, micro_batch)])

    @contextmanager
    def running(self, local: LocalMicroBatch) -> Iterator[None]:
        """Note, for as long as the block runs, what is in the network."""
        self.in_network = local
        try:
            yield
        finally:
            self.in_network = None

    def local_batches(self, batches: Sequence[T]) -> Sequence[T]:
        """Return this process's batches of those that ``all_gather`` puts together again: processes take turns."""
        return batches[self.rank :: self.world_size]

    def padded_local_batches(self, batches: Sequence[T]) -> Sequence[T]:
        """Return ``local_batches``, filled up with the first batch, so that all processes have as many."""
        local = [*self.local_batches(batches)]
        return local + [batches[0]] * (-(-len(batches) // self.world_size) - len(local))

    def all_gather(self, local: list[Tensor]) -> Tensor:
        """Return what all processes have of batches that took turns, in their order, in one tensor on the CPU."""
        if self.world_size == 1:
            return torch.cat(local)
        by_rank: list[list[Tensor]] = [[] for _ in range(self.world_size)]
        dist.all_gather_object(by_rank, [answer.cpu() for answer in local])
        count = sum(map(len, by_rank))
        return torch.cat([by_rank[place % self.world_size][place // self.world_size] for place in range(count)])

    def all_reduce(self, values: Tensor) -> Tensor:
        """Add up the processes' tensors, in place."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def all_reduce_loss(self, loss: float) -> float:
        """Return the sum of the processes' losses; where one is asked to stop, the first is, too."""
        if self.world_size == 1:
            return loss
        sums = self.all_reduce(torch.tensor([loss, float(stopping.is_asked())], dtype=torch.float64))
        total, asked = sums.tolist()
        if asked and self.rank == 0:
            stopping.ask()
        return float(total)

    def broadcast(self, value: T) -> T:
        """Return the first process's value."""
        if self.world_size == 1:
            return value
        values: list[Any] = [value]
        dist.broadcast_object_list(values)
        first_value: T = values[0]
        return first_value

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
        by_rank: list[Any] = [values] * self.world_size
        if self.world_size > 1:
            dist.all_gather_object(by_rank, values)
        if any(other != values for other in by_rank):
            raise UserError(f"the processes that train together {what}: let all machines work in one shared folder")


SINGLE_PROCESS = ProcessGroup()


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


def joined_group() -> ProcessGroup:
    """Return the process group that this process has joined."""
    return ProcessGroup(dist.get_rank(), dist.get_world_size())


@contextmanager
def process_group(rank: int, world_size: int, local_rank: int, store: Any = None) -> Iterator[ProcessGroup]:
    """Join the other processes for as long as the block runs.

    Args:
        rank: this process's number, from 0.
        world_size: number of processes.
        local_rank: its number on this machine, which is that of its GPU.
        store: of torch.distributed, in which the processes find each other; None: the environment says where.

    Raises:
        EndedError: another process ended in the meantime.
    """
    backend = "gloo"
    if torch.cuda.is_available() and local_rank < torch.cuda.device_count():
        torch.cuda.set_device(local_rank)
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, rank=rank, world_size=world_size, timeout=LONGEST_SILENCE, store=store)
    try:
        yield ProcessGroup(rank, world_size)
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):
            raise EndedError(ENDED) from error
        raise
    finally:
        dist.destroy_process_group()
