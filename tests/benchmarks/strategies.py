"""Every way of fine-tuning, with several seeds, in one table: ``python -m tests.benchmarks.strategies``.

Each strategy is trained once a seed on the same split; a seed decides new weights, the order of the images and their
augmentation. What was trained is kept in the working folder, so that the command goes on where it was stopped.
"""

import contextlib
import json
import shutil
import statistics
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from tasks import layout
from tasks.evaluation.metrics import scores
from tasks.files import digest_of, read_json, write_json
from tasks.params import Params, StrategyParams, load_params
from tasks.runs.fine_tuning import FineTuning
from tasks.runs.networks import probabilities_of
from tasks.runs.prepared import PreparedData
from tasks.steps.backbone import backbone
from tasks.steps.fetch import fetch
from tasks.steps.prepare import prepare
from tasks.training import device
from tasks.training.progress import Reporter

GALLERY = Path(__file__).with_name("strategies.yaml")


def main(
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each strategy.")] = 3,
    params: Annotated[Path, typer.Option(help="A file like params.yaml.")] = GALLERY,
    folder: Annotated[Path, typer.Option(help="Where data and results are kept.")] = layout.WORK / "strategies",
    only: Annotated[list[str] | None, typer.Option(help="Strategies to train; all, if none is named.")] = None,
) -> None:
    """Train every strategy with every seed; print the table and write it as JSON beside."""
    gallery = load_params(params)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(params.read_text(encoding="utf-8"), encoding="utf-8")
    with contextlib.chdir(folder):
        if not layout.PIXELS.is_file():
            fetch()
            prepare()
            backbone()
        data = PreparedData.read()
        device.keep_freed_memory()
        results = {
            name: [_trained(name, settings.model_copy(update={"seed": seed}), gallery, data) for seed in range(seeds)]
            for name, settings in gallery.strategies.items()
            if not only or name in only
        }
        write_json(Path("strategies.json"), results)
    _show(results)


def _trained(name: str, settings: StrategyParams, params: Params, data: PreparedData) -> dict[str, Any]:
    place = Path("results", f"{name}-{settings.seed}-{digest_of(settings.model_dump())[:12]}.json")
    if place.is_file():
        earlier: dict[str, Any] = read_json(place)
        return earlier
    reporter = Reporter(f"{name}, seed {settings.seed}")
    fine_tuning = FineTuning(name, params, settings, data, work=place.with_suffix(""), reporter=reporter)
    trained = fine_tuning.train(lambda _: None)
    held_out = {
        split: scores(data.split(split).targets.numpy(), probabilities_of(trained.adapted, data.split(split), settings))
        for split in ("val", "test")
    }
    result = held_out | {
        "seconds": trained.progress.seconds,
        "trainable": fine_tuning.plan.trainable(),
        "facts": trained.facts,
        "measured": asdict(fine_tuning.measurement.measured),
    }
    write_json(place, result)
    shutil.rmtree(fine_tuning.work)
    return json.loads(json.dumps(result))  # type: ignore[no-any-return]


def _show(results: dict[str, list[dict[str, Any]]]) -> None:
    """Print mean and standard deviation over the seeds, best validation AUROC first."""
    headers = ["strategy", "val AUROC", "test AUROC", "test accuracy", "seconds", "trainable", "against scratch (val)"]
    table = Table(*headers)
    ranked = sorted(results, key=lambda name: -_mean(results[name], "val", "auroc"))
    for name in ranked:
        runs = results[name]
        columns = [("val", "auroc"), ("test", "auroc"), ("test", "accuracy")]
        figures = [f"{_mean(runs, *c):.3f} ± {_deviation(runs, *c):.3f}" for c in columns]
        seconds = statistics.mean(run["seconds"] for run in runs)
        table.add_row(name, *figures, f"{seconds:.1f}", f"{runs[0]['trainable']:,}", _against(name, results))
    Console(width=160).print(table)


def _against(name: str, results: dict[str, list[dict[str, Any]]]) -> str:
    """Return whether a strategy beats training from scratch with every seed, on average, or not."""
    if name == "scratch" or "scratch" not in results:
        return ""
    aurocs = [run["val"]["auroc"] for run in results[name]]
    scratch = [run["val"]["auroc"] for run in results["scratch"]]
    if min(aurocs) > max(scratch):
        return "better with every seed"
    return "better on average" if statistics.mean(aurocs) > statistics.mean(scratch) else "NOT better"


def _mean(runs: list[dict[str, Any]], split: str, name: str) -> float:
    return statistics.mean(run[split][name] for run in runs)


def _deviation(runs: list[dict[str, Any]], split: str, name: str) -> float:
    return statistics.stdev(run[split][name] for run in runs) if len(runs) > 1 else 0.0


if __name__ == "__main__":
    typer.run(main)
