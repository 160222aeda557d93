"""The tracking store: where it is, and its failures in one sentence."""

import logging
import os
import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import mlflow
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from tasks.errors import UserError

EXPERIMENT = "thawline"
EMBEDDED_STORE = "sqlite:///mlflow.db"
EMBEDDED_UI = "http://127.0.0.1:5000"
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}  # opens the UI's view for training runs

FOR_TRAINING = "workflowType=machine_learning"  # of an address: shows runs and models, not those of language models

os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

# MLflow logs a failing database with its traceback; the sentence that says so is raised here.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)

P = ParamSpec("P")
Answer = TypeVar("Answer")


def stored(function: Callable[P, Answer]) -> Callable[P, Answer]:
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


@stored
def experiment_id() -> str:
    """Return the id of the experiment that runs go to, which is made where it isn't there yet."""
    found = client().get_experiment_by_name(experiment_name())
    if found is not None:
        return str(found.experiment_id)
    return str(client().create_experiment(experiment_name(), tags=EXPERIMENT_TAGS))


def experiment_name() -> str:
    """Return the name of the experiment that runs go to."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT


def model_name() -> str:
    """Return the name of the registered model: the experiment's, without what only experiments may be called."""
    return re.sub(r"[/:]", "-", experiment_name())


def run_address(experiment: str, run_id: str) -> str:
    """Return the address of a run in MLflow's UI; for an embedded store, where ``mlflow ui`` would serve it."""
    uri = _uri()
    server = uri if uri.startswith(("http://", "https://")) else EMBEDDED_UI
    return f"{server.rstrip('/')}/#/experiments/{experiment}/runs/{run_id}?{FOR_TRAINING}"


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


def client() -> mlflow.MlflowClient:
    """Return a client of the store that the environment names."""
    if mlflow.get_tracking_uri() != _uri():
        mlflow.set_tracking_uri(_uri())
    return mlflow.MlflowClient()
