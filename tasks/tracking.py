"""MLflow: what happened. The only importer of MLflow.

Runs are always addressed by id: nothing here depends on an active run, so that it works from any thread and process.
"""

import json
import logging
import os
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

import mlflow
import numpy as np
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from sqlalchemy.exc import SQLAlchemyError
from torch import nn

from tasks.errors import UserError

EXPERIMENT = "thawline"
EMBEDDED_STORE = "sqlite:///mlflow.db"
EMBEDDED_UI = "http://127.0.0.1:5000"
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}  # opens the UI's view for training runs
PARAM_LENGTH = 500
PARENT_TAG = "mlflow.parentRunId"
ROWS_AT_ONCE = 100  # MLflow takes 1,000 metrics in a batch
NOW = ""  # the key of the seconds at which a row was handed over

# MLflow logs a failing database with its traceback; the sentence that says so is raised here.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)

P = ParamSpec("P")
Answer = TypeVar("Answer")


def _stored(function: Callable[P, Answer]) -> Callable[P, Answer]:
    """Turn a failure of the tracking store (a full disk, a server that is gone) into one sentence."""

    @wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> Answer:
        try:
            return function(*args, **kwargs)
        except (MlflowException, SQLAlchemyError) as error:
            reason = str(error).splitlines()[0][:200]
            raise UserError(
                f"MLflow's store {shown_uri()} failed: {reason}; free disk space or start the server, and run the same "
                "command again; finished work was kept"
            ) from error

    return guarded


@dataclass(frozen=True)
class DataIdentity:
    """The images of a run as MLflow's dataset: a name, where they lie, and DVC's digest."""

    name: str
    path: str
    digest: str


@_stored
def start_run(name: str, params: Mapping[str, Any], tags: Mapping[str, str], data: DataIdentity) -> str:
    """Start a run, log its params, tags and data at once, and return its id."""
    client, experiment = _client(), _experiment()
    run = client.create_run(experiment, run_name=name, tags={**_source_tags(), **tags})
    run_id: str = run.info.run_id
    entries = [Param(key, str(value)[:PARAM_LENGTH]) for key, value in params.items()]
    client.log_batch(run_id, params=entries)
    source = json.dumps({"path": data.path})
    dataset = Dataset(data.name, data.digest or "unversioned", source_type="dvc", source=source)
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
    return run_id


@contextmanager
def history(run_id: str) -> Iterator[Callable[[Mapping[str, float]], None]]:
    """Yield a function that takes rows of the history and logs them under ``epoch/``, at their epoch.

    A thread of its own does so, with as many rows at once as there are, so that training waits for no server. When the
    block ends, all are logged.

    Raises:
        UserError: the store failed; in the function at the next row, or at the end of the block.
    """
    waiting: SimpleQueue[Mapping[str, float] | None] = SimpleQueue()
    failures: list[Exception] = []

    def write() -> None:
        rows: list[Mapping[str, float] | None] = []
        while None not in rows:
            rows = [waiting.get()]
            while not waiting.empty() and len(rows) < ROWS_AT_ONCE:
                rows.append(waiting.get())
            try:
                _log_rows(run_id, [row for row in rows if row is not None])
            except Exception as error:  # raised where the rows come from
                failures.append(error)

    def log(row: Mapping[str, float]) -> None:
        if failures:
            raise failures[0]
        waiting.put({**row, NOW: time.time()})

    thread = threading.Thread(target=write, name="history", daemon=True)
    thread.start()
    try:
        yield log
    finally:
        waiting.put(None)
        thread.join()
    if failures:
        raise failures[0]


@_stored
def _log_rows(run_id: str, rows: Iterable[Mapping[str, float]]) -> None:
    metrics = [
        Metric(f"epoch/{key}", value, int(row[NOW] * 1000), int(row["epoch"]))
        for row in rows
        for key, value in row.items()
        if key not in {"epoch", NOW}
    ]
    if metrics:
        _client().log_batch(run_id, metrics=metrics)


@_stored
def log_metrics(run_id: str, metrics: Mapping[str, float | None]) -> None:
    """Log final metrics; undefined ones are left out."""
    now = int(time.time() * 1000)
    entries = [Metric(key, float(value), now, 0) for key, value in metrics.items() if value is not None]
    _client().log_batch(run_id, metrics=entries)


@_stored
def log_files(run_id: str, files: Iterable[Path], folder: str | None = None) -> None:
    """Log files as artifacts of a run."""
    client = _client()
    for file in files:
        client.log_artifact(run_id, str(file), folder)


@_stored
def log_model(run_id: str, model: nn.Module, example: np.ndarray[Any, Any], classes: list[str]) -> str:
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
    _client()
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


@_stored
def finish(run_id: str, *, failed: bool = False) -> None:
    """End a run."""
    _client().set_terminated(run_id, RunStatus.to_string(RunStatus.FAILED if failed else RunStatus.FINISHED))


def abandon(run_id: str) -> None:
    """Mark a run FAILED that died or is about to, if it is still marked as running and the store can be reached."""
    with suppress(MlflowException, SQLAlchemyError, UserError):
        if _client().get_run(run_id).info.status == "RUNNING":
            finish(run_id, failed=True)


@_stored
def adopt(parent: str, children: Iterable[str]) -> None:
    """Make runs the children of ``parent``; a run reused by a later comparison moves under the later one.

    Raises:
        UserError: a run is unknown to the tracking store.
    """
    client = _client()
    for child in children:
        try:
            client.set_tag(child, PARENT_TAG, parent)
        except MlflowException as error:
            raise UserError(
                f"the MLflow run {child} is not in the tracking store {shown_uri()}: set "
                "MLFLOW_TRACKING_URI to the store that the strategies were tracked in, or remove data/runs"
            ) from error


@_stored
def set_tags(run_id: str, tags: Mapping[str, str]) -> None:
    """Set tags of a run."""
    _client().log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])


@_stored
def experiment_id() -> str:
    """Return the id of the experiment that runs go to."""
    _client()
    return _experiment()


def run_address(experiment: str, run_id: str) -> str:
    """Return the address of a run in MLflow's UI; for an embedded store, where ``mlflow ui`` would serve it."""
    uri = _uri()
    server = uri if uri.startswith(("http://", "https://")) else EMBEDDED_UI
    return f"{server.rstrip('/')}/#/experiments/{experiment}/runs/{run_id}"


def shown_uri() -> str:
    """Return the store's address without a user's name and password."""
    return re.sub(r"//[^@/]*@", "//", _uri())


def absolute_uri() -> str:
    """Return the store's address as it is from any folder."""
    store = "sqlite:///"
    uri = _uri()
    return f"{store}{Path(uri.removeprefix(store)).absolute()}" if uri.startswith(store) else uri


def _uri() -> str:
    return os.environ.get("MLFLOW_TRACKING_URI") or EMBEDDED_STORE


def _client() -> mlflow.MlflowClient:
    if mlflow.get_tracking_uri() != _uri():
        mlflow.set_tracking_uri(_uri())
    return mlflow.MlflowClient()


def _experiment() -> str:
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
    client = _client()
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    return str(client.create_experiment(name, tags=EXPERIMENT_TAGS))


def _source_tags() -> dict[str, str]:
    return {"mlflow.source.type": "LOCAL", "mlflow.source.name": "thawline"}


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)
