"""Makes and runs the golden project with one strategy more for each way of fine-tuning that has code of its own.

Run as a file, in the checkout whose code is to be used: ``PYTHONPATH=CHECKOUT python -P widened_project.py FOLDER``, as
``tests.benchmarks.equality --make`` does. Images lie in the project, so that no path tells one project from another.
"""

import sys
import time
from pathlib import Path
from typing import Any

from tests.support import golden
from tests.support.project import Project, make_project

SHARES = [0.5]
SHORT: dict[str, Any] = {"batchnorm": "train", "lr": 0.001, "epochs": 2}
STRATEGIES: dict[str, dict[str, Any]] = {
    **{
        name: {key: value for key, value in settings.items() if key != "insert"}
        for name, settings in golden.STRATEGIES.items()
    },
    "full": {"train": "all", **SHORT},
    "freeze_first": {"train": ["stages[3:]", "head"], "views": 2, **SHORT},
    "lp_ft": {
        "batchnorm": "frozen",
        "phases": [{"train": "head", "solver": "lbfgs"}, {"train": "all", "lr": 0.0001, "epochs": 2}],
    },
    "on_top": {"train": "head", "head": {"kind": "on_top", "hidden": 16}, "lr": 0.001, "epochs": 3},
    "lora": {"train": "all", "adapters": {"kind": "lora", "rank": 4}, **SHORT},
    "gradual": {"train": ["stages[2:]", "head"], "gradual": 1, "lr": 0.001, "epochs": 3},
    "l2_sp": {"train": "all", "l2_sp": 0.01, **SHORT},
    "micro_batch": {"train": "all", "micro_batch": 4, **SHORT},
    # With another seed than "full", which it would tie with, so that their ranks would follow from their seconds.
    "checkpointing": {"train": "all", "activation_checkpointing": True, "seed": 1, **SHORT},
    "start_size": {"train": "all", "start_size": 32, **SHORT},
    "two_processes": {"train": "all", "processes": 2, **SHORT},
    "two_sharded": {"train": "all", "processes": 2, "sharded": True, **SHORT},
}


def make(root: Path) -> Project:
    """Make the project, in which nothing has run."""
    project = make_project(root, Path("photos"), {"shares": SHARES})
    golden._write_photos(root / "photos")
    params = project.params()
    params["data"] |= {"source": "manifest", "path": "photos/table.csv", "upright": False}
    params["compare"]["robustness_images"] = golden.ROBUSTNESS_IMAGES
    params["strategies"] = STRATEGIES
    project.write_params(params)
    return project


def run(project: Project) -> None:
    """Run every step, and say how long it took."""
    tuned = [f"finetune@{name}" for name in STRATEGIES]
    for step in ("fetch", "prepare", "backbone", "probe", "race", *tuned, "compare"):
        begun = time.monotonic()
        project.steps(step)
        print(f"{step}: {time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    run(make(Path(sys.argv[1])))
