"""Thawline against fastai, PyTorch's tutorial and the machine's limit: ``python -m tests.benchmarks.speed``.

Every comparison is of runs that took turns on this machine, on the same split of the packaged solar cells; each run is
a process of its own. fastai's rows need ``pip install fastai==2.8.12`` beside Thawline; without it they are left out.
"""

import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import torch
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table

from tasks import layout
from tasks.backbones.downloads import cache_folder
from tasks.files import write_json
from tasks.params import load_params

ROOT = Path(__file__).parents[2]
Figures = dict[str, float]


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each; the table has their medians.")] = 3,
    folder: Annotated[Path, typer.Option(help="Where data and results are kept.")] = layout.WORK / "speed",
) -> None:
    """Run everything in turns; print the table and write it as JSON beside."""
    _prepare(folder)
    every = list(load_params(folder / layout.PARAMS).strategies)
    runs: dict[str, tuple[str, ...]] = {
        "head_only": ("ours", "strategies", "head_only"),
        "fastai": ("peers", "fastai", "images"),
        "tutorial": ("peers", "tutorial", "images"),
        "steps": ("ours", "steps"),
        "filler": ("ours", "filler"),
        "epochs": ("ours", "epochs"),
        "eight": ("ours", "strategies", *every),
    }
    if importlib.util.find_spec("fastai") is None:
        del runs["fastai"]
    by_round: dict[str, list[Figures]] = {name: [] for name in runs}
    for turn in range(rounds):
        for name, (module, *arguments) in runs.items():
            typer.echo(f"round {turn + 1} of {rounds}: {name}")
            by_round[name].append(_run(folder, module, *arguments))
    medians = {name: _medians(figures) for name, figures in by_round.items()}
    rows = table(medians)
    write_json(folder / "speed.json", {"medians": medians, "runs": by_round, "table": rows})
    _show(rows)


def table(medians: dict[str, Figures]) -> list[tuple[str, float, float]]:
    """Return what is compared, the ratio, and what it should be at least."""
    steps, rows = medians["steps"], []
    if fastai := medians.get("fastai"):
        head, eight = medians["head_only"], medians["eight"]
        rows += [
            (
                "head_only, stored images to test metrics: fastai's seconds over ours",
                fastai["seconds"] / head["seconds"],
                40,
            ),
            (
                "the same: our balanced accuracy less fastai's",
                head["balanced_accuracy"] - fastai["balanced_accuracy"],
                0,
            ),
            ("eight strategies: fastai's seconds for one over ours for all", fastai["seconds"] / eight["seconds"], 1),
            (
                "full, training: images a second over fastai's",
                steps["epoch_images_a_second"] / fastai["images_a_second"],
                3,
            ),
        ]
    rows += [
        (
            "full: over the tutorial's loop",
            steps["epoch_images_a_second"] / medians["tutorial"]["images_a_second"],
            2.5,
        ),
        (
            "full: over the bare step on resident tensors",
            steps["epoch_images_a_second"] / steps["bare_images_a_second"],
            0.9,
        ),
        (
            "filling the store: over the bare forward pass",
            medians["filler"]["ours_images_a_second"] / medians["filler"]["bare_images_a_second"],
            0.9,
        ),
        (
            "an epoch with three quarters of the stages frozen: seconds without the store over with it",
            medians["epochs"]["anew_seconds"] / medians["epochs"]["kept_seconds"],
            5,
        ),
        ("peak memory of a comparison: 2.3 GiB over it", 2.3 * 1024 / medians["eight"]["peak_mib"], 1),
    ]
    return rows


def _prepare(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / layout.PIXELS).is_file():
        shutil.copy(Path(__file__).with_suffix(".yaml"), folder / layout.PARAMS)
        for step in ("fetch", "prepare", "backbone"):
            subprocess.run([sys.executable, "-m", "tasks", step], cwd=folder, env=_environment(folder), check=True)
    if not (folder / "images").is_dir():
        _write_images(folder)
    cached = folder / "torch/hub/checkpoints"
    cached.mkdir(parents=True, exist_ok=True)
    for file in cache_folder().glob("*.pth"):
        shutil.copy(file, cached)


def _write_images(folder: Path) -> None:
    """Write the store's images as the peers read them, a folder a split and class."""
    program = "from tests.benchmarks.speed import write_pngs; from pathlib import Path; write_pngs(Path('.images'))"
    subprocess.run([sys.executable, "-c", program], cwd=folder, env=_environment(folder), check=True)
    (folder / ".images").rename(folder / "images")


def write_pngs(target: Path) -> None:
    """Write the images of the project in the working folder to ``target/SPLIT/CLASS``."""
    from tasks.runs.prepared import PreparedData

    data = PreparedData.read()
    for place, (split, label, row) in enumerate(
        zip(*(data.table[key] for key in ("split", "label", "row")), strict=True)
    ):
        file = target / split / label / f"{place:05}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(data.store[row][..., 0]).convert("RGB").save(file)


def _run(folder: Path, module: str, *arguments: str) -> Figures:
    command = [sys.executable, "-m", f"tests.benchmarks.{module}", *arguments]
    done = subprocess.run(
        command,
        cwd=folder,
        env=_environment(folder),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    figures: Figures = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def _environment(folder: Path) -> dict[str, str]:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return os.environ | {"PYTHONPATH": path, "TORCH_HOME": str(folder.absolute() / "torch")}


def _medians(figures: list[Figures]) -> Figures:
    return {key: statistics.median(run[key] for run in figures) for key in figures[0]}


def _show(rows: list[tuple[str, float, float]]) -> None:
    shown = Table("what", "measured", "wanted, at least", title=f"{os.cpu_count()} cores, PyTorch {torch.__version__}")
    for what, ratio, wanted in rows:
        shown.add_row(what, f"{ratio:.3g}", f"{wanted:g}", style="" if ratio >= wanted else "bold")
    Console().print(shown)


if __name__ == "__main__":
    typer.run(main)
