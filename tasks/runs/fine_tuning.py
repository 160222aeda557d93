"""One fine-tuning of a strategy, from its plan to its trained network: what it takes is read and built once."""

import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from tasks import layout
from tasks.data.augmentation import Augmentation
from tasks.data.store import index_of
from tasks.files import digest_of, read_json, sha256_of, write_json
from tasks.params import Params, Start, StrategyParams, load_params
from tasks.runs.code import FINE_TUNING, digest_of_code
from tasks.runs.launch import Assignment, with_processes
from tasks.runs.networks import Network, hardware_of, network, network_in_groups
from tasks.runs.prepared import PreparedData
from tasks.runs.repeats import FIRST, Repeat
from tasks.strategies import adapters, freezing
from tasks.strategies.freezing import FreezePlan
from tasks.strategies.surgery import Adapted
from tasks.training import device, distributed
from tasks.training.averaged_fits import Trained, fit_and_average, fit_as_worker
from tasks.training.device import Hardware
from tasks.training.distributed import SINGLE_PROCESS, ProcessGroup
from tasks.training.job import TrainingJob, steps_of_epoch
from tasks.training.measuring import Measurement, Trial, measure, needs_measuring
from tasks.training.progress import Reporter

MEASURED, CHECKPOINT = "measured.json", "checkpoint.safetensors"
DIGITS = 12  # of an identity, in the name of a work folder
ANY_IDENTITY = "[0-9a-f]" * DIGITS


class FineTuning:
    """One fine-tuning of a strategy.

    Each part is made when it is asked for first: the identity, the measurement, the plan with the network that is
    trained first, the digests of what freezes.

    Attributes:
        strategy: the candidate: a strategy, or ``NETWORK/STRATEGY``.
        params: those of all strategies.
        settings: the strategy's, with the repeat's seed.
        data: with the repeat's fold as the validation split, and its share of the training split.
        repeat: which of the strategy's fine-tunings it is.
        reporter: shows its progress.
    """

    def __init__(
        self,
        strategy: str,
        params: Params,
        settings: StrategyParams,
        data: PreparedData,
        repeat: Repeat = FIRST,
        *,
        work: Path | None = None,
        reporter: Reporter | None = None,
    ) -> None:
        """Take what it is made of; without ``work``, its folder is named after its identity."""
        self.strategy, self.repeat = strategy, repeat
        self.params, self.settings, self.data = params, settings, data
        self.reporter = reporter or Reporter(self.title)
        self._work = work
        self._untrained: Adapted | None = None

    @classmethod
    def read(cls, strategy: str, repeat: Repeat = FIRST, work: Path | None = None) -> "FineTuning":
        """Read the params and the prepared data.

        Args:
            strategy: one of ``params.yaml``.
            repeat: which of its fine-tunings.
            work: the folder of its intermediate files, if it was planned before.

        Raises:
            UserError: there is no such strategy, or the prepared data are not whole.
        """
        params = load_params(layout.PARAMS)
        settings = with_processes(repeat.settings(params.strategy(strategy)))
        data = PreparedData.read(layout.network_of(strategy))
        data = data.on_fold(repeat.fold).thinned(repeat.share, params.split.seed)
        return cls(strategy, params, settings, data, repeat, work=work)

    @property
    def title(self) -> str:
        """What people are shown."""
        return self.repeat.of(self.params.title(self.strategy))

    @cached_property
    def identity(self) -> str:
        """Digest of everything that the result depends on."""
        return digest_of(
            {
                "settings": self.settings.model_dump(),
                "augment": self.params.augment.model_dump(),
                "upright": self.params.data.is_upright,
                "share": self.repeat.share,
                "fold": self.repeat.fold,
                "manifest": sha256_of(layout.MANIFEST),
                "pixels": sha256_of(index_of(layout.PIXELS)),
                "weights": sha256_of(layout.weights(self.data.network)),
                "architecture": [self.data.record.name, self.data.record.parts, self.data.record.code_sha256],
                "code": digest_of_code(FINE_TUNING),
                "torch": torch.__version__,
                "threads": torch.get_num_threads(),
                "machine": platform.machine(),
                "precision": self.hardware.precision,
                "engine": str(self.hardware.way),
            }
        )

    @cached_property
    def hardware(self) -> Hardware:
        """The device, the precision that it trains in, and the way in which it answers for what doesn't train."""
        return hardware_of(self.settings, self.data)

    @cached_property
    def work(self) -> Path:
        """The folder of its intermediate files."""
        return self._work or layout.work(self.strategy, self.identity[:DIGITS])

    @property
    def checkpoint(self) -> Path:
        """Where the state of its training is kept."""
        return self.work / CHECKPOINT

    @cached_property
    def measurement(self) -> Measurement:
        """What the plan needs to know of the data; read where it was measured before."""
        file = self.work / MEASURED
        return Measurement.read(file) if file.is_file() else self._measured()

    @cached_property
    def plan(self) -> FreezePlan:
        """What of the network trains when."""
        self._untrained, plan = self._network()
        return plan

    @cached_property
    def frozen(self) -> dict[str, str]:
        """Digests, before training, of what the plan freezes, by name."""
        names = self.plan.never_moved(update_statistics=self.settings.updates_statistics)
        return freezing.digests((self._untrained or self._network().adapted).model, names)

    @property
    def steps(self) -> int:
        """Steps of its whole plan."""
        return self.plan.epochs * self._steps_of_epoch

    @property
    def steps_before_last_phase(self) -> int:
        """Steps of all phases but the last; a solved one has as many an epoch as any other."""
        return self.plan.first_epoch_of_last_phase * self._steps_of_epoch

    @cached_property
    def _images(self) -> int:
        return len(self.data.rows("train"))

    @property
    def _steps_of_epoch(self) -> int:
        return steps_of_epoch(self._images, self.settings.batch_size)

    def images_after(self, steps: int) -> int:
        """Return how many images it has trained on after so many steps, summed over its epochs."""
        epochs, steps = divmod(steps, self._steps_of_epoch)
        return epochs * self._images + min(steps * self.settings.batch_size, self._images)

    @property
    def stopped(self) -> dict[str, Any] | None:
        """Why the race stopped its strategy, and after how many images; None: it may run to its end."""
        stop = self._stop
        if stop["images"] is None:
            return None
        known = {"reason": stop["reason"], "images": stop["images"], "of_images": self.images_after(self.steps)}
        return known | (stop["evidence"] or {})

    @property
    def start(self) -> Start:
        """What its weights are before it trains."""
        return "random" if self.settings.start == "random" or not self.data.is_pretrained else "pretrained"

    @property
    def lost_race(self) -> bool:
        """Whether the race stopped its strategy because it could not win any more."""
        return bool(self._stop["images"] and self._stop["evidence"])

    @property
    def steps_allowed(self) -> int | None:
        """After how many steps it stops with its strategy: after the same share of its plan; None: at its end."""
        if self._stop["images"] is None:
            return None
        share: float = self._stop["share"]
        return max(self.steps_before_last_phase + 1, round(share * self.steps))

    @cached_property
    def _stop(self) -> dict[str, Any]:
        """What the race says of its strategy."""
        file = layout.race_file(self.strategy)
        stop: dict[str, Any] = read_json(file) if file.is_file() else {"images": None}
        return stop

    def rung_file(self, steps: int) -> Path:
        """Return where what it shows after so many steps is kept, also when its other intermediate files are gone."""
        return self._rungs / f"{steps}.npz"

    def forget_other_rungs(self) -> None:
        """Remove what its strategy showed with other settings."""
        for folder in _folders(layout.rungs(self.strategy, ANY_IDENTITY)):
            if folder != self._rungs:
                shutil.rmtree(folder, ignore_errors=True)

    @property
    def _rungs(self) -> Path:
        return layout.rungs(self.strategy, self.identity[:DIGITS])

    def make_plan(self) -> dict[str, Any]:
        """Measure and plan; return the plan as later stages read it, and keep the measurement for other processes.

        Raises:
            UserError: the network can't be changed, or has not what the strategy names.
        """
        record = {
            "strategy": self.strategy,
            "identity": self.identity,
            "parts": _parts_of(self.plan),
            "phases": [phase.epochs for phase in self.plan.phases],
            "parameters": sum(group.size for group in self.plan.groups),
            "trainable_parameters": self.plan.trainable(),
            "engine": str(self.hardware.way),
            "precision": self.hardware.precision,
            "frozen": self.frozen,
        }
        write_json(self.work / MEASURED, asdict(self.measurement))
        return record

    def release_network(self) -> None:
        """Let go of the network that the plan was made with, which takes memory; training builds another."""
        self._untrained = None

    def assignment(self, until: int | None) -> Assignment:
        """Return what other processes need to take part in its training up to a step; None: to its end."""
        return Assignment(self.strategy, self.repeat, self.settings.processes, self.work, until)

    def train(
        self,
        on_epoch: Callable[[dict[str, float]], None],
        until: int | None = None,
        processes: ProcessGroup = SINGLE_PROCESS,
    ) -> Trained:
        """Train the network, from its checkpoint if there is one; what was measured before counts as training time.

        Args:
            on_epoch: called with the history row of every epoch that was finished here.
            until: steps after which training pauses at the latest; what it shows there is kept.
            processes: the processes that train together.

        Raises:
            DivergedError: training became non-finite and did not recover.
            RuntimeError: a frozen tensor changed; names it.
        """
        job = self._job(until, processes)
        trained = fit_and_average(partial(next, self._untrained_networks()), job, self.frozen, self.reporter, on_epoch)
        if self.settings.adapters:
            adapters.merge(trained.adapted.model)
        seconds = trained.progress.seconds + self.measurement.seconds
        return replace(trained, progress=replace(trained.progress, seconds=seconds))

    def take_part(self, until: int | None, processes: ProcessGroup) -> None:
        """Take part, quietly, in what another process's ``train`` trains; arguments as there."""
        job = self._job(until, processes)
        fit_as_worker(partial(next, self._untrained_networks()), job, Reporter("", Console(quiet=True)))

    def _job(self, until: int | None, processes: ProcessGroup) -> TrainingJob:
        hardware = self.hardware
        distributed.check_gpu(hardware.device)
        job = TrainingJob(
            self.settings, self.plan, self.data.split("train"), self.data.split("val"), self._augmentation(), hardware,
            self.checkpoint, self.data.cache(self.settings), until, None if until is None else self.rung_file(until),
            processes, self.params.run.checkpoint_seconds,
        )  # fmt: skip
        device.keep_freed_memory()
        return job

    def _network(self) -> Network:
        return network(self.settings, self.data, self.measurement.measured)

    def _untrained_networks(self) -> Iterator[Adapted]:
        """Yield networks before training, again and again: the one that the plan was made with first."""
        while True:
            adapted, self._untrained = self._untrained or self._network().adapted, None
            yield adapted

    def _measured(self) -> Measurement:
        """Measure what the plan needs; most need nothing."""
        if not needs_measuring(self.settings):
            return Measurement()
        self.reporter.say("measures before it trains")
        device.keep_freed_memory()
        train, hardware = self.data.split("train"), self.hardware
        trial = Trial(self.settings, self.data.record.lr, train, self._augmentation(), hardware)
        measurement = measure(lambda: network_in_groups(self.settings, self.data), trial)
        for place, rate in measurement.measured.rates.items():
            self.reporter.say(f"learning rate of phase {place + 1}: {rate:.2g}")
        for part, share in measurement.measured.shares.items():
            self.reporter.say(f"{part} trains at {share:.0%} of the rate")
        return measurement

    def _augmentation(self) -> Augmentation:
        return Augmentation(self.params.augment, self.params.data.is_upright)


def take_part(assignment: Assignment, processes: ProcessGroup) -> None:
    """Take part in a fine-tuning that another process plans, tracks and writes."""
    fine_tuning = FineTuning.read(assignment.strategy, assignment.repeat, assignment.work)
    fine_tuning.take_part(assignment.until, processes)


def work_folders(strategy: str) -> list[Path]:
    """Return the folders of intermediate files that are left of a strategy's fine-tunings."""
    return _folders(layout.work(strategy, ANY_IDENTITY))


def _folders(pattern: Path) -> list[Path]:
    return sorted(pattern.parent.glob(pattern.name))


def _parts_of(plan: FreezePlan) -> list[dict[str, Any]]:
    return [
        {
            "name": group.name,
            "parameters": group.size,
            "thaws_at": plan.thaws_at(group.name),
            "rates": [
                0.0 if phase.solved and group.name in phase.rates else phase.rates.get(group.name)
                for phase in plan.phases
            ],
        }
        for group in plan.groups
    ]
