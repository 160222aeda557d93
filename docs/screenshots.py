"""Pictures of the report, MLflow's UI and Prefect's after ``dvc repro``: ``python docs/screenshots.py``.

Needs a Chromium or Chrome on the path; writes PNG files beside this script. For Prefect's page the comparison is run
once more, which skips what is up to date, on a server with a database of its own.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from tasks import layout
from tasks.comparison.schema import Comparison
from tasks.tracking.mlflow_ui import links

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
OFFLINE = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic")
SECONDS_TO_DRAW = 25


def main(folder: Annotated[Path, typer.Option(help="Where the pictures go.")] = Path(__file__).parent) -> None:
    """Take the pictures of the last comparison."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit(f"screenshots: none of {', '.join(BROWSERS)} is on the path: install one")
    if not layout.COMPARISON.is_file():
        sys.exit(f"screenshots: {layout.COMPARISON} does not exist: run 'dvc repro' to make it")
    found = Comparison.model_validate_json(layout.COMPARISON.read_text(encoding="utf-8"))
    shoot(browser, layout.REPORT.absolute().as_uri(), folder / "report.png", 1200, 1060)
    runs = [result.mlflow_run_id for result in found.strategies.values()]
    pages = links(found.mlflow_run_id, runs)
    with mlflow_ui() as server:
        shoot(browser, f"{server}/{pages['charts']}", folder / "mlflow_charts.png", 2100, 1300)
        shoot(browser, f"{server}/{pages['side by side']}", folder / "mlflow_compare.png", 2100, 1300)
    with prefect_run() as page:
        shoot(browser, page, folder / "prefect_run.png", 1600, 1300)


@contextmanager
def mlflow_ui() -> Iterator[str]:
    """Serve the UI on a free port of this machine for as long as the block runs; yield its address."""
    port = free_port()
    command = (sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port))
    with serving(*command, health=f"http://127.0.0.1:{port}/health", MLFLOW_DISABLE_TELEMETRY="true"):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def prefect_run() -> Iterator[str]:
    """Run the comparison on a server of its own; yield the address of the run's page."""
    port = free_port()
    api = f"http://127.0.0.1:{port}/api"
    command = (sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port))
    with (
        tempfile.TemporaryDirectory() as home,
        serving(
            *command, health=f"{api}/health", PREFECT_HOME=home, PREFECT_UI_API_URL=api,
            PREFECT_SERVER_ANALYTICS_ENABLED="false",
        ),
    ):  # fmt: skip
        subprocess.run([sys.executable, "-m", "flows.compare"], env=os.environ | {"PREFECT_API_URL": api}, check=True)
        asked = urllib.request.Request(  # noqa: S310
            f"{api}/flow_runs/filter", b"{}", {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310
            run = json.load(answer)[0]["id"]
        yield f"http://127.0.0.1:{port}/runs/flow-run/{run}"


@contextmanager
def serving(*command: str, health: str, **environment: str) -> Iterator[None]:
    """Keep a server running for as long as the block runs."""
    silent = subprocess.DEVNULL
    with subprocess.Popen(command, env=os.environ | environment, stdout=silent, stderr=silent) as server:
        try:
            wait_for(health)
            yield
        finally:
            server.terminate()


def free_port() -> int:
    """Return a port of the loopback interface that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_for(address: str, seconds: float = 120) -> None:
    """Wait until a server answers."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5):  # noqa: S310
                return
        except OSError:
            if time.monotonic() > deadline:
                sys.exit(f"screenshots: {address} does not answer")
            time.sleep(0.5)


def shoot(browser: str, address: str, target: Path, width: int, height: int) -> None:
    """Draw a page and keep a picture of it."""
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", *OFFLINE, "--hide-scrollbars",
                f"--user-data-dir={profile}", f"--window-size={width},{height}",
                f"--virtual-time-budget={SECONDS_TO_DRAW * 1000}", f"--screenshot={target.absolute()}", address,
            ],
            check=True, capture_output=True, timeout=180,
        )  # fmt: skip
    typer.echo(target)


if __name__ == "__main__":
    typer.run(main)
