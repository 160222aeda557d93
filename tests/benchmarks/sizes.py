"""Sizes to train at and ways of a step, by validation images: ``python -m tests.benchmarks.sizes FOLDER [FOLDER …]``.

Each variant of the settings is trained once a seed on every folder of images, which has a folder a class; answers are
at ``--size``. No test split is read. What was trained is kept in the working folder, so that the command goes on where
it was stopped, and takes what was added.
"""

import contextlib
import shutil
import statistics
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
import yaml
from rich.console import Console
from rich.table import Table

from tasks import layout
from tasks.evaluation.metrics import scores
from tasks.files import digest_of, read_json, write_json
from tasks.params import Params, load_params
from tasks.runs.fine_tuning import FineTuning
from tasks.runs.networks import probabilities_of
from tasks.runs.prepared import PreparedData
from tasks.steps.backbone import backbone
from tasks.steps.prepare import prepare
from tasks.training import device
from tasks.training.progress import Reporter

VARIANTS: dict[str, dict[str, Any]] = {
    "whole": {"size": "full"},
    "smaller": {"size": "auto", "full_size_epochs": 0},
    "smaller, last whole": {"size": "auto"},
    "growing to smaller, last whole": {"size": "auto", "start_size": 160},
    "growing to whole": {"size": "full", "start_size": 160},
    "half, last whole": {"size": 160},
    "whole, frozen statistics": {"size": "full", "batchnorm": "frozen"},
    "smaller, last whole, frozen statistics": {"size": "auto", "batchnorm": "frozen"},
}
WAYS: dict[str, dict[str, Any]] = {
    "full": {"train": "all", "lr": 0.0003},
    "freeze_first": {"train": ["stages[3:]", "head"], "lr": 0.0001, "views": 4},
    "last_stage": {"train": ["stages[-1]", "head"], "lr": 0.0001, "views": 4},
    "input_layer": {"train": ["stem", "head"], "lr": 0.001},
}
METRICS = ("auroc", "balanced_accuracy", "log_loss")


def main(
    folders: Annotated[list[Path], typer.Argument(help="Folders of images, a folder a class.")],
    way: Annotated[list[str] | None, typer.Option(help="Ways of fine-tuning; 'full', if none is named.")] = None,
    variant: Annotated[list[str] | None, typer.Option(help="Variants; all, if none is named.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each.")] = 1,
    size: Annotated[int, typer.Option(help="Side of the images that are answered.")] = 288,
    images: Annotated[int, typer.Option(help="Training images at most.")] = 300,
    held_out: Annotated[float, typer.Option(help="Share of the images that are validated.")] = 0.2,
    epochs: Annotated[int, typer.Option(min=2, help="Epochs of a training.")] = 5,
    weights: Annotated[str, typer.Option(help="Weights of MobileNetV2.")] = "IMAGENET1K_V1",
    work: Annotated[Path, typer.Option(help="Where data and results are kept.")] = layout.WORK / "sizes",
) -> None:
    """Train every variant on every folder; print what the validation images say of each, and its seconds."""
    ways, variants = way or ["full"], variant or list(VARIANTS)
    device.keep_freed_memory()
    for folder in map(Path.absolute, folders):
        project = work / f"{folder.name}-{size}-{held_out:g}"
        project.mkdir(parents=True, exist_ok=True)
        with contextlib.chdir(project):
            _write_params(folder, size, held_out, weights)
            if not layout.WEIGHTS_RECORD.is_file():
                prepare()
                backbone()
            data = PreparedData.read()
            data = data.thinned(min(1.0, images / len(data.rows("train"))), 0)
            for seed in range(seeds):
                for name in ways:
                    for chosen in variants:
                        settings = WAYS[name] | VARIANTS[chosen] | {"epochs": epochs, "seed": seed}
                        _trained(f"{name}, {chosen}", settings, data)
    _show(work)


def _write_params(folder: Path, size: int, held_out: float, weights: str) -> None:
    content = {
        "data": {"source": "folder", "path": str(folder), "size": size},
        "split": {"validation": held_out, "test": 0.1, "seed": 0},
        "backbone": {"name": "mobilenet_v2", "weights": weights},
        "augment": {"quarter_turns": False},
        "train": {"batchnorm": "train"},
        "strategies": {name: {**way, "epochs": 5} for name, way in WAYS.items()},
    }
    Path("params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")


def _trained(title: str, settings: dict[str, Any], data: PreparedData) -> None:
    params: Params = load_params()
    chosen = params.strategy("full").model_validate(params.train.model_dump(exclude_unset=True) | settings)
    count = len(data.rows("train"))
    place = Path("results", f"{digest_of([title, count, chosen.model_dump()])[:12]}.json")
    if place.is_file():
        return
    reporter = Reporter(f"{Path.cwd().name}: {title}, seed {chosen.seed}")
    fine_tuning = FineTuning("full", params, chosen, data, work=place.with_suffix(""), reporter=reporter)
    before = time.process_time()
    trained = fine_tuning.train(lambda _: None)
    held_out = data.split("val")
    found = scores(held_out.targets.numpy(), probabilities_of(trained.adapted, held_out, chosen))
    result = {
        "set": Path.cwd().name,
        "variant": title,
        "seed": chosen.seed,
        "images": count,
        "validated": len(held_out),
        "seconds": trained.progress.seconds,
        "processor_seconds": time.process_time() - before,
        "threads": torch.get_num_threads(),
        "loss": trained.progress.best_loss,
        "best_epoch": trained.progress.best_epoch + 1,
        **{name: found[name] for name in METRICS if name in found},
    }
    write_json(place, result)
    shutil.rmtree(fine_tuning.work)
    Console().print(result)


def _show(work: Path) -> None:
    """Print the means over the seeds of all that was trained so far."""
    results = [read_json(file) for file in sorted(work.glob("*/results/*.json"))]
    table = Table("set", "variant", "seeds", "val loss", "AUROC", "balanced accuracy", "seconds", "processor seconds")
    for name, variant in sorted({(result["set"], result["variant"]) for result in results}):
        runs = [result for result in results if (result["set"], result["variant"]) == (name, variant)]
        figures = ("loss", "auroc", "balanced_accuracy", "seconds", "processor_seconds")
        means = [statistics.mean(float(run[figure] or "nan") for run in runs) for figure in figures]
        table.add_row(
            name, variant, str(len(runs)), *(f"{mean:.3f}" for mean in means[:3]), *(f"{m:.0f}" for m in means[3:])
        )
    Console(width=160).print(table)


if __name__ == "__main__":
    typer.run(main)
