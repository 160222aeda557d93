"""What ``dvc repro`` leaves, run as a user runs it."""

import json
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from tasks.comparison import statistics
from tests.support.golden import SHARE, STRATEGIES, golden
from tests.support.left import check_comparison, check_everything_is_up_to_date, check_tracked_runs
from tests.support.project import Project
from tests.support.results import must, read_comparison

DOOR = "dvc"


def test_everything_is_up_to_date() -> None:
    """DVC calls nothing stale."""
    check_everything_is_up_to_date(DOOR)


def test_comparison_names_every_strategy_and_its_costs() -> None:
    """Both splits' metrics of all strategies, best validation score first; the winner was printed."""
    check_comparison(DOOR)


def test_one_parent_and_a_child_a_strategy_are_finished() -> None:
    """MLflow shows one comparison with its strategies below it, and below each its repeats."""
    check_tracked_runs(DOOR)


def test_how_long_it_takes_is_said_before_anything_is_trained() -> None:
    """First for the files, then, by a measurement, a line a strategy."""
    _, printed = golden(DOOR)
    first = printed.index(f"plan: {len(STRATEGIES)} strategies on")
    measured = [re.search(rf"plan: {name} +at most +\d", printed) for name in STRATEGIES]
    for line in measured:
        assert line is not None
        assert first < line.start() < printed.index("epoch 1/")


def test_every_number_of_the_verdict_can_be_recomputed(by_dvc: Project) -> None:
    """From the predictions alone: scores by scikit-learn, intervals on the same resamples, and what the text says."""
    comparison, known = read_comparison(by_dvc), {"95%"}
    tested = pd.read_parquet(by_dvc.root / "data/reports/predictions.parquet").set_index(["strategy", "repeat"])
    params = by_dvc.params()["compare"]
    for name, result in comparison.strategies.items():
        validated = pd.read_parquet(by_dvc.root / f"data/runs/{name}/predictions.parquet")
        for scores, table in ((result.val, validated), (result.test, tested.loc[(name, "")])):
            targets = table["label"].map(comparison.data.classes.index).to_numpy()
            probabilities = probabilities_of(table, comparison.data.classes)
            answers = probabilities.argmax(axis=1)
            assert scores.accuracy == pytest.approx(sk.accuracy_score(targets, answers))
            assert scores.balanced_accuracy == pytest.approx(sk.balanced_accuracy_score(targets, answers))
            assert scores.auroc == pytest.approx(auroc_of(table, comparison.data.classes))
            assert scores.log_loss == pytest.approx(sk.log_loss(targets, probabilities), abs=1e-6)
            resampled = statistics.auroc(statistics.draw(len(table), params["resamples"], 0), targets, probabilities)
            assert scores.intervals["auroc"] == pytest.approx(np.nanquantile(resampled, [0.025, 0.975]))
        other = pd.read_parquet(by_dvc.root / f"data/runs/{name}/repeats/seed-1/predictions.parquet")
        assert result.over_seeds is not None
        seeds = ((result.over_seeds.val, validated, other), (result.over_seeds.test, *by_seed(tested, name)))
        for spreads, *tables in seeds:
            spread, (first, second) = spreads["auroc"], [auroc_of(table, comparison.data.classes) for table in tables]
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
        assert on_half.val["auroc"] == pytest.approx(auroc_of(half, comparison.data.classes))
        data = comparison.data
        assert on_half.images == pytest.approx(data.images["train"] * SHARE, abs=len(data.classes))
    assert any(len(set(result.over_seeds.val["auroc"].values)) > 1 for result in comparison.strategies.values())
    values = [result.figure("val", "auroc")[0] for result in comparison.strategies.values()]
    tests = [result.figure("test", "auroc")[0] for result in comparison.strategies.values()]
    known |= {f"{abs(a - b):.3f}" for group in (values, tests) for a in group for b in group}
    known |= {f"{result.versus_best.standard_error:.3f}" for result in comparison.strategies.values()}
    known.add(f"{comparison.chance.high:.3f}")
    assert set(re.findall(r"\d+\.\d{3}|\d+%", comparison.verdict)) <= known


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


def test_metrics_and_plots_are_shown_by_dvc(golden_copy: Project) -> None:
    """``dvc metrics show`` and ``dvc plots show`` know every strategy."""
    shown = json.loads(must(golden_copy.run("dvc", "metrics", "show", "--json")))[""]["data"]
    assert {f"data/runs/{name}/metrics.json" for name in STRATEGIES} == set(shown)
    must(golden_copy.run("dvc", "plots", "show"))
    page = (golden_copy.root / "dvc_plots/index.html").read_text()
    assert all(f"data/runs/{name}/history.csv" in page for name in STRATEGIES)
