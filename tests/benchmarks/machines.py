"""Strategies over several machines against one process: the same table, sooner.

``python -m tests.benchmarks.machines ray``: a Ray cluster of two nodes of one CPU, against one process of one thread.
"""

import os
import shutil
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from tests.support.cells import write_cells
from tests.support.project import Project, make_project
from tests.support.ray_nodes import two_nodes
from tests.support.results import read_comparison

app = typer.Typer(add_completion=False, no_args_is_help=True)
METRICS = ("auroc", "accuracy", "log_loss", "ece")


@app.callback()
def main() -> None:
    """Compare several machines with one."""


@app.command()
def ray(
    images: Annotated[int, typer.Option(help="Images a class.")] = 200,
    epochs: Annotated[int, typer.Option(help="Epochs of each of four strategies.")] = 30,
) -> None:
    """Two nodes of one CPU each against one process of one thread."""
    with tempfile.TemporaryDirectory() as name, two_nodes() as address:
        folder = Path(name)
        single = prepared(folder, images, epochs)
        spread = Project(folder / "spread")
        shutil.copytree(single.root, spread.root)
        spread.write_params(spread.params() | {"run": {"ray": address}})
        in_one, shared = timed(single), timed(spread)
        print(f"one process: {in_one[0]:.0f} s, of which fine-tuning {in_one[1]:.0f} s")
        print(f"two nodes: {shared[0]:.0f} s, of which fine-tuning {shared[1]:.0f} s")
        print(f"speed-up of fine-tuning: {in_one[1] / shared[1]:.2f} on {os.cpu_count()} CPUs, whose load is {load()}")
        print(f"largest difference of {', '.join(METRICS)} on both splits: {difference(single, spread):g}")
        print(f"largest difference of a test prediction: {prediction_difference(single, spread):g}")


def prepared(folder: Path, images: int, epochs: int) -> Project:
    """Return a project with all that comes before the fine-tunings done."""
    project = make_project(folder / "one", write_cells(folder / "photos", images))
    settings: dict[str, Any] = {"lr": 0.001, "epochs": epochs, "patience": epochs}
    trained = {"scratch": "all", "full": "all", "last": ["stages[-1]", "head"], "half": ["stages[2:]", "head"]}
    starts = {"scratch": {"start": "random"}}
    params = project.params()
    params["strategies"] = {name: {"train": what, **settings, **starts.get(name, {})} for name, what in trained.items()}
    params["compare"]["robustness_images"] = 0
    project.write_params(params)
    done = project.run("dvc", "repro", "prepare", "backbone", "probe", "race")
    assert done.returncode == 0, done.stdout + done.stderr
    return project


def timed(project: Project) -> tuple[float, float]:
    """Compare, and return the seconds that it took, and those from the first fine-tuning's start to the last's end."""
    begun = time.monotonic()
    done = project.run(sys.executable, "-m", "flows.compare", OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stdout + done.stderr
    seconds = time.monotonic() - begun
    query = """SELECT MIN(start_time), MAX(end_time) FROM runs JOIN tags ON tags.run_uuid = runs.run_uuid
               WHERE tags.key = 'thawline.identity'"""
    with sqlite3.connect(project.root / "mlflow.db") as database:
        first, last = database.execute(query).fetchone()
    return seconds, (last - first) / 1000


def load() -> str:
    """Return the mean number of processes that wanted a CPU in the last minutes."""
    return f"{os.getloadavg()[1]:.1f}"


def difference(before: Project, after: Project) -> float:
    """Return the largest difference between the metrics of two comparisons."""
    strategies = [read_comparison(project).strategies for project in (before, after)]
    return max(
        abs(getattr(getattr(strategies[0][name], split), metric) - getattr(getattr(strategies[1][name], split), metric))
        for name in strategies[0]
        for split in ("val", "test")
        for metric in METRICS
    )


def prediction_difference(before: Project, after: Project) -> float:
    """Return the largest difference between two probabilities for the same test image."""
    tables = [pd.read_parquet(project.root / "data/reports/predictions.parquet") for project in (before, after)]
    first, second = (table.filter(regex=r"^p\[").to_numpy() for table in tables)
    return float(np.abs(first - second).max())


if __name__ == "__main__":
    app()
