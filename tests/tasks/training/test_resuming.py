"""A training goes on where it was interrupted, and ends as one that was not."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tasks.training import checkpoints
from tasks.training.batches import Split
from tasks.training.rungs import Rung
from tests.tasks.training.conftest import ALWAYS, HEAD_THEN_ALL, STEPS, Job, MakeJob, moved, same


class InterruptedByTestError(Exception):
    """Stands for whatever ends a process."""


def interrupt_after(epochs: int) -> Any:
    """Return a callback that ends the training while it reports the epoch after ``epochs`` kept ones."""

    def on_epoch(row: dict[str, float]) -> None:
        if row["epoch"] == epochs:
            raise InterruptedByTestError

    return on_epoch


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_an_interrupted_training_ends_as_an_uninterrupted_one(job: MakeJob, optimizer: str) -> None:
    """Stopped in either phase or between them, resumed weights and history are the same, to the bit."""
    settings = {"network_name": "mobilenet_v3_small", "optimizer": optimizer, "batchnorm": "train", **HEAD_THEN_ALL}
    whole = job(place="whole", **settings)
    start = whole.state()
    expected = whole.fit()
    assert moved(start, whole.state())

    for kept in (1, 2, 3):
        stopped = job(place=f"after-{kept}", checkpoint_seconds=ALWAYS, **settings)
        with pytest.raises(InterruptedByTestError):
            stopped.fit(interrupt_after(kept))
        resumed = job(place=f"after-{kept}", **settings)
        rows: list[dict[str, float]] = []
        progress = resumed.fit(rows.append)
        assert [row["epoch"] for row in rows] == list(range(kept, 4)), "kept epochs are not trained again"
        assert progress.history == expected.history
        assert (progress.best_epoch, progress.best_loss) == (expected.best_epoch, expected.best_loss)
        assert same(resumed.state(), whole.state())


PAUSES = [{}, {"ema": 0.9}, {"optimizer": "sgd", "head": {"kind": "mlp", "dropout": 0.5}}]


@pytest.mark.parametrize("changes", PAUSES)
def test_a_training_that_pauses_ends_as_one_that_does_not(job: MakeJob, changes: dict[str, Any]) -> None:
    """Looked at within epochs and between them it goes on to the same weights; allowed less, it has those of there."""
    settings = {"network_name": "mobilenet_v3_small", "batchnorm": "train", **HEAD_THEN_ALL, **changes}

    def until(steps: int, place: str) -> Job:
        made = job(place=place, **settings)
        answers = made.training_job.checkpoint.with_name(f"{steps}.npz")
        return made._replace(training_job=replace(made.training_job, until=steps, answers=answers))

    looks = (2 * STEPS + 1, 2 * STEPS + 4, 3 * STEPS)
    paused = [until(steps, "paused") for steps in looks]
    assert [len(look.fit().history) for look in paused] == [3, 3, 3], "the last row is of the steps so far"
    shown = [Rung.read(look.training_job.checkpoint.with_name(f"{look.training_job.until}.npz")) for look in paused]
    assert [(rung.steps, rung.is_over) for rung in shown if rung] == [(steps, False) for steps in looks]
    whole = job(place="whole", **settings)
    expected = whole.fit()
    went_on = job(place="paused", **settings)
    assert went_on.fit().history == expected.history
    assert same(went_on.state(), whole.state())
    for steps, before in zip(looks[1:], paused[1:], strict=True):
        allowed_less = until(steps, "whole")
        allowed_less.fit()
        assert same(allowed_less.state(), before.state()), "a checkpoint from behind the last step is not taken over"


def test_a_pause_keeps_the_best_weights_of_epochs_and_of_where_it_pauses(job: MakeJob, relabelled: Split) -> None:
    """Kept are the weights with the lowest validation loss, of an epoch's end or of the pause, and their answers."""
    for place, changes in {"plain": {}, "relabelled": {"val": relabelled}}.items():
        made = job(place=place, train="all", epochs=3, lr=0.003, **changes)
        answers = made.training_job.checkpoint.with_name("rung.npz")
        made = made._replace(training_job=replace(made.training_job, until=STEPS + 3, answers=answers))
        progress = made.fit()
        losses = [row["val_loss"] for row in progress.history]
        assert progress.best_epoch == int(np.argmin(losses))
        assert progress.best_loss == min(losses)
        shown = Rung.read(answers)
        assert shown
        targets = made.training_job.val.targets.numpy()
        cross_entropy = -np.log(shown.probabilities[np.arange(len(targets)), targets]).mean()
        assert cross_entropy == pytest.approx(min(losses), abs=1e-6)


def test_a_damaged_look_is_none(tmp_path: Path) -> None:
    """What can't be read, or was cut short or changed, is looked at anew."""
    file = tmp_path / "rung.npz"
    assert Rung.read(file) is None
    Rung.of(torch.randn(5, 2), 7, 1.5, is_over=False).write(file)
    whole = file.read_bytes()
    assert Rung.read(file)
    file.write_bytes(whole[: len(whole) // 2])
    assert Rung.read(file) is None
    file.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    assert Rung.read(file) is None


class StopAfter:
    """Ends a training while it reports a step, as a killed process would; counts the steps that were taken."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, steps: float = math.inf) -> None:
        self.taken, self._last, self._plain = 0, steps, checkpoints.save
        monkeypatch.setattr(checkpoints, "save", self)

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Write the checkpoint, then end the process."""
        self._plain(*args, **kwargs)
        self.taken += 1
        if self.taken == self._last:
            raise InterruptedByTestError


BOUNDARY = 2 * STEPS  # where the phase changes
STOPS = (1, STEPS, BOUNDARY - 1, BOUNDARY, BOUNDARY + 1, BOUNDARY + STEPS + 3)
WAYS: list[dict[str, Any]] = [
    {"optimizer": "sgd"},
    {"optimizer": "adamw", "ema": 0.9},
    {"optimizer": "adamw", "l2_sp": 0.1, "micro_batch": 3, "clip_norm": 1.0},
    {"optimizer": "sgd", "activation_checkpointing": True, "head": {"kind": "mlp", "dropout": 0.5}},
    {"optimizer": "sgd", "sampling": "balanced", "focal_gamma": 2.0},
]


@pytest.mark.parametrize(
    ("changes", "stops"),
    [
        *(pytest.param(changes, (STOPS[-1],), id="-".join(changes)) for changes in WAYS),
        *(
            pytest.param(changes, STOPS[:-1], id="-".join(changes) + "-elsewhere", marks=pytest.mark.slow)
            for changes in WAYS
        ),
    ],
)
def test_a_training_stopped_at_any_step_ends_as_if_it_had_not_been(
    job: MakeJob, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], stops: tuple[int, ...]
) -> None:
    """Within an epoch, a step before the change of phase, at it, and a step after: the same weights, to the bit."""
    settings = {"network_name": "mobilenet_v3_small", "batchnorm": "train", **HEAD_THEN_ALL, **changes}
    whole = job(place="whole", **settings)
    expected = whole.fit()
    for stop in stops:
        with monkeypatch.context() as patch:
            stopping = StopAfter(patch, stop)
            with pytest.raises(InterruptedByTestError):
                job(place=f"after-{stop}", checkpoint_seconds=ALWAYS, **settings).fit()
        with monkeypatch.context() as patch:
            counting = StopAfter(patch)
            resumed = job(place=f"after-{stop}", checkpoint_seconds=ALWAYS, **settings)
            progress = resumed.fit()
        assert stopping.taken == stop
        assert counting.taken == 4 * STEPS - stop + 1, "no step is taken again"
        assert progress.history == expected.history
        assert (progress.best_epoch, progress.best_loss) == (expected.best_epoch, expected.best_loss)
        assert same(resumed.state(), whole.state())


def test_a_training_that_was_finished_is_not_repeated(job: MakeJob) -> None:
    """A process that died after the last epoch finds the best weights; no epoch is trained again."""
    first = job(train="all", epochs=2, lr=0.003)
    expected = first.fit()
    again = job(train="all", epochs=2, lr=0.003)
    rows: list[dict[str, float]] = []
    assert again.fit(rows.append).history == expected.history
    assert rows == []
    assert same(again.state(), first.state())


def test_a_damaged_checkpoint_starts_anew(job: MakeJob) -> None:
    """A checkpoint that was cut short costs time, not the result."""
    first = job(place="first", train="all", epochs=2)
    expected = first.fit()
    second = job(place="second", train="all", epochs=2)
    content = first.training_job.checkpoint.read_bytes()
    second.training_job.checkpoint.parent.mkdir()
    second.training_job.checkpoint.write_bytes(content[: len(content) // 2])
    assert second.fit().history == expected.history
    assert same(second.state(), first.state())
