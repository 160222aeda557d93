"""What trains a strategy's network, without tracking: measured where the strategy asks for it, fine-tuned, merged."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console

from tasks.data.augmentation import Augmentation
from tasks.params import Params, StrategyParams
from tasks.runs.prepared import PreparedData, network, network_in_groups
from tasks.strategies import adapters
from tasks.strategies.surgery import Adapted
from tasks.training import device, distributed
from tasks.training.averaged_fits import Trained, fit_and_average, fit_as_worker
from tasks.training.distributed import SINGLE_PROCESS, ProcessGroup
from tasks.training.job import TrainingJob
from tasks.training.measuring import Measurement, Trial, measure, needs_measuring
from tasks.training.progress import Reporter


def measurement_for(settings: StrategyParams, params: Params, data: PreparedData, reporter: Reporter) -> Measurement:
    """Measure what a strategy's plan needs before training; most need nothing."""
    if not needs_measuring(settings):
        return Measurement()
    reporter.say("measures before it trains")
    device.keep_freed_memory()
    augment = Augmentation(params.augment, params.data.is_upright)
    trial = Trial(settings, data.record.lr, data.split("train"), augment, device.choose(settings))
    found = measure(lambda: network_in_groups(settings, data), trial)
    for place, rate in found.measured.rates.items():
        reporter.say(f"learning rate of phase {place + 1}: {rate:.2g}")
    for part, share in found.measured.shares.items():
        reporter.say(f"{part} trains at {share:.0%} of the rate")
    return found


def trained_network(
    settings: StrategyParams,
    params: Params,
    data: PreparedData,
    measurement: Measurement,
    frozen: Mapping[str, str],
    checkpoint: Path,
    reporter: Reporter,
    on_epoch: Callable[[dict[str, float]], None],
    until: int | None = None,
    team: ProcessGroup = SINGLE_PROCESS,
) -> Trained:
    """Fine-tune a strategy's network; what was measured before counts as training time.

    Args:
        settings: the strategy.
        params: shared by all strategies.
        data: the prepared images and the backbone.
        measurement: what the plan needs.
        frozen: digests of what the plan freezes.
        checkpoint: where the state is kept between steps.
        reporter: shows progress.
        on_epoch: called with the history row of every epoch that was finished here.
        until: epochs after which training pauses at the latest.
        team: the processes that train together.

    Raises:
        DivergedError: training became non-finite and did not recover.
        RuntimeError: a frozen tensor changed; names it.
    """
    make, job = _job(settings, params, data, measurement, checkpoint, until, team)
    trained = fit_and_average(make, job, frozen, reporter, on_epoch)
    if settings.adapters:
        adapters.merge(trained.adapted.model)
    return replace(trained, progress=replace(trained.progress, seconds=trained.progress.seconds + measurement.seconds))


def assist_training(
    settings: StrategyParams,
    params: Params,
    data: PreparedData,
    measurement: Measurement,
    checkpoint: Path,
    until: int | None,
    team: ProcessGroup,
) -> None:
    """Take part, quietly, in what another process's ``trained_network`` trains; arguments as there."""
    fit_as_worker(
        *_job(settings, params, data, measurement, checkpoint, until, team), Reporter("", Console(quiet=True))
    )


def _job(
    settings: StrategyParams,
    params: Params,
    data: PreparedData,
    measurement: Measurement,
    checkpoint: Path,
    until: int | None,
    team: ProcessGroup,
) -> tuple[Callable[[], Adapted], TrainingJob]:
    """Return what makes a strategy's network before training, again and again, and what to do with it."""
    hardware = device.choose(settings)
    distributed.check_gpu(hardware.device)
    made = partial(network, settings, data, measurement.measured)
    first = made()
    job = TrainingJob(
        settings, first.plan, data.split("train"), data.split("val"),
        Augmentation(params.augment, params.data.is_upright), hardware, checkpoint,
        data.cache(settings), until, team, params.run.checkpoint_seconds,
    )  # fmt: skip
    device.keep_freed_memory()
    networks = itertools.chain([first.adapted], (made().adapted for _ in itertools.count()))
    return partial(next, networks), job
