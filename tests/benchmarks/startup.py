"""What is waited for around the work, on a small project of real images: ``python -m tests.benchmarks.startup``.

Each figure is the median of runs. A stage's time outside its work is its seconds less those of training.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tests.support.cells import write_cells
from tests.support.project import Project, make_project

METRICS = "data/runs/head_only/metrics.json"


def main(rounds: Annotated[int, typer.Option(min=1, help="Runs of each.")] = 3) -> None:
    """Measure and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        project = make_project(Path(folder) / "clone", write_cells(Path(folder) / "photos", 40))
        _run(project, "dvc", "repro")
        ways: dict[str, Callable[[], float]] = {
            "python -m tasks --help": lambda: _run(project, sys.executable, "-m", "tasks", "--help"),
            "dvc repro, nothing to do": lambda: _run(project, "dvc", "repro"),
            "finetune head_only, less its training": lambda: _stage(project),
            "dvc repro, one strategy and the comparison": lambda: _again(project, "dvc", "repro"),
            "python -m flows.compare, the same": lambda: _again(project, sys.executable, "-m", "flows.compare"),
        }
        times = {name: statistics.median(way() for _ in range(rounds)) for name, way in ways.items()}
    shown = Table("what", "seconds")
    for name, seconds in times.items():
        shown.add_row(name, f"{seconds:.1f}")
    Console().print(shown)


def _run(project: Project, *command: str) -> float:
    started = time.monotonic()
    done = project.run(*command)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
    return time.monotonic() - started


def _stage(project: Project) -> float:
    seconds = _run(project, sys.executable, "-m", "tasks", "finetune", "--strategy", "head_only")
    trained: float = json.loads((project.root / METRICS).read_text())["train_seconds"]
    return seconds - trained


def _again(project: Project, *command: str) -> float:
    """Do again what a changed setting makes stale."""
    params = project.params()
    params["strategies"]["head_only"]["lr"] *= 1.01
    project.write_params(params)
    return _run(project, *command)


if __name__ == "__main__":
    typer.run(main)
