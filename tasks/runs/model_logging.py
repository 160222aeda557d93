"""What MLflow is handed of a finished fine-tuning: its costs, files, figures and model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tasks import tracking
from tasks.backbones import catalogue
from tasks.comparison.figures import training_run
from tasks.evaluation.classifier import ImageClassifier
from tasks.files import write_json
from tasks.params import StrategyParams
from tasks.runs.prepared import PreparedData
from tasks.serving import classifier_files

EXAMPLE_SIDE = 32
TRACKED_FILES = ("metrics.json", "history.csv", "model.safetensors")


def final_costs(run: Mapping[str, Any]) -> dict[str, float | None]:
    """Return what a fine-tuning took, from its record, under MLflow's names."""
    trainable, total = run["trainable_parameters"], run["parameters"]
    return {
        "cost/trainable_parameters": trainable,
        "cost/trainable_share": trainable / total,
        "cost/train_seconds": run["train_seconds"],
        "cost/peak_memory_mib": run["peak_memory_mib"],
    }


def track_model(
    run_id: str,
    output: Callable[[str], Path],
    data: PreparedData,
    settings: StrategyParams,
    model: ImageClassifier,
    scores: dict[str, Any],
    progress: dict[str, Any],
    plan: dict[str, Any],
    range_tests: Sequence[tuple[Sequence[tuple[float, float]], float]],
    folder: Path,
) -> None:
    """Log a run's files, figures and model.

    Args:
        run_id: the run.
        output: returns where an output of the fine-tuning lies, by its name; they are there already.
        data: what it was trained on.
        settings: of the strategy.
        model: what it left.
        scores: of the validation split.
        progress: what the training has behind it: ``history``, ``best_epoch``.
        plan: its ``parts`` and ``phases``.
        range_tests: of each learning-rate range test (rate, loss) a step, and the rate that was taken.
        folder: has ``plan.json``, and takes the figures and what the model is handed over with.
    """
    tracking.log_files(run_id, [*map(output, TRACKED_FILES), folder / "plan.json"])
    figures = training_run.write_figures(folder, progress, plan, range_tests, scores, data.classes)
    tracking.log_files(run_id, figures, "figures")
    if data.record.code_sha256:
        track_program(run_id, model, data)
        return
    description, code = folder / "classifier.json", folder / "code.zip"
    count = len(data.classes)
    write_json(description, classifier_files.describe(model, settings, asdict(data.record), data.channels, count))
    classifier_files.archive_code(code)
    files = {"description": description, "weights": output("model.safetensors"), "code": code}
    tracking.log_model(run_id, files, data.channels, data.classes, catalogue.packages(data.record.name))


def track_program(run_id: str, model: ImageClassifier, data: PreparedData) -> None:
    """Log a model as a program that runs without this project's code, unless the run has it already.

    Networks of libraries are exported, which takes seconds, for the champion alone; one of the user's own, which is
    built by code or from a file that nobody else has, at once.
    """
    if tracking.has_program(run_id):
        return
    example = np.zeros((2, data.channels, EXAMPLE_SIDE, EXAMPLE_SIDE), dtype=np.uint8)
    example[1] = 255
    tracking.log_program(run_id, model, example, data.classes)
