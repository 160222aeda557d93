"""MLflow: what happened. The only importer of MLflow.

Runs are always addressed by id: nothing here depends on an active run, so that it works from any thread and process.
"""

import json
import time
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import mlflow
import numpy as np
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from sqlalchemy.exc import SQLAlchemyError

from tasks import stopping
from tasks.errors import UserError
from tasks.files import read_json, write_json
from tasks.tracking.metric_writer import history
from tasks.tracking.outages import without_patience
from tasks.tracking.store import (
    absolute_uri,
    client,
    experiment_id,
    is_file,
    is_reached,
    run_address,
    shown_uri,
    stored,
)

if TYPE_CHECKING:  # whoever logs a model has imported it
    from torch import nn

PARAM_LENGTH = 500
PARENT_TAG = "mlflow.parentRunId"
ATTEMPT_TAG = "thawline.attempt"

__all__ = [
    "DataIdentity", "abandon", "abandon_started", "absolute_uri", "adopt", "experiment_id", "finish", "history",
    "is_file", "is_reached", "log_curves", "log_files", "log_metrics", "log_model", "run_address", "set_tags",
    "shown_uri", "start_run",
]  # fmt: skip


@dataclass(frozen=True)
class DataIdentity:
    """The images of a run as MLflow's dataset: a name, where they lie, and DVC's digest."""

    name: str
    path: str
    digest: str


@stored
def start_run(name: str, params: Mapping[str, Any], tags: Mapping[str, str], data: DataIdentity, record: Path) -> str:
    """Start a run, log its params, tags and data at once, and return its id.

    A run that died, or whose end the store was not told of, is marked FAILED by the next one with the same record.

    Args:
        name: shown in MLflow.
        params: what it was made with.
        tags: what identifies it.
        data: the images.
        record: file that names the last run of its kind in this folder.
    """
    store, experiment = client(), experiment_id()
    if record.is_file():
        _end_started(read_json(record))
    started = {"experiment": experiment, "attempt": uuid4().hex}
    write_json(record, started)
    run = store.create_run(experiment, run_name=name, tags={**_source_tags(), **tags, ATTEMPT_TAG: started["attempt"]})
    run_id: str = run.info.run_id
    _end_started(started, but=run_id)
    entries = [Param(key, str(value)[:PARAM_LENGTH]) for key, value in params.items()]
    store.log_batch(run_id, params=entries)
    _log_data(run_id, data)
    return run_id


def _log_data(run_id: str, data: DataIdentity) -> None:
    source = json.dumps({"path": data.path})
    dataset = Dataset(data.name, data.digest or "unversioned", source_type="dvc", source=source)
    inputs = [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])]
    try:
        client().log_inputs(run_id, inputs)
    except MlflowException as error:
        if error.error_code != "BAD_REQUEST":
            raise
        client().log_inputs(run_id, inputs)  # another run made the same data set known just now


def _end_started(started: Mapping[str, str], but: str = "", *, stopped: bool = False) -> None:
    """Mark the runs of an attempt FAILED or KILLED; a server that died before it answered may have made several."""
    found = client().search_runs([started["experiment"]], f"tags.`{ATTEMPT_TAG}` = '{started['attempt']}'")
    for run in found:
        if run.info.run_id != but and run.info.status == "RUNNING":
            finish(run.info.run_id, failed=True, stopped=stopped)


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
            pip_requirements=[f"torch=={_version('torch')}", f"torchvision=={_version('torchvision')}"],
            metadata={"classes": classes},
            validate_serving_input=False,  # loads the program again, which a test does
        )
    return str(info.model_uri)


@stored
def finish(run_id: str, *, failed: bool = False, stopped: bool = False) -> None:
    """End a run."""
    status = RunStatus.KILLED if stopped else RunStatus.FAILED if failed else RunStatus.FINISHED
    client().set_terminated(run_id, RunStatus.to_string(status))


def abandon(run_id: str) -> None:
    """Mark a run that is about to die FAILED, or KILLED where this process is asked to stop.

    Only if it is still marked as running, and the store can be reached.
    """
    with suppress(MlflowException, SQLAlchemyError, UserError), without_patience():
        if client().get_run(run_id).info.status == "RUNNING":
            finish(run_id, failed=True, stopped=stopping.is_asked())


def abandon_started(records: Iterable[Path]) -> None:
    """Mark the runs KILLED that these records name and that did not end, if the store can be reached."""
    with suppress(MlflowException, SQLAlchemyError, UserError, OSError, ValueError), without_patience():
        for record in records:
            _end_started(read_json(record), stopped=True)


@stored
def set_parent(parent: str, children: Iterable[str]) -> None:
    """Make runs the children of ``parent``; a run reused by a later comparison moves under the later one.

    Raises:
        UserError: a run is unknown to the tracking store.
    """
    store = client()
    for child in children:
        try:
            store.set_tag(child, PARENT_TAG, parent)
        except MlflowException as error:
            raise UserError(
                f"the MLflow run {child} is no longer in the tracking store {shown_uri()}: run the same command again, "
                "which logs it anew"
            ) from error


@stored
def set_tags(run_id: str, tags: Mapping[str, str]) -> None:
    """Set tags of a run."""
    client().log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])


def _source_tags() -> dict[str, str]:
    return {"mlflow.source.type": "LOCAL", "mlflow.source.name": "thawline"}


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)
