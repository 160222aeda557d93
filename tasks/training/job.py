"""What a training is given besides the network."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tasks.data.augmentation import Augmentation
from tasks.params import RunParams, StrategyParams
from tasks.strategies.freezing import FreezePlan
from tasks.training.activations import Cache
from tasks.training.batches import Rows, Split, epoch_order
from tasks.training.device import Hardware
from tasks.training.distributed import SINGLE_PROCESS, ProcessGroup


def steps_of_epoch(images: int, batch_size: int) -> int:
    """Return the number of steps of an epoch; a single image at its end joins the batch before it."""
    return max(1, images // batch_size + (images % batch_size > 1))


@dataclass(frozen=True)
class TrainingJob:
    """All that a training needs besides the network.

    Attributes:
        settings: the strategy's settings.
        plan: what trains when.
        train, val: the two splits that training may see.
        augment: changes of the training images.
        hardware: device and precision.
        checkpoint: where the state is kept between steps.
        cache: keeps what frozen layers answer; None: they are computed in every epoch.
        until: steps after which training pauses at the latest; None: after the plan's last.
        answers: where it leaves, when it pauses or ends, what the kept weights answer; None: nowhere.
        processes: those that train together; only the first writes.
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
    answers: Path | None = None
    processes: ProcessGroup = SINGLE_PROCESS
    checkpoint_seconds: float = RunParams().checkpoint_seconds

    @property
    def steps(self) -> int:
        """Number of steps of an epoch."""
        return steps_of_epoch(len(self.train), self.settings.batch_size)

    @property
    def last_step(self) -> int:
        """Number of steps that are taken at most, over all epochs."""
        steps = self.plan.epochs * self.steps
        return steps if self.until is None else min(self.until, steps)

    def shown_in(self, epoch: int) -> Rows:
        """Return the training images that an epoch shows before training pauses; one that is solved shows all."""
        train, settings, steps = self.train, self.settings, min(self.steps, self.last_step - epoch * self.steps)
        if steps <= 0:
            return np.arange(0)
        if self.plan.phases[self.plan.phase(epoch)[0]].solved:
            return np.arange(len(train))
        order = epoch_order(train.targets, train.weights, settings.batch_size, settings.seed, epoch, settings.sampling)
        return np.concatenate(order[:steps])

    @property
    def last_schedule(self) -> int:
        """First epoch of the last schedule of the learning rate."""
        return self.plan.cycle(self.plan.epochs - 1)[0]

    @property
    def before_last_schedule(self) -> Path:
        """Where the weights from before the last schedule are kept, for the strategies that mix them in."""
        return self.checkpoint.with_name(f"{self.checkpoint.stem}-before.safetensors")
