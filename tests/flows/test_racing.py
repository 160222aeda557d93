"""A race by the steps themselves: what it stops, keeps, and leaves to others."""

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tasks.files import sha256_of
from tests.support.golden import light
from tests.support.project import Project, without_models
from tests.support.results import must, read_comparison, tracked_runs


def race_of(project: Project) -> dict[str, dict[str, Any]]:
    """Return what the race says of every strategy."""
    return {file.stem: json.loads(file.read_text()) for file in (project.root / "data/race").glob("*.json")}


def test_a_race_stops_who_cannot_win_and_without_one_all_are_trained(small: Project) -> None:
    """What was trained in the race is taken over; it is the beginning of the full run; the evidence is recorded."""
    params = small.params()
    params["strategies"]["scratch"] |= {"epochs": 40, "patience": 40, "lr": 0.00001}  # by which it hardly learns
    params["strategies"]["head_only"]["solver"] = "lbfgs"
    small.write_params(params)
    steps = ("race", *(f"finetune@{name}" for name in params["strategies"]), "compare")
    printed = small.steps(*steps)
    stop = race_of(small)["scratch"]
    assert race_of(small)["head_only"]["images"] is None
    assert stop["evidence"]["against"] == "head_only"
    assert f"scratch: stops after {stop['images']:,} of {stop['evidence']['of_images']:,} images" in printed
    run = json.loads((small.root / "data/runs/scratch/run.json").read_text())
    assert run["stopped"] == stop["evidence"] | {"reason": stop["reason"]}
    lost = read_comparison(small).strategies["scratch"]
    assert lost.val.auroc == pytest.approx(stop["evidence"]["score"]), "its answers are those that it was judged by"
    stopped = lost.history
    assert len(stopped) < 40
    assert "epoch" not in small.steps("race"), "what was looked at is not trained again"
    assert race_of(small)["scratch"] == stop
    params["train"]["budget"] = "none"
    small.write_params(params)
    small.steps(*steps)
    full = read_comparison(small)
    assert not full.racing.raced
    assert full.racing.stopped == {}
    history = full.strategies["scratch"].history
    whole = len(stopped) - 1  # the last one may be a part of an epoch
    assert len(history) > len(stopped)
    assert history[:whole] == stopped[:whole]


TOOK_OVER = "its training ended in the race"
HANDED_OVER = "data/work/handed_over"


@pytest.fixture(scope="module")
def raced(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project behind its race, in which nothing is fine-tuned yet."""
    project = light().copy(tmp_path_factory.mktemp("raced") / "clone")
    params = project.params()
    params["strategies"]["scratch"]["lr"] = 0.0015
    params["strategies"]["head_only"]["lr"] = 0.002
    project.write_params(params)
    with without_models():
        done = project.here("tasks", "race", DVC_STAGE="race")  # as DVC runs it
    assert done.returncode == 0, done.stdout + done.stderr
    return project


def stage_of_run(project: Project, run_id: str) -> str:
    """Return the stage that a run in MLflow says it was made by."""
    with closing(sqlite3.connect(project.root / "mlflow.db")) as database:
        asked = "SELECT value FROM tags WHERE key = 'thawline.stage' AND run_uuid = ?"
        return str(database.execute(asked, (run_id,)).fetchone()[0])


def outputs_of(project: Project, name: str) -> dict[str, Any]:
    """Return what a fine-tuning left that the machine's speed has no part in."""
    folder = project.root / "data/runs" / name
    metrics, run = (json.loads((folder / file).read_text()) for file in ("metrics.json", "run.json"))
    timed = ("train_seconds", "peak_memory_mib", "mlflow_run_id")
    files = {file: sha256_of(folder / file) for file in ("model.safetensors", "predictions.parquet")}
    return files | {file: {k: v for k, v in content.items() if k not in timed} for file, content in
                    (("metrics", metrics), ("run", run))}  # fmt: skip


def test_what_ended_in_the_race_is_taken_over(raced: Project, tmp_path: Path) -> None:
    """Its stage imports nothing that trains or tracks, and leaves what it would have left by itself."""
    alone = raced.copy(tmp_path / "alone")
    taking = raced.copy(tmp_path / "taking")
    ended = sorted(folder.name for folder in (raced.root / HANDED_OVER).iterdir())
    assert ended == ["head_only", "scratch"]
    for name in ended:
        program = f"""
import atexit, runpy, sys
atexit.register(lambda: print("IMPORTED", *sys.modules))
sys.argv[1:] = ["finetune", "--strategy", "{name}"]
runpy.run_module("tasks", run_name="__main__")
"""
        said, _, imported = must(taking.run(sys.executable, "-c", program)).partition("IMPORTED")
        assert TOOK_OVER in said
        assert {"torch", "mlflow", "pandas", "sklearn"}.isdisjoint(imported.split())
        assert not (taking.root / HANDED_OVER / name).exists()
        (alone.root / HANDED_OVER / name / "inputs.json").unlink()
        assert TOOK_OVER not in alone.steps(f"finetune@{name}")
        assert outputs_of(taking, name) == outputs_of(alone, name)
    taking.steps("compare")
    for name, result in read_comparison(taking).strategies.items():
        assert tracked_runs(taking)[result.mlflow_run_id][:2] == (name, "FINISHED")
        assert stage_of_run(taking, result.mlflow_run_id) == f"finetune@{name}"


def test_what_changed_since_the_race_is_not_taken_over(raced: Project, tmp_path: Path) -> None:
    """Outputs of other settings are no outputs of these."""
    clone = raced.copy(tmp_path / "clone")
    params = clone.params()
    params["strategies"]["head_only"]["lr"] = 0.004
    clone.write_params(params)
    assert TOOK_OVER not in clone.steps("finetune@head_only")
    assert TOOK_OVER in clone.steps("finetune@scratch")


def test_a_race_hands_over_once(raced: Project, tmp_path: Path) -> None:
    """Neither what waits nor what was taken over is tracked again by another race."""
    clone = raced.copy(tmp_path / "clone")
    before = tracked_runs(clone)
    clone.steps("race", "finetune@scratch", "race", "finetune@head_only", "race")
    assert tracked_runs(clone) == before
    assert list((clone.root / HANDED_OVER).iterdir()) == []
