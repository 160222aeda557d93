"""Two processes that train together against one: ``python -m tests.benchmarks.distributed``.

Each process has one thread; all train the same real images from the same random weights, in float32 on the processor.
The difference is that of the last weights and statistics, as a share of how far one process's training moved them.
Beside it stands that of one process whose weights were off by rounding at the start: what it makes of the same noise.
"""

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file

from tests.benchmarks.cells import train_and_validation
from tests.tasks.training.pair import Kind, in_processes, train

EPOCHS, HELD_OUT, ROUNDING = 2, 16, 1e-7
EVERYTHING: dict[str, Any] = {
    "train": "all", "batchnorm": "train", "batch_size": 16, "optimizer": "sgd", "lr": 0.001, "epochs": EPOCHS,
    "patience": EPOCHS,
}  # fmt: skip
KINDS = {
    "every weight, BatchNorm trains": {},
    "every weight, BatchNorm frozen": {"batchnorm": "frozen"},
    "thaws in mid-run": {"train": None, "phases": [{"train": "head", "epochs": 1}, {"train": "all", "epochs": 1}]},
    "from a thaw line on": {"train": ["stages[-1]", "head"]},
    "pieces of 6, class weights": {"micro_batch": 6, "class_weights": True},
    "every weight, sharded": {"sharded": True},
}


def main(
    network: Annotated[str, typer.Option(help="A torchvision classification model.")] = "mobilenet_v3_small",
    images: Annotated[int, typer.Option(min=32, help="That are trained on.")] = 96,
    size: Annotated[int, typer.Option(min=32, help="Their height and width in pixels.")] = 128,
) -> None:
    """Train every kind by one process, then by two; print a table and a line of JSON."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        split, val = train_and_validation(folder, images, HELD_OUT, size)
        for kind, settings in KINDS.items():
            kinds = {kind: Kind(network, EVERYTHING | settings, split, val)}
            runs = {"one": (1, 0.0), "two": (2, 0.0), "jitter": (1, ROUNDING)}
            for run, (count, jitter) in runs.items():
                (folder / run).mkdir(exist_ok=True)
                in_processes(count, train, folder / run, kinds, jitter)
            one, two, off = (folder / run / kind for run in runs)
            seconds = [float(load_file(place / "process-0")["seconds"]) for place in (one, two)]
            rates = [images * EPOCHS / taken for taken in seconds]
            largest, share = _differences(one, two)
            differs = {"largest": largest, "share": share, "share_by_rounding": _differences(one, off)[1]}
            rows.append({"kind": kind, **differs, "one": rates[0], "two": rates[1]})
    shown = Table("kind", "max difference", "share of the way", "by 1e-7 at the start", "images/s: one", "two", "ratio")
    for row in rows:
        shares = [f"{row[key]:.1e}" for key in ("largest", "share", "share_by_rounding")]
        rates = [f"{row[key]:.1f}" for key in ("one", "two")]
        shown.add_row(row["kind"], *shares, *rates, f"{row['two'] / row['one']:.2f}")
    Console(width=140).print(shown)
    typer.echo(json.dumps(rows))


def _differences(one: Path, two: Path) -> tuple[float, float]:
    """Return the largest difference of two trainings' last weights, and all differences by how far the first went."""
    start, first, second = load_file(one / "start"), load_file(one / "checkpoint"), load_file(two / "checkpoint")
    names = [key for key in first if key.startswith("model.") and first[key].is_floating_point()]
    apart = torch.cat([(first[key] - second[key]).flatten() for key in names])
    way = torch.cat([(first[key] - start[key.removeprefix("model.")]).flatten() for key in names])
    return float(apart.abs().max()), float(apart.norm() / way.norm())


if __name__ == "__main__":
    typer.run(main)
