"""What a project has made, read back."""

import re
import sqlite3
import subprocess
from contextlib import closing

import mlflow

from tasks.comparison.schema import Comparison
from tests.support.project import Project


def must(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a command printed; it must have succeeded."""
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def one_sentence(done: subprocess.CompletedProcess[str]) -> str:
    """Return the error's sentence, after checking that it is all that a user sees of the failure."""
    assert done.returncode != 0, done.stdout
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    assert "NoneType" not in done.stdout + done.stderr
    sentences = re.findall(r"^thawline: (.+)$", done.stderr, re.M)
    assert len(sentences) == 1, done.stderr
    return str(sentences[0])


def stages_run_by_dvc(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the stages whose command ``dvc repro`` executed."""
    return re.findall(r"Running stage '([^']+)'", done.stdout)


def stages_run_by_flow(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the links of the chain that a flow executed, by the name of their task run."""
    names = re.findall(r"Task run '(.+?)' - Finished in state Completed\('ran'\)", done.stdout + done.stderr)
    return [re.sub(r"-[0-9a-f]{3}$", "", name) for name in names]


def is_up_to_date(project: Project) -> bool:
    """Return whether DVC calls nothing stale."""
    return "up to date" in must(project.run("dvc", "status"))


def read_comparison(project: Project) -> Comparison:
    """Return the comparison that the project wrote last, checked by its schema."""
    return Comparison.model_validate_json((project.root / "data/reports/comparison.json").read_text(encoding="utf-8"))


def tracked_runs(project: Project) -> dict[str, tuple[str, str, str]]:
    """Return name, status and parent of every MLflow run by its id, the oldest first."""
    with closing(sqlite3.connect(project.root / "mlflow.db")) as database:
        runs = database.execute("SELECT run_uuid, name, status FROM runs ORDER BY start_time").fetchall()
        parents = dict(database.execute("SELECT run_uuid, value FROM tags WHERE key = 'mlflow.parentRunId'").fetchall())
    return {run: (name, status, parents.get(run, "")) for run, name, status in runs}


def statuses(project: Project) -> list[str]:
    """Return how the runs in MLflow ended, the oldest first."""
    return [status for _, status, _ in tracked_runs(project).values()]


def aliases(project: Project) -> dict[str, str]:
    """Return the versions of the champion that MLflow's registry has names for; none where nothing is registered."""
    client = mlflow.MlflowClient(f"sqlite:///{project.root / 'mlflow.db'}")
    models = [model for model in client.search_registered_models() if model.name == "thawline"]
    return {alias: str(version) for model in models for alias, version in model.aliases.items()}
