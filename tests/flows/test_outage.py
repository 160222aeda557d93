"""A tracking server that goes down in the middle of a training: nothing is lost, whether it comes back or not."""

import csv
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from tests.support.cells import write_cells
from tests.support.project import PREPARE, Project, make_project
from tests.support.servers import Server, mlflow_server
from tests.support.waiting import wait_for

pytestmark = pytest.mark.system

EPOCHS = 4
PASSWORD = "pass-word-of-a-team"  # noqa: S105
COMMAND = (sys.executable, "-m", "tasks", "finetune", "--strategy", "scratch")
STOPS_AFTER_TWO_EPOCHS = """
import sys, time
from contextlib import contextmanager
from pathlib import Path
from tasks import tracking
from tasks.__main__ import main

history = tracking.history

@contextmanager
def stopping(run_id):
    with history(run_id) as log:

        def log_and_stop(row):
            log(row)
            if row["epoch"] == 1:
                Path("stopped").touch()
                while Path("stopped").exists():
                    time.sleep(0.05)

        yield log_and_stop

tracking.history = stopping
sys.argv = ["tasks", "finetune", "--strategy", "scratch"]
main()
"""


@dataclass
class Team:
    """A prepared project, and the server that it tracks to."""

    project: Project
    server: Server

    def environment(self, experiment: str, **more: str) -> dict[str, str]:
        """Return where to track to, with a user and a password."""
        address = self.server.address.replace("//", f"//somebody:{PASSWORD}@")
        return {"MLFLOW_TRACKING_URI": address, "MLFLOW_EXPERIMENT_NAME": experiment, **more}

    def runs(self, experiment: str) -> list[Run]:
        """Return the runs of an experiment, the first one first."""
        client = MlflowClient(self.server.address)
        found = client.get_experiment_by_name(experiment)
        return list(client.search_runs([found.experiment_id], order_by=["attributes.start_time"])) if found else []

    def shown(self, run: Run, key: str) -> dict[int, float]:
        """Return a curve of a run, by step."""
        found = MlflowClient(self.server.address).get_metric_history(run.info.run_id, f"epoch/{key}")
        assert len(found) == len({metric.step for metric in found}), "a point was logged twice"
        return {metric.step: metric.value for metric in found}

    def trained(self) -> tuple[str, list[dict[str, str]]]:
        """Return the digest of the weights that a training left, and its history."""
        folder = self.project.root / "data/runs/scratch"
        with (folder / "history.csv").open() as stream:
            return sha256((folder / "model.safetensors").read_bytes()).hexdigest(), list(csv.DictReader(stream))

    def train_until_the_server_dies(self, output: IO[str], **environment: str) -> subprocess.Popen[str]:
        """Start a training whose server is killed after two of its epochs, when the first one is tracked."""
        started = subprocess.Popen(
            [sys.executable, "-c", STOPS_AFTER_TWO_EPOCHS], cwd=self.project.root, stdout=output, stderr=output,
            text=True, stdin=subprocess.DEVNULL, env=self.project.environment(**environment),
        )  # fmt: skip
        stopped, experiment = self.project.root / "stopped", environment["MLFLOW_EXPERIMENT_NAME"]
        wait_for(lambda: stopped.exists() or started.poll() is not None, 200)
        assert started.poll() is None, Path(output.name).read_text()
        wait_for(lambda: self.shown(self.runs(experiment)[0], "val_loss"), 60)
        self.server.kill()
        stopped.unlink()
        return started


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """A project with images and weights prepared, and an MLflow server."""
    folder = tmp_path_factory.mktemp("outage")
    project = make_project(folder / "clone", write_cells(folder / "photos", 12))
    params = project.params()
    params["strategies"] = {"scratch": params["strategies"]["scratch"] | {"epochs": EPOCHS}}
    project.write_params(params)
    server = mlflow_server(project, "--backend-store-uri", "sqlite:///tracked.db")
    server.start()
    try:
        project.steps(*PREPARE)
        server.wait()
        yield Team(project, server)
    finally:
        server.kill()


@pytest.fixture(scope="module")
def ridden_out(team: Team) -> str:
    """What a training printed whose server went down after two epochs and came back."""
    printed = team.project.root / "printed.txt"
    with printed.open("w") as output:
        started = team.train_until_the_server_dies(output, **team.environment("returns"))
        wait_for(lambda: "does not answer" in printed.read_text() or started.poll() is not None, 60)
        assert started.poll() is None, printed.read_text()
        team.server.start()
        team.server.wait()
        assert started.wait(200) == 0, printed.read_text()
    return printed.read_text()


def test_a_server_that_comes_back_is_told_everything(team: Team, ridden_out: str) -> None:
    """The training waits for it and says so; one run has every figure of the history, and its files."""
    assert f"MLflow's server {team.server.address} does not answer; it is asked again for up to 4 minutes" in ridden_out
    (run,) = team.runs("returns")
    assert run.info.status == "FINISHED"
    _, rows = team.trained()
    assert len(rows) == EPOCHS
    for key in rows[0].keys() - {"epoch"}:
        assert team.shown(run, key) == {int(row["epoch"]): float(row[key]) for row in rows}
    artifacts = {file.path for file in MlflowClient(team.server.address).list_artifacts(run.info.run_id)}
    assert {"history.csv", "metrics.json", "model.safetensors"} <= artifacts


def test_a_server_that_stays_away_costs_no_training(team: Team, ridden_out: str) -> None:
    """One sentence in the end; the same command goes on with the same result, and no run is left running."""
    expected, rows = team.trained()
    environment = team.environment("stays away")
    printed = team.project.root / "printed.txt"
    with printed.open("w") as output:
        started = team.train_until_the_server_dies(output, **environment, MLFLOW_HTTP_REQUEST_MAX_RETRIES="2")
        assert started.wait(200) == 2, printed.read_text()
    said = printed.read_text()
    sentence = f"thawline: MLflow's server {team.server.address} gave no answer within 4 seconds: start it"
    assert said.splitlines()[-1].startswith(sentence), said
    assert "Traceback" not in said

    team.server.start()  # which the command waits for
    done = team.project.run(*COMMAND, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"goes on after epoch {EPOCHS} of {EPOCHS}" in done.stdout
    assert team.trained() == (expected, rows)
    first, second = team.runs("stays away")
    assert (first.info.status, second.info.status) == ("FAILED", "FINISHED")
    assert team.shown(second, "val_loss") == {int(row["epoch"]): float(row["val_loss"]) for row in rows}
    assert PASSWORD not in ridden_out + said + done.stdout + done.stderr
    assert not [path for path in files_of(team.project.root) if PASSWORD.encode() in path.read_bytes()]


def files_of(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, those of git left out."""
    return (path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts)
