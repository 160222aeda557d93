"""When a training's checkpoint is written, and how a training goes on from it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tasks.stopping import StoppedError
from tasks.training import checkpoints
from tasks.training.device import PeakMemory
from tasks.training.job import TrainingJob
from tasks.training.parallel import Parallelism
from tasks.training.progress import Reporter
from tasks.training.state import TrainingState

CHECKPOINT_PAUSE = 20.0  # times what writing one takes


class Checkpointing:
    """Keeps a training's state in the job's checkpoint, often enough for little to be lost and no more."""

    def __init__(self, job: TrainingJob, state: TrainingState, parallelism: Parallelism, peak: PeakMemory) -> None:
        self._job, self._state, self._parallelism, self._peak = job, state, parallelism, peak
        self._saved_at, self._seconds_to_save = time.monotonic(), 0.0

    def restore(self, reporter: Reporter) -> None:
        """Bring the state to where the checkpoint is, if there is one.

        Raises:
            UserError: the processes that train together don't see the same checkpoint.
        """
        job, state = self._job, self._state
        left = checkpoints.progress_of(job.checkpoint)
        is_past = left is not None and left.steps(job.steps) > job.last_step  # left by one that was allowed more
        restored = None if is_past else checkpoints.load(job.checkpoint, state.model, state.optimizer)
        if restored:
            state.progress, copies = restored
            state.best, state.answers = copies.get("best", {}), copies.get("answers", {})
            if state.average:
                state.average.restore(copies.get("average", {}))
        progress = state.progress
        place = [float(count) for count in (progress.epoch, progress.step, progress.taken, progress.averaged)]
        job.processes.check_same(place, f"do not see the same {job.checkpoint}")
        if restored:
            steps = f" and {progress.step} steps" * (progress.step > 0)
            reporter.say(f"goes on after epoch {progress.epoch} of {job.plan.epochs}{steps}")
        self._saved_at = time.monotonic()

    @contextmanager
    def saved_if_stopped(self) -> Iterator[None]:
        """Write a checkpoint where the block is stopped, which is between two steps."""
        try:
            yield
        except StoppedError:
            if self._parallelism.saves_when_stopped():
                self.save()
            raise

    def save_if_due(self) -> None:
        """Write a checkpoint, if the last one is some time ago; the more it takes, the longer."""
        seconds = self._job.checkpoint_seconds
        pause = max(seconds, CHECKPOINT_PAUSE * self._seconds_to_save) if seconds else 0.0
        if self._parallelism.agree_to_save(time.monotonic() - self._saved_at >= pause):
            self.save()

    def save(self) -> None:
        """Write a checkpoint."""
        if not self._parallelism.takes_part_in_saving():
            return
        started, state = time.monotonic(), self._state
        state.progress.peak_memory_mib = max(state.progress.peak_memory_mib, self._peak.mib)
        copies = {"best": state.best, "answers": state.answers} | (
            {"average": state.average.values} if state.average else {}
        )
        content = checkpoints.content(state.model, state.names, state.optimizer, copies)
        if self._job.processes.rank == 0:
            checkpoints.save(self._job.checkpoint, state.progress, content)
        self._saved_at = time.monotonic()
        self._seconds_to_save = self._saved_at - started
