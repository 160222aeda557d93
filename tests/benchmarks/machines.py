"""Strategies over several machines against one process: the same table, sooner.

``python -m tests.benchmarks.machines ray``: a Ray cluster of two nodes of one CPU, against one process of one thread.
"""

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from tests.conftest import write_cells
from tests.flows.project import Project, make_project
from tests.flows.test_doors import read_comparison
from tests.flows.test_ray import two_nodes

app = typer.Typer(add_completion=False, no_args_is_help=True)
METRICS = ("auroc", "accuracy", "log_loss", "ece")


@app.callback()
def main() -> None:
    """Compare several machines with one."""


@app.command()
def ray(
    images: Annotated[int, typer.Option(help="Images a class.")] = 200,
    epochs: Annotated[int, typer.Option(help="Epochs of each of four strategies.")] = 12,
) -> None:
    """Two nodes of one CPU each against one process of one thread."""
    with tempfile.TemporaryDirectory() as name, two_nodes() as address:
        folder = Path(name)
        one = prepared(folder, images, epochs)
        spread = Project(folder / "spread")
        shutil.copytree(one.root, spread.root)
        spread.write_params(spread.params() | {"run": {"ray": address}})
        seconds = {"one process": timed(one), "two nodes": timed(spread)}
        for place, took in seconds.items():
            print(f"{place}: {took:.0f} s from the command to the verdict")
        print(f"speed-up: {seconds['one process'] / seconds['two nodes']:.2f} (CPUs here: {os.cpu_count()})")
        print(f"largest difference of {', '.join(METRICS)} on both splits: {difference(one, spread):g}")
        print(f"largest difference of a test prediction: {prediction_difference(one, spread):g}")


def prepared(folder: Path, images: int, epochs: int) -> Project:
    """Return a project with all that comes before the fine-tunings done."""
    project = make_project(folder / "one", write_cells(folder / "photos", images))
    own: dict[str, Any] = {"lr": 0.001, "epochs": epochs, "patience": epochs}
    trained = {"scratch": "all", "full": "all", "last": ["stages[-1]", "head"], "half": ["stages[2:]", "head"]}
    starts = {"scratch": {"start": "random"}}
    params = project.params()
    params["strategies"] = {name: {"train": what, **own, **starts.get(name, {})} for name, what in trained.items()}
    params["compare"]["robustness_images"] = 0
    project.write_params(params)
    done = project.run("dvc", "repro", "prepare", "backbone", "probe", "race")
    assert done.returncode == 0, done.stdout + done.stderr
    return project


def timed(project: Project) -> float:
    """Compare, and return the seconds that it took."""
    begun = time.monotonic()
    done = project.run(sys.executable, "-m", "flows.compare", OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stdout + done.stderr
    return time.monotonic() - begun


def difference(one: Project, other: Project) -> float:
    """Return the largest difference between the metrics of two comparisons."""
    found = [read_comparison(project).strategies for project in (one, other)]
    return max(
        abs(getattr(getattr(found[0][name], split), metric) - getattr(getattr(found[1][name], split), metric))
        for name in found[0]
        for split in ("val", "test")
        for metric in METRICS
    )


def prediction_difference(one: Project, other: Project) -> float:
    """Return the largest difference between two probabilities for the same test image."""
    tables = [pd.read_parquet(project.root / "data/reports/predictions.parquet") for project in (one, other)]
    first, second = (table.filter(regex=r"^p\[").to_numpy() for table in tables)
    return float(np.abs(first - second).max())


if __name__ == "__main__":
    app()
