"""Both doors, run as a user runs them: ``dvc repro`` and ``python -m flows.compare`` take each other's work as done."""

import csv
import io
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from tasks.comparison import statistics
from tasks.comparison.schema import Comparison
from tests.flows.project import STRATEGIES, Project


def stages_run_by_dvc(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the stages whose command ``dvc repro`` executed."""
    return re.findall(r"Running stage '([^']+)'", done.stdout)


def stages_run_by_flow(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the links of the chain that a flow executed, by the name of their task run."""
    found = re.findall(r"Task run '(.+?)' - Finished in state Completed\('ran'\)", done.stdout + done.stderr)
    return [re.sub(r"-[0-9a-f]{3}$", "", name) for name in found]


def tracked_runs(project: Project) -> dict[str, tuple[str, str, str]]:
    """Return name, status and parent of every MLflow run by its id."""
    with sqlite3.connect(project.root / "mlflow.db") as database:
        runs = database.execute("SELECT run_uuid, name, status FROM runs").fetchall()
        parents = dict(database.execute("SELECT run_uuid, value FROM tags WHERE key = 'mlflow.parentRunId'").fetchall())
    return {run: (name, status, parents.get(run, "")) for run, name, status in runs}


def read_comparison(project: Project) -> Comparison:
    """Return the comparison that the project wrote last, checked by its schema."""
    return Comparison.model_validate_json((project.root / "data/reports/comparison.json").read_text())


def test_repro_leaves_everything_up_to_date(reproduced: Project) -> None:
    """After ``dvc repro`` nothing is stale."""
    assert "up to date" in reproduced.run("dvc", "status").stdout


def test_comparison_names_every_strategy_and_its_costs(reproduced: Project) -> None:
    """The JSON holds both splits' metrics of all strategies, best validation score first."""
    found = read_comparison(reproduced)
    assert set(found.strategies) == set(STRATEGIES)
    scores = [result.figure("val", "auroc")[0] for result in found.strategies.values()]
    assert scores == sorted(scores, reverse=True)
    assert found.strategies["head_only"].trainable_parameters < found.strategies["scratch"].trainable_parameters
    assert found.data.channels == 1
    for result in found.strategies.values():
        assert result.test.images == found.data.images["test"] == sum(map(sum, result.test.confusion))


def test_every_number_of_the_verdict_can_be_recomputed(reproduced: Project) -> None:
    """From the predictions alone: scores by scikit-learn, intervals on the same resamples, and what the text says."""
    found, known = read_comparison(reproduced), {"95%"}
    tested = pd.read_parquet(reproduced.root / "data/reports/predictions.parquet").set_index(["strategy", "repeat"])
    params = reproduced.params()["compare"]
    for name, result in found.strategies.items():
        validated = pd.read_parquet(reproduced.root / f"data/runs/{name}/predictions.parquet")
        for scores, table in ((result.val, validated), (result.test, tested.loc[(name, "")])):
            targets = table["label"].map(found.data.classes.index).to_numpy()
            probabilities = table[[f"p[{label}]" for label in found.data.classes]].to_numpy()
            answers = probabilities.argmax(axis=1)
            assert scores.accuracy == pytest.approx(sk.accuracy_score(targets, answers))
            assert scores.balanced_accuracy == pytest.approx(sk.balanced_accuracy_score(targets, answers))
            assert scores.auroc == pytest.approx(sk.roc_auc_score(targets, probabilities[:, 1]))
            assert scores.log_loss == pytest.approx(sk.log_loss(targets, probabilities), abs=1e-6)
            resampled = statistics.auroc(statistics.draw(len(table), params["resamples"], 0), targets, probabilities)
            assert scores.intervals["auroc"] == pytest.approx(np.quantile(resampled, [0.025, 0.975]))
        other = pd.read_parquet(reproduced.root / f"data/runs/{name}/repeats/seed-1/predictions.parquet")
        assert result.over_seeds is not None
        seeds = ((result.over_seeds.val, validated, other), (result.over_seeds.test, *by_seed(tested, name)))
        for spreads, *tables in seeds:
            spread, (first, second) = spreads["auroc"], [auroc_of(table, found.data.classes) for table in tables]
            assert first != second
            assert spread.values == pytest.approx([first, second])
            assert spread.mean == pytest.approx((first + second) / 2)
            assert spread.std == pytest.approx(abs(first - second) / 2**0.5)
            assert spread.interval is not None
            assert spread.interval[0] < spread.mean < spread.interval[1]
            accuracy = np.mean([(table["label"] == table["predicted"]).mean() for table in tables])
            assert spreads["accuracy"].mean == pytest.approx(accuracy)
            known |= {f"{value:.3f}" for value in (accuracy, spread.mean, *spread.interval)}
        half = pd.read_parquet(reproduced.root / f"data/runs/{name}/repeats/share-0.5/predictions.parquet")
        (on_half,) = result.by_share
        assert on_half.val["auroc"] == pytest.approx(auroc_of(half, found.data.classes))
        assert on_half.images == pytest.approx(found.data.images["train"] / 2, abs=1)
    values = [result.figure("val", "auroc")[0] for result in found.strategies.values()]
    tests = [result.figure("test", "auroc")[0] for result in found.strategies.values()]
    known |= {f"{abs(a - b):.3f}" for group in (values, tests) for a in group for b in group}
    known |= {f"{result.versus_best.standard_error:.3f}" for result in found.strategies.values()}
    assert set(re.findall(r"\d+\.\d{3}|\d+%", found.verdict)) <= known


def by_seed(tested: pd.DataFrame, name: str) -> list[pd.DataFrame]:
    """Return a strategy's predictions for the test split, a table a seed."""
    return [tested.loc[(name, repeat)] for repeat in ("", "seed-1")]


def auroc_of(table: pd.DataFrame, classes: list[str]) -> float:
    """Return scikit-learn's AUROC of a table of predictions."""
    return float(sk.roc_auc_score(table["label"] == classes[1], table[f"p[{classes[1]}]"]))


def test_one_parent_and_a_child_a_strategy_are_finished(reproduced: Project) -> None:
    """MLflow shows one comparison with its strategies below it, and below each its repeats."""
    found = read_comparison(reproduced)
    runs = tracked_runs(reproduced)
    children = [name for name, status, parent in runs.values() if parent == found.mlflow_run_id]
    assert sorted(children) == sorted(STRATEGIES)
    for name, result in found.strategies.items():
        repeats = [child for child, _, parent in runs.values() if parent == result.mlflow_run_id]
        assert sorted(repeats) == [f"{name} seed-1", f"{name} share-0.5"]
    assert {status for _, status, _ in runs.values()} == {"FINISHED"}


def test_metrics_and_plots_are_shown_by_dvc(reproduced: Project) -> None:
    """``dvc metrics show`` and ``dvc plots show`` know every strategy."""
    shown = json.loads(reproduced.run("dvc", "metrics", "show", "--json").stdout)[""]["data"]
    assert {f"data/runs/{name}/metrics.json" for name in STRATEGIES} == set(shown)
    plots = reproduced.run("dvc", "plots", "show")
    assert plots.returncode == 0, plots.stderr
    page = (reproduced.root / "dvc_plots/index.html").read_text()
    assert all(f"data/runs/{name}/history.csv" in page for name in STRATEGIES)


def test_logged_model_answers_raw_images_in_a_clean_process(reproduced: Project, tmp_path: Path) -> None:
    """``models:/`` loads without the project's code, on images of a size it was not trained on."""
    program = """
import json, sys, mlflow, numpy as np
run = mlflow.MlflowClient().get_run(sys.argv[1])
uri = f"models:/{run.outputs.model_outputs[0].model_id}"
images = np.random.default_rng(0).integers(0, 256, (3, 1, 60, 75), dtype=np.uint8)
print(json.dumps(mlflow.pyfunc.load_model(uri).predict(images).tolist()), "tasks" in sys.modules)
"""
    champion = read_comparison(reproduced).strategies["scratch"]
    store = f"sqlite:///{reproduced.root / 'mlflow.db'}"
    done = subprocess.run(
        [sys.executable, "-c", program, champion.mlflow_run_id], cwd=tmp_path, capture_output=True, text=True,
        check=False, env={"MLFLOW_TRACKING_URI": store, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer, imported = done.stdout.strip().splitlines()[-1].rsplit(" ", 1)
    assert imported == "False"
    assert np.array(json.loads(answer)).sum(axis=1) == pytest.approx(np.ones(3), abs=1e-4)


def test_flow_skips_what_repro_did(reproduced: Project) -> None:
    """Right after ``dvc repro`` the flow trains nothing and says what it skipped."""
    before = tracked_runs(reproduced)
    done = reproduced.run(sys.executable, "-m", "flows.compare")
    assert done.returncode == 0, done.stderr
    assert stages_run_by_flow(done) == []
    output = done.stdout + done.stderr
    for stage in ("fetch", "prepare", "backbone", "race", "finetune@scratch", "finetune@head_only", "compare"):
        assert f"skipped {stage}: up to date" in output
    assert tracked_runs(reproduced) == before


def test_flow_repeats_what_was_removed_and_what_was_edited(reproduced: Project) -> None:
    """Removed outputs of the strategies: the flow trains them again, to the same result bit for bit; DVC agrees."""
    before = read_comparison(reproduced)
    shutil.rmtree(reproduced.root / "data/runs")
    done = reproduced.run(sys.executable, "-m", "flows.compare")
    repeats = [f"{name}{repeat}" for name in sorted(STRATEGIES) for repeat in ("", " seed-1", " share-0.5")]
    evaluated = [f"evaluate {name}" for name in repeats]
    assert stages_run_by_flow(done) == [*evaluated, "compare"], done.stdout + done.stderr
    assert "up to date" in reproduced.run("dvc", "status").stdout
    after = read_comparison(reproduced)
    assert measured(after.model_dump()) == measured(before.model_dump())
    assert after.mlflow_run_id != before.mlflow_run_id


def measured(found: Any) -> Any:
    """Return a comparison without what names the run, and without time, memory and what is derived from them."""
    timed = {"milliseconds", "images_a_second", "peak_memory_mib", "saved", "efficient"}
    of_the_run = timed | {"test_read_at", "verdict"}
    if isinstance(found, dict):
        kept = {key for key in found if "seconds" not in key and "mlflow" not in key and key not in of_the_run}
        return {key: measured(found[key]) for key in kept}
    return [measured(value) for value in found] if isinstance(found, list) else found


def test_repro_runs_the_edited_strategy_alone(reproduced: Project) -> None:
    """Another learning rate: DVC runs that strategy and the comparison; the flow then skips everything."""
    params = reproduced.params()
    params["strategies"]["head_only"]["lr"] = 0.002
    reproduced.write_params(params)
    done = reproduced.run("dvc", "repro")
    assert stages_run_by_dvc(done) == ["race", "finetune@head_only", "compare"], done.stdout + done.stderr
    runs, found = tracked_runs(reproduced), read_comparison(reproduced)
    assert {name for name, _, parent in runs.values() if parent == found.mlflow_run_id} == set(STRATEGIES)


def test_repro_repeats_what_was_removed(reproduced: Project) -> None:
    """Removed outputs of one strategy: DVC runs that one and the comparison."""
    shutil.rmtree(reproduced.root / "data/runs/head_only")
    assert stages_run_by_dvc(reproduced.run("dvc", "repro")) == ["finetune@head_only", "compare"]


def test_flow_runs_the_edited_strategy_alone(reproduced: Project) -> None:
    """Another learning rate: ``flows.finetune`` runs that strategy, and DVC has only the comparison left to do."""
    params = reproduced.params()
    params["strategies"]["head_only"]["lr"] = 0.003
    reproduced.write_params(params)
    done = reproduced.run(sys.executable, "-m", "flows.finetune", "head_only")
    evaluated = [f"evaluate {name}" for name in ("head_only", "head_only seed-1", "head_only share-0.5")]
    assert stages_run_by_flow(done)[1:] == evaluated, done.stdout + done.stderr
    assert stages_run_by_dvc(reproduced.run("dvc", "repro")) == ["compare"]


def test_a_race_stops_what_is_left_when_the_budget_is_spent(reproduced: Project) -> None:
    """Everyone gets a start, its training is taken over, and what was stopped is the beginning of the full run."""
    params = reproduced.params()
    params["train"] |= {"seeds": 1, "shares": [], "budget": "0.1s"}
    params["strategies"]["scratch"]["epochs"] = 5
    params["strategies"]["head_only"]["solver"] = "lbfgs"
    reproduced.write_params(params)
    done = reproduced.run("dvc", "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    found = read_comparison(reproduced)
    assert found.racing.budget == 0.1
    assert found.racing.stopped == {"scratch": 1}
    assert "The race stopped scratch after epoch 1" in done.stdout
    assert "scratch: goes on after epoch 1 of 5" in done.stdout
    stopped = found.strategies["scratch"].history
    params["train"]["budget"] = None
    reproduced.write_params(params)
    assert reproduced.run("dvc", "repro").returncode == 0
    full = read_comparison(reproduced)
    assert full.racing.budget is None
    assert len(full.strategies["scratch"].history) > len(stopped) == 1
    assert full.strategies["scratch"].history[0] == stopped[0]


def test_an_experiment_tries_a_value(reproduced: Project) -> None:
    """``dvc exp run -S`` runs the strategy with another value, and ``dvc exp show`` has its metrics."""
    identity = {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    assert reproduced.run("git", "add", "-A").returncode == 0
    assert reproduced.run("git", "commit", "-q", "-m", "results", **identity).returncode == 0
    done = reproduced.run("dvc", "exp", "run", "-n", "faster", "-S", "strategies.head_only.lr=0.005", **identity)
    assert done.returncode == 0, done.stderr
    assert stages_run_by_dvc(done) == ["race", "finetune@head_only", "compare"]
    shown = reproduced.run("dvc", "exp", "show", "--csv")
    row = next(row for row in csv.DictReader(io.StringIO(shown.stdout)) if row["Experiment"] == "faster")
    assert float(row["strategies.head_only.lr"]) == 0.005
    metrics = json.loads((reproduced.root / "data/runs/head_only/metrics.json").read_text())
    assert float(row["data/runs/head_only/metrics.json:val.auroc"]) == pytest.approx(metrics["val"]["auroc"], abs=1e-4)
