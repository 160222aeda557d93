"""What a training changes as it goes: weights, the optimizer's state, averages, the best weights and its progress."""

import math
from contextlib import AbstractContextManager, nullcontext

from torch import Tensor, nn

from tasks.backbones import weights
from tasks.backbones.architecture import State
from tasks.strategies import freezing, planning
from tasks.strategies.surgery import Adapted
from tasks.training.averaging import MovingAverage
from tasks.training.checkpoints import Progress
from tasks.training.job import TrainingJob
from tasks.training.l2_sp import L2SP
from tasks.training.model_state import fill, names_that_change, state_of
from tasks.training.optim import all_finite, build, set_rates


class TrainingState:
    """The state of a training between two of its steps.

    Attributes:
        model: the network, on the device.
        names: of its tensors that some epoch may change.
        optimizer: of all its parameters.
        average: moving average of the weights, where the strategy has one.
        best: the tensors that change, on the CPU, of the best epoch so far; none before the last phase.
        answers: ``val``, the validation images' logits by the best weights, shape (images, classes).
        progress: what the training has behind it.
    """

    def __init__(self, adapted: Adapted, job: TrainingJob) -> None:
        settings, self._job, self._head, self.model = job.settings, job, adapted.head, adapted.model
        self.names = names_that_change(self.model, job.plan, settings)
        pretrained = planning.pretrained(job.plan, adapted) if settings.l2_sp else []
        self._l2_sp = L2SP(self.model, pretrained, settings.l2_sp)
        self.optimizer = build(self.model, job.plan, settings, without_decay=pretrained)
        self.average = MovingAverage(self.model, self.names, settings.ema) if settings.ema else None
        self.best: State = {}
        self.answers: State = {}
        self.progress = Progress()

    @property
    def is_finished(self) -> bool:
        """Whether all epochs are behind it, or ``patience`` of the last phase without a better one."""
        progress, last_phase = self.progress, self._job.plan.first_epoch_of_last_phase
        without_better = progress.epoch - 1 - max(progress.best_epoch, last_phase)
        stops_early = progress.epoch > last_phase and without_better >= self._job.settings.patience
        return progress.epoch >= self._job.plan.epochs or stops_early

    @property
    def has_to_pause(self) -> bool:
        """Whether it has taken all steps that it may for now."""
        return self.progress.steps(self._job.steps) >= self._job.last_step

    def start_epoch(self) -> None:
        """Bring network and schedule into the state of the epoch, at whichever step it starts."""
        progress, job = self.progress, self._job
        if progress.step == 0 and progress.epoch == job.plan.cycle(progress.epoch)[0]:
            progress.taken = 0
            if job.settings.wise_ft and progress.epoch == job.last_schedule:
                before = state_of(self.model, self.names)
                if job.processes.rank == 0:
                    weights.save(before, job.before_last_schedule)
        freezing.apply(job.plan, self.model, progress.epoch, update_statistics=job.settings.updates_statistics)

    def set_rates(self) -> None:
        """Set every group's learning rate for the next step."""
        progress, job = self.progress, self._job
        set_rates(self.optimizer, job.plan, progress.epoch, progress.taken, job.steps, job.settings.warmup)

    def update(self, loss: float) -> float:
        """Take the optimizer's step by the gradients that are there, unless the loss or one of them isn't finite.

        Returns:
            The loss, or not a number if the step was skipped.
        """
        self._l2_sp.pull()
        trained = [p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        is_finite = math.isfinite(loss) and all_finite(trained)
        if is_finite:
            if self._job.settings.clip_norm:
                nn.utils.clip_grad_norm_(trained, self._job.settings.clip_norm)
            self.optimizer.step()
            self.progress.taken += 1
            if self.average:
                self.average.update(self.progress.averaged)
                self.progress.averaged += 1
        self.optimizer.zero_grad()
        return loss if is_finite else math.nan

    def set_head(self, weight: Tensor, bias: Tensor) -> None:
        """Put a linear head into the network, and into the weights' average."""
        head = {f"{self._head}.weight": weight, f"{self._head}.bias": bias}
        fill(self.model, head)
        if self.average:
            self.average.restore(head)

    def averaged(self) -> AbstractContextManager[None]:
        """Give the network, for as long as the block runs, the weights that are validated: their average, if any."""
        return self.average.in_place() if self.average else nullcontext()

    def keep_if_best(self, val_loss: float, logits: Tensor) -> None:
        """Keep the weights in the network if the epoch under way is the best of the last phase so far.

        Args:
            val_loss: of the weights.
            logits: their answers to the validation images.
        """
        progress = self.progress
        if progress.epoch < self._job.plan.first_epoch_of_last_phase:
            self.answers = {"val": logits}
        elif val_loss < progress.best_loss:
            progress.best_loss, progress.best_epoch = val_loss, progress.epoch
            self.best, self.answers = state_of(self.model, self.names), {"val": logits}
