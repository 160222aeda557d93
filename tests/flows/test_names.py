"""Names that other tools stumble over, and the same tile at several exposures, through every output."""

import base64
import json
import re
import zlib
from statistics import fmean
from typing import Any

import mlflow
import pandas as pd
from mlflow.entities import Experiment, Run

from tests.support.golden import CLASSES, EXPOSURES, STRATEGIES, SUBSETS
from tests.support.project import Project

KINDS = ("metrics", "params", "tags")


def test_tables_have_the_names_as_they_are(by_dvc: Project) -> None:
    """Manifest, predictions and the comparison hold the very names, as text."""
    table = pd.read_parquet(by_dvc.root / "data/manifest.parquet")
    assert set(table["label"]) == set(CLASSES)
    assert set(table["subset"]) == set(SUBSETS)
    found = json.loads((by_dvc.root / "data/reports/comparison.json").read_text(encoding="utf-8"))
    assert found["data"]["classes"] == sorted(CLASSES)
    for result in found["strategies"].values():
        assert set(result["test"]["per_class"]) == set(CLASSES)
        assert set(result["test"]["groups"]) == set(SUBSETS)
    predicted = pd.read_parquet(by_dvc.root / "data/reports/predictions.parquet")
    assert {f"p[{label}]" for label in CLASSES} <= set(predicted.columns)
    assert set(predicted["path"]) <= set(table["path"])


def test_a_tile_is_in_one_split_at_all_its_exposures(by_dvc: Project) -> None:
    """And the page says what a random split would have pretended, with the figures that were measured."""
    table = pd.read_parquet(by_dvc.root / "data/manifest.parquet").set_index("path")
    copies = [path for path in table.index if path.startswith(tuple(f"{gain}-" for gain in EXPOSURES))]
    assert len(copies) > 50
    originals = {path.rpartition(".")[0]: path for path in table.index if path not in copies}
    for path in copies:
        original = originals[path.partition("-")[2].removesuffix(".png")]
        assert table.loc[path, "split"] == table.loc[original, "split"]
        assert table.loc[path, "group"] == table.loc[original, "group"] != ""
    page = (by_dvc.root / "data/reports/comparison.html").read_text(encoding="utf-8")
    for found in json.loads((by_dvc.root / "data/probe.json").read_text())["pretences"]:
        whole, apart = fmean(found["grouped"]), fmean(found["random"])
        assert f"{found['probe']} on frozen features reaches an accuracy of {whole:.3f}" in page
        assert f"if groups stay whole, {apart:.3f} if not" in page
        assert apart > whole


def test_the_page_shows_names_and_runs_none(by_dvc: Project) -> None:
    """Names are text on the page, not mark-up."""
    page = (by_dvc.root / "data/reports/comparison.html").read_text(encoding="utf-8")
    assert "<b>" not in page
    assert "<i>" not in page
    assert "Größe 1.5 µm &lt;b&gt;&amp;amp;" in page


def test_mlflow_holds_the_runs(by_dvc: Project) -> None:
    """Every subset's metrics are in the tracking store, and the runs have ended well."""
    client = mlflow.MlflowClient(f"sqlite:///{by_dvc.root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("thawline")
    assert experiment is not None
    runs: list[Run] = client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    run = next(run for run in runs if run.info.run_name == "head_only")
    subsets = {key.split("/")[0] for key in run.data.metrics if key.startswith("val_")} - {"val_mean", "val_std"}
    assert len(subsets) == len(SUBSETS)
    parent = next(run for run in runs if run.info.run_name == "comparison")
    artifacts = {item.path for item in client.list_artifacts(parent.info.run_id)}
    assert {"comparison.html", "data_quality.csv", "quality.json"} <= artifacts
    assert {"val/accuracy", "test/accuracy"} <= set(run.data.metrics)


def saved_view(experiment: Experiment) -> dict[str, Any]:
    """Return the view that MLflow's UI offers in its menu of saved views, unpacked as it does it."""
    (view,) = [json.loads(tag) for key, tag in experiment.tags.items() if key.startswith("mlflow.sharedViewState.")]
    assert view["name"]
    packed: str = view["state"].removeprefix("deflate;")
    state: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(packed)))
    return state


def metrics_in(charts: list[dict[str, Any]]) -> set[str]:
    """Return the metrics that charts draw."""
    axes = {chart[axis]["key"] for chart in charts for axis in ("xaxis", "yaxis") if axis in chart}
    return axes | {
        key for chart in charts for key in (chart.get("metricKey"), *chart.get("selectedMetrics", [])) if key
    }


def test_mlflow_offers_a_view_of_the_strategies(by_dvc: Project) -> None:
    """A saved view finds the strategies of the last comparison; its columns and charts show what they have."""
    client = mlflow.MlflowClient(f"sqlite:///{by_dvc.root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("thawline")
    assert experiment is not None
    shown = saved_view(experiment)
    runs = client.search_runs([experiment.experiment_id], shown["searchFilter"], order_by=[shown["orderByKey"]])
    assert {run.data.tags["thawline.strategy"] for run in runs} == set(STRATEGIES)
    run = next(run for run in runs if run.info.run_name == "head_only")
    columns = {kind: set(re.findall(rf"{kind}\.`(.+?)`", " ".join(shown["selectedColumns"]))) for kind in KINDS}
    assert columns["metrics"] | metrics_in(shown["compareRunCharts"]) <= set(run.data.metrics)
    assert columns["params"] <= set(run.data.params)
    assert columns["tags"] <= set(run.data.tags)
    assert {chart["metricSectionId"] for chart in shown["compareRunCharts"]} == {
        section["uuid"] for section in shown["compareRunSections"]
    }
