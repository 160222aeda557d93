"""One GPU in eight minutes: ``python -m tests.benchmarks.gpu --out gpu.json``. Never run on one so far.

Each section is a process of its own with a budget of seconds; what it found is written after each, so that a machine
that is taken away leaves what there is. ``--device cpu --tiny`` tries the script itself in a minute or two.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from tests.benchmarks.minutes.machine import machine

ROOT = Path(__file__).parents[3]
BUDGETS = {"steps": 110.0, "loop": 50.0, "pair": 70.0, "store": 40.0, "peers": 60.0, "tests": 110.0}  # seconds
SECONDS = 480.0
LEAST = 8.0  # seconds in which a section can find anything
Figures = dict[str, Any]
Run = Callable[[str, float], tuple[str, Figures]]


def main(
    out: Annotated[Path, typer.Option(help="JSON that takes what is found.")],
    device: Annotated[str, typer.Option(help="cuda, or cpu to try the script.")] = "cuda",
    tiny: Annotated[bool, typer.Option("--tiny", help="Few steps of a small network.")] = False,
    seconds: Annotated[float, typer.Option(help="After which everything ends.")] = SECONDS,
    sections: Annotated[str, typer.Option(help="Names between commas; all, if none is named.")] = "",
) -> None:
    """Run every section within its budget and what is left of the time, and write what was found."""
    deadline = time.monotonic() + seconds
    names = sections.split(",") if sections else list(BUDGETS)
    if unknown := [name for name in names if name not in BUDGETS]:
        raise typer.BadParameter(f"--sections: {unknown[0]} is none of {', '.join(BUDGETS)}")
    found: Figures = {**_about(device), "tiny": tiny, "sections": {}}
    _write(out, found)

    def run(name: str, allowed: float) -> tuple[str, Figures]:
        command = [sys.executable, "-m", "tests.benchmarks.gpu.sections", name, "--device", device]
        return within(allowed, [*command, *(["--tiny"] if tiny else [])], out.with_suffix(f".{name}.log"))

    for name, state, figures in one_after_the_other({name: BUDGETS[name] for name in names}, deadline, run):
        found["sections"][name] = {"state": state, "figures": figures}
        _write(out, found)
        typer.echo(f"{name}: {state}, {json.dumps(figures)}")


def one_after_the_other(
    budgets: Mapping[str, float], deadline: float, run: Run, clock: Callable[[], float] = time.monotonic
) -> Any:
    """Yield name, state and figures of each section; one for which no time is left isn't begun.

    Args:
        budgets: seconds of each section, in order.
        deadline: by the clock, at which all ends.
        run: takes a name and the seconds that it may take.
        clock: seconds.
    """
    for name, budget in budgets.items():
        allowed = min(budget, deadline - clock())
        yield (name, *(("not begun: no time was left", {}) if allowed < LEAST else run(name, allowed)))


def within(seconds: float, command: list[str], log: Path) -> tuple[str, Figures]:
    """Run a program that prints a line of JSON for whatever it finds; return how it ended, and what it found.

    When the time is over it is killed with every process that it started, and what it had found counts.
    """
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(
            command, env=environment, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL, start_new_session=True
        )
        try:
            status = process.wait(seconds)
            state = "complete" if status == 0 else f"failed with status {status}, see {log.name}"
        except subprocess.TimeoutExpired:
            state = f"its {seconds:.0f} seconds ran out"
        finally:
            _end(process)
    figures: Figures = {}
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith('{"'):
            figures |= json.loads(line)
    return state, figures


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the session that a process leads, if any of it is left."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _about(device: str) -> Figures:
    """Return the device by its name, and versions; torch is asked in a process of its own, which gives it back."""
    program = (
        "import torch, json; print(json.dumps([torch.__version__, torch.version.cuda, "
        "torch.cuda.get_device_name() if torch.cuda.is_available() else '']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    version, cuda, name = json.loads(done.stdout)
    if device == "cuda" and not name:
        raise typer.BadParameter("--device cuda: torch finds no CUDA device here; --device cpu --tiny tries the script")
    host = machine()
    return {"device": name if device == "cuda" else host["processor"], "torch": version, "cuda": cuda, "host": host}


def _write(out: Path, found: Figures) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_name(f"{out.name}.part")
    unfinished.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(out)


if __name__ == "__main__":
    typer.run(main)
