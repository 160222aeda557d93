"""How fast this machine answers, and trains, in each way: measured once a network and size, and remembered."""

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch

from tasks import layout
from tasks.engines.ways import WAYS, Precision, Way
from tasks.files import digest_of, read_json, write_json
from tasks.record import Record

DIGITS = 12  # of a digest, in a file's name
ROUNDS = 3
HOPELESS = 1.5  # times the fastest: measured no more
WORTH_ROUNDING = 1.1  # times as fast bfloat16 must be to answer, for what it rounds
WORTH_MEMORY = 1.1  # times as fast float32 must be to train, for twice the memory of its activations


Key = TypeVar("Key", bound=str)
Measured = tuple[dict[str, float], dict[Precision, float]]

_KNOWN: dict[Path, "Speeds"] = {}  # by the file that they are kept in, or would be


class Speeds(Record):
    """Images a second of processor time.

    Attributes:
        measured: what it was measured for.
        forward: by the ways in which the network answers.
        steps: forward and backward passes, by precision.
    """

    measured: dict[str, str | int]
    forward: dict[str, float]
    steps: dict[Precision, float]

    def way(self, allowed: Sequence[Precision]) -> Way:
        """Return the fastest way of those of some precisions; float32, unless bfloat16 gains enough."""
        ways = [way for way in WAYS if way.precision in allowed]
        price = {"float32": 1.0, "bfloat16": WORTH_ROUNDING}
        return max(ways, key=lambda way: self.forward.get(str(way), 0.0) / price[way.precision])

    def training(self, allowed: Sequence[Precision]) -> Precision:
        """Return the faster precision of some to train in; bfloat16, unless float32 gains enough."""
        price = {"float32": WORTH_MEMORY, "bfloat16": 1.0}
        return max(allowed, key=lambda precision: self.steps.get(precision, 0.0) / price[precision])


def seconds_of(calls: Mapping[Key, Callable[[], object]]) -> dict[Key, float]:
    """Return the shortest processor time of each of some calls, in turns, after one each that doesn't count.

    All of this process's threads count, and what else the machine does hardly. What is slower by far than the fastest
    has one turn only.
    """
    for call in calls.values():
        call()
    best = {key: _timed(call) for key, call in calls.items()}
    for _ in range(ROUNDS - 1):
        fastest = min(best.values())
        for key, call in calls.items():
            if best[key] <= HOPELESS * fastest:
                best[key] = min(best[key], _timed(call))
    return best


def remembered(key: Mapping[str, str | int], measure: Callable[[], Measured]) -> Speeds:
    """Return what was measured on this machine before, or measure it now.

    It is kept in ``data/work/engines`` where there is such a working folder, so that a run that is taken up again, and
    one that is repeated, answer by the same engine.

    Args:
        key: what is measured, besides the machine.
        measure: returns images a second, by way forward, and by precision in training.
    """
    content = {**key, **_machine()}
    file = layout.ENGINES.resolve() / f"{digest_of(content)[:DIGITS]}.json"
    if file not in _KNOWN:
        measured = None if file.is_file() else measure()
        if measured and not file.is_file():  # no other process measured meanwhile
            speeds = Speeds(measured=content, forward=measured[0], steps=measured[1])
            if layout.WORK.is_dir():
                write_json(file, speeds.model_dump())
            _KNOWN[file] = speeds
        else:
            _KNOWN[file] = Speeds.model_validate(read_json(file))
    return _KNOWN[file]


@cache
def _machine() -> dict[str, str | int]:
    return {"processor": _processor(), "threads": torch.get_num_threads(), "torch": torch.__version__}


def _processor() -> str:
    """Return the processor's name and the instructions that torch uses on it."""
    file, name = Path("/proc/cpuinfo"), platform.processor()
    if file.is_file():
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    return f"{platform.machine()} {name} {torch.backends.cpu.get_cpu_capability()}"


def _timed(call: Callable[[], object]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started
