"""A comparison spread over a real Ray cluster of two nodes is, bit by bit, the one that a single process makes."""

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from ruamel.yaml import YAML

from tests.support.project import PREPARE, STRATEGIES, Project, make_project
from tests.support.ray_nodes import two_nodes
from tests.support.results import is_up_to_date, read_comparison
from tests.support.servers import shared_prefect
from tests.support.waiting import wait_for

pytestmark = pytest.mark.system
pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")

# The worker of a strategy dies once behind its second epoch, where a file says so.
DIES_ONCE = """

_save_all = save


def save(target: Path, progress: Progress, *rest: Any) -> None:
    _save_all(target, progress, *rest)
    planted = Path("dies_once")
    if progress.epoch == 2 and planted.exists():
        planted.unlink()
        import os
        os.kill(os.getpid(), 9)
"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster of two nodes."""
    with two_nodes() as address_of_nodes:
        yield address_of_nodes


def small(root: Path, cells: Path) -> Project:
    """Return a project whose trainings keep a checkpoint an epoch, one of which dies where it is asked to.

    There is no race, which would train on the flow's own node.
    """
    project = make_project(root, cells, {"budget": "none"})
    params = project.params()
    params["strategies"] = STRATEGIES | {"scratch": STRATEGIES["scratch"] | {"epochs": 4}}
    params["run"] = {"checkpoint_seconds": 0}
    project.write_params(params)
    checkpoints = root / "tasks/training/checkpoints.py"
    checkpoints.write_text(checkpoints.read_text() + DIES_ONCE)
    return project


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, cells: Path, address: str) -> tuple[Project, Project]:
    """A comparison by one process, and on two nodes, a worker killed in the middle of its training.

    What the first measured of the machine holds for the second, which may measure otherwise while others work on it.
    """
    single, spread = (small(tmp_path_factory.mktemp(name) / "clone", cells) for name in ("one", "spread"))
    spread.write_params(spread.params() | {"run": {"ray": address, "checkpoint_seconds": 0}})
    (spread.root / "dies_once").touch()
    single.steps(*PREPARE, "probe", "race", *(f"finetune@{name}" for name in STRATEGIES))
    engines = Path("data/work/engines")
    shutil.copytree(single.root / engines, spread.root / engines)
    done = spread.run(sys.executable, "-m", "flows.compare", PREFECT_API_URL=shared_prefect())
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (spread.root / "dies_once").exists()
    assert "goes on after epoch 2 of" in done.stdout + done.stderr
    return single, spread


@pytest.fixture(scope="module")
def spread(both: tuple[Project, Project]) -> Project:
    """The one that was made on two nodes."""
    return both[1]


def runs_of(project: Project) -> list[tuple[str, str, str]]:
    """Return name, status and node of every fine-tuning that MLflow has, the oldest first."""
    query = """SELECT runs.name, runs.status, tags.value FROM runs JOIN tags ON tags.run_uuid = runs.run_uuid
               WHERE tags.key = 'thawline.node' ORDER BY runs.start_time"""
    with sqlite3.connect(project.root / "mlflow.db") as database:
        runs: list[tuple[str, str, str]] = database.execute(query).fetchall()
    return runs


def test_results_are_those_of_one_process(both: tuple[Project, Project]) -> None:
    """Weights and predictions to the last bit, the metrics, and every epoch's losses."""
    for name in STRATEGIES:
        for file in ("model.safetensors", "predictions.parquet"):
            first, second = ((project.root / f"data/runs/{name}" / file).read_bytes() for project in both)
            assert first == second, (name, file)
        first, second = (json.loads((project.root / f"data/runs/{name}/metrics.json").read_text()) for project in both)
        assert first["val"] == second["val"]
        histories = [pd.read_csv(project.root / f"data/runs/{name}/history.csv") for project in both]
        pd.testing.assert_frame_equal(*(table.drop(columns="seconds", errors="ignore") for table in histories))
        assert read_comparison(both[1]).strategies[name].val.auroc == first["val"]["auroc"]


def test_both_nodes_worked_and_the_dead_run_is_failed(spread: Project) -> None:
    """Every run is tagged with its node; the killed worker's run is FAILED, and a second one ended well."""
    runs = runs_of(spread)
    assert len({node for _, _, node in runs}) == 2
    assert sorted(status for _, status, _ in runs) == ["FAILED", "FINISHED", "FINISHED"]
    (dead,) = [name for name, status, _ in runs if status == "FAILED"]
    assert (dead, "FINISHED") in [(name, status) for name, status, _ in runs]


def test_dvc_has_it_all_in_the_order_of_the_params(spread: Project) -> None:
    """Nothing is stale, nor without the cluster, and the lock file lists strategies as they are asked for."""
    assert is_up_to_date(spread)
    recorded = list(YAML(typ="safe").load(spread.root / "dvc.lock")["stages"])
    strategies = [stage.removeprefix("finetune@") for stage in recorded if stage.startswith("finetune@")]
    assert strategies == list(spread.params()["strategies"])
    spread.write_params({key: value for key, value in spread.params().items() if key != "run"})
    assert is_up_to_date(spread)


def test_a_cancelled_flow_stops_the_work_on_nodes(spread: Project, address: str) -> None:
    """Within ten seconds of Ctrl-C no fine-tuning is RUNNING, and the command says so with status 130."""
    long = {"scratch": STRATEGIES["scratch"] | {"epochs": 2000, "patience": 2000}}
    spread.write_params(spread.params() | {"run": {"ray": address, "checkpoint_seconds": 0}, "strategies": long})
    flow = subprocess.Popen(
        [sys.executable, "-m", "flows.finetune", "scratch"], cwd=spread.root, env=spread.environment(),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        wait_for(lambda: list(spread.root.glob("data/work/scratch-*/checkpoint.safetensors")), 90)
        flow.send_signal(signal.SIGINT)
        asked = time.monotonic()
        said, _ = flow.communicate(timeout=60)
        assert time.monotonic() - asked < 20, said
    finally:
        flow.kill()
    assert flow.returncode == 130, said
    assert runs_of(spread)[-1][1] == "KILLED"
