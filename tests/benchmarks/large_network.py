"""The last stage of a network too large to train whole: ``python -m tests.benchmarks.large_network``.

Random weights, 64 real images, one epoch; prints parameters, seconds and the peak memory of the process.
"""

import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Annotated

import torch
import typer

from tasks.backbones import catalogue
from tasks.data.augmentation import Augmentation
from tasks.params import AugmentParams, StrategyParams
from tasks.strategies import assembly, freezing, planning
from tasks.training import device, precision
from tasks.training.averaged_fits import fit_and_average
from tasks.training.job import TrainingJob
from tasks.training.progress import Reporter
from tests.benchmarks.cells import train_and_validation

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
        train, val = train_and_validation(Path(folder), IMAGES, HELD_OUT, SIZE)
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


if __name__ == "__main__":
    typer.run(main)
