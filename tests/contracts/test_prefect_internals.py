"""What is used of Prefect and MLflow beyond their documentation, held against what is installed."""

import inspect

import pytest
from mlflow import environment_variables
from mlflow.store.db import utils as mlflow_database
from prefect import task_engine, task_runners
from prefect.client.orchestration import SyncPrefectClient
from prefect.context import FlowRunContext, get_settings_context
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.server.api.server import SubprocessASGIServer


@pytest.mark.parametrize("worker", [APILogWorker, EventsWorker])
def test_what_is_left_to_tell_is_delivered(worker: type) -> None:
    """Before the temporary server stops: of logs and of events, with a limit of time."""
    assert "timeout" in inspect.signature(worker.drain_all).parameters


def test_a_temporary_server_is_started_and_stopped() -> None:
    """By hand, without the timing of Prefect's own one."""
    server = SubprocessASGIServer
    assert all(callable(getattr(server, name)) for name in ("start", "stop"))
    assert inspect.signature(server).parameters["port"].default is None


def test_a_runner_cancels_its_tasks() -> None:
    """When a flow's body ends early; the runner is found in the run's context."""
    assert callable(task_runners.ThreadPoolTaskRunner.cancel_all)
    assert "task_runner" in FlowRunContext.model_fields


def test_a_task_that_could_not_run_is_logged() -> None:
    """By words that are told from others, to be said in one line."""
    assert "Finished in state {" in inspect.getsource(task_engine)


def test_a_server_is_asked() -> None:
    """For its health and its version, by the client that has the settings of TLS and passwords."""
    assert all(hasattr(SyncPrefectClient, name) for name in ("request", "api_version", "read_flow_runs"))
    assert hasattr(get_settings_context().profile, "settings")


@pytest.mark.parametrize("name", ["MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"])
def test_the_patience_of_mlflow_is_known(name: str) -> None:
    """For how long a server that is gone is asked again."""
    assert getattr(environment_variables, name).get() > 0


def test_the_logger_of_a_failing_database_is_silenced_by_its_name() -> None:
    """Its traceback would stand before the sentence."""
    assert mlflow_database._logger.name == "mlflow.store.db.utils"
