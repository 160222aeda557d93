"""Training on a CUDA device, where there is one: as on the CPU, and resumed to the same weights.

What is said of the device holds on the CPU, too, so that these tests are tried everywhere.
"""

from dataclasses import replace

import pytest
import torch

from tasks.training.device import Hardware
from tasks.training.inference import predict
from tests.tasks.training.conftest import ALWAYS, HEAD_THEN_ALL, Job, MakeJob, same
from tests.tasks.training.test_resuming import InterruptedByTestError, interrupt_after

CUDA = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"))
on_devices = pytest.mark.parametrize("device", ["cpu", CUDA])


def on(device: str, made: Job, *, bfloat16: bool = False) -> Job:
    """Return a fine-tuning on a device."""
    return made._replace(
        training_job=replace(made.training_job, hardware=Hardware(torch.device(device), bfloat16=bfloat16))
    )


@on_devices
def test_a_device_trains_to_what_the_cpu_does(job: MakeJob, device: str) -> None:
    """In float32, up to rounding: losses of the first epoch, and the answers after it."""
    settings = {"train": "all", "lr": 0.001, "epochs": 1, "batchnorm": "frozen"}
    here, there = on("cpu", job(place="cpu", **settings)), on(device, job(place="device", **settings))
    rows = [made.fit().history[0] for made in (here, there)]
    assert rows[1]["train_loss"] == pytest.approx(rows[0]["train_loss"], rel=0.02)
    answers = [predict(made.adapted, made.training_job.val, made.training_job.hardware).cpu() for made in (here, there)]
    assert torch.allclose(answers[1], answers[0], atol=0.05)


@on_devices
@pytest.mark.parametrize("bfloat16", [False, True])
def test_a_device_learns_in_either_precision(job: MakeJob, device: str, bfloat16: bool) -> None:
    """The training loss falls, and the network's memory is said."""
    settings = {"train": "all", "lr": 0.003, "epochs": 6, "batchnorm": "train", "patience": 6}
    made = on(device, job("mobilenet_v3_small", **settings), bfloat16=bfloat16)
    progress = made.fit()
    losses = [row["train_loss"] for row in progress.history]
    assert losses[-1] < losses[0]
    assert progress.peak_memory_mib > 0


@on_devices
def test_a_device_goes_on_where_it_was_interrupted(job: MakeJob, device: str) -> None:
    """From the checkpoint, whichever phase was interrupted: the same weights up to the device's own noise."""
    settings = {"network_name": "mobilenet_v3_small", "batchnorm": "frozen", **HEAD_THEN_ALL}
    whole = on(device, job(place="whole", **settings))
    expected = whole.fit()
    stopped = on(device, job(place="stopped", checkpoint_seconds=ALWAYS, **settings))
    with pytest.raises(InterruptedByTestError):
        stopped.fit(interrupt_after(3))
    resumed = on(device, job(place="stopped", **settings))
    progress = resumed.fit()
    assert [row["epoch"] for row in progress.history] == [row["epoch"] for row in expected.history]
    if device == "cpu":
        assert same(resumed.state(), whole.state())
    states = zip(resumed.state().values(), whole.state().values(), strict=True)
    assert all(torch.allclose(one.cpu().float(), other.cpu().float(), atol=1e-3) for one, other in states)


@on_devices
def test_a_frozen_trunk_is_kept_for_a_device(job: MakeJob, device: str) -> None:
    """A head on what frozen layers answered learns."""
    made = on(device, job(train="head", lr=0.01, epochs=6, patience=6))
    losses = [row["train_loss"] for row in made.fit().history]
    assert losses[-1] < losses[0]
