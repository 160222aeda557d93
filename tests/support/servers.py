"""The servers of a team, on loopback: each can be killed, and started again where it was."""

import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import psutil

from tests.support import once
from tests.support.ports import free_port
from tests.support.project import Project
from tests.support.waiting import wait_for

ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
WITHOUT_TELEMETRY = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false"}


@dataclass
class Server:
    """A server's process.

    Attributes:
        project: whose environment it has.
        command: starts it; ``PORT`` stands for the port.
        health: path that answers once it is up.
        environment: more of it.
        port: that it listens on.
    """

    project: Project
    command: tuple[str, ...]
    health: str
    environment: dict[str, str]
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """The file of what it prints."""
        return self.project.root / f"{self.command[0]}-server.log"

    def start(self) -> None:
        """Start it, in a session of its own with all processes that it starts."""
        command = [str(self.port) if word == "PORT" else word for word in self.command]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.project.root, env=self.project.environment(**self.environment), stdout=log,
                stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        once.remember(self._process.pid)

    def wait(self) -> None:
        """Return once it answers."""

        def answer() -> bytes:
            assert self._process is not None
            assert self._process.poll() is None, self.log.read_text()
            content: bytes = urllib.request.urlopen(f"{self.address}{self.health}", timeout=5).read()  # noqa: S310
            return content

        wait_for(answer, 240)

    def listens_at(self) -> set[str]:
        """Return the addresses of this machine that it can be reached at."""
        assert self._process is not None
        first = psutil.Process(self._process.pid)
        processes = (first, *first.children(recursive=True))
        connections = [connection for process in processes for connection in process.net_connections()]
        return {connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN}

    def kill(self) -> None:
        """Let it die with all its processes, as a machine that goes down does."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            once.forget(self._process.pid)
            self._process = None


def mlflow_server(project: Project, *options: str, **environment: str) -> Server:
    """Return an MLflow server that is yet to be started."""
    command = ("mlflow", "server", "--port", "PORT", "--workers", "1", *options)
    return Server(project, command, "/health", {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **environment})


def prefect_server(project: Project, **environment: str) -> Server:
    """Return a Prefect server that is yet to be started."""
    command = ("prefect", "server", "start", "--port", "PORT")
    return Server(project, command, "/api/health", {**WITHOUT_TELEMETRY, **environment})


@dataclass(frozen=True)
class Team:
    """A project, and the Prefect server that its commands use.

    Attributes:
        api: address of the server.
        project: the project.
        pool: its own work pool.
    """

    api: str
    project: Project
    pool: str

    def deploy(self) -> None:
        """Create the work pool and the deployments of ``prefect.yaml``."""
        file = self.project.root / "prefect.yaml"
        file.write_text(re.sub(r"(?m)^( *name:) thawline$", rf"\1 {self.pool}", file.read_text()))
        self.run("prefect", "work-pool", "create", self.pool, "--type", "process")
        self.run("prefect", "--no-prompt", "deploy", "--all")

    def started(self, deployment: str = "nightly") -> str:
        """Let a deployment run now; return the run's id."""
        (known,) = self.ask("deployments/filter", deployments={"name": {"any_": [deployment]}})
        run: str = self.ask(f"deployments/{known['id']}/create_flow_run")["id"]
        return run

    def run_of(self, run: str) -> dict[str, Any]:
        """Return a flow run, with its state."""
        (flow_run,) = self.ask("flow_runs/filter", flow_runs={"id": {"any_": [run]}})
        content: dict[str, Any] = flow_run
        return content

    def ended(self, run: str, seconds: float = 200) -> dict[str, Any]:
        """Return a flow run once it has ended."""
        wait_for(lambda: self.run_of(run)["state_type"] in ENDED, seconds)
        return self.run_of(run)

    def ask(self, path: str, **content: Any) -> Any:
        """Return the server's answer to a question of its REST API, which is repeated while its database is busy."""
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


def shared_prefect() -> str:
    """Return the address of the API of the one Prefect server that all tests of this run share."""

    def start(folder: Path) -> str:
        server = prefect_server(Project(folder), PREFECT_HOME=str(folder / "home"))
        server.start()
        server.wait()
        return f"{server.address}/api"

    address: str = once.once("prefect", start)
    return address
