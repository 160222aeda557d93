"""A training in a real MLflow store, and what is said where the store fails."""

import base64
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import mlflow
import pytest

from tasks import tracking
from tasks.errors import UserError
from tasks.tracking.registry import champion_uri

DATA = tracking.DataIdentity("images", "photos", "digest")
ROWS = [{"epoch": float(epoch), "val_loss": 1.0 / (epoch + 1), "learning_rate": 0.1} for epoch in range(250)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a store."""
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"


@pytest.fixture
def run_id(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A run of its own."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    return tracking.start_run(
        "test", {}, {}, tracking.DataIdentity("images", "photos", "digest"), tmp_path / "run.json"
    )


def test_every_row_is_logged_once_at_its_epoch(run_id: str) -> None:
    """When the block has ended, the store has all rows, and no thread is left."""
    with tracking.history(run_id) as log:
        for row in ROWS:
            log(row)
    found = mlflow.MlflowClient().get_metric_history(run_id, "epoch/val_loss")
    assert sorted((metric.step, metric.value) for metric in found) == [(row["epoch"], row["val_loss"]) for row in ROWS]
    assert not any(thread.name == "history" for thread in threading.enumerate())


@pytest.mark.parametrize("name", ["team/solar", "a:b", "plain"])
def test_a_registered_model_may_be_called_so(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the experiment is called, the name of its model is one that MLflow takes, in an address, too."""
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", name)
    assert re.fullmatch(r"models:/[^/:]+@champion", champion_uri())


def test_a_new_store_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that makes it, killed as soon as the file is there, leaves all tables; another one goes on with it."""
    path = tmp_path / "mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
    command = [sys.executable, "-c", "from tasks import tracking; tracking.experiment_id()"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as making:
        while not path.exists() and making.poll() is None:
            time.sleep(0.001)
        making.kill()
    found = tables(path)
    assert tracking.experiment_id()
    assert tables(path) == found != set()


def tables(database: Path) -> set[str]:
    """Return the names of a database's tables."""
    with closing(sqlite3.connect(database)) as opened:
        return {name for (name,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_rows_before_an_error_are_kept(run_id: str) -> None:
    """A training that fails leaves the history that it had."""

    def fail() -> None:
        with tracking.history(run_id) as log:
            log(ROWS[0])
            raise KeyError("training")

    with pytest.raises(KeyError, match="training"):
        fail()
    assert len(mlflow.MlflowClient().get_metric_history(run_id, "epoch/val_loss")) == 1


def test_a_run_that_is_deleted_meanwhile_is_one_sentence(run_id: str) -> None:
    """Rows that can't be logged end the block with what happened and what to do."""

    def train() -> None:
        with tracking.history(run_id) as log:
            mlflow.MlflowClient().delete_run(run_id)
            log(ROWS[0])

    with pytest.raises(UserError, match=r"was deleted meanwhile .*run the same command again"):
        train()


@contextmanager
def answering(status: int) -> Iterator[tuple[str, list[str]]]:
    """Yield the address of a server that answers everything with a status, and who has asked it."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers["Authorization"])
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "sentence"), [(401, "refuses: set MLFLOW_TRACKING_"), (503, "gave no answer within 2 s")]
)
def test_a_server_is_asked_with_a_password_that_nobody_sees(
    monkeypatch: pytest.MonkeyPatch, status: int, sentence: str
) -> None:
    """User and password of an address reach the server, and no sentence and no other address."""
    for name in ("USERNAME", "PASSWORD"):
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", "")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
    with answering(status) as (address, asked):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ann:se%40cret@{address}/")
        with pytest.raises(UserError, match=sentence) as caught:
            tracking.experiment_id()
    assert set(asked) == {f"Basic {base64.b64encode(b'ann:se@cret').decode()}"}
    assert tracking.run_address("1", "a") == f"http://{address}/#/experiments/1/runs/a?workflowType=machine_learning"
    assert address in str(caught.value)
    assert "cret" not in str(caught.value) + tracking.shown_uri() + tracking.absolute_uri() + mlflow.get_tracking_uri()


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://ann:se/c@ret@db/runs",
        "postgresql+psycopg2://db/runs?user=ann&password=se/c@ret",
        "ftp://ann:se/c@ret@db/runs",
    ],
)
def test_a_database_s_password_is_not_shown(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Whatever is wrong with an address, the sentence has neither user nor password."""
    monkeypatch.setattr("tasks.tracking.addresses.SECONDS_TO_REACH", 0.1)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    with pytest.raises(UserError, match=r"MLflow's store|MLFLOW_TRACKING_URI") as caught:
        tracking.experiment_id()
    assert "ret" not in str(caught.value).replace("retr", "")
    assert ("pip install -e '.[servers]'" in str(caught.value)) == address.startswith("postgresql")


def test_a_run_whose_end_nobody_told_is_ended_by_the_next(run_id: str, tmp_path: Path) -> None:
    """A record names the run before; other records are other runs."""
    other = tracking.start_run("other", {}, {}, DATA, tmp_path / "other.json")
    following = tracking.start_run("test", {}, {}, DATA, tmp_path / "run.json")
    assert [status_of(run) for run in (run_id, other, following)] == ["FAILED", "RUNNING", "RUNNING"]
    tracking.finish(following)
    tracking.start_run("test", {}, {}, DATA, tmp_path / "run.json")
    assert status_of(following) == "FINISHED"


def test_a_run_made_twice_is_one(run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that made a run and died before it said so is asked again; the first one is no run that goes on."""
    made: list[Any] = []
    create = mlflow.MlflowClient.create_run

    def twice(*args: Any, **kwargs: Any) -> Any:
        made.extend(create(*args, **kwargs) for _ in range(2))
        return made[-1]

    monkeypatch.setattr(mlflow.MlflowClient, "create_run", twice)
    started = tracking.start_run("test", {}, {}, DATA, tmp_path / "twice.json")
    assert [status_of(run.info.run_id) for run in made] == ["FAILED", "RUNNING"]
    assert started == made[-1].info.run_id


def test_an_experiment_made_by_somebody_else_just_now_is_taken(run_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that start at the same time on a new server share its experiment."""
    find, asked = mlflow.MlflowClient.get_experiment_by_name, []

    def not_at_first(self: mlflow.MlflowClient, name: str) -> Any:
        asked.append(name)
        return find(self, name) if len(asked) > 1 else None

    monkeypatch.setattr(mlflow.MlflowClient, "get_experiment_by_name", not_at_first)
    assert tracking.experiment_id() == mlflow.MlflowClient().get_run(run_id).info.experiment_id


def status_of(run_id: str) -> str:
    """Return a run's status."""
    status: str = mlflow.MlflowClient().get_run(run_id).info.status
    return status


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:5000", "write http://127.0.0.1:5000"),
        ("localhost:5000/", "write http://localhost:5000/"),
        ("http:/localhost:5000", "names no server"),
        ("http://:5000", "names no server"),
        ("htp://localhost:5000", "a kind that MLflow doesn't know"),
        ("postgres://somebody:secret@db/mlflow", "a kind that MLflow doesn't know"),
        ("mlruns", "names a folder"),
        ("file:///tmp/mlruns", "names a folder"),
        ("sqlite:/mlflow.db", "names no file"),
        ("postgresql://somebody:secret@127.0.0.1:1/mlflow", "no database server answers there (Connection refused)"),
    ],
)
def test_addresses_that_are_none(address: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence says what to write, or start; no password is in it."""
    monkeypatch.setattr("tasks.tracking.addresses.SECONDS_TO_REACH", 0.1)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(UserError, match=re.escape(expected)) as error:
        tracking.experiment_id()
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(("status", "text"), [(200, "<html>welcome</html>"), (404, "<html>nothing</html>"), (404, "")])
def test_a_server_of_something_else(status: int, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What answers, but not as MLflow does, is said to be no MLflow server."""

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{served.server_port}")
        with pytest.raises(UserError, match="is no MLflow server"):
            tracking.experiment_id()
        served.shutdown()


def test_the_store_of_a_copy_is_that_of_the_working_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC runs experiments in a copy that it removes: a relative store, and new artifacts, are not in it."""
    copy = tmp_path / "project/.dvc/tmp/exps/tmp1"
    for folder in (copy / ".dvc", copy / "part"):
        folder.mkdir(parents=True)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "project"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    monkeypatch.chdir(copy)
    assert tracking.shown_uri() == "sqlite:///mlflow.db"
    monkeypatch.setenv("DVC_EXP_NAME", "aside")
    assert tracking.absolute_uri() == f"sqlite:///{tmp_path / 'project/mlflow.db'}"
    found = mlflow.MlflowClient(tracking.absolute_uri()).get_experiment(tracking.experiment_id())
    assert Path(found.artifact_location).is_relative_to(tmp_path / "project/mlruns")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")  # which MLflow itself has set
    monkeypatch.chdir(copy / "part")
    assert tracking.absolute_uri() == f"sqlite:///{tmp_path / 'project/part/mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'absolute.db'}")
    assert tracking.absolute_uri() == f"sqlite:///{tmp_path / 'absolute.db'}"
