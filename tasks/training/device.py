"""The device that trains, its precision, the way in which it answers, and the memory it takes."""

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import psutil
import torch
from torch import nn

from tasks.engines.answering import Answer, answering
from tasks.engines.speeds import Speeds
from tasks.engines.ways import PRECISIONS, Precision, Way
from tasks.errors import UserError
from tasks.params import TrainParams

MALLOPT_TRIM_THRESHOLD, MALLOPT_MMAP_THRESHOLD = -1, -3
KEPT_BYTES = 1 << 30
SAMPLE_SECONDS = 0.05
MIB = 2**20


@dataclass(frozen=True)
class Hardware:
    """A device, and how it computes.

    Attributes:
        device: trains and answers.
        bfloat16: whether autocast to it is used in training.
        engine: in which way networks answer without gradients; None: as they train.
    """

    device: torch.device
    bfloat16: bool
    engine: Way | None = None

    @property
    def precision(self) -> Precision:
        """The precision of training."""
        return "bfloat16" if self.bfloat16 else "float32"

    @property
    def way(self) -> Way:
        """In which way networks answer without gradients."""
        return self.engine or Way("eager", self.precision)

    def autocast(self) -> AbstractContextManager[object]:
        """Return the autocast context for forward passes."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)

    def answering(self, network: nn.Module) -> Answer:
        """Return what a network, on the device and in evaluation mode, answers without gradients."""
        return answering(network, self.way, self.device)


def choose(params: TrainParams, speeds: Speeds | None = None) -> Hardware:
    """Return the device, and the precision and way that params ask for; ``auto`` takes what gains.

    On CUDA that is bfloat16 where it has it. On a processor it is what was measured, which holds for every network;
    frozen weights in bfloat16 need its autocast on every machine.

    Args:
        params: settings.
        speeds: of this machine, with the network; None: float32 is taken, and the network itself.

    Raises:
        UserError: CUDA was asked for and there is none.
    """
    cuda = torch.cuda.is_available()
    if params.device == "cuda" and not cuda:
        raise UserError("params.yaml: train.device is cuda, but torch finds no CUDA device here: use auto or cpu")
    device = torch.device("cuda" if cuda and params.device != "cpu" else "cpu")
    if params.frozen_precision == "bfloat16":
        return Hardware(device, bfloat16=True)
    if device.type == "cuda":
        if params.precision == "auto":
            return Hardware(device, bool(torch.cuda.is_bf16_supported(including_emulation=False)))
        return Hardware(device, params.precision == "bfloat16")
    allowed = PRECISIONS if params.precision == "auto" else (params.precision,)
    if speeds is None:
        return Hardware(device, allowed == ("bfloat16",))
    return Hardware(device, speeds.training(allowed) == "bfloat16", speeds.way(allowed))


def is_measured(params: TrainParams) -> bool:
    """Return whether it depends on a measurement how networks train and answer."""
    on_cpu = params.device == "cpu" or not torch.cuda.is_available()
    return on_cpu and params.device != "cuda" and params.frozen_precision == "float32"


def keep_freed_memory() -> None:
    """Tell glibc to keep freed blocks for the next step; returning them to the kernel costs as much as arithmetic."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(MALLOPT_MMAP_THRESHOLD, KEPT_BYTES)
            libc.mallopt(MALLOPT_TRIM_THRESHOLD, KEPT_BYTES)


@dataclass
class PeakMemory:
    """The largest memory seen, in MiB: resident size of this process, or allocated memory of the CUDA device."""

    mib: float = 0.0


@contextmanager
def watch_memory(device: torch.device) -> Iterator[PeakMemory]:
    """Watch the peak memory of a block; the figure is complete when the block ends."""
    peak = PeakMemory()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield peak
        peak.mib = torch.cuda.max_memory_allocated(device) / MIB
        return
    process, stop = psutil.Process(os.getpid()), threading.Event()

    def sample() -> None:
        while not stop.wait(SAMPLE_SECONDS):
            peak.mib = max(peak.mib, process.memory_info().rss / MIB)

    thread = threading.Thread(target=sample, name="peak-memory", daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()
        peak.mib = max(peak.mib, process.memory_info().rss / MIB)
