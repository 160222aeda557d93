"""The processes that train together: those that torchrun started, or workers that are started here and end with this.

The first process runs the step as ever: it alone tracks, reports and writes. The workers wait for what is to be
trained, take part in it, and can't outlive the first.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks import stopping
from tasks.errors import UserError
from tasks.params import StrategyParams
from tasks.runs.repeats import Repeat

if TYPE_CHECKING:
    from tasks.training.distributed import ProcessGroup

WORKER = "THAWLINE_WORKER"  # in a worker's environment: port, rank, number of processes
LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # by torchrun
LOOPBACK = "127.0.0.1"
SECONDS_TO_END = 10.0


@dataclass(frozen=True)
class Assignment:
    """What the processes train together.

    Attributes:
        strategy, repeat: the fine-tuning.
        processes: that train together.
        work: the folder of its intermediate files, in which its measurement lies.
        until: steps after which training pauses at the latest.
    """

    strategy: str
    repeat: Repeat
    processes: int
    work: Path
    until: int | None


TakePart = Callable[[Assignment, "ProcessGroup"], None]


def launched() -> int:
    """Return how many processes torchrun started of which this is one; 0: it started none."""
    return int(os.environ["WORLD_SIZE"]) if all(name in os.environ for name in LAUNCHED) else 0


def is_worker() -> bool:
    """Return whether this process only takes part in what another one trains."""
    return WORKER in os.environ or (launched() > 1 and os.environ["RANK"] != "0")


def check_single_process(step: str) -> None:
    """Check that a step runs in one process.

    Raises:
        UserError: torchrun started several.
    """
    if launched() > 1 and not step.startswith(("finetune@", "candidate@")):
        raise UserError(f"torchrun divides 'finetune' alone: run 'python -m tasks {step}' without it")


def with_processes(settings: StrategyParams) -> StrategyParams:
    """Return a strategy's settings with as many processes as there are, where torchrun started them."""
    return settings.model_copy(update={"processes": launched()}) if launched() else settings


@contextmanager
def joined() -> Iterator[None]:
    """Join the processes that torchrun started, if there are any; behind the block they end."""
    if launched() < 2:
        yield
        return
    from tasks.training import distributed

    rank, world_size, local_rank = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    with distributed.process_group(rank, world_size, local_rank) as processes:
        yield
        if rank == 0:
            processes.broadcast(None)


@contextmanager
def processes_for(assignment: Assignment) -> Iterator["ProcessGroup"]:
    """Yield the processes that train an assignment: this one, and as many workers as it needs.

    Raises:
        UserError: there are fewer GPUs than processes, or a worker ended.
    """
    from tasks.training import distributed

    if assignment.processes == 1:
        yield distributed.SINGLE_PROCESS
    elif launched():
        processes = distributed.joined_group()
        processes.broadcast(assignment)
        yield processes
    else:
        with _with_workers(assignment) as processes:
            processes.broadcast(assignment)
            yield processes
            processes.broadcast(None)


@contextmanager
def _with_workers(assignment: Assignment) -> Iterator["ProcessGroup"]:
    import torch
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    from tasks.training import distributed

    world_size, threads = assignment.processes, torch.get_num_threads()
    store = TCPStore(LOOPBACK, 0, world_size, is_master=True, wait_for_workers=False)
    command = [sys.executable, "-m", "tasks", "finetune", "--strategy", assignment.strategy]
    shared = os.environ | {"OMP_NUM_THREADS": str(max(1, threads // world_size))}
    workers = [
        subprocess.Popen(
            command, env=shared | {WORKER: f"{store.port} {rank} {world_size}"}, stdin=subprocess.PIPE,
            start_new_session=True,
        )
        for rank in range(1, world_size)
    ]  # fmt: skip
    torch.set_num_threads(max(1, threads // world_size))
    try:
        while not store.check([_ready(rank) for rank in range(1, world_size)]):
            stopping.check()
            _check_running(workers)
            time.sleep(0.05)
        with distributed.process_group(0, world_size, 0, store) as processes:
            yield processes
    finally:
        torch.set_num_threads(threads)
        _end(workers)


def _check_running(workers: list[subprocess.Popen[bytes]]) -> None:
    statuses = [worker.returncode for worker in workers if worker.poll() is not None]
    if statuses:
        raise UserError(
            f"a process that was to help with the training ended with status {statuses[0]}: see its output above"
        )


def _end(workers: list[subprocess.Popen[bytes]]) -> None:
    """End the workers, which notice that their input is closed."""
    for worker in workers:
        if worker.stdin:
            worker.stdin.close()
    for worker in workers:
        with suppress(subprocess.TimeoutExpired):
            worker.wait(SECONDS_TO_END)
        worker.kill()
        worker.wait()


def assist(take_part: TakePart) -> None:
    """Work for the first process until it has no more to train; what ends both, the first one says.

    Args:
        take_part: trains an assignment together with the other processes.
    """
    from tasks.training.distributed import EndedError
    from tasks.training.loop import DivergedError

    stopping.leave_to_others()
    try:
        with _joined_as_worker() as processes:
            while assignment := _next_assignment(processes):
                take_part(assignment, processes)
    except (EndedError, DivergedError, stopping.InterruptedRun):
        sys.exit(1)


@contextmanager
def _joined_as_worker() -> Iterator["ProcessGroup"]:
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    from tasks.training import distributed

    if WORKER not in os.environ:
        with joined():
            yield distributed.joined_group()
        return
    threading.Thread(target=_end_with_the_first, name="end-with-the-first", daemon=True).start()
    port, rank, world_size = (int(number) for number in os.environ[WORKER].split())
    store = TCPStore(LOOPBACK, port, world_size, is_master=False)
    store.set(_ready(rank), "")
    with distributed.process_group(rank, world_size, rank, store) as processes:
        yield processes


def _next_assignment(processes: "ProcessGroup") -> Assignment | None:
    return processes.broadcast(None)


def _ready(rank: int) -> str:
    return f"ready {rank}"


def _end_with_the_first() -> None:
    sys.stdin.buffer.read()
    os._exit(1)
