"""The device and precision that were asked for, and the memory that was taken."""

import subprocess
import sys

import pytest
import torch

from tasks.engines.speeds import Speeds
from tasks.engines.ways import Way
from tasks.errors import UserError
from tasks.training import device
from tests.support.paths import ROOT
from tests.tasks.networks import strategy


@pytest.fixture
def no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a CUDA device."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("no_cuda")
def test_cuda_where_there_is_none_is_one_sentence() -> None:
    """The message says which setting is wrong and what to write instead."""
    with pytest.raises(UserError) as error:
        device.choose(strategy(train="all", device="cuda"))
    message = str(error.value)
    assert "train.device" in message
    assert "auto or cpu" in message
    assert "\n" not in message


@pytest.mark.usefixtures("no_cuda")
@pytest.mark.parametrize("asked", ["auto", "cpu"])
def test_the_cpu_serves_where_there_is_nothing_else(asked: str) -> None:
    """``auto`` falls back to the CPU."""
    assert device.choose(strategy(train="all", device=asked)).device.type == "cpu"


def test_cpu_is_honoured_beside_a_cuda_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """``cpu`` means the CPU even where there is CUDA; ``auto`` takes CUDA."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device.choose(strategy(train="all", device="cpu")).device.type == "cpu"
    assert device.choose(strategy(train="all", device="auto")).device.type == "cuda"


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_precision_is_honoured(precision: str, dtype: torch.dtype) -> None:
    """Forward passes run in the precision that params ask for."""
    hardware = device.choose(strategy(train="all", precision=precision))
    with hardware.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


@pytest.mark.usefixtures("no_cuda")
@pytest.mark.parametrize(("bfloat16", "taken"), [(20.0, "bfloat16"), (9.5, "bfloat16"), (5.0, "float32")])
def test_auto_takes_the_precision_that_the_machine_gains_from(bfloat16: float, taken: str) -> None:
    """``auto`` trains as was measured to be faster, in bfloat16 if both are alike; answers round only for a gain."""
    forward = {"eager float32": 10.0, "fused float32": 11.0, "eager bfloat16": bfloat16, "fused bfloat16": 1.0}
    speeds = Speeds(measured={}, forward=forward, steps={"float32": 10.0, "bfloat16": bfloat16})
    hardware = device.choose(strategy(train="all", precision="auto"), speeds)
    assert hardware.precision == taken
    assert hardware.way == (Way("eager", "bfloat16") if bfloat16 == 20 else Way("fused", "float32"))
    assert device.choose(strategy(train="all", precision="float32"), speeds).way == Way("fused", "float32")
    assert device.choose(strategy(train="all", precision="bfloat16"), speeds).way.precision == "bfloat16"


def test_the_peak_memory_of_a_block_is_seen() -> None:
    """What is allocated and freed again inside the block counts, in a process without freed memory to take it from."""
    program = """
import numpy as np, psutil, time, torch
from tasks.training import device
before = psutil.Process().memory_info().rss / device.MIB
with device.watch_memory(torch.device("cpu")) as peak:
    taken = np.ones(200 * device.MIB, dtype=np.uint8)
    time.sleep(10 * device.SAMPLE_SECONDS)
    del taken
print(peak.mib - before)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert 150 <= float(done.stdout) <= 400


def test_watching_ends_with_an_error() -> None:
    """An error inside the block passes through, and the figure is there all the same."""
    seen = []

    def fail() -> None:
        with device.watch_memory(torch.device("cpu")) as peak:
            seen.append(peak)
            raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        fail()
    assert seen[0].mib > 0
