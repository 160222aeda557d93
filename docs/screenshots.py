"""Pictures of the report and of MLflow's UI after ``dvc repro``: ``python docs/screenshots.py``.

Needs a Chromium or Chrome on the path; writes PNG files beside this script.
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
from urllib.parse import quote

import typer

from tasks import layout
from tasks.comparison.schema import Comparison

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
OFFLINE = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic")
SECONDS_TO_DRAW = 25


def main(folder: Annotated[Path, typer.Option(help="Where the pictures go.")] = Path(__file__).parent) -> None:
    """Take the pictures of the last comparison."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        sys.exit(f"screenshots: none of {', '.join(BROWSERS)} is on the path: install one")
    if not layout.COMPARISON.is_file():
        sys.exit(f"screenshots: {layout.COMPARISON} does not exist: run 'dvc repro' to make it")
    found = Comparison.model_validate_json(layout.COMPARISON.read_text(encoding="utf-8"))
    shoot(browser, layout.REPORT.absolute().as_uri(), folder / "report.png", 1200, 1060)
    runs = [result.mlflow_run_id for result in found.strategies.values()]
    experiment = found.mlflow_experiment_id
    with mlflow_ui() as server:
        compared = f"runs={quote(json.dumps(runs))}&experiments={quote(json.dumps([experiment]))}"
        shoot(browser, f"{server}/#/compare-runs?{compared}", folder / "mlflow_compare.png", 1600, 1300)


@contextmanager
def mlflow_ui() -> Iterator[str]:
    """Serve the UI on a free port of this machine for as long as the block runs; yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port)]
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            wait_for(f"http://127.0.0.1:{port}/health")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


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
