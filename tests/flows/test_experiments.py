"""Experiments of DVC: other values tried beside the working copy."""

import csv
import io
import json
from pathlib import Path

import mlflow
import pytest

from tests.support.project import Project
from tests.support.results import is_up_to_date, must, stages_run_by_dvc
from tests.support.waiting import wait_for

SOMEBODY = {f"GIT_{role}_{what}": "a@b" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def committed(small: Project) -> Project:
    """A project whose results are in a git commit, the baseline of experiments."""
    must(small.run("git", "add", "-A"))
    must(small.run("git", "commit", "-q", "-m", "results", **SOMEBODY))
    return small


def shown(project: Project) -> dict[str, dict[str, str]]:
    """Return the rows of ``dvc exp show`` by the experiments' names."""
    table = must(project.run("dvc", "exp", "show", "--csv"))
    return {row["Experiment"]: row for row in csv.DictReader(io.StringIO(table))}


def check_runs(project: Project, name: str) -> None:
    """The one store has the experiment's runs, ended well and tagged, with artifacts that are still there."""
    client = mlflow.MlflowClient(f"sqlite:///{project.root / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'thawline'")
    runs = client.search_runs([experiment.experiment_id], f"tags.`thawline.experiment` = '{name}'")
    assert {run.info.run_name: run.info.status for run in runs} == {"comparison": "FINISHED", "head_only": "FINISHED"}
    for run in runs:
        assert run.info.artifact_uri is not None
        assert Path(run.info.artifact_uri).is_relative_to(project.root / "mlruns")
        assert any(Path(run.info.artifact_uri).iterdir())


def test_experiments_in_another_folder(committed: Project) -> None:
    """``--temp`` and ``--queue`` run to their end beside the working copy, and track to its store.

    They can be shown, applied and made branches.
    """
    asked = ("-S", "strategies.head_only.lr=0.004")
    must(committed.run("dvc", "exp", "run", "--temp", "-n", "aside", *asked, **SOMEBODY))
    check_runs(committed, "aside")
    must(
        committed.run("dvc", "exp", "run", "--queue", "-n", "later", "-S", "strategies.head_only.lr=0.006", **SOMEBODY)
    )
    must(committed.run("dvc", "queue", "start", **SOMEBODY))
    wait_for(lambda: shown(committed).get("later", {}).get("State") == "Success", seconds=400)
    check_runs(committed, "later")
    experiments = shown(committed)
    rates = [float(experiments[name]["strategies.head_only.lr"]) for name in ("aside", "later")]
    assert rates == [0.004, 0.006]
    must(committed.run("dvc", "exp", "branch", "later", "from-later"))
    assert "from-later" in must(committed.run("git", "branch"))
    must(committed.run("dvc", "exp", "apply", "aside"))
    assert committed.params()["strategies"]["head_only"]["lr"] == 0.004
    assert is_up_to_date(committed)
    must(committed.run("git", "checkout", "-q", "--force", "HEAD"))
    must(committed.run("dvc", "checkout", "--force"))


def test_an_experiment_tries_a_value(committed: Project) -> None:
    """``dvc exp run -S`` runs the strategy with another value, and ``dvc exp show`` has its metrics."""
    small = committed
    done = small.run("dvc", "exp", "run", "-n", "faster", "-S", "strategies.head_only.lr=0.005", **SOMEBODY)
    must(done)
    assert stages_run_by_dvc(done) == ["race", "finetune@head_only", "compare"]
    row = shown(small)["faster"]
    assert float(row["strategies.head_only.lr"]) == 0.005
    metrics = json.loads((small.root / "data/runs/head_only/metrics.json").read_text())
    assert float(row["data/runs/head_only/metrics.json:val.auroc"]) == pytest.approx(metrics["val"]["auroc"], abs=1e-4)
    check_runs(small, "faster")
