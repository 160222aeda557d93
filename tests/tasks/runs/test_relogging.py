"""Runs that MLflow lacks when the comparison looks for them: logged anew from the files, and said."""

import json
import re
from pathlib import Path

import mlflow
import pytest
from mlflow.entities import Run

from tasks.tracking.whereabouts import Whereabouts, whereabouts
from tests.support.golden import light
from tests.support.project import STRATEGIES, Project, without_models
from tests.support.results import one_sentence, read_comparison


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project of two strategies that were fine-tuned, compared and recorded."""
    return light().copy(tmp_path / "clone")


def store(project: Project, name: str = "mlflow.db") -> mlflow.MlflowClient:
    """Return a client of a store in the project's folder."""
    return mlflow.MlflowClient(f"sqlite:///{project.root / name}")


def compare(project: Project, **environment: str) -> str:
    """Compare anew; return what was printed."""
    with pytest.MonkeyPatch.context() as patched, without_models():
        patched.setattr("tasks.steps.compare.register_champion", lambda *_, **__: "1")
        patched.setattr("tasks.comparison.report.write", lambda *_: [])
        done = project.here("tasks", "compare", **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def children(client: mlflow.MlflowClient, project: Project) -> dict[str, Run]:
    """Return the strategies' runs below the last comparison, which are all in its experiment and have ended well."""
    comparison = read_comparison(project)
    below = f"tags.`mlflow.parentRunId` = '{comparison.mlflow_run_id}'"
    runs = client.search_runs([comparison.mlflow_experiment_id], below)
    assert {run.info.status for run in runs} == {"FINISHED"}
    named = {run.info.run_name: run for run in runs}
    assert {name: run.info.run_id for name, run in named.items()} == {
        name: result.mlflow_run_id for name, result in comparison.strategies.items()
    }
    return named


def content(client: mlflow.MlflowClient, run: Run) -> tuple[dict[str, str], dict[str, float], list[float], set[str]]:
    """Return what a training left in MLflow: params, metrics, the curve, artifacts."""
    metrics = {key: value for key, value in run.data.metrics.items() if key.startswith(("val/", "epoch/"))}
    steps = {point.step: point.value for point in client.get_metric_history(run.info.run_id, "epoch/val_loss")}
    artifacts = {item.path for folder in (None, "figures") for item in client.list_artifacts(run.info.run_id, folder)}
    return run.data.params, metrics, [steps[step] for step in sorted(steps)], artifacts


def test_a_run_that_was_deleted(project: Project) -> None:
    """It is logged anew, whole, once; the line says how to bring it back, and then it counts again."""
    client, earlier = store(project), children(store(project), project)
    gone = earlier["head_only"]
    client.delete_run(gone.info.run_id)
    printed = compare(project)
    lines = [line for line in printed.splitlines() if "logged anew" in line]
    assert len(lines) == 1
    assert f"head_only: its MLflow run {gone.info.run_id} was deleted" in lines[0]
    assert f"'mlflow runs restore --run-id {gone.info.run_id}'" in lines[0]
    now = children(client, project)
    assert set(now) == set(STRATEGIES)
    assert now["scratch"].info.run_id == earlier["scratch"].info.run_id
    assert now["head_only"].info.run_id != gone.info.run_id
    before, after = content(client, gone), content(client, now["head_only"])
    assert after[0] == before[0]
    assert after[1] == pytest.approx(before[1])
    assert after[2:] == before[2:]
    assert now["head_only"].data.tags["thawline.identity"] == gone.data.tags["thawline.identity"]
    with project.entered():
        assert whereabouts(gone.info.run_id) == Whereabouts(now["head_only"].info.run_id)
        client.restore_run(gone.info.run_id)
        assert whereabouts(gone.info.run_id) == Whereabouts(gone.info.run_id)


def test_another_experiment(project: Project) -> None:
    """The comparison and all strategies are in the experiment that is named now, and what was trained is as it was."""
    before = trained(project)
    printed = compare(project, MLFLOW_EXPERIMENT_NAME="spring")
    assert len(re.findall("is in another experiment, 'thawline': logged anew", printed)) == len(STRATEGIES)
    client = store(project)
    assert set(children(client, project)) == set(STRATEGIES)
    experiment = client.get_experiment_by_name("spring")
    assert experiment is not None
    assert experiment.experiment_id == read_comparison(project).mlflow_experiment_id
    assert trained(project) == before


def test_repeats_go_with_their_strategy(project: Project) -> None:
    """Fine-tunings with other seeds and on shares are logged anew, too, below the strategy's new run."""
    params = project.params()
    params["train"] |= {"seeds": 2, "shares": [0.5]}
    params["strategies"] = {"head_only": STRATEGIES["head_only"]}
    project.write_params(params)
    project.steps("race", "finetune@head_only")
    client, (gone,) = store(project), store(project).search_runs(["1"], "attributes.run_name = 'head_only seed-1'")
    client.delete_run(gone.info.run_id)
    assert compare(project).count("logged anew") == 1
    assert compare(project, MLFLOW_EXPERIMENT_NAME="spring").count("logged anew") == 3
    (run,) = children(client, project).values()
    below = client.search_runs([run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'")
    assert {(child.info.run_name, child.data.params["train.share"]) for child in below} == {
        ("head_only seed-1", "1.0"),
        ("head_only share-0.5", "0.5"),
    }
    seeds = read_comparison(project).strategies["head_only"].over_seeds
    assert seeds is not None
    assert set(seeds.mlflow_run_ids) <= {run.info.run_id, *(child.info.run_id for child in below)}


def test_another_store(project: Project) -> None:
    """A store that is empty, as one that was replaced, gets everything, and later comparisons find it there."""
    other = {"MLFLOW_TRACKING_URI": f"sqlite:///{project.root / 'other.db'}"}
    assert "is not in the tracking store" in compare(project, **other)
    runs = children(store(project, "other.db"), project)
    assert set(runs) == set(STRATEGIES)
    recorded = json.loads((project.root / "data/runs/scratch/run.json").read_text())["mlflow_run_id"]
    with project.entered(**other):
        assert whereabouts(recorded) == Whereabouts(runs["scratch"].info.run_id)


def test_an_experiment_that_was_deleted(project: Project) -> None:
    """The sentence says how to bring it back; when it is back, nothing has to be logged anew."""
    client, comparison = store(project), read_comparison(project)
    client.delete_experiment(comparison.mlflow_experiment_id)
    for step in (["compare"], ["finetune", "--strategy", "head_only"]):
        sentence = one_sentence(project.here("tasks", *step))
        assert f"'mlflow experiments restore -x {comparison.mlflow_experiment_id}'" in sentence
        assert "MLFLOW_EXPERIMENT_NAME" in sentence
    client.restore_experiment(comparison.mlflow_experiment_id)
    assert "logged anew" not in compare(project)


def trained(project: Project) -> dict[Path, bytes]:
    """Return the outputs of the strategies."""
    return {path: path.read_bytes() for path in (project.root / "data/runs").rglob("*") if path.is_file()}
