"""The champion: registered, kept when another follows, scoring folders, and served over HTTP."""

import base64
import json
import shutil
import sqlite3
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import log_loss

from tasks.comparison.schema import Comparison
from tests.flows.project import Project, free_port, make_project
from tests.flows.test_served import process

ASK = """
import json, mlflow
mlflow.set_tracking_uri("sqlite:///mlflow.db")
print(json.dumps(mlflow.MlflowClient().get_registered_model("thawline").aliases))
"""
BOUNDED = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}


@pytest.fixture(scope="module")
def crowned(tmp_path_factory: pytest.TempPathFactory, cells: Path) -> Iterator[Project]:
    """A project after its first ``dvc repro``, whose one strategy has learned the classes."""
    project = make_project(tmp_path_factory.mktemp("champion") / "clone", cells)
    params = project.params()
    params["strategies"] = {"head_only": {"train": "head", "solver": "lbfgs", "tta": True}}
    params["data"]["upright"] = False
    project.write_params(params)
    done = project.run("dvc", "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    yield project
    shutil.rmtree(project.root)


def comparison(project: Project) -> Comparison:
    """Return the last comparison."""
    return Comparison.model_validate_json((project.root / "data/reports/comparison.json").read_text())


def aliases(project: Project) -> dict[str, str]:
    """Return the versions that the registry has names for."""
    done = project.run(sys.executable, "-c", ASK)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {alias: str(version) for alias, version in found.items()}


def scored(project: Project, folder: Path, *options: str) -> pd.DataFrame:
    """Return what ``flows.predict`` writes."""
    done = project.run(sys.executable, "-m", "flows.predict", str(folder), *options, **BOUNDED)
    assert done.returncode == 0, done.stdout + done.stderr
    return pd.read_parquet(project.root / "scores.parquet")


def test_the_test_split_scored_anew_has_the_reported_figures(crowned: Project, cells: Path, tmp_path: Path) -> None:
    """A fresh process that loads the registered champion answers as the report says, image by image."""
    assert aliases(crowned) == {"champion": "1"}
    found = comparison(crowned)
    weights = crowned.root / "data/runs" / found.leader.name / "model.safetensors"
    assert found.leader.serving.model_bytes == weights.stat().st_size
    assert min(found.leader.serving.milliseconds, found.leader.serving.images_a_second) > 0
    with sqlite3.connect(crowned.root / "mlflow.db") as database:
        ends = dict(database.execute("SELECT run_uuid, end_time FROM runs").fetchall())
    assert ends[found.leader.mlflow_run_id] < ends[found.mlflow_run_id], "the champion's run ended when it ended"
    reported = pd.read_parquet(crowned.root / "data/reports/predictions.parquet").set_index("path").sort_index()
    for path in reported.index:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        shutil.copy(cells / path, tmp_path / path)
    (tmp_path / "intact/notes.txt").write_text("no image")
    table = scored(crowned, tmp_path).set_index("path")
    broken = table.loc["intact/notes.txt"]
    assert "unreadable" in broken["problem"]
    assert broken.drop("problem").isna().all()

    answered = table.drop(index="intact/notes.txt").loc[reported.index]
    assert (answered["problem"] == "").all()
    assert answered["label"].tolist() == reported["predicted"].tolist()
    assert (answered["label"] == reported["label"]).mean() == found.leader.test.accuracy
    assert answered["probability"].to_numpy() == pytest.approx(
        answered[[f"p[{label}]" for label in found.data.classes]].max(axis=1).to_numpy()
    )
    probabilities = answered[[f"p[{label}]" for label in found.data.classes]].to_numpy()
    calibrated = found.leader.calibration.test_log_loss
    assert log_loss(reported["label"], probabilities, labels=found.data.classes) == pytest.approx(calibrated, abs=1e-6)


@pytest.fixture(scope="module")
def of_broken(crowned: Project, cells: Path) -> pd.DataFrame:
    """What the first champion says of one class."""
    return scored(crowned, cells / "broken")


def test_the_table_may_be_csv(crowned: Project, cells: Path, of_broken: pd.DataFrame) -> None:
    """Both kinds of table hold the same."""
    done = crowned.run(sys.executable, "-m", "flows.predict", str(cells / "broken"), "--output", "scores.csv")
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(crowned.root / "scores.csv", keep_default_na=False)
    assert table["path"].tolist() == of_broken["path"].tolist()
    assert table["label"].tolist() == of_broken["label"].tolist()
    np.testing.assert_allclose(table["probability"], of_broken["probability"])


def test_the_champion_is_exported(crowned: Project, cells: Path, of_broken: pd.DataFrame) -> None:
    """Files that answer as ``flows.predict``, with their figures on stdout."""
    onnxruntime = pytest.importorskip("onnxruntime")
    target = crowned.root / "exported"
    done = crowned.run(sys.executable, "-m", "flows.export", "--output", str(target), **BOUNDED)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "model.onnx" in done.stdout
    facts = json.loads((target / "export.json").read_text())
    assert {path.name for path in target.iterdir()} == {"export.json", "model.onnx", "model.pt2"}
    side = facts["input"]["shape"][-1]
    file = sorted((cells / "broken").iterdir())[0]
    image = np.asarray(Image.open(file).convert("L").resize((side, side), Image.Resampling.BILINEAR))
    session = onnxruntime.InferenceSession(target / "model.onnx")
    answer = session.run(None, {"images": image[None, None]})[0][0]
    expected = of_broken.set_index("path").loc[file.name, [f"p[{label}]" for label in facts["classes"]]]
    np.testing.assert_allclose(answer, expected.to_numpy(float), atol=0.02)  # scored in this machine's precision


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("nowhere",), "nowhere is no folder"),
        (("tasks", "--output", "table.xlsx"), "table.xlsx is neither .csv nor .parquet"),
        (("tasks", "--model", "models:/nobody@champion"), "models:/nobody@champion is not in the registry"),
        (("empty",), "empty has no files"),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else None,
)
def test_what_cannot_be_scored_is_one_sentence(crowned: Project, arguments: tuple[str, ...], sentence: str) -> None:
    """No traceback, a non-zero exit, and nothing is written."""
    (crowned.root / "empty").mkdir(exist_ok=True)
    before = {path.name for path in crowned.root.iterdir()}
    done = crowned.run(sys.executable, "-m", "flows.predict", *arguments)
    assert done.returncode == 2
    last = [line for line in done.stderr.splitlines() if line.startswith("thawline:")]
    assert len(last) == 1
    assert sentence in last[0]
    assert "Traceback" not in done.stdout + done.stderr
    assert {path.name for path in crowned.root.iterdir()} - before <= {".prefect", "mlruns"}


def test_the_champion_answers_over_http(crowned: Project, cells: Path, of_broken: pd.DataFrame) -> None:
    """``mlflow models serve`` takes an image file, and an array of another size, and answers as ``flows.predict``."""
    port = free_port()
    file = sorted((cells / "broken").iterdir())[0]
    grey = np.asarray(Image.open(file))
    bad = [base64.b64encode(b"no image").decode(), "näh", [[1, 2], [3]], [[300]], None]
    good = [base64.b64encode(file.read_bytes()).decode(), grey[::2, ::3].tolist()]
    rows = [{"image": image} for image in (*good, *bad)]
    command = ("mlflow", "models", "serve", "-m", "models:/thawline@champion", "--env-manager", "local")
    store = f"sqlite:///{crowned.root / 'mlflow.db'}"
    options = ("--host", "127.0.0.1", "--port", str(port), "--workers", "1")
    with process(crowned, *command, *options, MLFLOW_TRACKING_URI=store, **BOUNDED):
        answers = asked(f"http://127.0.0.1:{port}/invocations", {"dataframe_records": rows})
    table = of_broken.set_index("path")
    first = answers["predictions"][0]
    assert first["label"] == table.loc[file.name, "label"]
    assert first["probability"] == pytest.approx(table.loc[file.name, "probability"], abs=1e-6)
    assert answers["predictions"][1]["label"] in comparison(crowned).data.classes
    assert answers["predictions"][1]["problem"] == ""
    refused = answers["predictions"][2:]
    assert all(row["label"] is None and row["probability"] is None for row in refused)
    words = ("unreadable", "base64", "array", "array", "array")
    assert all(word in row["problem"] for word, row in zip(words, refused, strict=True))


def asked(address: str, content: dict[str, Any], seconds: float = 100) -> Any:
    """Return the answer of a server that may still be starting."""
    request = urllib.request.Request(address, json.dumps(content).encode(), {"Content-Type": "application/json"})  # noqa: S310
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                return json.load(answer, parse_constant=pytest.fail)  # NaN is no JSON
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.5)


def test_a_new_champion_leaves_the_one_before_as_previous(
    crowned: Project, cells: Path, of_broken: pd.DataFrame
) -> None:
    """The same comparison again changes nothing; another result becomes champion, the old one stays to be had."""
    assert crowned.run("dvc", "repro", "-f", "-s", "compare").returncode == 0
    assert aliases(crowned) == {"champion": "1"}
    params = crowned.params()
    params["strategies"]["head_only"]["seed"] = 5
    params["strategies"]["head_only"]["class_weights"] = True
    crowned.write_params(params)
    done = crowned.run("dvc", "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    assert aliases(crowned) == {"champion": "2", "previous": "1"}
    again = scored(crowned, cells / "broken", "--model", "models:/thawline@previous")
    pd.testing.assert_frame_equal(again, of_broken)


def test_where_nothing_was_learned_there_is_no_champion(tmp_path: Path, cells: Path) -> None:
    """Labels that mean nothing: the comparison says so, and the registry stays empty."""
    images = tmp_path / "photos"
    for place, path in enumerate(sorted(cells.rglob("*.png"))):
        target = images / ("heads" if (place * 7919) % 13 < 6 else "tails") / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    project = make_project(tmp_path / "clone", images)
    params = project.params()
    params["strategies"] = {"head_only": {"train": "head", "solver": "lbfgs"}}
    params["compare"]["confidence"] = 0.99
    project.write_params(params)
    done = project.run("dvc", "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing was learned" in done.stdout
    assert comparison(project).champion is None
    assert project.run(sys.executable, "-c", ASK).returncode != 0
    refused = project.run(sys.executable, "-m", "flows.predict", str(images))
    assert refused.returncode == 2
    assert "run 'dvc repro'" in refused.stderr
