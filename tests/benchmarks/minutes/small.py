"""A small project of real images, in which what surrounds the work takes most of the time."""

import json
import sys
from pathlib import Path
from typing import Any

from tests.benchmarks.minutes.checkouts import Checkout, Clone
from tests.benchmarks.minutes.turns import Figures
from tests.support.cells import write_cells

IMAGES = 40  # a class
METRICS = "data/runs/head_only/metrics.json"
PARAMS: dict[str, dict[str, Any]] = {
    "data": {"source": "folder", "path": "photos", "size": 48},
    "split": {"validation": 0.25, "test": 0.25, "folds": False},
    "backbone": {"name": "shufflenet_v2_x0_5", "weights": "none"},
    "compare": {"resamples": 200, "robustness_images": 0},
    "strategies": {
        "scratch": {"start": "random", "train": "all", "lr": 0.002, "epochs": 1},
        "head_only": {"train": "head", "lr": 0.001, "epochs": 5},
    },
}


def project(checkout: Checkout, folder: Path) -> Clone:
    """Return a clone in which everything has run, made once."""
    clone = Clone(folder.absolute(), checkout.kept.absolute())
    if not (clone.root / "data/reports/comparison.json").is_file():
        checkout.clone(folder, PARAMS)
        write_cells(clone.root / "photos", IMAGES)
        clone.run("dvc", "repro", log=f"{folder.name}-made")
    return clone


def outside_training(clone: Clone) -> Figures:
    """Return the seconds of a fine-tuning's stage that aren't training, and the peak memory in MiB."""
    work = clone.python("-m", "tasks", "finetune", "--strategy", "head_only")
    trained = json.loads((clone.root / METRICS).read_text(encoding="utf-8"))["train_seconds"]
    return {"seconds": work.seconds - trained, "trained": trained, "peak_mib": work.peak_mib}


def doors(clone: Clone) -> Figures:
    """Return the seconds of a changed strategy and the comparison by either door, and of the shortest command."""
    figures = {}
    for name, command in (("repro", ("dvc", "repro")), ("flow", (sys.executable, "-m", "flows.compare"))):
        _change(clone)
        figures[name] = clone.run(*command).seconds
    return figures | {"help": clone.python("-m", "tasks", "--help").seconds}


def _change(clone: Clone) -> None:
    """Make a strategy and the comparison stale."""
    metrics = json.loads((clone.root / METRICS).read_text(encoding="utf-8"))
    strategies = {name: dict(settings) for name, settings in PARAMS["strategies"].items()}
    strategies["head_only"]["lr"] = 0.001 * (1 + metrics["train_seconds"] / 1000)  # another one each time
    clone.change({"strategies": strategies})
