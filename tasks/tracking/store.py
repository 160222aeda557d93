"""The tracking store: where it is, and its failures in one sentence."""

import logging
import os
import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar
from urllib.parse import quote

import mlflow
import requests
from filelock import FileLock
from mlflow.entities import Experiment, LifecycleStage
from mlflow.exceptions import MlflowException
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from tasks.environment import working_copy
from tasks.errors import UserError
from tasks.files import atomic_path, naming_what_the_disk_refuses
from tasks.tracking import addresses
from tasks.tracking.credentials import hidden, separated, without_user
from tasks.tracking.outages import is_outage, patience, said_while_waiting, without_patience

EXPERIMENT = "thawline"
FILE = "sqlite:///"
EMBEDDED_STORE = f"{FILE}mlflow.db"
EMBEDDED_ARTIFACTS = "mlruns"
EMBEDDED_UI = "http://127.0.0.1:5000"
POSTGRESQL_DRIVER = "psycopg2"
# No such run or model; no such alias, or an id that this store never gives.
NOT_THERE = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}
REFUSALS = {"UNAUTHENTICATED", "PERMISSION_DENIED"}
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}  # opens the UI's view for training runs
NOT_MLFLOW = re.compile(r"failed with error code (?!5)\d+|not in a valid JSON format|Response body: '?\s*<", re.I)
DELETED = re.compile(r"must be in (the )?'active' (state|lifecycle)|Current state is deleted", re.I)
FOR_TRAINING = "workflowType=machine_learning"  # of an address: shows runs and models, not those of language models

os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

# MLflow logs a failing database with its traceback; the sentence that says so is raised here.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)

P = ParamSpec("P")
Answer = TypeVar("Answer")


class OutageError(UserError):
    """The tracking server did not answer for as long as it is waited for; a later try may succeed."""


def stored(function: Callable[P, Answer]) -> Callable[P, Answer]:
    """Turn a failure of the tracking store (a full disk, a server that is gone) into one sentence."""

    @wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> Answer:
        try:
            with said_while_waiting(_server()):
                return function(*args, **kwargs)
        except (MlflowException, SQLAlchemyError, requests.RequestException) as error:
            raise failure(error) from error
        except ModuleNotFoundError as error:
            if error.name != POSTGRESQL_DRIVER:
                raise
            raise UserError(f"MLflow's store {shown_uri()} needs: pip install -e '.[servers]'") from error

    return guarded


def failure(error: Exception) -> UserError:
    """Return what a failure of the tracking store means for its user."""
    if isinstance(error.__context__, requests.exceptions.SSLError):
        return UserError(
            f"MLflow's server {shown_uri()} can't be trusted over TLS: write http:// if it has no TLS, or set "
            "MLFLOW_TRACKING_SERVER_CERT_PATH to the certificate of whoever signed its own"
        )
    if is_outage(error):
        return OutageError(
            f"MLflow's server {shown_uri()} gave no answer within {patience()}: start it, and run the same command "
            "again; finished work was kept"
        )
    if getattr(error, "error_code", "") in REFUSALS:
        return UserError(
            f"MLflow's server {shown_uri()} refuses: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
            "MLFLOW_TRACKING_TOKEN, to those of somebody who may, and run the same command again"
        )
    if NOT_MLFLOW.search(str(error)):
        return UserError(
            f"what answers at {shown_uri()} is no MLflow server: set MLFLOW_TRACKING_URI to the address that "
            "'mlflow server' prints, without a path of its pages, or unset it for mlflow.db in this folder"
        )
    reason = hidden(str(error)).strip().splitlines()[0][:200]
    if DELETED.search(reason):
        return UserError(
            f"what was being written to in MLflow's store {shown_uri()} was deleted meanwhile ({reason}): run the same "
            "command again, which starts a new run; finished work was kept"
        )
    return UserError(
        f"MLflow's store {shown_uri()} failed: {reason}; free disk space or start the server, and run the same "
        "command again; finished work was kept"
    )


@stored
def experiment_id() -> str:
    """Return the id of the experiment that runs go to, which is made where it isn't there yet.

    Raises:
        UserError: it was deleted.
    """
    experiment = client().get_experiment_by_name(experiment_name())
    if experiment is not None:
        return _usable(experiment)
    try:
        return str(client().create_experiment(experiment_name(), _artifacts(), tags=EXPERIMENT_TAGS))
    except MlflowException as error:
        experiment = client().get_experiment_by_name(experiment_name())
        if experiment is None or error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return _usable(experiment)  # made by somebody else, just now


def _artifacts() -> str | None:
    """Return where a new experiment's artifacts go, if MLflow would put them into a copy that DVC removes."""
    if not (is_file() and _is_elsewhere()):
        return None
    return str(working_copy() / EMBEDDED_ARTIFACTS / quote(experiment_name(), safe=""))


def _usable(experiment: Experiment) -> str:
    if experiment.lifecycle_stage == LifecycleStage.DELETED:
        raise UserError(
            f"MLflow's experiment '{experiment.name}' in {shown_uri()} was deleted: 'mlflow experiments restore -x "
            f"{experiment.experiment_id}' brings it back with its runs, or set MLFLOW_EXPERIMENT_NAME to another name; "
            "then run the same command again"
        )
    return str(experiment.experiment_id)


def experiment_name() -> str:
    """Return the name of the experiment that runs go to."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT


def model_name() -> str:
    """Return the name of the registered model: the experiment's, without what only experiments may be called."""
    return re.sub(r"[/:]", "-", experiment_name())


def is_file() -> bool:
    """Return whether the store is a database in a file, which only processes of one machine can share."""
    return _uri().startswith("sqlite:")


def is_reached() -> bool:
    """Return whether the store answers this process, which asks once."""
    try:
        with without_patience():
            _ask()
    except UserError:
        return False
    return True


@stored
def _ask() -> None:
    client().search_experiments(max_results=1)


def run_address(experiment: str, run_id: str) -> str:
    """Return the address of a run in MLflow's UI; for an embedded store, where ``mlflow ui`` would serve it."""
    server = _server() or EMBEDDED_UI
    return f"{server.rstrip('/')}/#/experiments/{experiment}/runs/{run_id}?{FOR_TRAINING}"


def shown_uri() -> str:
    """Return the store's address without a user's name and password."""
    return without_user(_uri())


def absolute_uri() -> str:
    """Return the store's address as it is from any folder."""
    uri = _uri()
    return f"{FILE}{Path(uri.removeprefix(FILE)).absolute()}" if uri.startswith(FILE) else uri


def _uri() -> str:
    """Return the store's address; a relative one is of the user's working copy, also in DVC's copy of it."""
    uri = separated(os.environ.get("MLFLOW_TRACKING_URI") or EMBEDDED_STORE)
    if uri.startswith(FILE) and _is_elsewhere():
        return f"{FILE}{working_copy() / uri.removeprefix(FILE)}"
    return uri


def _is_elsewhere() -> bool:
    return working_copy() != Path.cwd()


def _server() -> str:
    """Return the address of the tracking server; empty if the store is a database or files."""
    uri = _uri()
    return without_user(uri) if uri.startswith(("http://", "https://")) else ""


def client() -> mlflow.MlflowClient:
    """Return a client of the store that the environment names.

    Raises:
        UserError: what it names is no store.
    """
    addresses.check(_uri())
    if is_file():
        _create_at_once(make_url(_uri()).database)
    if mlflow.get_tracking_uri() != _uri():
        mlflow.set_tracking_uri(_uri())
    return mlflow.MlflowClient()


def _create_at_once(database: str | None) -> None:
    """Make a database file that isn't there yet, so that it is never there half made.

    MLflow makes its tables in dozens of steps, and can't go on behind one in which a process died.
    """
    if not database or database == ":memory:" or (path := Path(database)).exists():
        return
    with naming_what_the_disk_refuses(path), FileLock(f"{path}.lock"):
        if not path.exists():
            with atomic_path(path) as made:
                mlflow.MlflowClient(f"sqlite:///{made.absolute()}").search_experiments(max_results=1)
