"""The champion: registered, kept when another follows, and scoring folders."""

import json
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss

from tests.support.project import Project, make_project
from tests.support.results import aliases, must, one_sentence, read_comparison
from tests.support.servers import shared_prefect

BOUNDED = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}


@pytest.fixture(scope="module")
def crowned(tmp_path_factory: pytest.TempPathFactory, cells: Path) -> Project:
    """A project after its first comparison, whose one strategy has learned the classes."""
    project = make_project(tmp_path_factory.mktemp("champion") / "clone", cells)
    params = project.params()
    params["strategies"] = {"head_only": {"train": "head", "solver": "lbfgs", "tta": True}}
    params["data"]["upright"] = False
    project.write_params(params)
    project.compare(models=True)
    return project


def predict(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``flows.predict`` in this process."""
    return project.here("flows.predict", *arguments, PREFECT_API_URL=shared_prefect(), **BOUNDED)


def scored(project: Project, folder: Path, *options: str) -> pd.DataFrame:
    """Return what ``flows.predict`` writes."""
    must(predict(project, str(folder), *options))
    return pd.read_parquet(project.root / "scores.parquet")


def test_the_test_split_scored_anew_has_the_reported_figures(crowned: Project, cells: Path, tmp_path: Path) -> None:
    """A fresh process that loads the registered champion answers as the report says, image by image."""
    assert aliases(crowned) == {"champion": "1"}
    comparison = read_comparison(crowned)
    weights = crowned.root / "data/runs" / comparison.leader.name / "model.safetensors"
    assert comparison.leader.serving is not None
    assert comparison.leader.serving.model_bytes == weights.stat().st_size
    assert min(comparison.leader.serving.milliseconds, comparison.leader.serving.images_a_second) > 0
    with closing(sqlite3.connect(crowned.root / "mlflow.db")) as database:
        ends = dict(database.execute("SELECT run_uuid, end_time FROM runs").fetchall())
    leader = comparison.leader
    assert ends[leader.mlflow_run_id] < ends[comparison.mlflow_run_id], "the champion's run ended when it ended"
    reported = pd.read_parquet(crowned.root / "data/reports/predictions.parquet").set_index("path").sort_index()
    for path in reported.index:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        shutil.copy(cells / path, tmp_path / path)
    (tmp_path / "intact/notes.txt").write_text("no image")
    must(crowned.run(sys.executable, "-m", "flows.predict", str(tmp_path), **BOUNDED))
    table = pd.read_parquet(crowned.root / "scores.parquet").set_index("path")
    broken = table.loc["intact/notes.txt"]
    assert "unreadable" in broken["problem"]
    assert broken.drop("problem").isna().all()

    answered = table.drop(index="intact/notes.txt").loc[reported.index]
    assert (answered["problem"] == "").all()
    assert answered["label"].tolist() == reported["predicted"].tolist()
    assert (answered["label"] == reported["label"]).mean() == comparison.leader.tested.accuracy
    assert answered["probability"].to_numpy() == pytest.approx(
        answered[[f"p[{label}]" for label in comparison.data.classes]].max(axis=1).to_numpy()
    )
    probabilities = answered[[f"p[{label}]" for label in comparison.data.classes]].to_numpy()
    calibrated = comparison.leader.calibrated.test_log_loss
    classes = comparison.data.classes
    assert log_loss(reported["label"], probabilities, labels=classes) == pytest.approx(calibrated, abs=1e-6)


@pytest.fixture(scope="module")
def of_broken(crowned: Project, cells: Path) -> pd.DataFrame:
    """What the first champion says of one class."""
    return scored(crowned, cells / "broken")


def test_the_table_may_be_csv(crowned: Project, cells: Path, of_broken: pd.DataFrame) -> None:
    """Both kinds of table hold the same."""
    must(predict(crowned, str(cells / "broken"), "--output", "scores.csv"))
    table = pd.read_csv(crowned.root / "scores.csv", keep_default_na=False)
    assert table["path"].tolist() == of_broken["path"].tolist()
    assert table["label"].tolist() == of_broken["label"].tolist()
    np.testing.assert_allclose(table["probability"], of_broken["probability"])


def test_files_that_cannot_be_scored_are_counted(
    crowned: Project, cells: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They are rows with a problem, and a line of the flow's log says how many there are."""
    shutil.copytree(cells / "broken", tmp_path / "mixed")
    (tmp_path / "mixed" / "notes.txt").write_text("no image")
    must(predict(crowned, str(tmp_path / "mixed")))
    table = pd.read_parquet(crowned.root / "scores.parquet")
    assert table.loc[table["problem"] != "", "path"].tolist() == ["notes.txt"]
    assert f"1 of {len(table)} files can't be scored: see the column problem" in caplog.messages


def test_images_and_patterns_are_answered_as_in_their_folder(
    crowned: Project, cells: Path, of_broken: pd.DataFrame
) -> None:
    """One image, and a pattern beside it, in another kind of table."""
    files = sorted((cells / "broken").iterdir())
    single = scored(crowned, files[0])
    pd.testing.assert_frame_equal(single, of_broken[of_broken["path"] == files[0].name].reset_index(drop=True))
    must(predict(crowned, str(files[0]), str(cells / "broken" / "*.png"), "--output", "scores.jsonl"))
    table = pd.read_json(crowned.root / "scores.jsonl", lines=True)
    assert table[["path", "label"]].to_dict("records") == of_broken[["path", "label"]].to_dict("records")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("nowhere",), "there is no file and no folder nowhere"),
        (("nowhere/*.png",), "no file fits nowhere/*.png"),
        (("tasks", "--output", "table.xlsx"), "table.xlsx is a spreadsheet, which is not written: let its name end in"),
        (("tasks", "--model", "models:/nobody@champion"), "models:/nobody@champion is not in the registry"),
        (("empty",), "empty has no files"),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else None,
)
def test_what_cannot_be_scored_is_one_sentence(crowned: Project, arguments: tuple[str, ...], sentence: str) -> None:
    """No traceback, a non-zero exit, and nothing is written."""
    (crowned.root / "empty").mkdir(exist_ok=True)
    before = {path.name for path in crowned.root.iterdir()}
    done = predict(crowned, *arguments)
    assert done.returncode == 2
    assert sentence in one_sentence(done)
    assert {path.name for path in crowned.root.iterdir()} - before <= {".prefect", "mlruns"}


def test_logged_models_answer_raw_images_in_a_clean_process(crowned: Project, tmp_path: Path) -> None:
    """The run's model, by the code that came with it, and its program, without any, answer alike, by either address.

    No pickle is read, and the images are of a size that the network was not trained on.
    """
    program = """
import json, sys, mlflow, numpy as np
client = mlflow.MlflowClient()
logged = [client.get_logged_model(model.model_id) for model in client.get_run(sys.argv[1]).outputs.model_outputs]
addresses = {model.name: model.model_uri for model in logged if model.status == "READY"}
images = np.random.default_rng(0).integers(0, 256, (3, 1, 60, 75), dtype=np.uint8)
answers = []
for uri in (addresses["program"], addresses["model"], f"runs:/{sys.argv[1]}/model"):
    answers.append(mlflow.pyfunc.load_model(uri).predict(images).tolist())
    answers.append("tasks" in sys.modules)
print(json.dumps([*answers, str(getattr(sys.modules["tasks"], "__file__", ""))]))
"""
    champion = read_comparison(crowned).leader
    store = f"sqlite:///{crowned.root / 'mlflow.db'}"
    done = subprocess.run(
        [sys.executable, "-c", program, champion.mlflow_run_id], cwd=tmp_path, capture_output=True, text=True,
        check=False, env={"MLFLOW_TRACKING_URI": store} | BOUNDED,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    exported, imported, by_code, _, by_run, _, code = json.loads(done.stdout.strip().splitlines()[-1])
    assert not imported
    assert "code.zip" in code
    assert by_code == by_run == pytest.approx(np.array(exported), abs=1e-5)
    assert np.array(exported).sum(axis=1) == pytest.approx(np.ones(3), abs=1e-4)


def test_a_new_champion_leaves_the_one_before_as_previous(
    crowned: Project, cells: Path, of_broken: pd.DataFrame
) -> None:
    """The same comparison again changes nothing; another result becomes champion, the old one stays to be had."""
    crowned.steps("compare")
    assert aliases(crowned) == {"champion": "1"}
    params = crowned.params()
    params["strategies"]["head_only"]["seed"] = 5
    params["strategies"]["head_only"]["class_weights"] = True
    crowned.write_params(params)
    crowned.steps("race", "finetune@head_only", "compare")
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
    assert "Nothing was learned" in re.sub(r"\s+", " ", project.compare())
    assert read_comparison(project).champion is None
    assert aliases(project) == {}
    assert "run 'dvc repro'" in one_sentence(predict(project, str(images)))
