"""What a run in MLflow is given besides models: metrics, curves and files."""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from mlflow.entities import Metric

from tasks.tracking.store import client, stored


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
