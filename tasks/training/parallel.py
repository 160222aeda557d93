"""How one or several processes train a network: by one, each with the whole network, or each with slices of it.

What differs between the three is here; the training loop asks for it by one interface.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tasks import stopping
from tasks.strategies.surgery import Adapted
from tasks.training.batches import Split, inference_batches, inference_rows
from tasks.training.device import Hardware
from tasks.training.distributed import ProcessGroup
from tasks.training.folding import folded
from tasks.training.inference import answers_to
from tasks.training.model_state import fill, state_of
from tasks.training.sharding import average_scalar_gradients, shard
from tasks.training.synchronised import synchronised


class Parallelism:
    """How some processes train a network; what is defined here suits a network that each has as a whole.

    Attributes:
        processes: those that train together.
        hardware: device and precision.
        is_sharded: whether no process has the whole network on its device.
    """

    is_sharded = False

    def __init__(self, processes: ProcessGroup, hardware: Hardware) -> None:
        self.processes, self.hardware = processes, hardware

    def place(self, adapted: Adapted, _: Split) -> Adapted:
        """Return the network that trains, on the device.

        Args:
            adapted: the network, on the CPU.
            _: images of the working size, to find out which modules run.
        """
        adapted.model.to(self.hardware.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return adapted

    def forward_passes(self, model: nn.Module) -> AbstractContextManager[None]:
        """Change, for as long as the block runs, what a network's layers compute, to what suits these processes."""
        return folded(model)

    def wrap(self, network: nn.Module, inputs: Tensor) -> nn.Module:
        """Return a network whose backward pass leaves the mean of all processes' gradients.

        Args:
            network: in the state in which it trains.
            inputs: some of what it is given, on the device.
        """
        return network

    def after_backward(self, model: nn.Module) -> None:
        """Finish the gradients that the backward passes of a batch left."""

    def local_answers(self, adapted: Adapted, split: Split) -> list[Tensor]:
        """Return the logits of every batch of a split that is this process's; ``all_gather`` joins them."""
        rows = self.processes.local_batches(inference_rows(split))
        return answers_to(adapted, inference_batches(split, rows), self.hardware)

    def takes_part_in_saving(self) -> bool:
        """Return whether this process is needed where a checkpoint is written."""
        return self.processes.rank == 0

    def saves_when_stopped(self) -> bool:
        """Return whether a process that is stopped can write a checkpoint by itself."""
        return True

    def agree_to_save(self, is_due: bool) -> bool:
        """Return whether a checkpoint is written now, where this process finds one due or not."""
        return is_due

    def collect(self, trained: nn.Module, target: nn.Module) -> None:
        """Bring a network that was trained back into the one that ``place`` was given."""


class SingleDevice(Parallelism):
    """One process trains the whole network."""


class Replicated(Parallelism):
    """Every process has the whole network, and runs its rows of every batch.

    Li et al., PyTorch Distributed: Experiences on Accelerating Data Parallel Training (VLDB 2020): torch's
    DistributedDataParallel adds the gradients up while the backward pass still runs. It takes note of what requires a
    gradient when it is made, and so wraps the network anew whenever other layers train.
    """

    @contextmanager
    def forward_passes(self, model: nn.Module) -> Iterator[None]:
        """Let layers see the batch of all processes, too."""
        with synchronised(model, self.processes), super().forward_passes(model):
            yield

    def wrap(self, network: nn.Module, inputs: Tensor) -> nn.Module:
        """Return the network within DistributedDataParallel, which is told whether all that trains gets a gradient."""
        with self.hardware.autocast():
            has_unused = not _uses_all(network, torch.cat([inputs[:1], inputs[:1]]))
            return DistributedDataParallel(network, forward_sync_buffers=False, find_unused_parameters=has_unused)


class Sharded(Parallelism):
    """Every process has slices of the network, as ``shard`` cuts them, and runs its rows of every batch."""

    is_sharded = True

    def place(self, adapted: Adapted, split: Split) -> Adapted:
        """Return slices of a copy of the network."""
        images = split.images(np.zeros(2, dtype=np.int64))
        return shard(adapted, adapted.normalisation(images), self.hardware)

    def forward_passes(self, model: nn.Module) -> AbstractContextManager[None]:
        """Let layers see the batch of all processes; nothing is folded, which reaches from one block into another."""
        return synchronised(model, self.processes)

    def after_backward(self, model: nn.Module) -> None:
        """Average the gradients of what is not cut into slices."""
        average_scalar_gradients(model)

    def local_answers(self, adapted: Adapted, split: Split) -> list[Tensor]:
        """Return the logits of this process's batches; all run as many, since they gather the weights together."""
        batches = inference_rows(split)
        padded = (split.images(rows) for rows in self.processes.padded_local_batches(batches))
        # What fully_shard gathers in inference mode, training can't use.
        undivided = replace(self.hardware, engine=None)  # slices are no weights for an engine
        answers = answers_to(adapted, padded, undivided, without_gradients=torch.no_grad)
        return answers[: len(self.processes.local_batches(batches))]

    def takes_part_in_saving(self) -> bool:
        """Return True: every process has its slices to give."""
        return True

    def saves_when_stopped(self) -> bool:
        """Return False: all save behind the step or the validation in which the first process is asked to stop."""
        return False

    def agree_to_save(self, is_due: bool) -> bool:
        """Return what the first process says, for which being asked to stop is a reason, too."""
        return self.processes.broadcast(is_due or stopping.is_asked())

    def collect(self, trained: nn.Module, target: nn.Module) -> None:
        """Fill the network that was copied with all slices."""
        fill(target, state_of(trained, target.state_dict()))


def parallelism_of(processes: ProcessGroup, hardware: Hardware, *, sharded: bool) -> Parallelism:
    """Return how some processes train a network; a single one has the whole."""
    if processes.world_size == 1:
        return SingleDevice(processes, hardware)
    return Sharded(processes, hardware) if sharded else Replicated(processes, hardware)


def _uses_all(network: nn.Module, inputs: Tensor) -> bool:
    """Return whether every parameter that requires a gradient would get one; nothing changes."""
    values_before = {buffer: buffer.clone() for buffer in network.buffers()}
    answer = network(inputs)
    for buffer, values in values_before.items():
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
