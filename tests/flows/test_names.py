"""Names that other tools stumble over, and the same tile at several exposures, through every output."""

import base64
import csv
import json
import re
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import mlflow
import pandas as pd
import pytest
from mlflow.entities import Experiment, Run
from PIL import Image

from tests.flows.project import Project, make_project

CLASSES = ["yes", "no", "1", "Größe 1.5 µm <b>&amp;", "long " + "x" * 200]
SUBSETS = ["2", "null", "a/b <i> größer", "a:b <i> größer", "s" * 260]
LONG_FILE = "f" * 240
EXPOSURES = (0.4, 0.6, 0.8)
KINDS = ("metrics", "params", "tags")


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory, cells: Path) -> Iterator[Project]:
    """A project after ``dvc repro`` on a table of images whose classes, subsets and files have odd names."""
    root = tmp_path_factory.mktemp("named")
    images = root / "photos of Müller.v2"
    images.mkdir()
    sources = sorted(cells.rglob("*.png"))
    with (images / "table.csv").open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(["path", "label", "subset"])
        for number, source in enumerate(sources):
            odd = [f"{number} näme.x y.png", f"{number:03}{LONG_FILE}.png", f"yes{number}"][number % 3]
            shutil.copy(source, images / odd)
            label, subset = CLASSES[number % len(CLASSES)], SUBSETS[number % len(SUBSETS)]
            rows.writerow([odd, label, subset])
            if number % 3 == 0:
                for gain in EXPOSURES:
                    with Image.open(source) as image:
                        image.point(lambda value, gain=gain: int(value * gain)).save(images / f"{gain}-{odd}")
                    rows.writerow([f"{gain}-{odd}", label, subset])
    project = make_project(root / "clone", images)
    params = project.params()
    params["data"] |= {"source": "manifest", "path": str(images / "table.csv")}
    params["strategies"] = {"head_only": {"train": "head", "lr": 0.001, "epochs": 1}}
    project.write_params(params)
    done = project.run("dvc", "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    yield project
    shutil.rmtree(root)


def test_tables_have_the_names_as_they_are(named: Project) -> None:
    """Manifest, predictions and the comparison hold the very names, as text."""
    table = pd.read_parquet(named.root / "data/manifest.parquet")
    assert set(table["label"]) == set(CLASSES)
    assert set(table["subset"]) == set(SUBSETS)
    found = json.loads((named.root / "data/reports/comparison.json").read_text(encoding="utf-8"))
    assert found["data"]["classes"] == sorted(CLASSES)
    test = found["strategies"]["head_only"]["test"]
    assert set(test["per_class"]) == set(CLASSES)
    assert set(test["groups"]) == set(SUBSETS)
    predicted = pd.read_parquet(named.root / "data/reports/predictions.parquet")
    assert {f"p[{label}]" for label in CLASSES} <= set(predicted.columns)
    assert set(predicted["path"]) <= set(table["path"])


def test_a_tile_is_in_one_split_at_all_its_exposures(named: Project) -> None:
    """And the page says what a random split would have pretended, with the figures that were measured."""
    table = pd.read_parquet(named.root / "data/manifest.parquet").set_index("path")
    copies = [path for path in table.index if path.startswith(tuple(f"{gain}-" for gain in EXPOSURES))]
    assert len(copies) > 50
    for path in copies:
        original = path.partition("-")[2]
        assert table.loc[path, "split"] == table.loc[original, "split"]
        assert table.loc[path, "group"] == table.loc[original, "group"] != ""
    page = (named.root / "data/reports/comparison.html").read_text(encoding="utf-8")
    for found in json.loads((named.root / "data/probe.json").read_text())["pretences"]:
        whole, apart = fmean(found["grouped"]), fmean(found["random"])
        assert f"{found['probe']} on frozen features reaches an accuracy of {whole:.3f}" in page
        assert f"if groups stay whole, {apart:.3f} if not" in page
        assert apart > whole


def test_the_page_shows_names_and_runs_none(named: Project) -> None:
    """Names are text on the page, not mark-up."""
    page = (named.root / "data/reports/comparison.html").read_text(encoding="utf-8")
    assert "<b>" not in page
    assert "<i>" not in page
    assert "Größe 1.5 µm &lt;b&gt;&amp;amp;" in page


def test_mlflow_holds_the_runs(named: Project) -> None:
    """Every subset's metrics are in the tracking store, and the runs have ended well."""
    client = mlflow.MlflowClient(f"sqlite:///{named.root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("thawline")
    assert experiment is not None
    runs: list[Run] = client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    run = next(run for run in runs if run.data.tags.get("thawline.strategy") == "head_only")
    subsets = {key.split("/")[0] for key in run.data.metrics if key.startswith("val_")}
    assert len(subsets) == len(SUBSETS)
    parent = next(run for run in runs if "thawline.strategy" not in run.data.tags)
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


def test_mlflow_offers_a_view_of_the_strategies(named: Project) -> None:
    """A saved view finds the strategies of the last comparison; its columns and charts show what they have."""
    client = mlflow.MlflowClient(f"sqlite:///{named.root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("thawline")
    assert experiment is not None
    shown = saved_view(experiment)
    (run,) = client.search_runs([experiment.experiment_id], shown["searchFilter"], order_by=[shown["orderByKey"]])
    assert run.data.tags["thawline.strategy"] == "head_only"
    columns = {kind: set(re.findall(rf"{kind}\.`(.+?)`", " ".join(shown["selectedColumns"]))) for kind in KINDS}
    assert columns["metrics"] | metrics_in(shown["compareRunCharts"]) <= set(run.data.metrics)
    assert columns["params"] <= set(run.data.params)
    assert columns["tags"] <= set(run.data.tags)
    assert {chart["metricSectionId"] for chart in shown["compareRunCharts"]} == {
        section["uuid"] for section in shown["compareRunSections"]
    }
