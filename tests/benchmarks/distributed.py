"""Two processes that train together against one: ``python -m tests.benchmarks.distributed``.

Each process has one thread; all train the same real images from the same random weights, in float32 on the processor.
The difference is that of the last weights and statistics, as a share of how far one process's training moved them.
Beside it stands that of one process whose weights were off by rounding at the start: what it makes of the same noise.
"""

import importlib.util
import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import typer
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file

from tasks.data.ingest import ingest
from tasks.params import DataParams
from tasks.training.batches import Split
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
        split, val = _cells(folder, images, size)
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


def _cells(folder: Path, images: int, size: int) -> tuple[Split, Split]:
    """Return solar cells to train on, and others to validate, both classes alike."""
    spec = importlib.util.find_spec("elpv_dataset")
    if spec is None or spec.origin is None:
        raise SystemExit("elpv-dataset is not installed")
    root = Path(spec.origin).parent / "data"
    table = pd.read_csv(root / "labels.csv", sep=r"\s+", header=None, names=["path", "probability", "cell"])
    chosen = pd.concat([table[table["probability"] == p].head((images + HELD_OUT) // 2) for p in (0.0, 1.0)])
    params = DataParams(source="folder", path=str(root), size=size)
    ingested = ingest(root, chosen["path"].tolist(), params, folder / "pixels.npy", folder)
    targets = torch.tensor(chosen["probability"].tolist()).long()
    order = np.random.default_rng(0).permutation(len(chosen))
    store = np.load(ingested.store, mmap_mode="r")
    return Split(store, order[:images], targets[order[:images]]), Split(store, order[images:], targets[order[images:]])


if __name__ == "__main__":
    typer.run(main)
