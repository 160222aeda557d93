"""Both doors, run as a user runs them: ``dvc repro`` and ``python -m flows.compare`` leave the same results."""

import json
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from tasks.comparison import statistics
from tests.support.golden import SHARE, STRATEGIES, golden
from tests.support.project import Project
from tests.support.results import is_up_to_date, must, read_comparison, tracked_runs

REPEATS = ("seed-1", f"share-{SHARE}")
BITS = ("model.safetensors", "predictions.parquet", *(f"repeats/{repeat}/predictions.parquet" for repeat in REPEATS))


@pytest.fixture(params=["dvc", "flow"])
def project(request: pytest.FixtureRequest) -> Project:
    """The golden project after its first run by either door."""
    return golden(request.param)[0]


def test_everything_is_up_to_date(project: Project) -> None:
    """After either door DVC calls nothing stale."""
    assert is_up_to_date(project)


def test_comparison_names_every_strategy_and_its_costs(project: Project) -> None:
    """The JSON holds both splits' metrics of all strategies, best validation score first."""
    found = read_comparison(project)
    assert set(found.strategies) == set(STRATEGIES)
    scores = [result.figure("val", "auroc")[0] for result in found.strategies.values()]
    assert scores == sorted(scores, reverse=True)
    assert found.strategies["head_only"].trainable_parameters < found.strategies["scratch"].trainable_parameters
    assert found.champion in STRATEGIES
    for result in found.strategies.values():
        assert result.test.images == found.data.images["test"] == sum(map(sum, result.test.confusion))


def test_each_door_says_who_wins() -> None:
    """The verdict is printed, whoever asked."""
    for door in ("dvc", "flow"):
        project, printed = golden(door)
        words = re.sub(r"\s+", " ", printed)
        assert f"{read_comparison(project).champion} wins: validation AUROC" in words


def test_both_doors_give_the_same_bits(by_dvc: Project, by_flow: Project) -> None:
    """Weights and predictions are equal byte for byte, figures and losses number for number."""
    assert measured(read_comparison(by_dvc).model_dump()) == measured(read_comparison(by_flow).model_dump())
    for name in STRATEGIES:
        one, other = (project.root / "data/runs" / name for project in (by_dvc, by_flow))
        for file in BITS:
            assert (one / file).read_bytes() == (other / file).read_bytes(), f"{name}/{file}"
        losses = [pd.read_csv(folder / "history.csv") for folder in (one, other)]
        pd.testing.assert_frame_equal(*losses, check_exact=True)


def measured(found: Any) -> Any:
    """Return a comparison without what names the run, and without time, memory and what is derived from them."""
    timed = {"milliseconds", "images_a_second", "peak_memory_mib", "saved", "efficient"}
    of_the_run = timed | {"test_read_at", "verdict"}
    if isinstance(found, dict):
        kept = {key for key in found if "seconds" not in key and "mlflow" not in key and key not in of_the_run}
        return {key: measured(found[key]) for key in kept}
    return [measured(value) for value in found] if isinstance(found, list) else found


def test_the_flow_ran_every_link(by_flow: Project) -> None:
    """Each strategy was adapted, fine-tuned and evaluated as often as the params ask, in their order."""
    _, printed = golden("flow")
    ran = re.findall(r"Task run '(.+?)' - Finished in state Completed\('ran'\)", printed)
    ran = [re.sub(r"-[0-9a-f]{3}$", "", name) for name in ran]
    titles = [
        f"{name}{repeat}" for name in by_flow.params()["strategies"] for repeat in ("", *(f" {r}" for r in REPEATS))
    ]
    before = ["version data", "retrieve backbone", "probe data", "race"]
    assert ran == [*before, *(f"evaluate {title}" for title in titles), "compare"]


def test_every_number_of_the_verdict_can_be_recomputed(by_dvc: Project) -> None:
    """From the predictions alone: scores by scikit-learn, intervals on the same resamples, and what the text says."""
    found, known = read_comparison(by_dvc), {"95%"}
    tested = pd.read_parquet(by_dvc.root / "data/reports/predictions.parquet").set_index(["strategy", "repeat"])
    params = by_dvc.params()["compare"]
    for name, result in found.strategies.items():
        validated = pd.read_parquet(by_dvc.root / f"data/runs/{name}/predictions.parquet")
        for scores, table in ((result.val, validated), (result.test, tested.loc[(name, "")])):
            targets = table["label"].map(found.data.classes.index).to_numpy()
            probabilities = probabilities_of(table, found.data.classes)
            answers = probabilities.argmax(axis=1)
            assert scores.accuracy == pytest.approx(sk.accuracy_score(targets, answers))
            assert scores.balanced_accuracy == pytest.approx(sk.balanced_accuracy_score(targets, answers))
            assert scores.auroc == pytest.approx(auroc_of(table, found.data.classes))
            assert scores.log_loss == pytest.approx(sk.log_loss(targets, probabilities), abs=1e-6)
            resampled = statistics.auroc(statistics.draw(len(table), params["resamples"], 0), targets, probabilities)
            assert scores.intervals["auroc"] == pytest.approx(np.nanquantile(resampled, [0.025, 0.975]))
        other = pd.read_parquet(by_dvc.root / f"data/runs/{name}/repeats/seed-1/predictions.parquet")
        assert result.over_seeds is not None
        seeds = ((result.over_seeds.val, validated, other), (result.over_seeds.test, *by_seed(tested, name)))
        for spreads, *tables in seeds:
            spread, (first, second) = spreads["auroc"], [auroc_of(table, found.data.classes) for table in tables]
            assert spread.values == pytest.approx([first, second])
            assert spread.mean == pytest.approx((first + second) / 2)
            assert spread.std == pytest.approx(abs(first - second) / 2**0.5)
            assert spread.interval is not None
            assert spread.interval[0] < spread.mean < spread.interval[1]
            accuracy = np.mean([(table["label"] == table["predicted"]).mean() for table in tables])
            assert spreads["accuracy"].mean == pytest.approx(accuracy)
            known |= {f"{value:.3f}" for value in (accuracy, spread.mean, *spread.interval)}
        half = pd.read_parquet(by_dvc.root / f"data/runs/{name}/repeats/share-{SHARE}/predictions.parquet")
        (on_half,) = result.by_share
        assert on_half.val["auroc"] == pytest.approx(auroc_of(half, found.data.classes))
        assert on_half.images == pytest.approx(found.data.images["train"] * SHARE, abs=len(found.data.classes))
    assert any(len(set(result.over_seeds.val["auroc"].values)) > 1 for result in found.strategies.values())
    values = [result.figure("val", "auroc")[0] for result in found.strategies.values()]
    tests = [result.figure("test", "auroc")[0] for result in found.strategies.values()]
    known |= {f"{abs(a - b):.3f}" for group in (values, tests) for a in group for b in group}
    known |= {f"{result.versus_best.standard_error:.3f}" for result in found.strategies.values()}
    assert set(re.findall(r"\d+\.\d{3}|\d+%", found.verdict)) <= known


def by_seed(tested: pd.DataFrame, name: str) -> list[pd.DataFrame]:
    """Return a strategy's predictions for the test split, a table a seed."""
    return [tested.loc[(name, repeat)] for repeat in ("", "seed-1")]


def probabilities_of(table: pd.DataFrame, classes: list[str]) -> Any:
    """Return the probabilities of a table of predictions, a column a class."""
    return table[[f"p[{label}]" for label in classes]].to_numpy()


def auroc_of(table: pd.DataFrame, classes: list[str]) -> float:
    """Return scikit-learn's AUROC of a table of predictions: each class against the others, on average."""
    targets = table["label"].map(classes.index)
    return float(sk.roc_auc_score(targets, probabilities_of(table, classes), multi_class="ovr"))


def test_one_parent_and_a_child_a_strategy_are_finished(project: Project) -> None:
    """MLflow shows one comparison with its strategies below it, and below each its repeats."""
    found = read_comparison(project)
    runs = tracked_runs(project)
    children = [name for name, status, parent in runs.values() if parent == found.mlflow_run_id]
    assert sorted(children) == sorted(STRATEGIES)
    for name, result in found.strategies.items():
        repeats = [child for child, _, parent in runs.values() if parent == result.mlflow_run_id]
        assert sorted(repeats) == [f"{name} {repeat}" for repeat in REPEATS]
    assert {status for _, status, _ in runs.values()} == {"FINISHED"}


def test_metrics_and_plots_are_shown_by_dvc(own: Project) -> None:
    """``dvc metrics show`` and ``dvc plots show`` know every strategy."""
    shown = json.loads(must(own.run("dvc", "metrics", "show", "--json")))[""]["data"]
    assert {f"data/runs/{name}/metrics.json" for name in STRATEGIES} == set(shown)
    must(own.run("dvc", "plots", "show"))
    page = (own.root / "dvc_plots/index.html").read_text()
    assert all(f"data/runs/{name}/history.csv" in page for name in STRATEGIES)
