"""Several processes train one strategy, by torchrun or by params.yaml, and are stopped and gone on with as one is."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

from tests.support.cells import write_cells
from tests.support.project import PREPARE, Project, make_project

pytestmark = pytest.mark.slow

FINETUNE = ("-m", "tasks", "finetune", "--strategy", "full")
TORCHRUN = ("torchrun", "--standalone", "--nproc-per-node", "2")
CLOSE = 2e-3


def result(project: Project) -> tuple[pd.DataFrame, float]:
    """Return a finished fine-tuning's history and the loss of its predictions."""
    folder = project.root / "data/runs/full"
    metrics = json.loads((folder / "metrics.json").read_text())
    return pd.read_csv(folder / "history.csv"), metrics["val"]["log_loss"]


def succeed(project: Project, *command: str) -> str:
    """Run a command that succeeds; return all that it printed."""
    done = project.run(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def stop_in_training(project: Project, log: Path) -> int:
    """Send SIGTERM to a fine-tuning that has its first epoch behind it; return the exit status."""
    with log.open("w") as stream:
        run = subprocess.Popen(
            [sys.executable, *FINETUNE], cwd=project.root, env=project.environment(), stdout=stream,
            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    until = time.monotonic() + 120
    while "epoch 1/" not in log.read_text() and run.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    workers = psutil.Process(run.pid).children(recursive=True)
    run.send_signal(signal.SIGTERM)
    status = run.wait(60)
    assert workers, log.read_text()
    _, alive = psutil.wait_procs(workers, timeout=15)
    assert not alive, "the helpers end with the process that they help"
    return status


def test_several_processes_by_either_way(tmp_path: Path) -> None:
    """Metrics and history are those of one process; torchrun's number wins; what was stopped goes on."""
    project = make_project(tmp_path / "clone", write_cells(tmp_path / "photos", 20), {"precision": "float32"})
    params = project.params()
    strategy = {"train": "all", "batchnorm": "train", "optimizer": "sgd", "lr": 0.0003, "epochs": 8, "patience": 8}
    params["strategies"] = {"full": strategy}
    params["backbone"]["name"] = "mobilenet_v3_small"  # in a random ShuffleNet rounding grows in every step
    project.write_params(params)
    project.steps(*PREPARE, "finetune@full")
    history, loss = result(project)

    succeed(project, *TORCHRUN, *FINETUNE)
    by_torchrun, its_loss = result(project)
    assert by_torchrun["train_loss"].tolist() == pytest.approx(history["train_loss"].tolist(), abs=CLOSE)
    assert by_torchrun["val_loss"].tolist() == pytest.approx(history["val_loss"].tolist(), abs=CLOSE)
    assert its_loss == pytest.approx(loss, abs=CLOSE)
    run = json.loads((project.root / "data/runs/full/run.json").read_text())
    assert run["params"]["processes"] == 2

    params["train"]["processes"] = 2
    project.write_params(params)
    log = tmp_path / "log"
    assert stop_in_training(project, log) == 128 + signal.SIGTERM, log.read_text()
    assert "Traceback" not in log.read_text()
    assert "goes on after" in succeed(project, sys.executable, *FINETUNE)
    by_params, _ = result(project)
    assert by_params.equals(by_torchrun), "both are two processes of one thread"

    params["train"]["sharded"] = True
    project.write_params(params)
    succeed(project, sys.executable, *FINETUNE)
    by_slices, its_loss = result(project)
    assert by_slices["val_loss"].tolist() == pytest.approx(history["val_loss"].tolist(), abs=CLOSE)
    assert its_loss == pytest.approx(loss, abs=CLOSE)
