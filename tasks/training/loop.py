"""The training loop."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule

from tasks import stopping
from tasks.backbones import weights
from tasks.data.augmentation import Augmentation
from tasks.params import RunParams, StrategyParams
from tasks.stopping import StoppedError
from tasks.strategies import freezing, planning
from tasks.strategies.freezing import FreezePlan
from tasks.strategies.selectors import HEAD
from tasks.strategies.surgery import Adapted
from tasks.strategies.thaw_line import names_that_train
from tasks.training import checkpoints
from tasks.training.activation_checkpointing import recomputed
from tasks.training.activations import Cache
from tasks.training.averaging import MovingAverage, State
from tasks.training.batches import (
    Batch,
    Split,
    generator_for,
    inference_batches,
    inference_rows,
    training_batches,
)
from tasks.training.checkpoints import Progress
from tasks.training.depthwise import faster_gradients
from tasks.training.device import Hardware, PeakMemory, watch_memory
from tasks.training.distributed import ALONE, Team
from tasks.training.feature_cache import Shortcut, find
from tasks.training.features import features_of_head
from tasks.training.folding import folded
from tasks.training.gradients import Gradients, validation_loss
from tasks.training.l2_sp import StartingPoint
from tasks.training.optim import all_finite, build, set_rates
from tasks.training.progress import Reporter
from tasks.training.resolution import resized, side_of_epoch
from tasks.training.sharding import average_numbers, like, sharded, whole
from tasks.training.solving import solve
from tasks.training.synchronised import synchronised
from tasks.training.tta import AS_THEY_ARE, Flips, mean_logits
from tasks.training.views import Views, batches_of_views

CHECKPOINT_PAUSE = 20.0  # times what writing one takes
SKIPPED_STEPS_ALLOWED = 10
DEFAULT_VIEWS = 2


class DivergedError(Exception):
    """The loss or the gradients stayed non-finite; says in which epoch."""


@dataclass(frozen=True)
class Fitting:
    """All that a fine-tuning needs besides the network.

    Attributes:
        settings: the strategy's settings.
        plan: what trains when.
        train, val: the two splits that training may see.
        augment: changes of the training images.
        hardware: device and precision.
        checkpoint: where the state is kept between steps.
        cache: keeps what frozen layers answer; None: they are computed in every epoch.
        until: epochs after which training pauses at the latest; None: after the plan's last.
        team: the processes that train together; the first alone writes.
        checkpoint_seconds: between two checkpoints, at least; 0: one is written behind every step.
    """

    settings: StrategyParams
    plan: FreezePlan
    train: Split
    val: Split
    augment: Augmentation
    hardware: Hardware
    checkpoint: Path
    cache: Cache | None = None
    until: int | None = None
    team: Team = ALONE
    checkpoint_seconds: float = RunParams().checkpoint_seconds

    @property
    def epochs(self) -> int:
        """Number of epochs that are trained at most."""
        return self.plan.epochs if self.until is None else min(self.until, self.plan.epochs)

    @property
    def is_sharded(self) -> bool:
        """Whether the processes divide the network among them, too."""
        return self.settings.sharded and self.team.size > 1


def fit(adapted: Adapted, job: Fitting, reporter: Reporter, on_epoch: Callable[[dict[str, float]], None]) -> Progress:
    """Fine-tune a network by a plan and leave it with the weights of its best epoch.

    The best epoch is the one with the lowest validation loss in the last phase. Steps that a checkpoint has are not
    repeated; every random draw depends on the seed, the epoch and the step alone, so that the result is the same.

    Args:
        adapted: the network, on the CPU; trained in place.
        job: data, plan and settings.
        reporter: shows progress.
        on_epoch: called with the history row of every epoch that was finished here.

    Raises:
        DivergedError: training became non-finite and did not recover.
        StoppedError: it was asked to stop; the checkpoint has every step.
    """
    with watch_memory(job.hardware.device) as peak, reporter.epochs(), ExitStack() as forwards:
        trained = _on_device(adapted, job)
        model = trained.model
        forwards.enter_context(synchronised(model, job.team))
        if not job.is_sharded:  # folding reaches from one block into another
            forwards.enter_context(folded(model))
        forwards.enter_context(faster_gradients(model, job.hardware))
        if job.settings.activation_checkpointing:
            forwards.enter_context(recomputed(model, [prefix for part in adapted.parts for prefix in part.prefixes]))
        training = _Training(trained, adapted, job, reporter, peak)
        progress = training.progress
        while progress.epoch < job.epochs and not _stops_early(progress, job):
            with training.kept_if_stopped():
                row = training.epoch()
            reporter.epoch_done(row, job.plan.epochs)
            on_epoch(row)
            training.save_if_due()
    training.save()
    reporter.say(
        f"kept epoch {progress.best_epoch + 1} of {progress.epoch}, validation loss {progress.best_loss:.4f}, "
        f"{progress.seconds:.1f} s"
    )
    if job.is_sharded:
        fill(adapted.model, state_of(model, adapted.model.state_dict()))
    fill(adapted.model, training.best)
    adapted.model.to("cpu").eval()
    return progress


def _on_device(adapted: Adapted, job: Fitting) -> Adapted:
    """Return the network that trains: itself, or slices of a copy."""
    if not job.is_sharded:
        adapted.model.to(job.hardware.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return adapted
    images = adapted.normalisation(job.val.images(np.zeros(2, dtype=np.int64)))
    return sharded(adapted, images, job.hardware)


def before_last_phase(job: Fitting) -> Path:
    """Return where ``fit`` leaves the weights from before the last schedule, for the strategies that mix them in."""
    return job.checkpoint.with_name(f"{job.checkpoint.stem}-before.safetensors")


def fill(model: nn.Module, values: State) -> None:
    """Give a network's tensors other values, by name."""
    state = model.state_dict()
    for name, value in values.items():
        state[name].copy_(like(state[name], value))


def names_that_change(model: nn.Module, plan: FreezePlan, settings: StrategyParams) -> list[str]:
    """Return the names of the tensors that some epoch of a plan may change."""
    frozen = set(plan.never_moved(update_statistics=settings.updates_statistics))
    return [name for name in model.state_dict() if name not in frozen]


def state_of(model: nn.Module, names: Iterable[str]) -> State:
    """Return copies of a network's tensors on the CPU, by name."""
    state = model.state_dict()
    return {name: whole(state[name].detach()).cpu().clone() for name in names}


def predict(adapted: Adapted, split: Split, hardware: Hardware, flips: Flips = AS_THEY_ARE) -> Tensor:
    """Return the logits of a split in float32, shape (images, classes); nothing of the network trains afterwards.

    Whether weights require gradients decides between kernels that round differently, in inference, too.
    """
    model = adapted.model.to(hardware.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.eval().requires_grad_(False)
    with folded(model):
        return torch.cat(_answers_to(adapted, inference_batches(split), hardware, flips))


def _answers_to(
    adapted: Adapted, batches: Iterable[Tensor], hardware: Hardware, flips: Flips = AS_THEY_ARE
) -> list[Tensor]:
    """Return the logits of batches of images in float32, on the CPU."""
    answers = []
    for images in batches:
        # What fully_shard gathers in inference mode, training can't use.
        with torch.inference_mode(not isinstance(adapted.model, FSDPModule)), torch.no_grad(), hardware.autocast():
            normalised = adapted.normalisation(images.to(hardware.device))
            answers.append(mean_logits(adapted.model, normalised, flips).float().cpu())
    return answers


class _Training:
    """One epoch after the other, from the thaw line on where a network's beginning is frozen.

    A network that is divided runs all of its layers together with the other processes; ``entire`` is the same in whole.
    """

    def __init__(self, adapted: Adapted, entire: Adapted, job: Fitting, reporter: Reporter, peak: PeakMemory) -> None:
        settings, model = job.settings, adapted.model
        self._adapted, self._entire, self._model = adapted, entire, model
        self._job, self._reporter, self._peak = job, reporter, peak
        self._names = names_that_change(model, job.plan, settings)
        self._shortcut: Shortcut | None = None
        self._shown: Views | None = None  # what a divided network is shown where a whole one takes a shortcut
        self._asked: tuple[frozenset[str], int] | None = None
        self._trained: nn.Module | None = None
        self._team = job.team
        self._gradients = Gradients(adapted, settings, job.hardware, job.train, job.team)
        pretrained = planning.pretrained(job.plan, adapted) if settings.l2_sp else []
        self._start = StartingPoint(model, pretrained, settings.l2_sp)
        self._optimizer = build(model, job.plan, settings, without_decay=pretrained)
        behind = checkpoints.progress_of(job.checkpoint)
        is_past = behind is not None and behind.epoch > job.epochs  # left by a training that was allowed more
        found = None if is_past else checkpoints.load(job.checkpoint, model, self._optimizer)
        self.progress, copies = found or (Progress(), {})
        place = [self.progress.epoch, self.progress.step, self.progress.taken, self.progress.averaged]
        self._team.check_same([float(number) for number in place], f"do not see the same {job.checkpoint}")
        self.best = copies.get("best", {})
        self._average = MovingAverage(model, self._names, settings.ema) if settings.ema else None
        if self._average:
            self._average.restore(copies.get("average", {}))
        if found:
            done = f"epoch {self.progress.epoch} of {job.plan.epochs}"
            reporter.say(f"goes on after {done}" + f" and {self.progress.step} steps" * (self.progress.step > 0))
        self._saved, self._seconds_to_save = time.monotonic(), 0.0

    def epoch(self) -> dict[str, float]:
        """Train the rest of an epoch and return its row of the history."""
        progress, plan = self.progress, self._job.plan
        started = time.monotonic()
        self._start_epoch()
        if plan.phases[plan.phase(progress.epoch)[0]].solved:
            return self._finished(self._solve(), 0.0, started)
        batches, steps = self._batches(), self._steps()
        for batch in self._reporter.steps(batches, steps - progress.step, progress.epoch, plan.epochs):
            progress.losses.append(self._step(batch))
            progress.step += 1
            progress.seconds += time.monotonic() - started
            if progress.step < steps:
                self.save_if_due()
            started = time.monotonic()
        return self._finished(
            _mean_of_finite(progress.losses, progress.epoch), max(plan.rates(progress.epoch).values()), started
        )

    def _finished(self, train_loss: float, rate: float, started: float) -> dict[str, float]:
        """Validate, and return the epoch's row of the history."""
        progress = self.progress
        val_loss, val_accuracy = self._validate()
        progress.seconds += time.monotonic() - started
        if not math.isfinite(val_loss):
            raise DivergedError(f"the validation loss became non-finite in epoch {progress.epoch + 1}")
        row = {
            "epoch": float(progress.epoch),
            "train_loss": train_loss,
            "val_loss": val_loss,
            "val_accuracy": val_accuracy,
            "learning_rate": rate,
        }
        progress.history.append(row)
        progress.epoch, progress.step, progress.losses = progress.epoch + 1, 0, []
        return row

    @contextmanager
    def kept_if_stopped(self) -> Iterator[None]:
        """Write a checkpoint where the block is stopped, which is between two steps.

        Of a network that is divided no process can write one by itself: all do so behind the step or the validation in
        which the first is asked to stop.
        """
        try:
            yield
        except StoppedError:
            if not self._job.is_sharded:
                self.save()
            raise

    def save_if_due(self) -> None:
        """Write a checkpoint, if the last one is some time ago; the more it takes, the longer."""
        seconds = self._job.checkpoint_seconds
        pause = max(seconds, CHECKPOINT_PAUSE * self._seconds_to_save) if seconds else 0.0
        is_due = time.monotonic() - self._saved >= pause
        if self._job.is_sharded:
            is_due = self._team.broadcast(is_due or stopping.is_asked())
        if is_due:
            self.save()

    def save(self) -> None:
        """Write a checkpoint; all processes of a network that is divided take part."""
        if self._team.rank and not self._job.is_sharded:
            return
        started = time.monotonic()
        self.progress.peak_memory_mib = max(self.progress.peak_memory_mib, self._peak.mib)
        copies = {"best": self.best} | ({"average": self._average.values} if self._average else {})
        content = checkpoints.content(self._model, self._names, self._optimizer, copies)
        if self._team.rank == 0:
            checkpoints.save(self._job.checkpoint, self.progress, content)
        self._saved = time.monotonic()
        self._seconds_to_save = self._saved - started

    def _start_epoch(self) -> None:
        """Bring network and schedule into the state of the epoch, at whichever step it starts."""
        progress, job = self.progress, self._job
        if progress.step == 0 and progress.epoch == job.plan.cycle(progress.epoch)[0]:
            progress.taken = 0
            is_last = progress.epoch == job.plan.cycle(job.plan.epochs - 1)[0]
            if job.settings.wise_ft and is_last:
                before = state_of(self._model, self._names)
                if self._team.rank == 0:
                    weights.save(before, before_last_phase(job))
        freezing.apply(job.plan, self._model, progress.epoch, update_statistics=job.settings.updates_statistics)
        asked = names_that_train(job.plan, progress.epoch), self._views()
        if asked != self._asked:
            self._asked, self._shortcut = asked, self._find_shortcut(asked[0])
            self._trained = None

    def _find_shortcut(self, trains: frozenset[str]) -> Shortcut | None:
        job, pixels = self._job, self._job.train.store
        views, first = Views(job.train, job.augment, self._views()), self.progress.epoch
        if job.is_sharded:
            self._shown = views if self._team.broadcast(self._has_shortcut(trains)) else None
            return None
        frozen = find(self._adapted, trains, pixels.shape[1], pixels.shape[3], job.hardware)
        if frozen is None:
            return None
        epochs = (epoch for epoch in range(first, job.plan.epochs) if names_that_train(job.plan, epoch) == trains)
        with self._team.rank_zero_first():  # which keeps what the frozen layers answer
            return Shortcut(frozen, views, job.val, job.cache, self._reporter, job.settings.seed, epochs)

    def _has_shortcut(self, trains: frozenset[str]) -> bool:
        """Return whether a network that is divided would take a shortcut, were it whole; for the first process."""
        if self._team.rank:
            return False
        job, entire, (_, size, _, channels) = self._job, self._entire, self._job.train.store.shape
        updates = job.settings.updates_statistics
        freezing.apply(job.plan, entire.model, self.progress.epoch, update_statistics=updates)
        on_processor = replace(job.hardware, device=torch.device("cpu"))
        return find(entire, trains, size, channels, on_processor) is not None

    def _views(self) -> int:
        plan, views = self._job.plan, self._job.settings.views
        phase = plan.phases[plan.phase(self.progress.epoch)[0]]
        if phase.solved:
            return 0
        return views if views is not None else 0 if set(phase.rates) == {HEAD} else DEFAULT_VIEWS

    def _network(self) -> nn.Module:
        return self._shortcut.network if self._shortcut else self._model

    def _batches(self) -> Iterable[Batch]:
        job, progress, sampling = self._job, self.progress, self._job.settings.sampling
        size, place = job.settings.batch_size, (job.settings.seed, progress.epoch, progress.step)
        own = partial(self._team.rows, micro_batch=job.settings.micro_batch)
        if self._shortcut:
            return self._shortcut.training_batches(size, *place, sampling, own)
        if self._shown:
            shown = batches_of_views(self._shown, self._shown.images, size, *place, sampling, own)
            return (batch._replace(inputs=to_device(self._adapted, batch.inputs, job.hardware)) for batch in shown)
        full = job.train.store.shape[1]
        side = side_of_epoch(job.settings.start_size, full, progress.epoch, job.plan.epochs)
        return (
            batch._replace(inputs=to_device(self._adapted, resized(batch.inputs, side), job.hardware))
            for batch in training_batches(job.train, size, job.augment, *place, sampling, own)
        )

    def _steps(self) -> int:
        count, size = len(self._job.train), self._job.settings.batch_size
        return max(1, count // size + (count % size > 1))

    def _step(self, batch: Batch) -> float:
        """Take a step and return its loss, or not a number if it was skipped because something wasn't finite."""
        settings, progress = self._job.settings, self.progress
        set_rates(self._optimizer, self._job.plan, progress.epoch, progress.taken, self._steps(), settings.warmup)
        network = self._over_processes(batch.inputs)
        torch.manual_seed(generator_for(settings.seed, progress.epoch, progress.step).initial_seed())
        loss = self._gradients(network, *batch)
        if self._job.is_sharded:
            average_numbers(self._model)
        self._start.pull()
        trained = [p for group in self._optimizer.param_groups for p in group["params"] if p.grad is not None]
        finite = math.isfinite(loss) and all_finite(trained)
        if finite:
            if settings.clip_norm:
                nn.utils.clip_grad_norm_(trained, settings.clip_norm)
            self._optimizer.step()
            progress.taken += 1
            if self._average:
                self._average.update(progress.averaged)
                progress.averaged += 1
        self._optimizer.zero_grad()
        return loss if finite else math.nan

    def _over_processes(self, inputs: Tensor) -> nn.Module:
        """Return what trains; its gradients are exchanged where several processes train."""
        if self._job.is_sharded:
            return self._model
        if self._trained is None:
            with self._job.hardware.autocast():
                self._trained = self._team.wrap(self._network(), inputs)
        return self._trained

    def _validate(self) -> tuple[float, float]:
        """Return validation loss and accuracy; keep the weights if they are the best so far."""
        if self._average is None:
            return self._validate_weights()
        with self._average.in_place():
            return self._validate_weights()

    def _validate_weights(self) -> tuple[float, float]:
        job, progress = self._job, self.progress
        self._model.eval()
        logits = self._answers(job.val)
        loss = validation_loss(logits, job.val.targets, job.settings)
        if progress.epoch >= _last_phase(job) and loss < progress.best_loss:
            progress.best_loss, progress.best_epoch = loss, progress.epoch
            self.best = state_of(self._model, self._names)
        return loss, float((logits.argmax(1) == job.val.targets).float().mean())

    def _answers(self, split: Split) -> Tensor:
        """Return the logits of a split in float32, on the CPU; the processes share the work."""
        return self._team.all_gather(self._own_answers(split))

    def _own_answers(self, split: Split) -> list[Tensor]:
        """Return the logits of every batch of a split that is this process's."""
        rows = self._team.own(inference_rows(split))
        if self._job.is_sharded:
            together = (split.images(chosen) for chosen in self._team.as_many(inference_rows(split)))
            return _answers_to(self._adapted, together, self._job.hardware)[: len(rows)]
        if self._shortcut is None or self._average_differs_below():
            return _answers_to(self._adapted, inference_batches(split, rows), self._job.hardware)
        answers = []
        for activations in self._shortcut.plain_batches(split, rows):
            with torch.inference_mode(), self._job.hardware.autocast():
                answers.append(self._shortcut.network(activations).float().cpu())
        return answers

    def _average_differs_below(self) -> bool:
        """Return whether the moving average has other frozen layers than those that answered: they trained before."""
        moved = set(self._names) - self._asked[0] if self._asked and self._average else set()
        return bool(moved & {name for name, _ in self._model.named_parameters()})

    def _solve(self) -> float:
        """Put the head in its best place and return the training loss there."""
        job, self.progress.losses = self._job, []
        self._model.eval()
        found = [self._features(split) for split in (job.train, job.val)]
        solved = solve(found[0], job.train, found[1], job.val, self._adapted.classes, job.settings)
        solved = self._team.broadcast(replace(solved, weight=solved.weight.cpu(), bias=solved.bias.cpu()))
        self._reporter.say(f"head solved, validation chose the strength {solved.strength:.2g}")
        best = {f"{self._adapted.head}.weight": solved.weight, f"{self._adapted.head}.bias": solved.bias}
        fill(self._model, best)
        if self._average:
            self._average.restore(best)
        return solved.train_loss

    def _features(self, split: Split) -> Tensor:
        """Return what reaches the head for every image of a split."""
        with features_of_head(self._adapted) as seen:
            count = len(self._own_answers(split))
        return self._team.all_gather(seen[:count]).to(self._job.hardware.device)


def to_device(adapted: Adapted, images: Tensor, hardware: Hardware) -> Tensor:
    """Return normalised images on the training device, copied without waiting where that is possible."""
    if hardware.device.type == "cuda":
        images = images.pin_memory().to(hardware.device, non_blocking=True)
    return adapted.normalisation(images)


def _mean_of_finite(losses: list[float], epoch: int) -> float:
    finite = [loss for loss in losses if not math.isnan(loss)]
    if len(losses) - len(finite) > min(SKIPPED_STEPS_ALLOWED, len(losses) // 2):
        raise DivergedError(
            f"the loss became non-finite in {len(losses) - len(finite)} of {len(losses)} steps of epoch {epoch + 1}"
        )
    return float(np.mean(finite))


def _stops_early(progress: Progress, job: Fitting) -> bool:
    last_phase = _last_phase(job)
    since = progress.epoch - 1 - max(progress.best_epoch, last_phase)
    return progress.epoch > last_phase and since >= job.settings.patience


def _last_phase(job: Fitting) -> int:
    """Return the first epoch of the last phase."""
    return job.plan.epochs - job.plan.phases[-1].epochs
