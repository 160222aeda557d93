"""A run in MLflow from its start to its end.

Runs are always addressed by id: nothing here depends on an active run, so that it works from any thread and process.
"""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from mlflow.entities import Dataset, DatasetInput, InputTag, Param, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from tasks import stopping
from tasks.errors import UserError
from tasks.files import read_json, write_json
from tasks.tracking.outages import without_patience
from tasks.tracking.store import client, experiment_id, shown_uri, stored

PARAM_LENGTH = 500
PARENT_TAG = "mlflow.parentRunId"
ATTEMPT_TAG = "thawline.attempt"


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
    attempts = client().search_runs([started["experiment"]], f"tags.`{ATTEMPT_TAG}` = '{started['attempt']}'")
    for run in attempts:
        if run.info.run_id != but and run.info.status == "RUNNING":
            finish(run.info.run_id, failed=True, stopped=stopped)


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
