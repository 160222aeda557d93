"""The processes that train together: those that torchrun started, or others that are started here and end with this.

The first process runs the step as ever: it alone tracks, reports and writes. The others wait for what is to be trained,
take part in it, and can't outlive the first.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks import stopping
from tasks.errors import UserError
from tasks.params import StrategyParams
from tasks.runs.repeats import Repeat

HELPS = "THAWLINE_HELPS"  # in a helper's environment: port, rank, number of processes
LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # by torchrun
LOOPBACK = "127.0.0.1"
SECONDS_TO_END = 10.0


@dataclass(frozen=True)
class Assignment:
    """What is trained.

    Attributes:
        strategy, repeat: the fine-tuning.
        processes: that train together.
        work: the folder of its intermediate files, in which its measurement lies.
        until: epochs after which training pauses at the latest.
    """

    strategy: str
    repeat: Repeat
    processes: int
    work: Path
    until: int | None


def launched() -> int:
    """Return how many processes torchrun started of which this is one; 0: it started none."""
    return int(os.environ["WORLD_SIZE"]) if all(name in os.environ for name in LAUNCHED) else 0


def is_worker() -> bool:
    """Return whether this process only helps another to train."""
    return HELPS in os.environ or (launched() > 1 and os.environ["RANK"] != "0")


def check_alone(step: str) -> None:
    """Check that a step runs in one process.

    Raises:
        UserError: torchrun started several.
    """
    if launched() > 1 and not step.startswith("finetune@"):
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

    rank, size, local_rank = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    with distributed.process_group(rank, size, local_rank) as team:
        yield
        if rank == 0:
            team.broadcast(None)


@contextmanager
def team_for(assignment: Assignment) -> Iterator[Any]:
    """Yield the team that trains an assignment: this process, and as many helpers as it needs.

    Raises:
        UserError: there are fewer GPUs than processes, or a helper ended.
    """
    from tasks.training import distributed

    if assignment.processes == 1:
        yield distributed.SINGLE_PROCESS
    elif launched():
        team = distributed.joined_group()
        team.broadcast(assignment)
        yield team
    else:
        with _with_helpers(assignment) as team:
            team.broadcast(assignment)
            yield team
            team.broadcast(None)


@contextmanager
def _with_helpers(assignment: Assignment) -> Iterator[Any]:
    import torch
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    from tasks.training import distributed

    size, threads = assignment.processes, torch.get_num_threads()
    store = TCPStore(LOOPBACK, 0, size, is_master=True, wait_for_workers=False)
    command = [sys.executable, "-m", "tasks", "finetune", "--strategy", assignment.strategy]
    shared = os.environ | {"OMP_NUM_THREADS": str(max(1, threads // size))}
    helpers = [
        subprocess.Popen(
            command, env=shared | {HELPS: f"{store.port} {rank} {size}"}, stdin=subprocess.PIPE, start_new_session=True
        )
        for rank in range(1, size)
    ]
    torch.set_num_threads(max(1, threads // size))
    try:
        while not store.check([_ready(rank) for rank in range(1, size)]):
            stopping.check()
            _check_running(helpers)
            time.sleep(0.05)
        with distributed.process_group(0, size, 0, store) as team:
            yield team
    finally:
        torch.set_num_threads(threads)
        _end(helpers)


def _check_running(helpers: list[subprocess.Popen[bytes]]) -> None:
    ended = [helper.returncode for helper in helpers if helper.poll() is not None]
    if ended:
        raise UserError(
            f"a process that was to help with the training ended with status {ended[0]}: see its output above"
        )


def _end(helpers: list[subprocess.Popen[bytes]]) -> None:
    """End the helpers, which notice that their input is closed."""
    for helper in helpers:
        if helper.stdin:
            helper.stdin.close()
    for helper in helpers:
        with suppress(subprocess.TimeoutExpired):
            helper.wait(SECONDS_TO_END)
        helper.kill()
        helper.wait()


def assist() -> None:
    """Help the first process with all that it trains, until it has no more; what ends both, the first one says."""
    from tasks.training.distributed import EndedError
    from tasks.training.loop import DivergedError

    stopping.leave_to_others()
    try:
        _assist_first()
    except (EndedError, DivergedError, stopping.InterruptedRun):
        sys.exit(1)


def _assist_first() -> None:
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    from tasks.training import distributed

    if HELPS not in os.environ:
        with joined():
            _assist(distributed.joined_group())
        return

    threading.Thread(target=_end_with_the_first, name="end-with-the-first", daemon=True).start()
    port, rank, size = (int(number) for number in os.environ[HELPS].split())
    store = TCPStore(LOOPBACK, port, size, is_master=False)
    store.set(_ready(rank), "")
    with distributed.process_group(rank, size, rank, store) as team:
        _assist(team)


def _assist(team: Any) -> None:
    from tasks.runs.attempts import assist as train

    while (assignment := team.broadcast(None)) is not None:
        train(assignment, team)


def _ready(rank: int) -> str:
    return f"ready {rank}"


def _end_with_the_first() -> None:
    sys.stdin.buffer.read()
    os._exit(1)
