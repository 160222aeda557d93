"""A strategy whose process dies goes on where it was, and its run in MLflow shows all of it."""

import csv
import sqlite3
import sys
from pathlib import Path

from tests.support.cells import write_cells
from tests.support.project import PREPARE, make_project

EPOCHS = 4
DIES = """
import os
from tasks.steps import finetune
from tasks.training import checkpoints

save = checkpoints.save

def save_then_die(file, progress, *rest):
    save(file, progress, *rest)
    if progress.epoch == 2:
        os._exit(9)

checkpoints.save = save_then_die
finetune.finetune("scratch")
"""


def test_a_run_that_died_is_marked_and_its_successor_shows_every_epoch(tmp_path: Path) -> None:
    """The first run is FAILED; the second has the epochs of both, those of the first not trained again."""
    project = make_project(tmp_path / "clone", write_cells(tmp_path / "photos", 12))
    params = project.params()
    params["run"] = {"checkpoint_seconds": 0}
    params["strategies"] = {"scratch": params["strategies"]["scratch"] | {"epochs": EPOCHS}}
    project.write_params(params)
    project.steps(*PREPARE)
    assert project.run(sys.executable, "-c", DIES).returncode == 9
    assert f"goes on after epoch 2 of {EPOCHS}" in project.steps("finetune@scratch")

    with sqlite3.connect(project.root / "mlflow.db") as database:
        runs = database.execute("SELECT run_uuid, status FROM runs ORDER BY start_time").fetchall()
        shown = dict(
            database.execute(
                "SELECT step, value FROM metrics WHERE run_uuid = ? AND key = 'epoch/val_loss'", (runs[1][0],)
            ).fetchall()
        )
    assert [status for _, status in runs] == ["FAILED", "FINISHED"]
    with (project.root / "data/runs/scratch/history.csv").open() as stream:
        assert shown == {int(float(row["epoch"])): float(row["val_loss"]) for row in csv.DictReader(stream)}
    assert sorted(shown) == list(range(EPOCHS))
