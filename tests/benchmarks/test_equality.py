"""Two small projects that were planted, with the same results and with others."""

import json
import shutil
from pathlib import Path

import pytest

from tests.benchmarks.equality import differences

RUN = "data/runs/full"


@pytest.fixture
def projects(tmp_path: Path) -> tuple[Path, Path]:
    """A project, and a copy of it."""
    before, after = tmp_path / "before", tmp_path / "after"
    (before / RUN).mkdir(parents=True)
    (before / RUN / "model.safetensors").write_bytes(b"weights")
    (before / RUN / "history.csv").write_text("epoch,val_loss,seconds\n0,0.5,1.0\n1,,2.0\n")
    (before / RUN / "run.json").write_text(json.dumps({"mlflow_run_id": "a", "best": {"epoch": 1, "loss": 0.25}}))
    shutil.copytree(before, after)
    return before, after


def test_what_differs_by_nature_is_left_out(projects: tuple[Path, Path]) -> None:
    """Time and the ids of runs."""
    before, after = projects
    (after / RUN / "history.csv").write_text("epoch,val_loss,seconds\n0,0.5,1.5\n1,,2.5\n")
    (after / RUN / "run.json").write_text(json.dumps({"mlflow_run_id": "b", "best": {"epoch": 1, "loss": 0.25}}))
    assert differences(before, after) == {}


def test_every_difference_has_its_place(projects: tuple[Path, Path]) -> None:
    """The last bit of a weight or of a number, a cell of a table, and a file that is missing."""
    before, after = projects
    (after / RUN / "model.safetensors").write_bytes(b"Weights")
    (after / RUN / "history.csv").write_text("epoch,val_loss,seconds\n0,0.5,1.0\n1,0.4,2.0\n")
    (after / RUN / "run.json").write_text(json.dumps({"best": {"epoch": 1, "loss": 0.25000000000000006}}))
    (after / RUN / "metrics.json").write_text("{}")
    differing = differences(before, after)
    names = ("model.safetensors", "history.csv", "run.json", "metrics.json")
    assert set(differing) == {f"{RUN}/{name}" for name in names}
    assert differing[f"{RUN}/run.json"] == ["best.loss: 0.25 → 0.25000000000000006"]
    assert differing[f"{RUN}/history.csv"] == ['val_loss[1]: "" → "0.4"']
    assert differing[f"{RUN}/metrics.json"] == ["only after"]
