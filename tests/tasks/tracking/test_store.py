"""A store that is new, shared, away or none, and where it is."""

import base64
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


def test_a_new_store_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that makes it, killed as soon as the file is there, leaves all tables; another one goes on with it."""
    path = tmp_path / "mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
    command = [sys.executable, "-c", "from tasks import tracking; tracking.experiment_id()"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as making:
        while not path.exists() and making.poll() is None:
            time.sleep(0.001)
        making.kill()
    made = tables(path)
    assert tracking.experiment_id()
    assert tables(path) == made != set()


def tables(database: Path) -> set[str]:
    """Return the names of a database's tables."""
    with closing(sqlite3.connect(database)) as opened:
        return {name for (name,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_an_experiment_made_by_somebody_else_just_now_is_taken(run_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that start at the same time on a new server share its experiment."""
    find, asked = mlflow.MlflowClient.get_experiment_by_name, []

    def not_at_first(self: mlflow.MlflowClient, name: str) -> Any:
        asked.append(name)
        return find(self, name) if len(asked) > 1 else None

    monkeypatch.setattr(mlflow.MlflowClient, "get_experiment_by_name", not_at_first)
    assert tracking.experiment_id() == mlflow.MlflowClient().get_run(run_id).info.experiment_id


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
    experiment = mlflow.MlflowClient(tracking.absolute_uri()).get_experiment(tracking.experiment_id())
    assert Path(experiment.artifact_location).is_relative_to(tmp_path / "project/mlruns")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")  # which MLflow itself has set
    monkeypatch.chdir(copy / "part")
    assert tracking.absolute_uri() == f"sqlite:///{tmp_path / 'project/part/mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'absolute.db'}")
    assert tracking.absolute_uri() == f"sqlite:///{tmp_path / 'absolute.db'}"
