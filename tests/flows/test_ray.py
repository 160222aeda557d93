"""A comparison spread over a real Ray cluster of two nodes is, bit by bit, the one that a single process makes."""

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from ruamel.yaml import YAML

from flows import cluster, nodes
from tasks.errors import UserError
from tests.support.ports import free_port
from tests.support.project import STRATEGIES, Project, make_project
from tests.support.ray_nodes import two_nodes
from tests.support.results import is_up_to_date, read_comparison
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
ONE_PROCESS = """
from tasks import tracking
from tasks.params import load_params
from tasks.steps import backbone, data, fetch, finetune, probe, race
tracking.log_model = lambda *_: ""
fetch.fetch(), data.prepare(), backbone.backbone(), probe.probe(), race.race()
for strategy in load_params().strategies:
    finetune.finetune(strategy)
"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster of two nodes."""
    with two_nodes() as found:
        yield found


def small(root: Path, cells: Path) -> Project:
    """Return a project whose trainings keep a checkpoint an epoch, one of which dies where it is asked to."""
    project = make_project(root, cells)
    params = project.params()
    params["strategies"] = STRATEGIES | {"scratch": STRATEGIES["scratch"] | {"epochs": 4}}
    params["run"] = {"checkpoint_seconds": 0}
    project.write_params(params)
    checkpoints = root / "tasks/training/checkpoints.py"
    checkpoints.write_text(checkpoints.read_text() + DIES_ONCE)
    return project


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, cells: Path, address: str) -> tuple[Project, Project]:
    """A comparison by one process, and on two nodes, a worker killed in the middle of its training."""
    one, spread = (small(tmp_path_factory.mktemp(name) / "clone", cells) for name in ("one", "spread"))
    spread.write_params(spread.params() | {"run": {"ray": address, "checkpoint_seconds": 0}})
    (spread.root / "dies_once").touch()
    with subprocess.Popen([sys.executable, "-c", ONE_PROCESS], cwd=one.root, env=one.environment()) as other:
        done = spread.run(sys.executable, "-m", "flows.compare")
    assert other.returncode == 0
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (spread.root / "dies_once").exists()
    assert "goes on after epoch 2 of" in done.stdout + done.stderr
    return one, spread


@pytest.fixture(scope="module")
def spread(both: tuple[Project, Project]) -> Project:
    """The one that was made on two nodes."""
    return both[1]


def runs_of(project: Project) -> list[tuple[str, str, str]]:
    """Return name, status and node of every fine-tuning that MLflow has, the oldest first."""
    query = """SELECT runs.name, runs.status, tags.value FROM runs JOIN tags ON tags.run_uuid = runs.run_uuid
               WHERE tags.key = 'thawline.node' ORDER BY runs.start_time"""
    with sqlite3.connect(project.root / "mlflow.db") as database:
        found: list[tuple[str, str, str]] = database.execute(query).fetchall()
    return found


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
    spread.write_params({key: own for key, own in spread.params().items() if key != "run"})
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


def test_a_cluster_that_is_not_there_is_one_sentence() -> None:
    """It says which, and how to start one."""
    asked: Any = SimpleNamespace(run=SimpleNamespace(ray=f"127.0.0.1:{free_port()}"))
    with pytest.raises(UserError, match=rf"{asked.run.ray}.*run 'ray start --head'"), cluster.connected(asked, print):
        pass


HERE = {"versions": {"torch": "2.0", "numpy": "1"}, "trains_on": "a CPU in float32", "machine": "x86_64 AVX2"}


@pytest.mark.parametrize(
    ("differs", "sentence"),
    [
        ({"versions": {"torch": "2.1", "numpy": "1"}}, "the node b has torch 2.1, and this process 2.0"),
        ({"versions": {"torch": "2.0"}}, "the node b has numpy none, and this process 1"),
        ({"trains_on": "a GPU in bfloat16"}, "the node b would train on a GPU in bfloat16, and the node a on a CPU in"),
    ],
)
def test_a_node_that_would_give_other_results_is_named(differs: dict[str, Any], sentence: str) -> None:
    """Other packages and another device are refused."""
    with pytest.raises(UserError, match=sentence):
        cluster.remarks({"a": HERE, "b": HERE | differs}, HERE)


def node(**resources: float) -> dict[str, Any]:
    """Return what is read of Ray's description of a node."""
    return {"Resources": resources}


def test_processes_of_one_training_get_a_node_that_has_room_for_all() -> None:
    """A GPU for each of them, or a CPU where there are more of them than threads."""
    nodes_ = {"small": node(CPU=4.0, GPU=1.0), "large": node(CPU=8.0, GPU=4.0), "bare": node(CPU=2.0)}
    on_gpus = cluster.Cluster("", 1, {"full": 3}, frozenset({"full"}), {})
    assert list(cluster.large_enough(on_gpus, nodes_)) == ["large"]
    on_cpus = cluster.Cluster("", 1, {"full": 3}, frozenset(), {})
    assert list(cluster.large_enough(on_cpus, nodes_)) == ["small", "large"]


@pytest.mark.parametrize(
    ("on_gpu", "sentence"),
    [
        (frozenset({"full"}), "full is trained by 9 processes, .* no node .* more than 4 GPUs"),
        (frozenset(), "full is trained with 9 threads, .* no node .* more than 8 CPUs: set OMP_NUM_THREADS"),
    ],
)
def test_a_training_that_fits_on_no_node_is_named(on_gpu: frozenset[str], sentence: str) -> None:
    """With what the largest node has."""
    asked = cluster.Cluster("", 1, {"full": 9}, on_gpu, {})
    with pytest.raises(UserError, match=sentence):
        cluster.large_enough(asked, {"large": node(CPU=8.0, GPU=4.0)})


def test_another_processor_is_remarked_on() -> None:
    """It may round otherwise, which nobody can mend."""
    assert cluster.remarks({"a": HERE}, HERE) == []
    (said,) = cluster.remarks({"a": HERE, "b": HERE | {"machine": "x86_64 AVX512"}}, HERE)
    assert "AVX512" in said


@pytest.mark.parametrize("answer", [nodes.look("/nowhere", {}, 1), {"kernel": "of another machine", "facts": HERE}])
def test_a_node_that_cannot_work_is_named(answer: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """One that lacks the repository, or would write a database file of another machine."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UserError, match=r"the node b (does not see /nowhere|is another machine.*'mlflow server')"):
        cluster.refuse_what_lacks({"a": {"kernel": nodes.kernel(), "facts": HERE}, "b": answer})
