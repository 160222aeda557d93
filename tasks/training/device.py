"""The device that trains, the precision it gains from, and the memory it takes."""

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import psutil
import torch

from tasks.errors import UserError
from tasks.params import TrainParams

MALLOPT_TRIM_THRESHOLD, MALLOPT_MMAP_THRESHOLD = -1, -3
KEPT_BYTES = 1 << 30
SAMPLE_SECONDS = 0.05
MIB = 2**20


@dataclass(frozen=True)
class Hardware:
    """A device and whether bfloat16 autocast is used on it."""

    device: torch.device
    bfloat16: bool

    def autocast(self) -> AbstractContextManager[object]:
        """Return the autocast context for forward passes."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)


def choose(params: TrainParams) -> Hardware:
    """Return the device and precision that params ask for; ``auto`` takes what this machine gains from.

    Frozen weights in bfloat16 need its autocast on every machine.

    Raises:
        UserError: CUDA was asked for and there is none.
    """
    cuda = torch.cuda.is_available()
    if params.device == "cuda" and not cuda:
        raise UserError("params.yaml: train.device is cuda, but torch finds no CUDA device here: use auto or cpu")
    device = torch.device("cuda" if cuda and params.device != "cpu" else "cpu")
    if params.frozen_precision == "bfloat16":
        return Hardware(device, bfloat16=True)
    if params.precision == "auto":
        return Hardware(device, _gains_from_bfloat16(device))
    return Hardware(device, params.precision == "bfloat16")


def _gains_from_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


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
