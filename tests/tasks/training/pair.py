"""Fine-tunings by one process or by several: what runs them, and what they leave to be compared."""

import multiprocessing
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from rich.console import Console
from safetensors.torch import save_file
from torch import nn
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from tasks import stopping
from tasks.data.augmentation import Augmentation
from tasks.params import AugmentParams
from tasks.stopping import StoppedError
from tasks.strategies import freezing
from tasks.training.activations import Cache
from tasks.training.batches import Split
from tasks.training.checkpoints import progress_of
from tasks.training.device import Hardware
from tasks.training.distributed import ProcessGroup, process_group
from tasks.training.gradients import Gradients
from tasks.training.job import TrainingJob
from tasks.training.loop import fit
from tasks.training.parallel import parallelism_of
from tasks.training.progress import Reporter
from tasks.training.synchronised import synchronised
from tests.tasks.networks import network, strategy

CPU = Hardware(torch.device("cpu"), bfloat16=False)
LOOPBACK = "127.0.0.1"
Item = TypeVar("Item")


class Kind(NamedTuple):
    """A kind of training: the network, the strategy's settings, and the images."""

    network: str
    settings: dict[str, Any]
    train: Split
    val: Split


def in_processes(count: int, run: Callable[..., None], *arguments: Any) -> None:
    """Run a function in several processes of one thread that train together; it is given the process group first.

    Raises:
        RuntimeError: one of them failed; its traceback is on standard error.
    """
    context = multiprocessing.get_context("spawn")
    store = TCPStore(LOOPBACK, 0, count, is_master=True, wait_for_workers=False)
    started = [
        context.Process(target=_run_one, args=(rank, count, store.port, run, arguments), daemon=True)
        for rank in range(count)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join()
    if any(process.exitcode for process in started):
        raise RuntimeError(f"the processes ended with {[process.exitcode for process in started]}")


def _run_one(rank: int, count: int, port: int, run: Callable[..., None], arguments: Sequence[Any]) -> None:
    torch.set_num_threads(1)
    with process_group(rank, count, rank, TCPStore(LOOPBACK, port, count, is_master=False)) as processes:
        run(processes, *arguments)
    sys.stdout.flush()


class StopsItself(Reporter):
    """Asks the process to stop in the second step of every epoch."""

    def steps(self, batches: Iterable[Item], count: int, epoch: int, epochs: int, behind: int = 0) -> Iterator[Item]:
        """Yield ``batches``."""
        for place, batch in enumerate(super().steps(batches, count, epoch, epochs, behind)):
            if place == 1:
                stopping.ask()
            yield batch


def train_and_stop(processes: ProcessGroup, folder: Path, kinds: dict[str, Kind]) -> None:
    """Train until the first process stops behind its second step; leave how many a checkpoint has."""
    quiet = Console(quiet=True)
    with suppress(StoppedError):
        train(
            processes, folder, kinds, reporter=Reporter("test", quiet) if processes.rank else StopsItself("test", quiet)
        )
    for name in kinds:
        progress = progress_of(folder / name / "checkpoint")
        (folder / name / "steps").write_text(str(progress and progress.step))


def train(
    processes: ProcessGroup, folder: Path, kinds: dict[str, Kind], jitter: float = 0.0, reporter: Reporter | None = None
) -> None:
    """Train a network of every kind; leave the start, the last weights in a checkpoint, and each process's best.

    Args:
        processes: those that train together.
        folder: a folder a kind is made in it.
        kinds: by name.
        jitter: share by which every weight is off at the start.
        reporter: shows progress; None: nothing does.
    """
    reporter = reporter or Reporter("test", Console(quiet=True))
    for name, (network_name, settings, images, val) in kinds.items():
        place = folder / name
        place.mkdir(exist_ok=True)
        chosen = strategy(**settings)
        adapted, plan = network(network_name, chosen)
        for parameter in adapted.model.parameters():
            noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
            parameter.data.mul_(1 + jitter * noise)
        if processes.rank == 0:
            save_file(dict(adapted.model.state_dict()), place / "start")
        cache = Cache(folder / "activations", 2**30, name)
        augment = Augmentation(AugmentParams(crop=0.8), upright=False)
        job = TrainingJob(chosen, plan, images, val, augment, CPU, place / "checkpoint", cache, processes=processes)
        progress = fit(adapted, job, reporter, lambda _: None)
        losses = torch.tensor([[row["train_loss"], row["val_loss"]] for row in progress.history])
        seconds = torch.tensor([progress.seconds])
        state = {f"best.{key}": tensor.contiguous() for key, tensor in adapted.model.state_dict().items()}
        save_file({**state, "losses": losses, "seconds": seconds}, place / f"process-{processes.rank}")


def add_gradients(processes: ProcessGroup, folder: Path, kinds: dict[str, Kind]) -> None:
    """Leave the gradients of one batch, in float64, and the BatchNorm statistics behind it."""
    for name, (network_name, settings, images, _) in kinds.items():
        chosen, count = strategy(**settings), len(images)
        adapted, plan = network(network_name, chosen)
        model = adapted.model.double()
        model.register_parameter("unused", nn.Parameter(torch.zeros(1)))
        freezing.apply(plan, model, 0, update_statistics=True)
        rows = torch.from_numpy(processes.local_rows(count, chosen.micro_batch))
        inputs = torch.randn(count, 1, 64, 64, generator=torch.Generator().manual_seed(0)).double()[rows]
        with synchronised(model, processes):
            wrapped = parallelism_of(processes, CPU, sharded=False).wrap(model, inputs)
            torch.manual_seed(0)
            Gradients(adapted, chosen, CPU, images, processes)(wrapped, inputs, images.targets, images.weights)
        gradients = {key: p.grad.contiguous() for key, p in model.named_parameters() if p.grad is not None}
        save_file(gradients | dict(model.named_buffers()), folder / f"{name}-{processes.rank}")
