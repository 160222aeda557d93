"""Deployments on a real Prefect server and worker, on loopback."""

import json
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from tests.flows.project import Project, free_port


@dataclass(frozen=True)
class Server:
    """A Prefect server and the project that is deployed to it."""

    api: str
    project: Project

    def ask(self, path: str, **content: Any) -> Any:
        """Return the server's answer to a question of its REST API, which it repeats while its database is busy."""
        request = urllib.request.Request(  # noqa: S310
            f"{self.api}/{path}", json.dumps(content).encode(), {"Content-Type": "application/json"}
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code != HTTPStatus.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def run(self, *command: str) -> str:
        """Run a command in the project against this server and return its output; it must succeed."""
        done = self.project.run(*command, PREFECT_API_URL=self.api)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def wait_for(what: Callable[[], Any], seconds: float) -> Any:
    """Return the first truth that ``what`` answers."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if found := what():
                return found
        except (urllib.error.URLError, ConnectionError) as error:
            if isinstance(error, urllib.error.HTTPError):
                raise
        time.sleep(0.5)
    raise AssertionError(f"still nothing after {seconds:.0f} s")


@contextmanager
def process(project: Project, *command: str, **environment: str) -> Iterator[None]:
    """Keep a process running for as long as the block runs."""
    path = project.root / f"{Path(command[0]).stem}-{command[1]}.log"
    with path.open("w") as log:
        running = subprocess.Popen(
            command, cwd=project.root, env=project.environment(**environment), stdout=log, stderr=log,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            yield
        except BaseException:
            print(path.read_text())
            raise
        finally:
            running.send_signal(signal.SIGINT)
            try:
                running.wait(20)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()


@pytest.fixture(scope="module")
def server(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Prefect server of its own, on a free port of the loopback interface, with a database of its own."""
    port = free_port()
    started = Server(f"http://127.0.0.1:{port}/api", reproduced)
    command = ("prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port))
    home = str(tmp_path_factory.mktemp("server"))
    with process(reproduced, *command, PREFECT_SERVER_ANALYTICS_ENABLED="false", PREFECT_HOME=home):
        wait_for(lambda: urllib.request.urlopen(f"{started.api}/health", timeout=5).read(), 240)  # noqa: S310
        yield started


def test_worker_executes_the_deployment(server: Server) -> None:
    """``prefect deploy --all``, a worker, a run for now: Completed, with the comparison on its page."""
    shutil.rmtree(server.project.root / "data/runs/head_only")
    server.run("prefect", "work-pool", "create", "thawline", "--type", "process")
    server.run("prefect", "--no-prompt", "deploy", "--all")
    with process(server.project, "prefect", "worker", "start", "--pool", "thawline", PREFECT_API_URL=server.api):
        server.run("prefect", "deployment", "run", "compare/nightly")
        nightly = {"name": {"any_": ["nightly"]}}
        runs = wait_for(lambda: _ended(server.ask("flow_runs/filter", deployments=nightly)), 180)
    assert [run["state_type"] for run in runs] == ["COMPLETED"], runs[0]["state"]["message"]
    artifacts = server.ask("artifacts/filter", artifacts={"flow_run_id": {"any_": [runs[0]["id"]]}})
    kinds = {artifact["key"]: artifact["type"] for artifact in artifacts}
    assert kinds == {
        "data-quality": "table",
        "recommendation": "table",
        "comparison": "table",
        "verdict": "markdown",
        "mlflow-run": "markdown",
    }
    table = next(json.loads(artifact["data"]) for artifact in artifacts if artifact["key"] == "comparison")
    assert {row["strategy"].removeprefix("★ ") for row in table} == {"scratch", "head_only"}
    names = {run["name"] for run in server.ask("task_runs/filter", flow_runs={"id": {"any_": [runs[0]["id"]]}})}
    assert {"adapt head_only (freeze, replace head)", "fine-tune head_only", "evaluate head_only"} <= names
    assert "up to date" in server.project.run("dvc", "status").stdout


def test_serving_keeps_a_cron_schedule(server: Server) -> None:
    """``python -m flows.deployments`` creates a scheduled deployment that outlives it."""
    command = (sys.executable, "-m", "flows.deployments", "--cron", "30 4 * * *", "--name", "served")
    with process(server.project, *command, PREFECT_API_URL=server.api):
        found = wait_for(lambda: server.ask("deployments/filter", deployments={"name": {"any_": ["served"]}}), 60)
        time.sleep(1)
    assert [schedule["schedule"]["cron"] for schedule in found[0]["schedules"]] == ["30 4 * * *"]
    after = server.ask("deployments/filter", deployments={"name": {"any_": ["served"]}})
    assert not after[0]["paused"]
    assert all(schedule["active"] for schedule in after[0]["schedules"])
    ours = {"deployment_id": {"any_": [found[0]["id"]]}}
    scheduled = wait_for(lambda: server.ask("flow_runs/filter", flow_runs=ours), 60)
    assert {(run["state_type"], run["expected_start_time"][11:16]) for run in scheduled} == {("SCHEDULED", "04:30")}


def test_serving_without_a_server_says_what_is_missing(reproduced: Project) -> None:
    """One sentence, and a non-zero exit."""
    done = reproduced.run(sys.executable, "-m", "flows.deployments")
    assert done.returncode == 2
    assert "needs a Prefect server" in done.stderr
    assert "Traceback" not in done.stderr


def _ended(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    started = [run for run in runs if run["start_time"]]
    return [run for run in started if run["state_type"] in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}]
