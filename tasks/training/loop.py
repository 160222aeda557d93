"""The training loop."""

import math
import time
from collections.abc import Callable

import numpy as np
import torch

from tasks.strategies.surgery import Adapted
from tasks.training.batches import Batch, generator_for
from tasks.training.checkpoints import Progress
from tasks.training.device import PeakMemory, watch_memory
from tasks.training.forward_passes import adjusted_forward_passes
from tasks.training.gradients import Gradients, validation_loss
from tasks.training.inputs import Inputs, InputsOfEpochs
from tasks.training.job import TrainingJob
from tasks.training.model_state import fill
from tasks.training.parallel import Parallelism, parallelism_of
from tasks.training.progress import Reporter
from tasks.training.resuming import Checkpointing
from tasks.training.rungs import Rung
from tasks.training.solving import solve_head
from tasks.training.state import TrainingState

SKIPPED_STEPS_ALLOWED = 10
Row = dict[str, float]


class DivergedError(Exception):
    """The loss or the gradients stayed non-finite; says in which epoch."""


def fit(adapted: Adapted, job: TrainingJob, reporter: Reporter, on_epoch: Callable[[Row], None]) -> Progress:
    """Fine-tune a network by a plan and leave it with the weights of its best epoch.

    The best epoch is the one with the lowest validation loss in the last phase. Steps that a checkpoint has are not
    repeated; every random draw depends on nothing but the seed, the epoch and the step, so that the result is the same.
    Where training pauses within an epoch, the weights there compete, too; what is returned has this epoch's row so far,
    and the checkpoint goes on as if nobody had looked.

    Args:
        adapted: the network, on the CPU; trained in place.
        job: data, plan and settings.
        reporter: shows progress.
        on_epoch: called with the history row of every epoch that was finished here.

    Raises:
        DivergedError: training became non-finite and did not recover.
        StoppedError: it was asked to stop; the checkpoint has every step.
    """
    parallelism = parallelism_of(job.processes, job.hardware, sharded=job.settings.sharded)
    with watch_memory(job.hardware.device) as peak, reporter.epochs():
        placed = parallelism.place(adapted, job.val)
        with adjusted_forward_passes(placed, job, parallelism):
            training = _Training(placed, adapted, job, parallelism, reporter, peak)
            state, checkpointing = training.state, training.checkpointing
            checkpointing.restore(reporter)
            while not (state.is_finished or state.has_to_pause):
                with checkpointing.saved_if_stopped():
                    row = training.epoch()
                if row:
                    reporter.epoch_done(row, job.plan.epochs, ends_phase=job.plan.ends_phase(int(row["epoch"])))
                    on_epoch(row)
                    checkpointing.save_if_due()
            checkpointing.save()
            steps, is_over = state.progress.steps(job.steps), state.is_finished
            if state.progress.step:
                training.validate_within_epoch()
    if job.answers and job.processes.rank == 0:
        Rung.of(state.answers["val"], steps, state.progress.seconds, is_over=is_over).write(job.answers)
    if is_over:
        kept = f"kept epoch {state.progress.best_epoch + 1} of {state.progress.epoch}"
        reporter.say(f"{kept}, validation loss {state.progress.best_loss:.4f}, {state.progress.seconds:.1f} s")
    parallelism.collect(state.model, adapted.model)
    fill(adapted.model, state.best)
    adapted.model.to("cpu").eval()
    return state.progress


class _Training:
    """One epoch after the other of a network that was placed; ``undivided`` is the same network as it was before."""

    def __init__(
        self, adapted: Adapted, undivided: Adapted, job: TrainingJob,
        parallelism: Parallelism, reporter: Reporter, peak: PeakMemory,
    ) -> None:  # fmt: skip
        self._adapted, self._job, self._parallelism, self._reporter = adapted, job, parallelism, reporter
        self.state = TrainingState(adapted, job)
        self.checkpointing = Checkpointing(job, self.state, parallelism, peak)
        self._inputs = InputsOfEpochs(adapted, undivided, job, self.state, parallelism, reporter)
        self._gradients = Gradients(adapted, job.settings, job.hardware, job.train, job.processes)

    def epoch(self) -> Row | None:
        """Train the rest of an epoch and return its row of the history; None where training pauses before its end."""
        started = time.monotonic()
        progress, plan, steps = self.state.progress, self._job.plan, self._job.steps
        self.state.start_epoch()
        inputs = self._inputs.of_epoch(progress.epoch)
        if plan.phases[plan.phase(progress.epoch)[0]].solved:
            train_loss = solve_head(self._adapted, self._job, self.state, inputs, self._reporter)
            return self._end_epoch(inputs, train_loss, 0.0, started)
        batches = inputs.batches(progress.epoch, progress.step)
        ahead, behind = steps - progress.step, progress.step
        for batch in self._reporter.steps(batches, ahead, progress.epoch, plan.epochs, behind):
            progress.losses.append(self._step(inputs, batch))
            progress.step += 1
            progress.seconds += time.monotonic() - started
            if progress.step < steps:
                if self.state.has_to_pause:
                    return None
                self.checkpointing.save_if_due()
            started = time.monotonic()
        train_loss = _mean_of_finite(progress.losses, progress.epoch)
        return self._end_epoch(inputs, train_loss, max(plan.rates(progress.epoch).values()), started)

    def validate_within_epoch(self) -> None:
        """Validate behind the epoch's steps so far, as if it ended here."""
        started = time.monotonic()
        progress = self.state.progress
        self.state.start_epoch()
        inputs = self._inputs.of_epoch(progress.epoch)
        train_loss = _mean_of_finite(progress.losses, progress.epoch)
        self._end_epoch(inputs, train_loss, max(self._job.plan.rates(progress.epoch).values()), started)

    def _step(self, inputs: Inputs, batch: Batch) -> float:
        """Take a step and return its loss, or not a number if it was skipped because something wasn't finite."""
        progress = self.state.progress
        self.state.set_rates()
        network = inputs.wrapped_network(batch.inputs)
        torch.manual_seed(generator_for(self._job.settings.seed, progress.epoch, progress.step).initial_seed())
        loss = self._gradients(network, *batch)
        self._parallelism.after_backward(self.state.model)
        return self.state.update(loss)

    def _end_epoch(self, inputs: Inputs, train_loss: float, rate: float, started: float) -> Row:
        """Validate, and return the epoch's row of the history."""
        progress = self.state.progress
        val_loss, val_accuracy = self._validate(inputs)
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
        progress.end_epoch(row)
        return row

    def _validate(self, inputs: Inputs) -> tuple[float, float]:
        """Return validation loss and accuracy; keep the weights if they are the best so far."""
        val = self._job.val
        with self.state.averaged():
            self.state.model.eval()
            logits = self._job.processes.all_gather(inputs.local_answers(val))
            loss = validation_loss(logits, val.targets, self._job.settings)
            self.state.keep_if_best(loss, logits)
        return loss, float((logits.argmax(1) == val.targets).float().mean())


def _mean_of_finite(losses: list[float], epoch: int) -> float:
    """Return the mean of an epoch's losses, but for a few steps that were skipped."""
    finite = [loss for loss in losses if not math.isnan(loss)]
    skipped = len(losses) - len(finite)
    if skipped > min(SKIPPED_STEPS_ALLOWED, len(losses) // 2):
        raise DivergedError(f"the loss became non-finite in {skipped} of {len(losses)} steps of epoch {epoch + 1}")
    return float(np.mean(finite))
