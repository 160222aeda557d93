"""Experiments of DVC: other values tried beside the working copy."""

import csv
import io
import json

import pytest

from tests.support.project import Project
from tests.support.results import must, stages_run_by_dvc

SOMEBODY = {f"GIT_{role}_{what}": "a@b" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}

pytestmark = pytest.mark.system


def test_an_experiment_tries_a_value(small: Project) -> None:
    """``dvc exp run -S`` runs the strategy with another value, and ``dvc exp show`` has its metrics."""
    must(small.run("git", "add", "-A"))
    must(small.run("git", "commit", "-q", "-m", "results", **SOMEBODY))
    done = small.run("dvc", "exp", "run", "-n", "faster", "-S", "strategies.head_only.lr=0.005", **SOMEBODY)
    must(done)
    assert stages_run_by_dvc(done) == ["race", "finetune@head_only", "compare"]
    shown = small.run("dvc", "exp", "show", "--csv")
    row = next(row for row in csv.DictReader(io.StringIO(shown.stdout)) if row["Experiment"] == "faster")
    assert float(row["strategies.head_only.lr"]) == 0.005
    metrics = json.loads((small.root / "data/runs/head_only/metrics.json").read_text())
    assert float(row["data/runs/head_only/metrics.json:val.auroc"]) == pytest.approx(metrics["val"]["auroc"], abs=1e-4)
