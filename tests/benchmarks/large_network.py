"""The last stage of a network too large to train whole: ``python -m tests.benchmarks.large_network``.

Random weights, 64 real images, one epoch; prints parameters, seconds and the peak memory of the process.
"""

import importlib.util
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import typer

from tasks.backbones import catalogue
from tasks.data.augmentation import Augmentation
from tasks.data.ingest import ingest
from tasks.params import AugmentParams, DataParams, StrategyParams
from tasks.strategies import assembly, freezing, planning
from tasks.training import device, precision
from tasks.training.averaged_fits import fit_and_average
from tasks.training.batches import Split
from tasks.training.job import TrainingJob
from tasks.training.progress import Reporter

IMAGES, HELD_OUT, SIZE = 64, 16, 224


def main(
    name: Annotated[str, typer.Option(help="A torchvision classification model.")] = "regnet_y_128gf",
    micro_batch: Annotated[int, typer.Option(min=1, help="Images in the network at once.")] = 4,
    frozen_precision: Annotated[str, typer.Option(help="Of the frozen weights: bfloat16 or float32.")] = "bfloat16",
) -> None:
    """Fine-tune the last stage and the head for one epoch; print a table and a line of JSON."""
    settings = StrategyParams.model_validate(
        {
            "train": ["stages[-1]", "head"], "lr": 1e-4, "epochs": 1, "batch_size": 16, "micro_batch": micro_batch,
            "activation_checkpointing": True, "frozen_precision": frozen_precision,
        }
    )  # fmt: skip
    started = time.monotonic()
    device.keep_freed_memory()
    architecture = catalogue.find(name)
    adapted, groups = assembly.assemble(architecture, None, SIZE, 2, 1, settings)
    plan = planning.plan(settings, groups, adapted.new)
    if settings.frozen_precision == "bfloat16":
        precision.lower(adapted.model, plan)
    frozen = freezing.digests(adapted.model, plan.never_moved(update_statistics=settings.updates_statistics))
    built = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        train, val = _cells(Path(folder))
        augment = Augmentation(AugmentParams(), upright=False)
        job = TrainingJob(
            settings, plan, train, val, augment, device.choose(settings), Path(folder, "checkpoint.safetensors")
        )
        trained = fit_and_average(lambda: adapted, job, frozen, Reporter(name), lambda _: None)
    figures = {
        "network": name,
        "parameters": sum(group.size for group in plan.groups),
        "trained": plan.trainable(),
        "images": IMAGES,
        "threads": torch.get_num_threads(),
        "seconds_to_build": round(built - started, 1),
        "seconds_to_train": round(trained.progress.seconds, 1),
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    for key, value in figures.items():
        typer.echo(f"{key:<18} {value:,}" if isinstance(value, int | float) else f"{key:<18} {value}")
    typer.echo(json.dumps(figures))


def _cells(folder: Path) -> tuple[Split, Split]:
    spec = importlib.util.find_spec("elpv_dataset")
    if spec is None or spec.origin is None:
        raise SystemExit("elpv-dataset is not installed")
    root = Path(spec.origin).parent / "data"
    table = pd.read_csv(root / "labels.csv", sep=r"\s+", header=None, names=["path", "probability", "cell"])
    chosen = pd.concat([table[table["probability"] == p].head((IMAGES + HELD_OUT) // 2) for p in (0.0, 1.0)])
    params = DataParams(source="folder", path=str(root), size=SIZE)
    ingested = ingest(root, chosen["path"].tolist(), params, folder / "pixels.npy", folder)
    targets = torch.tensor(chosen["probability"].tolist()).long()
    order = np.random.default_rng(0).permutation(len(chosen))
    store = np.load(ingested.store, mmap_mode="r")
    train, val = order[:IMAGES], order[IMAGES:]
    return Split(store, train, targets[train]), Split(store, val, targets[val])


if __name__ == "__main__":
    typer.run(main)
