"""The servers of a team, on loopback: each can be killed, and started again where it was."""

import os
import signal
import subprocess
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.flows.project import Project, free_port
from tests.flows.test_served import wait_for


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
        found = [link for one in (first, *first.children(recursive=True)) for link in one.net_connections()]
        return {link.laddr.ip for link in found if link.status == psutil.CONN_LISTEN}

    def kill(self) -> None:
        """Let it die with all its processes, as a machine that goes down does."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


def mlflow_server(project: Project, *options: str, **environment: str) -> Server:
    """Return an MLflow server that is yet to be started."""
    command = ("mlflow", "server", "--port", "PORT", "--workers", "1", *options)
    return Server(project, command, "/health", {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **environment})


def prefect_server(project: Project, **environment: str) -> Server:
    """Return a Prefect server that is yet to be started."""
    command = ("prefect", "server", "start", "--port", "PORT")
    return Server(project, command, "/api/health", {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", **environment})
