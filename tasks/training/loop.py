"""The training loop."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn, optim

from tasks.data.augmentation import Augmentation
from tasks.params import StrategyParams
from tasks.strategies import freezing
from tasks.strategies.freezing import FreezePlan
from tasks.strategies.surgery import Adapted
from tasks.training import checkpoints
from tasks.training.activations import Activations, answers_logits, only_head_trains
from tasks.training.batches import Split, generator_for, inference_batches, training_batches
from tasks.training.checkpoints import Progress
from tasks.training.device import Hardware, watch_memory
from tasks.training.folding import folded
from tasks.training.optim import all_finite, build, set_rates
from tasks.training.progress import Reporter

SECONDS_BETWEEN_CHECKPOINTS = 15.0
SKIPPED_STEPS_ALLOWED = 10


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
        checkpoint: where the state is kept between epochs.
    """

    settings: StrategyParams
    plan: FreezePlan
    train: Split
    val: Split
    augment: Augmentation
    hardware: Hardware
    checkpoint: Path


def fit(adapted: Adapted, job: Fitting, reporter: Reporter, on_epoch: Callable[[dict[str, float]], None]) -> Progress:
    """Fine-tune a network by a plan and leave it with the weights of its best epoch.

    The best epoch is the one with the lowest validation loss in the last phase. Epochs that a checkpoint has are not
    repeated; every random draw depends on the seed and the epoch alone, so that the result is the same.

    Args:
        adapted: the network, on the CPU; trained in place.
        job: data, plan and settings.
        reporter: shows progress.
        on_epoch: called with the history row of every epoch that was trained here.

    Raises:
        DivergedError: training became non-finite and did not recover.
    """
    model = adapted.model.to(job.hardware.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = build(model, job.plan, job.settings)
    names = _names_that_change(model, job)
    found = checkpoints.load(job.checkpoint, model, optimizer)
    progress, best = found or (Progress(), {})
    if found:
        reporter.say(f"goes on after epoch {progress.epoch} of {job.plan.epochs}")
    last_save = time.monotonic()
    with watch_memory(job.hardware.device) as peak, reporter.epochs(), folded(model):
        epochs = _Epochs(adapted, model, optimizer, job, reporter)
        while progress.epoch < job.plan.epochs and not _stops_early(progress, job):
            started = time.monotonic()
            row = epochs.run(progress.epoch)
            progress.seconds += time.monotonic() - started
            if progress.epoch >= _last_phase(job) and row["val_loss"] < progress.best_loss:
                progress.best_loss, progress.best_epoch = row["val_loss"], progress.epoch
                best = {name: tensor.detach().cpu().clone() for name, tensor in _named(model, names).items()}
            progress.history.append(row)
            progress.epoch += 1
            reporter.epoch_done(row, job.plan.epochs)
            on_epoch(row)
            if time.monotonic() - last_save > SECONDS_BETWEEN_CHECKPOINTS:
                progress.peak_memory_mib = max(progress.peak_memory_mib, peak.mib)
                checkpoints.save(job.checkpoint, progress, model, names, optimizer, best)
                last_save = time.monotonic()
    progress.peak_memory_mib = max(progress.peak_memory_mib, peak.mib)
    checkpoints.save(job.checkpoint, progress, model, names, optimizer, best)
    reporter.say(
        f"kept epoch {progress.best_epoch + 1} of {progress.epoch}, validation loss {progress.best_loss:.4f}, "
        f"{progress.seconds:.1f} s"
    )
    for name, tensor in _named(model, names).items():
        tensor.data.copy_(best[name])
    model.to("cpu").eval()
    return progress


def predict(adapted: Adapted, split: Split, hardware: Hardware) -> Tensor:
    """Return the logits of a split in float32, shape (images, classes)."""
    model = adapted.model.to(hardware.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    with folded(model):
        return _logits(adapted, split, hardware)


def _logits(adapted: Adapted, split: Split, hardware: Hardware) -> Tensor:
    answers = []
    for images in inference_batches(split):
        with torch.inference_mode(), hardware.autocast():
            answers.append(adapted.model(adapted.normalisation(images.to(hardware.device))).float().cpu())
    return torch.cat(answers)


class _Epochs:
    """One epoch after the other, through the frozen features where only the head trains."""

    def __init__(
        self, adapted: Adapted, model: nn.Module, optimizer: optim.Optimizer, job: Fitting, reporter: Reporter
    ) -> None:
        self._adapted, self._model, self._optimizer, self._job, self._reporter = (
            adapted, model, optimizer, job, reporter,
        )  # fmt: skip
        self._features: Activations | None = None
        self._class_weights = _class_weights(job.train).to(job.hardware.device) if job.settings.class_weights else None

    def run(self, epoch: int) -> dict[str, float]:
        """Train one epoch and return its row of the history."""
        settings, plan = self._job.settings, self._job.plan
        freezing.apply(plan, self._model, epoch, update_statistics=settings.updates_statistics)
        generator = generator_for(settings.seed, epoch)
        torch.manual_seed(int(generator.initial_seed() % 2**63))
        if only_head_trains(plan, epoch) and answers_logits(self._adapted):
            if self._features is None:
                self._features = Activations.compute(self._adapted, self._job.train, self._job.val, self._job.hardware)
            network = self._model.get_submodule(self._adapted.head)
            batches = self._features.training_batches(settings.batch_size, generator)
        else:
            self._features, network = None, self._model
            batches = (
                (self._to_device(images), targets)
                for images, targets in training_batches(
                    self._job.train, settings.batch_size, self._job.augment, generator
                )
            )
        steps = max(1, len(self._job.train) // settings.batch_size + (len(self._job.train) % settings.batch_size > 1))
        shown = self._reporter.steps(batches, steps, epoch, plan.epochs)
        losses = [
            self._step(network, inputs, targets.to(self._job.hardware.device), epoch, step, steps)
            for step, (inputs, targets) in enumerate(shown)
        ]
        train_loss = _mean_of_finite(losses, epoch)
        val_loss, val_accuracy = self._validate()
        if not math.isfinite(val_loss):
            raise DivergedError(f"the validation loss became non-finite in epoch {epoch + 1}")
        return {
            "epoch": float(epoch),
            "train_loss": train_loss,
            "val_loss": val_loss,
            "val_accuracy": val_accuracy,
            "learning_rate": max(plan.rates(epoch).values()),
        }

    def _to_device(self, images: Tensor) -> Tensor:
        device = self._job.hardware.device
        if device.type == "cuda":
            images = images.pin_memory().to(device, non_blocking=True)
        return self._adapted.normalisation(images)

    def _step(self, network: nn.Module, inputs: Tensor, targets: Tensor, epoch: int, step: int, steps: int) -> float:
        settings = self._job.settings
        set_rates(self._optimizer, self._job.plan, epoch, step, steps, settings.warmup)
        with self._job.hardware.autocast():
            logits = network(inputs)
        loss = F.cross_entropy(
            logits.float(), targets, weight=self._class_weights, label_smoothing=settings.label_smoothing
        )
        loss.backward()  # type: ignore[no-untyped-call]
        value = loss.item()
        trained = [p for group in self._optimizer.param_groups for p in group["params"] if p.grad is not None]
        if math.isfinite(value) and all_finite(trained):
            if settings.clip_norm:
                nn.utils.clip_grad_norm_(trained, settings.clip_norm)
            self._optimizer.step()
        else:
            value = math.nan
        self._optimizer.zero_grad()
        return value

    def _validate(self) -> tuple[float, float]:
        if self._features is None:
            self._model.eval()
            logits = _logits(self._adapted, self._job.val, self._job.hardware)
        else:
            logits = self._features.validation_logits(self._model.get_submodule(self._adapted.head))
        targets = self._job.val.targets
        loss = F.cross_entropy(logits, targets).item()
        return loss, float((logits.argmax(1) == targets).float().mean())


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


def _names_that_change(model: nn.Module, job: Fitting) -> list[str]:
    frozen = set(job.plan.never_moved(update_statistics=job.settings.updates_statistics))
    return [name for name in model.state_dict() if name not in frozen]


def _named(model: nn.Module, names: list[str]) -> dict[str, Tensor]:
    state = model.state_dict()
    return {name: state[name] for name in names}


def _class_weights(split: Split) -> Tensor:
    counts = torch.bincount(split.targets).float().clamp(min=1)
    return counts.sum() / (len(counts) * counts)
