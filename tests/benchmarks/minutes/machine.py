"""The machine that figures are measured on, and a command watched while it runs."""

import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import Any, TextIO

PACKAGES = ("torch", "torchvision", "numpy", "onnxruntime", "openvino", "dvc", "mlflow", "prefect", "timm")
FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")  # of processors, which decide about speed
MIB_OF_KIB = 1024
STAGE = re.compile(r"Running stage '([^']+)'")
SHOWN = 30  # last lines of a command that failed
# The memory of the process that starts a command counts as the command's: a small one starts it, and says how much the
# largest of its processes had.
LAUNCHER = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[2:])
with open(sys.argv[1], "w") as peak:
    peak.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(status if status >= 0 else 128 - status)
"""


@dataclass(frozen=True)
class Watched:
    """A command that ran.

    Attributes:
        seconds: that it took.
        peak_mib: memory of its largest process, in MiB.
        lines: that it printed, with the seconds since its start.
    """

    seconds: float
    peak_mib: float
    lines: list[tuple[float, str]]

    def longest_silence(self) -> float:
        """Return the most seconds without a line, from the start to the end."""
        return _longest_silence([0.0, *(at for at, _ in self.lines), self.seconds])

    def stages(self) -> dict[str, dict[str, float]]:
        """Return the seconds and the longest silence of each stage of ``dvc repro``, by name."""
        starts = [(at, found[1]) for at, line in self.lines if (found := STAGE.match(line))]
        ends = [at for at, _ in starts[1:]] + [self.seconds]
        return {
            name: {
                "seconds": end - start,
                "silence": _longest_silence([start, *(at for at, _ in self.lines if start < at < end), end]),
            }
            for (start, name), end in zip(starts, ends, strict=True)
        }


def watched(command: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path | None = None) -> Watched:
    """Run a command to its end.

    Args:
        command: program and arguments.
        folder: that it runs in.
        environment: all of it.
        log: file that takes what it prints.

    Raises:
        RuntimeError: it failed; with the last lines that it printed.
    """
    started = time.monotonic()
    with tempfile.NamedTemporaryFile("r") as peak:
        lines, status = _run([sys.executable, "-S", "-c", LAUNCHER, peak.name, *command], folder, environment, log)
        kibibytes = int(peak.read() or 0)
    seconds = time.monotonic() - started
    if status:
        end = "\n".join(line for _, line in lines[-SHOWN:])
        raise RuntimeError(f"{' '.join(map(str, command))} ended with status {status}:\n{end}")
    return Watched(seconds, kibibytes / MIB_OF_KIB, lines)


def _run(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path | None
) -> tuple[list[tuple[float, str]], int]:
    """Return a command's lines, each with the seconds until it came, and its status."""
    started = time.monotonic()
    process = subprocess.Popen(
        command, cwd=folder, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL, text=True, errors="replace",
    )  # fmt: skip
    assert process.stdout is not None
    lines: list[tuple[float, str]] = []
    with _opened(log) as stream:
        for line in process.stdout:
            lines.append((time.monotonic() - started, line.rstrip("\n")))
            stream.write(f"{lines[-1][0]:9.2f} {line}")
            stream.flush()
    process.stdout.close()
    return lines, process.wait()


def machine() -> dict[str, Any]:
    """Return the processor by its name, its cores and features, the memory, and the versions that decide on speed."""
    description = _read("/proc/cpuinfo")
    named = re.search(r"^model name\s*:\s*(.+)$", description, re.M)
    flags = set((re.search(r"^flags\s*:\s*(.+)$", description, re.M) or ["", ""])[1].split())
    memory = re.search(r"^MemTotal:\s*(\d+) kB$", _read("/proc/meminfo"), re.M)
    return {
        "processor": named[1] if named else platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "features": [name for name in FEATURES if name in flags],
        "memory_gib": round(int(memory[1]) / 2**20) if memory else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _opened(log: Path | None) -> TextIO:
    """Return the file that takes what a command prints, or one that forgets it."""
    path = log or Path(os.devnull)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("w", encoding="utf-8")


def _longest_silence(moments: Sequence[float]) -> float:
    return max(later - earlier for earlier, later in pairwise(moments))


def _read(name: str) -> str:
    path = Path(name)
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
