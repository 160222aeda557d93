"""What a run in MLflow is given: metrics, curves, files and a model."""

import time
import warnings
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
from mlflow.entities import Metric
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from tasks.tracking.store import client, stored

if TYPE_CHECKING:  # whoever logs a model has imported it
    from torch import nn


@stored
def log_metrics(run_id: str, metrics: Mapping[str, float | None]) -> None:
    """Log final metrics; undefined ones are left out."""
    now = int(time.time() * 1000)
    entries = [Metric(key, float(value), now, 0) for key, value in metrics.items() if value is not None]
    client().log_batch(run_id, metrics=entries)


@stored
def log_curves(run_id: str, name: str, points: Mapping[int, Mapping[str, float | None]]) -> None:
    """Log metrics as curves, under ``NAME/METRIC`` at steps that mean something; undefined ones are left out."""
    now = int(time.time() * 1000)
    entries = [
        Metric(f"{name}/{key}", float(value), now, step)
        for step, metrics in points.items()
        for key, value in metrics.items()
        if value is not None
    ]
    client().log_batch(run_id, metrics=entries)


@stored
def log_files(run_id: str, files: Iterable[Path], folder: str | None = None) -> None:
    """Log files as artifacts of a run."""
    store = client()
    for file in files:
        store.log_artifact(run_id, str(file), folder)


@stored
def log_model(run_id: str, model: "nn.Module", example: np.ndarray[Any, Any], classes: list[str]) -> str:
    """Log a classifier as an exported program and return its ``models:/`` URI.

    Args:
        run_id: the run it belongs to.
        model: takes uint8 images of shape (batch, channels, height, width), of any height and width; answers
            probabilities of shape (batch, classes).
        example: a batch of at least two images.
        classes: their names in the order of the answer.
    """
    images = TensorSpec(np.dtype(np.uint8), (-1, example.shape[1], -1, -1))
    answer = TensorSpec(np.dtype(np.float32), (-1, len(classes)))
    client()
    with mlflow.start_run(run_id=run_id, log_system_metrics=False), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.export speaks of its own internals
        info = mlflow.pytorch.log_model(
            model,
            name="model",
            signature=ModelSignature(Schema([images]), Schema([answer])),
            input_example=example,
            pip_requirements=[f"torch=={version('torch')}", f"torchvision=={version('torchvision')}"],
            metadata={"classes": classes},
            validate_serving_input=False,  # loads the program again, which a test does
        )
    return str(info.model_uri)
