"""Fine-tunings by one process or by two: the kinds of training that are compared, and what runs them."""

import multiprocessing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from rich.console import Console
from safetensors.torch import save_file

from tasks.data.augmentation import Augmentation
from tasks.params import AugmentParams, StrategyParams
from tasks.training.activations import Cache
from tasks.training.batches import Split
from tasks.training.checkpoints import Progress
from tasks.training.device import Hardware
from tasks.training.distributed import ALONE, Team, team
from tasks.training.loop import Fitting, fit
from tasks.training.progress import Reporter
from tests.tasks.networks import network, strategy

CPU = Hardware(torch.device("cpu"), bfloat16=False)
QUIET = Reporter("test", Console(quiet=True))
Train = Callable[[Path, Split, Split, Team], None]


def train(
    folder: Path, settings: dict[str, Any], train: Split, val: Split, team: Team = ALONE
) -> tuple[Progress, dict[str, torch.Tensor]]:
    """Fine-tune a small network whose activations and checkpoint lie in a folder; return progress and weights."""
    own = dict(settings)
    name = own.pop("network", "mobilenet_v3_small")
    chosen: StrategyParams = strategy(**own)
    adapted, plan = network(name, chosen)
    cache = Cache(folder / "activations", 2**30, "the test's")
    augment = Augmentation(AugmentParams(crop=0.8), upright=False)
    job = Fitting(chosen, plan, train, val, augment, CPU, folder / "checkpoint", cache, team=team)
    progress = fit(adapted, job, QUIET, lambda _: None)
    return progress, dict(adapted.model.state_dict())


def in_processes(count: int, run: Callable[..., None], *arguments: Any) -> None:
    """Run a function in several processes of one thread that train together; it is given the team first.

    Raises:
        RuntimeError: one of them failed; its traceback is on standard error.
    """
    context = multiprocessing.get_context("spawn")
    store = dist.TCPStore("127.0.0.1", 0, count, is_master=True, wait_for_workers=False)
    started = [
        context.Process(target=_one, args=(rank, count, store.port, run, arguments), daemon=True)
        for rank in range(count)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join()
    if any(process.exitcode for process in started):
        raise RuntimeError(f"the processes ended with {[process.exitcode for process in started]}")


def _one(rank: int, count: int, port: int, run: Callable[..., None], arguments: Sequence[Any]) -> None:
    torch.set_num_threads(1)
    with team(rank, count, rank, dist.TCPStore("127.0.0.1", port, count, is_master=False)) as together:
        run(together, *arguments)


def train_all(team: Team, folder: Path, kinds: dict[str, tuple[dict[str, Any], Split, Split]]) -> None:
    """Train one network a kind, and write what each process has at the end."""
    for name, (settings, images, val) in kinds.items():
        place = folder / name
        place.mkdir(exist_ok=True)
        progress, state = train(place, settings, images, val, team)
        losses = torch.tensor([[row["train_loss"], row["val_loss"]] for row in progress.history], dtype=torch.float64)
        save_file(state | {"losses": losses}, place / f"{team.rank}.safetensors")
